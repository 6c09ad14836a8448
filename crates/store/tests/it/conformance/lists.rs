//! Lists, and what is looked up by itself. The differential test covers the rest of their filters.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use serde_json::json;
use updraft_core::{
    Bundle, MapIndex, Namespace, RunKey, RunState, TiState, TiStateName,
    record::{Batch, RunRow, RunType, TiRow},
};
use updraft_store::{
    Bounds, DagField, DagQuery, Order, RunField, RunQuery, TextFilter, TiField, TiQuery, Window, XcomQuery,
};

use crate::{
    fixture::TestStore,
    rows::{self, Put, at, key, ti_key},
};

fn down<F>(by: F) -> Vec<Order<F>> {
    vec![Order { by, descending: true }]
}

fn contains(text: &str) -> TextFilter {
    TextFilter { contains: vec![text.into()], ..TextFilter::default() }
}

pub async fn dags_by_what_they_are(on: TestStore) {
    let mut put = Put::default().dag(&key("a_sales")).dag(&key("b_sales")).dag(&key("web"));
    for (row, tags) in put.0.versions.iter_mut().zip([vec!["etl", "daily"], vec!["etl"], vec![]]) {
        let spec = Arc::make_mut(&mut row.spec);
        spec.tags = tags.into_iter().map(String::from).collect();
        spec.owner = if spec.tags.is_empty() { "web-team".into() } else { "data".into() };
    }
    put = put.with(|batch| {
        batch.dags.get_mut(&key("b_sales")).unwrap().is_paused = true;
        batch.dags.get_mut(&key("web")).unwrap().is_stale = true;
        batch.dags.get_mut(&key("web")).unwrap().next_tick = Some(rows::tick(60));
    });
    put = put.run(rows::run(1, &key("web"), RunState::Failed)).run(rows::run(
        2,
        &key("web"),
        RunState::Running,
    ));
    on.commit(&put.run(rows::run(3, &key("b_sales"), RunState::Failed)).0).await;
    on.store.put_import_error(&Namespace::default(), "web.yaml", "bad", None, at(1)).await.unwrap();

    let all = DagQuery::default;
    for (query, expected) in [
        (all(), vec!["a_sales", "b_sales", "web"]),
        (DagQuery { dag_id: contains("B_S"), ..all() }, vec!["b_sales"]),
        (DagQuery { tags: vec!["etl".into(), "daily".into()], ..all() }, vec!["a_sales", "b_sales"]),
        (DagQuery { tags: vec!["etl".into(), "daily".into()], all_tags: true, ..all() }, vec!["a_sales"]),
        (DagQuery { owners: vec!["web-team".into()], ..all() }, vec!["web"]),
        (DagQuery { paused: Some(true), ..all() }, vec!["b_sales"]),
        (DagQuery { stale: Some(false), ..all() }, vec!["a_sales", "b_sales"]),
        (DagQuery { has_import_error: Some(true), ..all() }, vec!["web"]),
        (DagQuery { last_run_state: vec![RunState::Failed], ..all() }, vec!["b_sales"]),
        (DagQuery { order: down(DagField::DagId), ..all() }, vec!["web", "b_sales", "a_sales"]),
        (DagQuery { order: down(DagField::LastRunAfter), ..all() }, vec!["b_sales", "web", "a_sales"]),
        (DagQuery { namespace: "other".into(), ..all() }, vec![]),
    ] {
        let page = on.store.dags(&query).await.unwrap();
        let names: Vec<&str> = page.rows.iter().map(|dag| &*dag.row.key.dag_id).collect();
        assert_eq!(names, expected, "{query:?}");
    }
    // One that is passed over, and has both tags, does not come after all.
    let tags: Vec<String> = vec!["etl".into(), "daily".into()];
    let window = Window { offset: 1, limit: 3, ..Window::ALL };
    let page = on.store.dags(&DagQuery { tags, window, ..all() }).await.unwrap();
    assert_eq!(page.rows.iter().map(|dag| &*dag.row.key.dag_id).collect::<Vec<_>>(), ["b_sales"]);
    let web = on.store.dag(&key("web")).await.unwrap().unwrap();
    assert_eq!((web.tasks, web.header.tasks.len(), web.has_import_error), (3, 0, true));
    assert_eq!(web.last_run.map(|run| (run.key, run.state)), Some((RunKey(2), RunState::Running)));
    assert_eq!(on.store.dag(&key("none")).await.unwrap(), None);
    let tags = on.store.tags(&Namespace::default(), &TextFilter::default(), Window::ALL).await.unwrap();
    assert_eq!(tags.rows, ["daily", "etl"]);
    let mut second = rows::version(&key("web"), 2);
    let bundle = Bundle { name: "git".into(), version: "c0ffee".into(), file: "/c0ffee/web.yml".into() };
    Arc::make_mut(&mut second.spec).bundle = Some(bundle.clone());
    on.commit(&Batch { versions: vec![second], ..Batch::default() }).await;
    let versions = on.store.dag_versions(&key("web"), Window::ALL).await.unwrap();
    let of = versions.rows.into_iter().map(|row| (row.version, row.bundle)).collect::<Vec<_>>();
    assert_eq!(of, [(2, Some(bundle)), (1, None)]);
    let counts = on.store.run_counts(&Namespace::default(), &["web".into()]).await.unwrap();
    let of_web = BTreeMap::from([(RunState::Failed, 1), (RunState::Running, 1)]);
    assert_eq!(counts, BTreeMap::from([("web".into(), of_web)]));
}

