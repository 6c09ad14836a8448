//! DAGs, their versions and tags, and pools.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use updraft_core::{DagKey, Namespace, PoolName, TiStateName, record::DagRow};

use crate::{
    DagField, DagListing, DagQuery, LastRun, Page, PoolListing, TextFilter, VersionListing, Window,
    header::header,
    memory::{
        filter::{Cell, among, matches, page, sort},
        tables::Tables,
    },
};

pub(super) fn dags(tables: &Tables, query: &DagQuery) -> Page<DagListing> {
    let mut rows: Vec<DagListing> = tables
        .dags
        .values()
        .filter(|row| row.key.namespace == query.namespace)
        .filter_map(|row| listing(tables, row))
        .filter(|dag| wanted(dag, query))
        .collect();
    sort(&mut rows, &query.order, cell, |dag| dag.row.key.clone());
    page(rows, query.window)
}

/// None where its version is missing.
pub(super) fn listing(tables: &Tables, row: &DagRow) -> Option<DagListing> {
    let version = tables.versions.get(&(row.key.clone(), row.version))?;
    let last = tables.runs_of(&row.key).next_back();
    let source = (row.key.namespace.clone(), row.source.clone());
    Some(DagListing {
        row: row.clone(),
        header: Arc::new(header(&version.spec)),
        tasks: u32::try_from(version.spec.tasks.len()).unwrap_or(u32::MAX),
        version_created_at: version.created_at,
        has_import_error: tables.import_errors.contains_key(&source),
        last_run: last.map(|run| LastRun {
            key: run.row.key,
            run_id: run.row.run_id.clone(),
            state: run.row.state,
            run_after: run.row.run_after,
            started_at: run.row.started_at,
            ended_at: run.row.ended_at,
        }),
    })
}

fn display_name(dag: &DagListing) -> &str {
    dag.header.dag_display_name.as_deref().unwrap_or(&dag.row.key.dag_id)
}

fn wanted(dag: &DagListing, query: &DagQuery) -> bool {
    let tags = &dag.header.tags;
    let tagged = if query.all_tags {
        query.tags.iter().all(|tag| tags.contains(tag))
    } else {
        query.tags.is_empty() || query.tags.iter().any(|tag| tags.contains(tag))
    };
    matches(&query.dag_id, Some(&dag.row.key.dag_id))
        && matches(&query.display_name, Some(display_name(dag)))
        && tagged
        && among(&query.owners, &dag.header.owner)
        && query.paused.is_none_or(|paused| dag.row.is_paused == paused)
        && query.stale.is_none_or(|stale| dag.row.is_stale == stale)
        && query.has_import_error.is_none_or(|has| dag.has_import_error == has)
        && (query.last_run_state.is_empty()
            || dag.last_run.as_ref().is_some_and(|run| query.last_run_state.contains(&run.state)))
}

fn cell(dag: &DagListing, field: DagField) -> Option<Cell> {
    let last = dag.last_run.as_ref();
    match field {
        DagField::DagId => Some((&*dag.row.key.dag_id).into()),
        DagField::DisplayName => Some(display_name(dag).into()),
        DagField::Paused => Some(Cell::Int(dag.row.is_paused.into())),
        DagField::NextRunAfter => dag.row.next_tick.as_ref().map(|tick| tick.run_after.into()),
        DagField::LastRunState => last.map(|run| run.state.as_str().into()),
        DagField::LastRunAfter => last.map(|run| run.run_after.into()),
        DagField::LastRunStartedAt => last.and_then(|run| run.started_at).map(Cell::from),
    }
}

pub(super) fn versions(tables: &Tables, dag: &DagKey, window: Window) -> Page<VersionListing> {
    let of = tables.versions.values().rev().filter(|row| row.key == *dag);
    let rows = of.map(|row| VersionListing {
        version: row.version,
        hash: row.hash.clone(),
        tasks: u32::try_from(row.spec.tasks.len()).unwrap_or(u32::MAX),
        created_at: row.created_at,
        bundle: row.spec.bundle.clone(),
    });
    page(rows.collect(), window)
}

pub(super) fn tags(tables: &Tables, namespace: &Namespace, tag: &TextFilter, window: Window) -> Page<String> {
    let current = tables
        .dags
        .values()
        .filter(|row| row.key.namespace == *namespace)
        .filter_map(|row| tables.versions.get(&(row.key.clone(), row.version)));
    let all: BTreeSet<&String> = current.flat_map(|version| &version.spec.tags).collect();
    page(all.into_iter().filter(|name| matches(tag, Some(name))).cloned().collect(), window)
}

pub(super) fn pools(
    tables: &Tables,
    namespace: &Namespace,
    name: &TextFilter,
    window: Window,
) -> Page<PoolListing> {
    let mut taken = occupancy(tables, namespace);
    let of =
        |((space, pool), _): &(&(Namespace, PoolName), _)| space == namespace && matches(name, Some(pool));
    let rows = tables.pools.iter().filter(of).map(|((_, pool), row)| PoolListing {
        row: row.clone(),
        slots: taken.remove(pool).unwrap_or_default(),
    });
    let rows = rows.collect();
    page(rows, window)
}

fn occupancy(tables: &Tables, namespace: &Namespace) -> BTreeMap<PoolName, BTreeMap<TiStateName, u64>> {
    let mut taken: BTreeMap<PoolName, BTreeMap<TiStateName, u64>> = BTreeMap::new();
    for run in tables.runs.values().filter(|run| run.row.dag.namespace == *namespace) {
        let Some(version) = tables.versions.get(&(run.row.dag.clone(), run.row.version)) else { continue };
        for ti in run.tis.values() {
            let state = ti.state.name();
            let takes =
                ti.state.holds_slots() || matches!(state, TiStateName::Scheduled | TiStateName::Deferred);
            if let (true, Some(task)) = (takes, version.spec.tasks.get(ti.key.task.usize())) {
                let slots = taken.entry(task.pool.clone()).or_default().entry(state).or_default();
                *slots += u64::from(task.pool_slots);
            }
        }
    }
    taken
}
