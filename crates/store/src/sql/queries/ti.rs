//! Task instances and what they left.

use std::collections::BTreeMap;

use updraft_core::{DagKey, RunKey, TiStateName};

use super::filter::{List, bounds, counted, one_of, order_by, page_of, text_filter};
use crate::{
    Error, Page, TextFilter, TiField, TiListing, TiQuery, XcomListing, XcomQuery,
    sql::{
        db::{Db, Fields},
        row::{TI, read_note, read_ti, read_value},
        statement::Sql,
    },
};

const FROM: &str = " FROM ti t JOIN run r ON r.key = t.run
    LEFT JOIN dag_task k
        ON k.namespace = r.namespace AND k.dag_id = r.dag_id AND k.version = r.version AND k.task = t.task
    LEFT JOIN ti_note n ON n.run = t.run AND n.task = t.task AND n.map_index = t.map_index";

// A task that its version does not have has none of these.
const OPERATOR: &str = "coalesce(k.operator, '')";
const POOL: &str = "coalesce(k.pool, '')";
const QUEUE: &str = "coalesce(k.queue, '')";

fn select() -> String {
    format!(
        "{}, r.namespace, r.dag_id, r.run_id, r.version, r.logical_date, r.run_after,
         {OPERATOR}, {POOL}, coalesce(k.pool_slots, 0), {QUEUE},
         n.text, n.account, n.at",
        TI.select("t")
    )
}

fn read(f: &mut Fields) -> Result<TiListing, Error> {
    Ok(TiListing {
        row: read_ti(f)?,
        dag: DagKey { namespace: f.name()?, dag_id: f.name()? },
        run_id: f.name()?,
        version: f.number()?,
        logical_date: f.opt_time()?,
        run_after: f.time()?,
        operator: f.text()?,
        pool: f.name()?,
        pool_slots: f.number()?,
        queue: f.name()?,
        note: read_note(f)?,
    })
}

/// The first one that `filter`, beginning with ` WHERE`, finds.
pub(super) async fn one(db: &Db, filter: Sql) -> Result<Option<TiListing>, Error> {
    let sql = Sql {
        text: format!("SELECT {}{FROM}{} ORDER BY t.task LIMIT 1", select(), filter.text),
        args: filter.args,
    };
    db.row(sql).await?.map(|mut f| read(&mut f)).transpose()
}

pub(super) async fn tis(db: &Db, query: &TiQuery) -> Result<Page<TiListing>, Error> {
    // Where the filters say nothing about the run, the task instances' own indexes give the order, and runs
    // are looked up. An expression keeps a database from going the other way round, over every run there is.
    let of_any_run = query.dags.is_empty()
        && query.dag_id == TextFilter::default()
        && query.run_id == TextFilter::default();
    let namespace = if of_any_run { "(r.namespace || '')" } else { "r.namespace" };
    let keep = |sql: &mut Sql, [namespace, dag_id, state]: [&str; 3]| {
        sql.push(namespace).push(" = ").arg(&*query.namespace);
        one_of(sql, dag_id, query.dags.iter().map(|dag| &**dag));
        text_filter(db, sql, dag_id, &query.dag_id);
        one_of(sql, state, query.states.iter().map(|state| state.as_str()));
    };
    let mut rows = Sql::new(" WHERE ");
    keep(&mut rows, [namespace, "r.dag_id", "t.state"]);
    let as_counted = rows.text.len();
    one_of(&mut rows, "t.run", query.runs.iter().map(|run| run.0));
    text_filter(db, &mut rows, "r.run_id", &query.run_id);
    text_filter(db, &mut rows, "t.task_id", &query.task_id);
    text_filter(db, &mut rows, POOL, &query.pool);
    text_filter(db, &mut rows, QUEUE, &query.queue);
    text_filter(db, &mut rows, OPERATOR, &query.operator);
    one_of(&mut rows, "t.map_index", query.map_indexes.iter().map(|index| index.0));
    one_of(&mut rows, "t.try_number", query.try_numbers.iter().copied());
    one_of(&mut rows, "r.version", query.versions.iter().copied());
    bounds(&mut rows, "r.logical_date", &query.logical_date);
    bounds(&mut rows, "r.run_after", &query.run_after);
    bounds(&mut rows, "t.started_at", &query.started_at);
    bounds(&mut rows, "t.ended_at", &query.ended_at);
    bounds(&mut rows, DURATION, &query.duration);
    let length = (rows.text.len() == as_counted)
        .then(|| counted("ti_count", |sql| keep(sql, ["c.namespace", "c.dag_id", "c.state"])));
    // The same number; whose it is says which index gives the order.
    let run = if of_any_run { "t.run" } else { "r.key" };
    let order = order_by(&query.order, column, &[run, "t.task", "t.map_index"]);
    let list = List { select: select(), tables: FROM, rows, order: &order, length, key: None };
    page_of(db, list, query.window, read).await
}