pub async fn runs_by_what_they_are(on: TestStore) {
    let of = key("sales");
    let scheduled = RunRow {
        run_type: RunType::Scheduled,
        triggering_user: None,
        run_id: "scheduled__3".into(),
        ..rows::run(3, &of, RunState::Success)
    };
    let put = Put::default().dag(&of).run(rows::run(1, &of, RunState::Queued));
    let put = put.run(rows::run(2, &of, RunState::Running)).run(scheduled);
    on.commit(&put.dag(&key("web")).run(rows::run(4, &key("web"), RunState::Failed)).0).await;

    let all = RunQuery::default;
    let since = Bounds { gte: Some(at(3)), ..Bounds::default() };
    let short = Bounds { lt: Some(SignedDuration::from_secs(10)), ..Bounds::default() };
    let long = Bounds { lte: Some(SignedDuration::from_secs(10)), ..Bounds::default() };
    let prefix = TextFilter { begins: vec!["scheduled__".into()], ..TextFilter::default() };
    for (query, expected) in [
        (all(), vec![1, 2, 3, 4]),
        (RunQuery { dags: vec!["sales".into()], order: down(RunField::Key), ..all() }, vec![3, 2, 1]),
        (RunQuery { states: vec![RunState::Queued, RunState::Failed], ..all() }, vec![1, 4]),
        (RunQuery { run_types: vec![RunType::Scheduled], ..all() }, vec![3]),
        (RunQuery { run_id: prefix, ..all() }, vec![3]),
        (RunQuery { triggering_user: contains("AD"), ..all() }, vec![1, 2, 4]),
        (RunQuery { conf_contains: Some("\"n\":4".into()), ..all() }, vec![4]),
        (RunQuery { run_after: since, ..all() }, vec![3, 4]),
        (RunQuery { duration: short, ..all() }, vec![]),
        (RunQuery { duration: long, ..all() }, vec![3, 4]),
        (RunQuery { versions: vec![2], ..all() }, vec![]),
        (RunQuery { order: down(RunField::EndedAt), ..all() }, vec![4, 3, 2, 1]),
        (
            RunQuery { order: vec![Order { by: RunField::EndedAt, descending: false }], ..all() },
            vec![3, 4, 1, 2],
        ),
    ] {
        let page = on.store.runs(&query).await.unwrap();
        assert_eq!(page.rows.iter().map(|run| run.row.key.0).collect::<Vec<_>>(), expected, "{query:?}");
    }
}

