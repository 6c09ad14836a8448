//! A batch as statements.

use std::collections::{BTreeMap, BTreeSet};

use updraft_core::{
    DagKey, Namespace, PoolName, RunKey, TiKey,
    record::{Batch, DagVersionRow, XcomRow},
};

use super::{
    db::Tx,
    row::{
        ASSET, ASSET_EVENT, AUDIT, DAG, DAG_ASSET, DAG_TAG, DAG_TASK, DAG_VERSION, DELIVERY, POOL,
        QUEUED_EVENT, RENDERED, RUN, STATS, TI, TI_HISTORY, TI_KEY, TICK, TRANSITION, XCOM, asset_cells,
        asset_event_cells, audit_cells, dag_asset_cells, dag_cells, delivery_cells, json, pool_cells,
        queued_event_cells, run_cells, stats_cells, ti_cells, ti_key_cells, tick_cells, transition_cells,
        version_cells, xcom_cells,
    },
    statement::{
        Sql,
        Type::{self, Int, Text},
    },
    table::{Conflict, Rows},
};
use crate::Error;

/// The tables that hold what belongs to a run, those that refer to others first.
pub(super) const OF_RUN: [&str; 8] =
    ["queued_event", "transition", "xcom", "rendered", "ti_history", "ti_note", "run_note", "ti"];

/// The tables that hold what belongs to a task instance.
const OF_TI: [&str; 6] = ["transition", "xcom", "rendered", "ti_history", "ti_note", "ti"];

/// The tables that hold what belongs to a DAG besides its runs.
const OF_DAG: [&str; 11] = [
    "queued_event",
    "dag_asset",
    "dag_tag",
    "dag_task",
    "dag_version",
    "tick",
    "task_stats",
    "run_count",
    "ti_count",
    "xcom_count",
    "dag",
];

/// The columns of keys by themselves.
const RUN_KEY: &[(&str, Type)] = &[("run", Int)];
const DAG_KEY: &[(&str, Type)] = &[("namespace", Text), ("dag_id", Text)];
const XCOM_KEY: &[(&str, Type)] = &[("run", Int), ("task", Int), ("map_index", Int), ("key", Text)];
const EVENT_KEY: &[(&str, Type)] = &[("namespace", Text), ("dag_id", Text), ("event", Int)];
const POOL_KEY: &[(&str, Type)] = &[("namespace", Text), ("name", Text)];

/// Writes a batch in a transaction: deletions, then the rest, what others refer to first.
pub(super) async fn write(tx: &mut Tx, batch: &Batch) -> Result<(), Error> {
    delete_dags(tx, &batch.deleted_dags).await?;
    delete_runs(tx, &batch.deleted_runs).await?;
    delete_tis(tx, &batch.deleted_tis).await?;
    tx.delete("xcom", Rows::of(TI_KEY, batch.cleared_xcoms.iter().map(|ti| ti_key_cells(*ti)))).await?;
    let deleted = batch.deleted_xcoms.iter().map(|(ti, key)| {
        let [run, task, map_index] = ti_key_cells(*ti);
        [run, task, map_index, key.as_str().into()]
    });
    tx.delete("xcom", Rows::of(XCOM_KEY, deleted)).await?;
    delete_pools(tx, &batch.deleted_pools).await?;

    let replace = Conflict::Replace;
    tx.insert(&DAG, Rows::of(DAG.columns, batch.dags.values().map(dag_cells)), replace).await?;
    insert_versions(tx, &batch.versions).await?;
    tx.insert(&RUN, Rows::of(RUN.columns, batch.runs.values().map(run_cells)), replace).await?;
    tx.insert(&TI, Rows::of(TI.columns, batch.tis.values().map(ti_cells)), replace).await?;
    let history: BTreeMap<_, _> = batch.history.iter().map(|row| ((row.key, row.try_number), row)).collect();
    let history = Rows::of(TI_HISTORY.columns, history.into_values().map(ti_cells));
    tx.insert(&TI_HISTORY, history, replace).await?;
    let transitions = Rows::of(TRANSITION.columns, batch.transitions.iter().map(transition_cells));
    tx.insert(&TRANSITION, transitions, Conflict::Fail).await?;
    tx.insert(&XCOM, xcoms(&batch.xcoms), replace).await?;
    let mut rendered = Rows::new(RENDERED.columns, batch.rendered.len());
    for (ti, fields) in &batch.rendered {
        let [run, task, map_index] = ti_key_cells(*ti);
        rendered.push([run, task, map_index, json(fields).into()]);
    }
    tx.insert(&RENDERED, rendered, replace).await?;
    tx.insert(&TICK, Rows::of(TICK.columns, batch.ticks.values().map(tick_cells)), replace).await?;
    tx.insert(&POOL, Rows::of(POOL.columns, batch.pools.values().map(pool_cells)), replace).await?;
    if let Some(paused) = batch.paused {
        tx.run(Sql::new("UPDATE engine SET paused = ").with(paused).then(" WHERE id = 1")).await?;
    }
    let deliveries = Rows::of(DELIVERY.columns, batch.deliveries.iter().map(delivery_cells));
    tx.insert(&DELIVERY, deliveries, Conflict::Keep).await?;
    write_assets(tx, batch).await?;
    let audit = Rows::of(AUDIT.columns, batch.audit.iter().map(audit_cells));
    tx.insert(&AUDIT, audit, Conflict::Fail).await?;
    tx.insert(&STATS, Rows::of(STATS.columns, batch.stats.values().map(stats_cells)), replace).await
}

