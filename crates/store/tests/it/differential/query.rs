//! Random questions.

use std::{fmt::Debug, pin::Pin, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use updraft_core::{DeliveryId, MapIndex, RunState, TiStateName, record::RunType};
use updraft_store::{
    AuditQuery, Bounds, DagField, DagQuery, DeliveryQuery, DeliveryState, Order, RunField, RunQuery, Store,
    TextFilter, TiField, TiQuery, Window, XcomQuery,
};

use super::make::Pick;
use crate::rows::at;

/// What is asked: of which kind, and how.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub kind: u8,
    pub vary: u64,
}

/// Most filters are empty, or nothing would be left.
fn text(pick: &mut Pick) -> TextFilter {
    let mut filter = TextFilter::default();
    match pick.below(40) {
        0 => filter.exactly = vec![pick.text().into(), "a".into()],
        1 => filter.contains = vec![pick.text().into()],
        2 => filter.contains = vec![pick.text().into(), pick.text().into()],
        3 => filter.begins = vec![pick.text().into()],
        _ => {}
    }
    filter
}

fn times(pick: &mut Pick) -> Bounds<Timestamp> {
    let mut bounds = Bounds::default();
    match pick.below(50) {
        0 => bounds.gte = Some(pick.time()),
        1 => bounds.gt = Some(pick.time()),
        2 => bounds.lte = Some(pick.time()),
        3 => (bounds.gt, bounds.lt) = (Some(at(5)), Some(pick.time())),
        _ => {}
    }
    bounds
}

fn durations(pick: &mut Pick) -> Bounds<SignedDuration> {
    let gte = (pick.below(12) == 0).then(|| SignedDuration::from_secs(i64::from(pick.small(20)) - 5));
    Bounds { gte, ..Bounds::default() }
}

fn window(pick: &mut Pick) -> Window {
    let offset = pick.of(&[0, 0, 0, 0, 0, 0, 1, 3]);
    Window { offset, limit: pick.of(&[1, 3, 50, 50]), count_to: pick.of(&[u64::MAX, u64::MAX, 4]) }
}

fn some<T: Clone>(pick: &mut Pick, all: &[T]) -> Vec<T> {
    if pick.below(10) == 0 { vec![pick.of(all), pick.of(all)] } else { Vec::new() }
}

fn order<F: Copy>(pick: &mut Pick, all: &[F]) -> Vec<Order<F>> {
    (0..pick.below(3)).map(|_| Order { by: pick.of(all), descending: pick.flag() }).collect()
}

fn dag_query(pick: &mut Pick) -> DagQuery {
    use DagField::{DagId, DisplayName, LastRunAfter, LastRunStartedAt, LastRunState, NextRunAfter, Paused};
    DagQuery {
        namespace: pick.dag().namespace,
        dag_id: text(pick),
        display_name: text(pick),
        tags: some(pick, &["etl".into(), "Ä".into()]),
        all_tags: pick.flag(),
        owners: some(pick, &["data".into(), "web".into()]),
        paused: (pick.below(8) == 0).then(|| pick.flag()),
        stale: (pick.below(8) == 0).then(|| pick.flag()),
        has_import_error: (pick.below(8) == 0).then(|| pick.flag()),
        last_run_state: some(pick, RunState::ALL),
        order: order(
            pick,
            &[DagId, DisplayName, Paused, NextRunAfter, LastRunState, LastRunAfter, LastRunStartedAt],
        ),
        window: window(pick),
    }
}

fn run_query(pick: &mut Pick) -> RunQuery {
    use RunField as F;
    let fields = [
        F::Key,
        F::DagId,
        F::RunId,
        F::State,
        F::RunType,
        F::LogicalDate,
        F::DataIntervalStart,
        F::DataIntervalEnd,
        F::RunAfter,
        F::QueuedAt,
        F::StartedAt,
        F::EndedAt,
        F::Duration,
        F::TriggeringUser,
        F::Conf,
    ];
    RunQuery {
        namespace: pick.dag().namespace,
        dags: some(pick, &["a".into(), "Ää".into()]),
        dag_id: text(pick),
        run_id: text(pick),
        states: some(pick, RunState::ALL),
        run_types: some(pick, &[RunType::Manual, RunType::Scheduled]),
        triggering_user: text(pick),
        versions: some(pick, &[1, 2]),
        conf_contains: (pick.below(12) == 0).then(|| pick.text().into()),
        logical_date: times(pick),
        run_after: times(pick),
        started_at: times(pick),
        ended_at: times(pick),
        duration: durations(pick),
        order: order(pick, &fields),
        window: window(pick),
    }
}