pub async fn task_instances_by_what_they_are(on: TestStore) {
    let of = key("sales");
    let mut put = Put::default().dag(&of);
    for run in 1..=2 {
        put = put.run(rows::run(run, &of, RunState::Running));
        for task in 0..3 {
            let started_at = (task < 2).then(|| at(i64::from(task)));
            let ended_at = (task < 1).then(|| at(run * 100));
            let state = if task == 0 { TiState::Success } else { TiState::Running(rows::assignment()) };
            put = put.ti(TiRow { started_at, ended_at, ..rows::ti(ti_key(run, task, -1), state) });
        }
    }
    on.commit(&put.ti(rows::ti(ti_key(2, 1, 5), TiState::Failed)).0).await;

    let all = || TiQuery { runs: vec![RunKey(2)], ..TiQuery::default() };
    let long = Bounds { gt: Some(SignedDuration::from_secs(100)), ..Bounds::default() };
    for (query, expected) in [
        (TiQuery { runs: vec![], states: vec![TiStateName::Success], ..all() }, vec![(1, 0, -1), (2, 0, -1)]),
        (TiQuery { task_id: TextFilter::exactly("load"), ..all() }, vec![(2, 1, -1), (2, 1, 5)]),
        (TiQuery { pool: TextFilter::exactly("narrow"), ..all() }, vec![(2, 1, -1), (2, 1, 5)]),
        (TiQuery { queue: contains("BIG"), map_indexes: vec![MapIndex(5)], ..all() }, vec![(2, 1, 5)]),
        (TiQuery { operator: contains("email"), ..all() }, vec![(2, 2, -1)]),
        (TiQuery { runs: vec![], duration: long, ..all() }, vec![(2, 0, -1)]),
        (TiQuery { try_numbers: vec![2], ..all() }, vec![]),
        (TiQuery { dags: vec!["web".into()], ..all() }, vec![]),
        (
            TiQuery { order: down(TiField::StartedAt), ..all() },
            vec![(2, 1, -1), (2, 0, -1), (2, 2, -1), (2, 1, 5)],
        ),
    ] {
        let page = on.store.tis(&query).await.unwrap();
        let keys = page.rows.iter().map(|ti| ti.row.key);
        let keys: Vec<_> = keys.map(|key| (key.run.0, key.task.0, key.map_index.0)).collect();
        assert_eq!(keys, expected, "{query:?}");
    }
    let found = on.store.find_ti(RunKey(2), &"load".into(), MapIndex(5)).await.unwrap().unwrap();
    assert_eq!((&*found.pool, found.pool_slots, &*found.queue), ("narrow", 2, "big"));
    assert_eq!((&*found.operator, &found.dag, &*found.run_id), ("BashOperator", &of, "manual__2"));
    assert_eq!(on.store.ti(found.row.key).await.unwrap(), Some(found));
    assert_eq!(on.store.find_ti(RunKey(2), &"load".into(), MapIndex(6)).await.unwrap(), None);
    let counts = on.store.ti_counts(&[RunKey(2), RunKey(9)]).await.unwrap();
    let states =
        BTreeMap::from([(TiStateName::Running, 2), (TiStateName::Success, 1), (TiStateName::Failed, 1)]);
    assert_eq!(counts, BTreeMap::from([(RunKey(2), states)]));
}

pub async fn what_a_task_instance_left(on: TestStore) {
    let batch = rows::everything();
    on.commit(&batch).await;
    let ti = ti_key(2, 0, -1);
    let more = (0..12).map(|copy| rows::xcom(ti_key(2, 0, copy), "return_value", json!(copy))).collect();
    on.commit(&Batch { xcoms: more, ..Batch::default() }).await;
    let store = &on.store;

    let tries = store.tries(ti).await.unwrap();
    assert_eq!(tries, [batch.history[0].clone(), batch.tis[&ti].clone()]);
    let transitions = store.transitions(RunKey(2), Some(ti), Window::default()).await.unwrap();
    assert_eq!(transitions.rows, batch.transitions);
    assert_eq!(store.rendered(ti).await.unwrap().as_ref(), batch.rendered.get(&ti));
    assert_eq!(store.xcom(ti, "big").await.unwrap().as_ref(), batch.xcoms.get(1));
    let of_all = store.xcoms_of(RunKey(2), &"extract".into(), "return_value").await.unwrap();
    assert_eq!(of_all.iter().map(|row| row.ti.map_index.0).collect::<Vec<_>>(), (-1..12).collect::<Vec<_>>());
    let stats = store.task_stats(&key("sales")).await.unwrap();
    assert_eq!(stats, batch.stats.values().cloned().collect::<Vec<_>>());

    let query = XcomQuery { key: TextFilter::exactly("big"), with_values: true, ..XcomQuery::default() };
    let page = store.xcoms(&query).await.unwrap();
    assert_eq!((page.rows[0].value.as_ref(), page.total), (Some(&batch.xcoms[1].value), 1));
    assert_eq!((&*page.rows[0].task_id, &*page.rows[0].run_id), ("extract", "manual__2"));
    let second = Window { offset: 1, limit: 1, ..Window::default() };
    let query = XcomQuery { run: Some(RunKey(2)), window: second, ..XcomQuery::default() };
    let page = store.xcoms(&query).await.unwrap();
    assert_eq!((&*page.rows[0].key, page.rows[0].value.as_ref(), page.total), ("return_value", None, 14));
}