/// Assets, what happened to them, and what runs were made of it. A batch that makes a run and deletes it leaves
/// nothing queued for it.
async fn write_assets(tx: &mut Tx, batch: &Batch) -> Result<(), Error> {
    tx.insert(&ASSET, Rows::of(ASSET.columns, batch.assets.values().map(asset_cells)), Conflict::Replace)
        .await?;
    let events = batch.asset_events.iter().map(|event| asset_event_cells(event));
    tx.insert(&ASSET_EVENT, Rows::of(ASSET_EVENT.columns, events), Conflict::Fail).await?;
    let dropped = batch
        .dropped_events
        .iter()
        .map(|(dag, event)| [(&*dag.namespace).into(), (&*dag.dag_id).into(), event.0.into()]);
    tx.delete("queued_event", Rows::of(EVENT_KEY, dropped)).await?;
    let queued = batch.queued_events.iter().map(|(event, run)| queued_event_cells(event, *run));
    tx.insert(&QUEUED_EVENT, Rows::of(QUEUED_EVENT.columns, queued), Conflict::Replace).await
}

/// The last of a key counts: a statement can't write one row twice.
fn xcoms(rows: &[XcomRow]) -> Rows {
    let last: BTreeMap<(TiKey, &str), &XcomRow> = rows.iter().map(|row| ((row.ti, &*row.key), row)).collect();
    Rows::of(XCOM.columns, last.into_values().map(xcom_cells))
}

/// A version is written once; one that is there already stays as it is.
async fn insert_versions(tx: &mut Tx, versions: &[DagVersionRow]) -> Result<(), Error> {
    let mut new: BTreeMap<(&DagKey, u32), &DagVersionRow> = BTreeMap::new();
    for row in versions {
        let mut sql = Sql::new("SELECT 1 FROM dag_version WHERE namespace = ").with(&*row.key.namespace);
        sql.push(" AND dag_id = ").arg(&*row.key.dag_id).push(" AND version = ").arg(row.version);
        if tx.row(sql).await?.is_none() {
            new.entry((&row.key, row.version)).or_insert(row);
        }
    }
    let versions: Vec<&DagVersionRow> = new.into_values().collect();
    let rows = Rows::of(DAG_VERSION.columns, versions.iter().map(|row| version_cells(row)));
    tx.insert(&DAG_VERSION, rows, Conflict::Fail).await?;
    let mut tags = Rows::new(DAG_TAG.columns, 0);
    let mut tasks = Rows::new(DAG_TASK.columns, versions.iter().map(|row| row.spec.tasks.len()).sum());
    for row in &versions {
        let key = || [(&*row.key.namespace).into(), (&*row.key.dag_id).into(), row.version.into()];
        for tag in row.spec.tags.iter().collect::<BTreeSet<_>>() {
            let [namespace, dag_id, version] = key();
            tags.push([namespace, dag_id, version, tag.into()]);
        }
        for (ix, task) in (0_u64..).zip(&row.spec.tasks) {
            let [namespace, dag_id, version] = key();
            tasks.push([
                namespace,
                dag_id,
                version,
                ix.into(),
                (&task.operator).into(),
                (&*task.pool).into(),
                task.pool_slots.into(),
                (&*task.queue).into(),
            ]);
        }
    }
    tx.insert(&DAG_TAG, tags, Conflict::Fail).await?;
    let uses = versions.iter().flat_map(|row| dag_asset_cells(row));
    tx.insert(&DAG_ASSET, Rows::of(DAG_ASSET.columns, uses), Conflict::Fail).await?;
    tx.insert(&DAG_TASK, tasks, Conflict::Fail).await
}

async fn delete_dags(tx: &mut Tx, dags: &BTreeSet<DagKey>) -> Result<(), Error> {
    for dag in dags {
        for table in OF_RUN {
            let mut sql = Sql::new(format!("DELETE FROM {table} WHERE run IN ("));
            sql.push("SELECT key FROM run WHERE namespace = ").arg(&*dag.namespace);
            sql.push(" AND dag_id = ").arg(&*dag.dag_id).push(")");
            tx.run(sql).await?;
        }
    }
    let keys = || Rows::of(DAG_KEY, dags.iter().map(|dag| [(&*dag.namespace).into(), (&*dag.dag_id).into()]));
    tx.delete("run", keys()).await?;
    for table in OF_DAG {
        tx.delete(table, keys()).await?;
    }
    Ok(())
}

/// Runs with all that is theirs. What the outbox and the audit log tell of them stays.
pub(super) async fn delete_runs(tx: &mut Tx, runs: &BTreeSet<RunKey>) -> Result<(), Error> {
    for table in OF_RUN {
        tx.delete(table, Rows::of(RUN_KEY, runs.iter().map(|run| [run.0.into()]))).await?;
    }
    tx.delete("run", Rows::of(&[("key", Int)], runs.iter().map(|run| [run.0.into()]))).await
}

async fn delete_tis(tx: &mut Tx, tis: &BTreeSet<TiKey>) -> Result<(), Error> {
    for table in OF_TI {
        tx.delete(table, Rows::of(TI_KEY, tis.iter().map(|ti| ti_key_cells(*ti)))).await?;
    }
    Ok(())
}

async fn delete_pools(tx: &mut Tx, pools: &BTreeSet<(Namespace, PoolName)>) -> Result<(), Error> {
    let keys =
        Rows::of(POOL_KEY, pools.iter().map(|(namespace, name)| [(&**namespace).into(), (&**name).into()]));
    tx.delete("pool", keys).await
}