const DURATION: &str = "(t.ended_at - t.started_at)";

fn column(field: TiField) -> (&'static str, bool) {
    match field {
        TiField::Run => ("t.run", false),
        TiField::DagId => ("r.dag_id", false),
        TiField::RunId => ("r.run_id", false),
        TiField::TaskId => ("t.task_id", false),
        TiField::MapIndex => ("t.map_index", false),
        TiField::State => ("t.state", false),
        TiField::TryNumber => ("t.try_number", false),
        TiField::Operator => (OPERATOR, false),
        TiField::Pool => (POOL, false),
        TiField::Queue => (QUEUE, false),
        TiField::LogicalDate => ("r.logical_date", true),
        TiField::RunAfter => ("r.run_after", false),
        TiField::QueuedAt => ("t.queued_at", true),
        TiField::StartedAt => ("t.started_at", true),
        TiField::EndedAt => ("t.ended_at", true),
        TiField::Duration => (DURATION, true),
    }
}

pub(super) async fn counts(
    db: &Db,
    runs: &[RunKey],
) -> Result<BTreeMap<RunKey, BTreeMap<TiStateName, u64>>, Error> {
    let mut counts: BTreeMap<RunKey, BTreeMap<TiStateName, u64>> = BTreeMap::new();
    if runs.is_empty() {
        return Ok(counts);
    }
    let mut sql = Sql::new("SELECT t.run, t.state, count(*) FROM ti t WHERE TRUE");
    one_of(&mut sql, "t.run", runs.iter().map(|run| run.0));
    sql.push(" GROUP BY t.run, t.state");
    for mut f in db.rows(sql).await? {
        let (run, state, count) = (RunKey(f.int()?), f.parse()?, f.number()?);
        counts.entry(run).or_default().insert(state, count);
    }
    Ok(counts)
}

pub(super) async fn xcoms(db: &Db, query: &XcomQuery) -> Result<Page<XcomListing>, Error> {
    // A DAG has fewer runs than there are task instances of a name: an expression keeps SQLite from beginning there.
    // PostgreSQL knows it, and would take an expression for something rare.
    let task_id = if matches!(db, Db::Sqlite { .. }) { "(t.task_id || '')" } else { "t.task_id" };
    const TABLES: &str = " FROM xcom x JOIN run r ON r.key = x.run
        JOIN ti t ON t.run = x.run AND t.task = x.task AND t.map_index = x.map_index";
    let mut rows = Sql::new(" WHERE ");
    let keep = |sql: &mut Sql, [namespace, dag_id, task]: [&str; 3]| {
        sql.push(namespace).push(" = ").arg(&*query.namespace);
        text_filter(db, sql, dag_id, &query.dag_id);
        text_filter(db, sql, task, &query.task_id);
    };
    keep(&mut rows, ["r.namespace", "r.dag_id", task_id]);
    let as_counted = rows.text.len();
    one_of(&mut rows, "x.run", query.run.map(|run| run.0));
    text_filter(db, &mut rows, "r.run_id", &query.run_id);
    one_of(&mut rows, "x.map_index", query.map_indexes.iter().map(|index| index.0));
    text_filter(db, &mut rows, "x.key", &query.key);
    bounds(&mut rows, "r.logical_date", &query.logical_date);
    bounds(&mut rows, "r.run_after", &query.run_after);
    let length = (rows.text.len() == as_counted)
        .then(|| counted("xcom_count", |sql| keep(sql, ["c.namespace", "c.dag_id", "c.task_id"])));
    let value = if query.with_values { ", x.value, x.blob_path, x.blob_bytes" } else { "" };
    let select = format!(
        "x.run, x.task, x.map_index, x.key, x.at, r.namespace, r.dag_id, r.run_id, t.task_id, r.logical_date,
         r.run_after{value}"
    );
    let read = |f: &mut Fields| {
        Ok(XcomListing {
            ti: crate::sql::row::read_ti_key(f)?,
            key: f.text()?,
            at: f.time()?,
            dag: DagKey { namespace: f.name()?, dag_id: f.name()? },
            run_id: f.name()?,
            task_id: f.name()?,
            logical_date: f.opt_time()?,
            run_after: f.time()?,
            value: query.with_values.then(|| read_value(f)).transpose()?,
        })
    };
    // By the run's own row: its index gives this order, and a page is there without sorting all.
    let order = " ORDER BY r.key, x.task, x.map_index, x.key";
    let list = List { select, tables: TABLES, rows, order, length, key: None };
    page_of(db, list, query.window, read).await
}