fn ti_query(pick: &mut Pick) -> TiQuery {
    use TiField as F;
    let fields = [
        F::Run,
        F::DagId,
        F::RunId,
        F::TaskId,
        F::MapIndex,
        F::State,
        F::TryNumber,
        F::Operator,
        F::Pool,
        F::Queue,
        F::LogicalDate,
        F::RunAfter,
        F::QueuedAt,
        F::StartedAt,
        F::EndedAt,
        F::Duration,
    ];
    TiQuery {
        namespace: pick.dag().namespace,
        dags: some(pick, &["a".into(), "Ää".into()]),
        dag_id: text(pick),
        runs: {
            let (one, other) = (pick.run(), pick.run());
            some(pick, &[one, other])
        },
        run_id: text(pick),
        task_id: text(pick),
        states: some(pick, TiStateName::ALL),
        pool: text(pick),
        queue: text(pick),
        operator: text(pick),
        map_indexes: some(pick, &[MapIndex(-1), MapIndex(0)]),
        try_numbers: some(pick, &[0, 1, 2]),
        versions: some(pick, &[1, 2]),
        logical_date: times(pick),
        run_after: times(pick),
        started_at: times(pick),
        ended_at: times(pick),
        duration: durations(pick),
        order: order(pick, &fields),
        window: window(pick),
    }
}

fn xcom_query(pick: &mut Pick) -> XcomQuery {
    XcomQuery {
        namespace: pick.dag().namespace,
        dag_id: text(pick),
        run: (pick.below(6) == 0).then(|| pick.run()),
        run_id: text(pick),
        task_id: text(pick),
        map_indexes: some(pick, &[MapIndex(-1), MapIndex(0)]),
        key: text(pick),
        logical_date: times(pick),
        run_after: times(pick),
        with_values: pick.flag(),
        window: window(pick),
    }
}

fn delivery_query(pick: &mut Pick) -> DeliveryQuery {
    DeliveryQuery {
        namespace: pick.dag().namespace,
        id: (pick.below(8) == 0).then(|| DeliveryId(i64::from(pick.below(20) as u32))),
        digest: None,
        dag: (pick.below(8) == 0).then(|| pick.dag()),
        run: (pick.below(8) == 0).then(|| pick.run()),
        ti: (pick.below(8) == 0).then(|| pick.ti()),
        states: some(pick, DeliveryState::ALL),
        window: window(pick),
    }
}

fn audit_query(pick: &mut Pick) -> AuditQuery {
    AuditQuery {
        namespace: pick.dag().namespace,
        id: None,
        dag_id: text(pick),
        run: (pick.below(8) == 0).then(|| pick.run()),
        user: text(pick),
        action: TextFilter {
            exactly: some(pick, &["trigger".into(), "clear".into()]),
            ..TextFilter::default()
        },
        excluded: some(pick, &["mark".into(), "clear".into()]),
        at: times(pick),
        latest_first: pick.flag(),
        window: window(pick),
    }
}

fn show(answer: &impl Debug) -> String {
    format!("{answer:#?}")
}

/// Asks a store, and writes its answer down.
pub fn answer(store: Arc<dyn Store>, question: Question) -> Pin<Box<dyn Future<Output = String>>> {
    Box::pin(async move {
        let pick = &mut Pick(question.vary);
        match question.kind % 18 {
            0 => show(&store.dags(&dag_query(pick)).await.unwrap()),
            1..=3 => show(&store.runs(&run_query(pick)).await.unwrap()),
            4..=6 => show(&store.tis(&ti_query(pick)).await.unwrap()),
            7 => show(&store.xcoms(&xcom_query(pick)).await.unwrap()),
            8 => show(&store.deliveries(&delivery_query(pick)).await.unwrap()),
            9 => {
                let mut page = store.audit(&audit_query(pick)).await.unwrap();
                // Each database counts in its own way.
                page.rows.iter_mut().for_each(|entry| entry.id = 0);
                show(&page)
            }
            10 => show(&store.load_run(pick.run()).await.unwrap()),
            11 => {
                let (ti, of_run) = (pick.ti(), pick.flag());
                let ti = (!of_run).then_some(ti).map(|ti| (ti, ti.run));
                let run = ti.map_or_else(|| pick.run(), |(_, run)| run);
                show(&store.transitions(run, ti.map(|(ti, _)| ti), window(pick)).await.unwrap())
            }
            12 => {
                let ti = pick.ti();
                let listing = store.ti(ti).await.unwrap();
                let (tries, rendered) = (store.tries(ti).await.unwrap(), store.rendered(ti).await.unwrap());
                show(&(listing, tries, rendered, store.xcom(ti, pick.text()).await.unwrap()))
            }
            13 => {
                let (run, task) = (pick.run(), pick.of(&["extract", "load", "report"]).into());
                let found = store.find_ti(run, &task, MapIndex(-1)).await.unwrap();
                show(&(found, store.xcoms_of(run, &task, pick.text()).await.unwrap()))
            }
            14 => show(&store.ticks(&pick.dag(), pick.time(), pick.time(), window(pick)).await.unwrap()),
            15 => show(&store.pools(&pick.dag().namespace, &text(pick), window(pick)).await.unwrap()),
            16 => {
                let of = pick.dag();
                let versions = store.dag_versions(&of, window(pick)).await.unwrap();
                let tags = store.tags(&of.namespace, &text(pick), window(pick)).await.unwrap();
                show(&(versions, tags, store.task_stats(&of).await.unwrap(), store.dag(&of).await.unwrap()))
            }
            _ => {
                let runs = [pick.run(), pick.run()];
                let counts =
                    store.run_counts(&pick.dag().namespace, &some(pick, &["a".into()])).await.unwrap();
                show(&(counts, store.ti_counts(&runs).await.unwrap()))
            }
        }
    })
}
