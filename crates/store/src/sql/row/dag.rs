//! DAGs, their versions, ticks, pools and mean durations.

use std::sync::Arc;

use updraft_core::{
    DagKey,
    record::{DagRow, DagVersionRow, PoolRow, TaskStatsRow, TickOutcome, TickRow},
};

use super::json;
use crate::{
    Error,
    header::header,
    sql::{
        db::{Fields, broken},
        statement::{
            Arg,
            Type::{Bool, Int, Real, Text},
        },
        table::Table,
    },
};

pub(crate) const DAG: Table = Table {
    name: "dag",
    columns: &[
        ("namespace", Text),
        ("dag_id", Text),
        ("version", Int),
        ("is_paused", Bool),
        ("is_stale", Bool),
        ("source", Text),
        ("last_tick", Text),
        ("next_tick", Text),
        ("next_run_after", Int),
        ("consecutive_failures", Int),
        ("events_run_at", Int),
    ],
    key: &["namespace", "dag_id"],
};

pub(crate) fn dag_cells(row: &DagRow) -> [Arg; 11] {
    [
        (&*row.key.namespace).into(),
        (&*row.key.dag_id).into(),
        row.version.into(),
        row.is_paused.into(),
        row.is_stale.into(),
        (&row.source).into(),
        row.last_tick.as_ref().map(json).into(),
        row.next_tick.as_ref().map(json).into(),
        row.next_tick.as_ref().map(|tick| tick.run_after).into(),
        row.consecutive_failures.into(),
        row.events_run_at.into(),
    ]
}

pub(crate) fn read_dag(f: &mut Fields) -> Result<DagRow, Error> {
    let row = DagRow {
        key: read_dag_key(f)?,
        version: f.number()?,
        is_paused: f.flag()?,
        is_stale: f.flag()?,
        source: f.text()?,
        last_tick: f.opt_json()?,
        next_tick: f.opt_json()?,
        consecutive_failures: {
            f.skip(1);
            f.number()?
        },
        events_run_at: f.opt_time()?,
    };
    Ok(row)
}

pub(super) fn read_dag_key(f: &mut Fields) -> Result<DagKey, Error> {
    Ok(DagKey { namespace: f.name()?, dag_id: f.name()? })
}

pub(crate) const DAG_VERSION: Table = Table {
    name: "dag_version",
    columns: &[
        ("namespace", Text),
        ("dag_id", Text),
        ("version", Int),
        ("hash", Text),
        ("created_at", Int),
        ("owner", Text),
        ("display_name", Text),
        ("header", Text),
        ("tasks", Int),
        ("spec", Text),
    ],
    key: &["namespace", "dag_id", "version"],
};

pub(crate) fn version_cells(row: &DagVersionRow) -> [Arg; 10] {
    [
        (&*row.key.namespace).into(),
        (&*row.key.dag_id).into(),
        row.version.into(),
        (&row.hash).into(),
        row.created_at.into(),
        (&*row.spec.owner).into(),
        row.spec.dag_display_name.as_deref().unwrap_or(&row.key.dag_id).into(),
        json(&header(&row.spec)).into(),
        u64::try_from(row.spec.tasks.len()).unwrap_or(u64::MAX).into(),
        json(&row.spec).into(),
    ]
}

/// Of the columns `namespace, dag_id, version, hash, created_at, spec`.
pub(crate) fn read_version(f: &mut Fields) -> Result<DagVersionRow, Error> {
    Ok(DagVersionRow {
        key: read_dag_key(f)?,
        version: f.number()?,
        hash: f.text()?,
        created_at: f.time()?,
        spec: Arc::new(f.json()?),
    })
}

pub(crate) const DAG_TAG: Table = Table {
    name: "dag_tag",
    columns: &[("namespace", Text), ("dag_id", Text), ("version", Int), ("tag", Text)],
    key: &["namespace", "dag_id", "version", "tag"],
};

pub(crate) const DAG_TASK: Table = Table {
    name: "dag_task",
    columns: &[
        ("namespace", Text),
        ("dag_id", Text),
        ("version", Int),
        ("task", Int),
        ("operator", Text),
        ("pool", Text),
        ("pool_slots", Int),
        ("queue", Text),
    ],
    key: &["namespace", "dag_id", "version", "task"],
};

pub(crate) const TICK: Table = Table {
    name: "tick",
    columns: &[
        ("namespace", Text),
        ("dag_id", Text),
        ("first_at", Int),
        ("last_at", Int),
        ("count", Int),
        ("outcome", Text),
        ("reason", Text),
        ("run", Int),
    ],
    key: &["namespace", "dag_id", "first_at"],
};

pub(crate) fn tick_cells(row: &TickRow) -> [Arg; 8] {
    [
        (&*row.dag.namespace).into(),
        (&*row.dag.dag_id).into(),
        row.first.into(),
        row.last.into(),
        row.count.into(),
        row.outcome.as_str().into(),
        (&row.reason).into(),
        row.run.map(|run| run.0).into(),
    ]
}

pub(crate) fn read_tick(f: &mut Fields) -> Result<TickRow, Error> {
    Ok(TickRow {
        dag: read_dag_key(f)?,
        first: f.time()?,
        last: f.time()?,
        count: f.number()?,
        outcome: read_outcome(&f.text()?)?,
        reason: f.text()?,
        run: f.opt_number::<i64>()?.map(updraft_core::RunKey),
    })
}

fn read_outcome(text: &str) -> Result<TickOutcome, Error> {
    use TickOutcome::{Late, Missed, OnTime, Skipped};
    [OnTime, Late, Skipped, Missed]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| broken("reading a tick", format!("there is no outcome `{text}`")))
}

pub(crate) const POOL: Table = Table {
    name: "pool",
    columns: &[
        ("namespace", Text),
        ("name", Text),
        ("slots", Int),
        ("rate", Text),
        ("next_at", Int),
        ("description", Text),
        ("include_deferred", Bool),
    ],
    key: &["namespace", "name"],
};

pub(crate) fn pool_cells(row: &PoolRow) -> [Arg; 7] {
    [
        (&*row.namespace).into(),
        (&*row.name).into(),
        row.slots.into(),
        row.rate.map(|rate| rate.to_string()).as_ref().into(),
        row.next_at.into(),
        (&row.description).into(),
        row.include_deferred.into(),
    ]
}

pub(crate) fn read_pool(f: &mut Fields) -> Result<PoolRow, Error> {
    Ok(PoolRow {
        namespace: f.name()?,
        name: f.name()?,
        slots: f.opt_number()?,
        rate: f
            .opt_text()?
            .map(|text| text.parse().map_err(|bad| broken("reading a pool", bad)))
            .transpose()?,
        next_at: f.opt_time()?,
        description: f.text()?,
        include_deferred: f.flag()?,
    })
}

pub(crate) const STATS: Table = Table {
    name: "task_stats",
    columns: &[
        ("namespace", Text),
        ("dag_id", Text),
        ("task_id", Text),
        ("successes", Int),
        ("mean_ms", Real),
    ],
    key: &["namespace", "dag_id", "task_id"],
};

pub(crate) fn stats_cells(row: &TaskStatsRow) -> [Arg; 5] {
    [
        (&*row.dag.namespace).into(),
        (&*row.dag.dag_id).into(),
        (&*row.task_id).into(),
        row.successes.into(),
        row.mean_ms.into(),
    ]
}

pub(crate) fn read_stats(f: &mut Fields) -> Result<TaskStatsRow, Error> {
    Ok(TaskStatsRow { dag: read_dag_key(f)?, task_id: f.name()?, successes: f.number()?, mean_ms: f.get()? })
}
