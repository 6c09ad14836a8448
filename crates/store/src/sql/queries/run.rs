//! Runs.

use std::collections::BTreeMap;

use updraft_core::{DagId, Namespace, RunKey, RunState};

use super::filter::{List, bounds, counted, one_of, order_by, page_of, text_filter};
use crate::{
    Error, Page, RunField, RunListing, RunQuery, TextFilter,
    sql::{
        db::{Db, Fields},
        row::{RUN, read_note, read_run},
        statement::Sql,
    },
};

const FROM: &str = " FROM run r LEFT JOIN run_note n ON n.run = r.key";

fn select() -> String {
    format!("{}, n.text, n.account, n.at", RUN.select("r"))
}

fn read(f: &mut Fields) -> Result<RunListing, Error> {
    Ok(RunListing { row: read_run(f)?, note: read_note(f)? })
}

pub(super) async fn run(db: &Db, run: RunKey) -> Result<Option<RunListing>, Error> {
    let sql = Sql::new(format!("SELECT {}{FROM} WHERE r.key = ", select())).with(run.0);
    db.row(sql).await?.map(|mut f| read(&mut f)).transpose()
}

pub(super) async fn runs(db: &Db, query: &RunQuery) -> Result<Page<RunListing>, Error> {
    let keep = |sql: &mut Sql, [namespace, dag_id, state]: [&str; 3]| {
        sql.push(namespace).push(" = ").arg(&*query.namespace);
        one_of(sql, dag_id, query.dags.iter().map(|dag| &**dag));
        text_filter(db, sql, dag_id, &query.dag_id);
        one_of(sql, state, query.states.iter().map(|state| state.as_str()));
    };
    let mut rows = Sql::new(" WHERE ");
    keep(&mut rows, ["r.namespace", "r.dag_id", "r.state"]);
    let as_counted = rows.text.len();
    text_filter(db, &mut rows, "r.run_id", &query.run_id);
    one_of(&mut rows, "r.run_type", query.run_types.iter().map(|run_type| run_type.as_str()));
    text_filter(db, &mut rows, "r.triggering_user", &query.triggering_user);
    one_of(&mut rows, "r.version", query.versions.iter().copied());
    if let Some(text) = &query.conf_contains {
        let filter = TextFilter { contains: vec![text.clone()], ..TextFilter::default() };
        text_filter(db, &mut rows, "r.conf", &filter);
    }
    bounds(&mut rows, "r.logical_date", &query.logical_date);
    bounds(&mut rows, "r.run_after", &query.run_after);
    bounds(&mut rows, "r.started_at", &query.started_at);
    bounds(&mut rows, "r.ended_at", &query.ended_at);
    bounds(&mut rows, DURATION, &query.duration);
    let length = (rows.text.len() == as_counted)
        .then(|| counted("run_count", |sql| keep(sql, ["c.namespace", "c.dag_id", "c.state"])));
    let order = order_by(&query.order, column, &["r.key"]);
    let key = Some(("r.key", "run r"));
    let list = List { select: select(), tables: FROM, rows, order: &order, length, key };
    page_of(db, list, query.window, read).await
}

const DURATION: &str = "(r.ended_at - r.started_at)";

fn column(field: RunField) -> (&'static str, bool) {
    match field {
        RunField::Key => ("r.key", false),
        RunField::DagId => ("r.dag_id", false),
        RunField::RunId => ("r.run_id", false),
        RunField::State => ("r.state", false),
        RunField::RunType => ("r.run_type", false),
        RunField::LogicalDate => ("r.logical_date", true),
        RunField::DataIntervalStart => ("r.interval_start", true),
        RunField::DataIntervalEnd => ("r.interval_end", true),
        RunField::RunAfter => ("r.run_after", false),
        RunField::QueuedAt => ("r.queued_at", false),
        RunField::StartedAt => ("r.started_at", true),
        RunField::EndedAt => ("r.ended_at", true),
        RunField::Duration => (DURATION, true),
        RunField::TriggeringUser => ("r.triggering_user", true),
        RunField::Conf => ("r.conf", false),
    }
}

pub(super) async fn counts(
    db: &Db,
    namespace: &Namespace,
    dags: &[DagId],
) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>, Error> {
    let mut sql = Sql::new("SELECT c.dag_id, c.state, c.total FROM run_count c WHERE c.total > 0");
    sql.push(" AND c.namespace = ").arg(&**namespace);
    one_of(&mut sql, "c.dag_id", dags.iter().map(|dag| &**dag));
    let mut counts: BTreeMap<DagId, BTreeMap<RunState, u64>> = BTreeMap::new();
    for mut f in db.rows(sql).await? {
        let (dag, state, count) = (f.name()?, f.parse()?, f.number()?);
        counts.entry(dag).or_default().insert(state, count);
    }
    Ok(counts)
}
