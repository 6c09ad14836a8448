//! Assets, where they are named, and what happens to them.

use std::sync::Arc;

use updraft_core::{
    Asset, AssetEvent, AssetEventId, AssetEventSource, AssetId, DagKey, MapIndex, RunKey,
    record::{AssetRow, DagVersionRow},
};

use super::json;
use crate::{
    AssetUsage, AssetUse, Error,
    sql::{
        db::{Fields, broken},
        statement::{
            Arg,
            Type::{Int, Text},
        },
        table::Table,
    },
};

pub(crate) const ASSET: Table = Table {
    name: "asset",
    columns: &[
        ("id", Int),
        ("namespace", Text),
        ("uri", Text),
        ("name", Text),
        ("asset_group", Text),
        ("extra", Text),
        ("created_at", Int),
    ],
    key: &["id"],
};

pub(crate) fn asset_cells(row: &AssetRow) -> [Arg; 7] {
    [
        row.id.0.into(),
        (&*row.namespace).into(),
        (&*row.asset.uri).into(),
        row.asset.name.as_ref().into(),
        row.asset.group.as_ref().into(),
        json(&row.asset.extra).into(),
        row.created_at.into(),
    ]
}

pub(crate) fn read_asset(f: &mut Fields) -> Result<AssetRow, Error> {
    Ok(AssetRow {
        id: AssetId(f.int()?),
        namespace: f.name()?,
        asset: Asset { uri: f.name()?, name: f.opt_text()?, group: f.opt_text()?, extra: f.json()? },
        created_at: f.time()?,
    })
}

pub(crate) const DAG_ASSET: Table = Table {
    name: "dag_asset",
    columns: &[
        ("namespace", Text),
        ("dag_id", Text),
        ("version", Int),
        ("uri", Text),
        ("usage", Text),
        ("task_id", Text),
    ],
    key: &[],
};

/// The rows of where a version names assets.
pub(crate) fn dag_asset_cells(row: &DagVersionRow) -> Vec<[Arg; 6]> {
    let uses = AssetUse::all(&row.spec);
    let cells = uses.into_iter().map(|(uri, AssetUse { dag_id: _, usage })| {
        let (usage, task_id) = match &usage {
            AssetUsage::Schedule => ("schedule", ""),
            AssetUsage::Inlet(task) => ("inlet", &**task),
            AssetUsage::Outlet(task) => ("outlet", &**task),
        };
        [
            (&*row.key.namespace).into(),
            (&*row.key.dag_id).into(),
            row.version.into(),
            (&*uri).into(),
            usage.into(),
            task_id.into(),
        ]
    });
    cells.collect()
}

/// Of the columns `dag_id, usage, task_id`.
pub(crate) fn read_asset_use(f: &mut Fields) -> Result<AssetUse, Error> {
    let dag_id = f.name()?;
    let (usage, task) = (f.text()?, f.text()?);
    let usage = match &*usage {
        "schedule" => AssetUsage::Schedule,
        "inlet" => AssetUsage::Inlet(task.into()),
        "outlet" => AssetUsage::Outlet(task.into()),
        other => {
            return Err(broken("reading where an asset is named", format!("there is no usage `{other}`")));
        }
    };
    Ok(AssetUse { dag_id, usage })
}

pub(crate) const ASSET_EVENT: Table = Table {
    name: "asset_event",
    columns: &[
        ("id", Int),
        ("asset", Int),
        ("at", Int),
        ("extra", Text),
        ("key", Text),
        ("source_dag_id", Text),
        ("source_run_id", Text),
        ("source_task_id", Text),
        ("source_map_index", Int),
        ("told_by", Text),
    ],
    key: &["id"],
};

/// The columns of an event, `x`, with those of its asset, `a`.
pub(crate) fn asset_event_select() -> String {
    format!("{}, a.namespace, a.uri", ASSET_EVENT.select("x"))
}

pub(crate) fn asset_event_cells(event: &AssetEvent) -> [Arg; 10] {
    let source = event.source.as_ref();
    [
        event.id.0.into(),
        event.asset.0.into(),
        event.at.into(),
        json(&event.extra).into(),
        event.key.as_ref().into(),
        source.map(|source| &*source.dag_id).into(),
        source.map(|source| &*source.run_id).into(),
        source.map(|source| &*source.task_id).into(),
        source.map(|source| source.map_index.0).into(),
        event.told_by.as_ref().into(),
    ]
}

/// Of the columns of [`asset_event_select`].
pub(crate) fn read_asset_event(f: &mut Fields) -> Result<AssetEvent, Error> {
    let (id, asset, at) = (AssetEventId(f.int()?), AssetId(f.int()?), f.time()?);
    let (extra, key) = (Arc::new(f.json()?), f.opt_text()?);
    let (dag, run, task) = (f.opt_text()?, f.opt_text()?, f.opt_text()?);
    let copy: Option<i32> = f.opt_number()?;
    let source = dag.zip(run).zip(task).map(|((dag, run), task)| AssetEventSource {
        dag_id: dag.into(),
        run_id: run.into(),
        task_id: task.into(),
        map_index: copy.map_or(MapIndex::NONE, MapIndex),
    });
    let told_by = f.opt_text()?;
    Ok(AssetEvent { id, asset, at, extra, key, source, told_by, namespace: f.name()?, uri: f.name()? })
}

pub(crate) const QUEUED_EVENT: Table = Table {
    name: "queued_event",
    columns: &[("namespace", Text), ("dag_id", Text), ("event", Int), ("run", Int)],
    key: &["namespace", "dag_id", "event"],
};

pub(crate) fn queued_event_cells((dag, event): &(DagKey, AssetEventId), run: Option<RunKey>) -> [Arg; 4] {
    let run = run.map(|run| run.0).into();
    [(&*dag.namespace).into(), (&*dag.dag_id).into(), event.0.into(), run]
}