pub async fn pools_with_the_slots_taken(on: TestStore) {
    let mut batch = rows::everything();
    batch.tis.insert(ti_key(2, 1, 0), rows::ti(ti_key(2, 1, 0), TiState::Running(rows::assignment())));
    batch.tis.insert(ti_key(2, 1, 1), rows::ti(ti_key(2, 1, 1), TiState::Scheduled));
    batch.tis.insert(ti_key(2, 1, 2), rows::ti(ti_key(2, 1, 2), TiState::Running(rows::assignment())));
    on.commit(&batch).await;
    let here = Namespace::default();
    let pools = on.store.pools(&here, &TextFilter::default(), Window::default()).await.unwrap();
    assert_eq!(pools.rows.iter().map(|pool| &*pool.row.name).collect::<Vec<_>>(), ["narrow", "wide"]);
    assert_eq!(pools.rows[0].slots, BTreeMap::from([(TiStateName::Running, 4), (TiStateName::Scheduled, 2)]));
    assert_eq!(pools.rows[1].slots, BTreeMap::new());
    let one = on.store.pool(&here, &"narrow".into()).await.unwrap();
    assert_eq!(one.as_ref(), pools.rows.first());
    assert_eq!(on.store.pool(&here, &"default_pool".into()).await.unwrap(), None);
}

pub async fn ticks_that_reach_into_a_time(on: TestStore) {
    let of = key("sales");
    let ranges = [(0, 60), (120, 120), (180, 600)].map(|(first, last)| rows::ticks(&of, first, last));
    let put = Put::default().dag(&of).with(|batch| {
        batch.ticks.extend(ranges.iter().map(|row| ((of.clone(), row.first), row.clone())));
    });
    on.commit(&put.0).await;
    for (from, to, expected) in
        [(0, 600, &ranges[..]), (60, 120, &ranges[..1]), (61, 120, &[]), (120, 121, &ranges[1..2])]
    {
        let page = on.store.ticks(&of, at(from), at(to), Window::default()).await.unwrap();
        assert_eq!(page.rows, expected, "{from}..{to}");
    }
    let longer = rows::ticks(&of, 180, 660);
    on.commit(&Batch { ticks: [((of.clone(), at(180)), longer.clone())].into(), ..Batch::default() }).await;
    assert_eq!(on.store.load().await.unwrap().ticks, [longer]);
}

pub async fn a_page_counts_no_further_than_asked(on: TestStore) {
    let of = key("sales");
    let runs = (1..=10).map(|number| rows::run(number, &of, RunState::Queued));
    on.commit(&runs.fold(Put::default().dag(&of), Put::run).0).await;
    for (offset, limit, count_to, shown, total) in [
        (0, 3, u64::MAX, 3, 10),
        (8, 3, u64::MAX, 2, 10),
        (12, 3, u64::MAX, 0, 10),
        (0, 3, 5, 3, 5),
        (0, 0, 5, 0, 5),
    ] {
        let window = Window { offset, limit, count_to };
        let page = on.store.runs(&RunQuery { window, ..RunQuery::default() }).await.unwrap();
        assert_eq!((page.rows.len(), page.total), (shown, total), "{window:?}");
    }
}

pub async fn a_page_far_from_the_first_is_like_another(on: TestStore) {
    let (of, other) = (key("sales"), key("costs"));
    let runs = (1..=2400)
        .map(|number| rows::run(number, if number % 2 == 0 { &of } else { &other }, RunState::Queued));
    on.commit(&runs.fold(Put::default().dag(&of).dag(&other), Put::run).0).await;
    let order = vec![Order { by: RunField::RunAfter, descending: true }];
    let dags = vec![of.dag_id.clone()];
    for offset in [990, 1000, 1190, 1200] {
        let window = Window { offset, limit: 20, ..Window::default() };
        let query = RunQuery { dags: dags.clone(), order: order.clone(), window, ..RunQuery::default() };
        let page = on.store.runs(&query).await.unwrap();
        let numbers: Vec<i64> = page.rows.iter().map(|run| run.row.key.0).collect();
        let expected: Vec<i64> =
            (1..=1200).rev().map(|number| 2 * number).skip(offset as usize).take(20).collect();
        assert_eq!((numbers, page.total), (expected, 1200), "{offset}");
    }
}
