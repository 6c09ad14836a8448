//! Runs, task instances and what they left.

use std::collections::BTreeMap;

use updraft_core::{
    DagId, Namespace, RunKey, RunState, TiStateName,
    record::{RunRow, TiRow},
};

use crate::{
    Page, RunField, RunListing, RunQuery, TextFilter, TiField, TiListing, TiQuery, XcomListing, XcomQuery,
    memory::{
        filter::{Cell, among, duration, matches, page, sort, within},
        tables::{Run, Tables},
    },
};

pub(super) fn listing(run: &Run) -> RunListing {
    RunListing { row: run.row.clone(), note: run.note.clone() }
}

pub(super) fn runs(tables: &Tables, query: &RunQuery) -> Page<RunListing> {
    let wanted = tables.runs.values().filter(|run| run_wanted(&run.row, query));
    let mut rows: Vec<RunListing> = wanted.map(|run| listing(run)).collect();
    sort(&mut rows, &query.order, |run, field| run_cell(&run.row, field), |run| run.row.key);
    page(rows, query.window)
}

fn conf(row: &RunRow) -> String {
    serde_json::to_string(&row.conf).unwrap_or_default()
}

fn run_wanted(row: &RunRow, query: &RunQuery) -> bool {
    let in_conf = |text: &String| {
        let filter = TextFilter { contains: vec![text.clone()], ..TextFilter::default() };
        matches(&filter, Some(&conf(row)))
    };
    row.dag.namespace == query.namespace
        && among(&query.dags, &row.dag.dag_id)
        && matches(&query.dag_id, Some(&row.dag.dag_id))
        && matches(&query.run_id, Some(&row.run_id))
        && among(&query.states, &row.state)
        && among(&query.run_types, &row.run_type)
        && matches(&query.triggering_user, row.triggering_user.as_deref())
        && among(&query.versions, &row.version)
        && query.conf_contains.as_ref().is_none_or(in_conf)
        && within(&query.logical_date, row.logical_date)
        && within(&query.run_after, Some(row.run_after))
        && within(&query.started_at, row.started_at)
        && within(&query.ended_at, row.ended_at)
        && within(&query.duration, duration(row.started_at, row.ended_at))
}

fn run_cell(row: &RunRow, field: RunField) -> Option<Cell> {
    match field {
        RunField::Key => Some(Cell::Int(row.key.0)),
        RunField::DagId => Some((&*row.dag.dag_id).into()),
        RunField::RunId => Some((&*row.run_id).into()),
        RunField::State => Some(row.state.as_str().into()),
        RunField::RunType => Some(row.run_type.as_str().into()),
        RunField::LogicalDate => row.logical_date.map(Cell::from),
        RunField::DataIntervalStart => row.data_interval.map(|(start, _)| start.into()),
        RunField::DataIntervalEnd => row.data_interval.map(|(_, end)| end.into()),
        RunField::RunAfter => Some(row.run_after.into()),
        RunField::QueuedAt => Some(row.queued_at.into()),
        RunField::StartedAt => row.started_at.map(Cell::from),
        RunField::EndedAt => row.ended_at.map(Cell::from),
        RunField::Duration => duration(row.started_at, row.ended_at).map(Cell::from),
        RunField::TriggeringUser => row.triggering_user.as_deref().map(Cell::from),
        RunField::Conf => Some(Cell::Text(conf(row))),
    }
}

pub(super) fn counts(
    tables: &Tables,
    namespace: &Namespace,
    dags: &[DagId],
) -> BTreeMap<DagId, BTreeMap<RunState, u64>> {
    let mut counts: BTreeMap<DagId, BTreeMap<RunState, u64>> = BTreeMap::new();
    for run in tables.runs.values() {
        let dag = &run.row.dag;
        if dag.namespace == *namespace && among(dags, &dag.dag_id) {
            *counts.entry(dag.dag_id.clone()).or_default().entry(run.row.state).or_default() += 1;
        }
    }
    counts
}

pub(super) fn ti_counts(tables: &Tables, runs: &[RunKey]) -> BTreeMap<RunKey, BTreeMap<TiStateName, u64>> {
    let mut counts: BTreeMap<RunKey, BTreeMap<TiStateName, u64>> = BTreeMap::new();
    for run in runs.iter().filter_map(|run| tables.runs.get(run)) {
        let mut states = BTreeMap::new();
        for ti in run.tis.values() {
            *states.entry(ti.state.name()).or_default() += 1;
        }
        if !states.is_empty() {
            counts.insert(run.row.key, states);
        }
    }
    counts
}

pub(super) fn ti_listing(tables: &Tables, run: &Run, row: &TiRow) -> TiListing {
    let version = tables.versions.get(&(run.row.dag.clone(), run.row.version));
    let task = version.and_then(|version| version.spec.tasks.get(row.key.task.usize()));
    TiListing {
        row: row.clone(),
        dag: run.row.dag.clone(),
        run_id: run.row.run_id.clone(),
        version: run.row.version,
        logical_date: run.row.logical_date,
        run_after: run.row.run_after,
        operator: task.map(|task| task.operator.clone()).unwrap_or_default(),
        pool: task.map_or_else(|| "".into(), |task| task.pool.clone()),
        pool_slots: task.map_or(0, |task| task.pool_slots),
        queue: task.map_or_else(|| "".into(), |task| task.queue.clone()),
        note: run.ti_notes.get(&row.key).cloned(),
    }
}

pub(super) fn tis(tables: &Tables, query: &TiQuery) -> Page<TiListing> {
    let mut rows: Vec<TiListing> = tables
        .runs
        .values()
        .filter(|run| of_run(&run.row, query))
        .flat_map(|run| run.tis.values().map(move |row| ti_listing(tables, run, row)))
        .filter(|ti| ti_wanted(ti, query))
        .collect();
    sort(&mut rows, &query.order, ti_cell, |ti| ti.row.key);
    page(rows, query.window)
}

fn of_run(run: &RunRow, query: &TiQuery) -> bool {
    run.dag.namespace == query.namespace
        && among(&query.dags, &run.dag.dag_id)
        && matches(&query.dag_id, Some(&run.dag.dag_id))
        && among(&query.runs, &run.key)
        && matches(&query.run_id, Some(&run.run_id))
        && among(&query.versions, &run.version)
        && within(&query.logical_date, run.logical_date)
        && within(&query.run_after, Some(run.run_after))
}

fn ti_wanted(ti: &TiListing, query: &TiQuery) -> bool {
    let row = &ti.row;
    matches(&query.task_id, Some(&row.task_id))
        && among(&query.states, &row.state.name())
        && matches(&query.pool, Some(&ti.pool))
        && matches(&query.queue, Some(&ti.queue))
        && matches(&query.operator, Some(&ti.operator))
        && among(&query.map_indexes, &row.key.map_index)
        && among(&query.try_numbers, &row.try_number)
        && within(&query.started_at, row.started_at)
        && within(&query.ended_at, row.ended_at)
        && within(&query.duration, duration(row.started_at, row.ended_at))
}

fn ti_cell(ti: &TiListing, field: TiField) -> Option<Cell> {
    let row = &ti.row;
    match field {
        TiField::Run => Some(Cell::Int(row.key.run.0)),
        TiField::DagId => Some((&*ti.dag.dag_id).into()),
        TiField::RunId => Some((&*ti.run_id).into()),
        TiField::TaskId => Some((&*row.task_id).into()),
        TiField::MapIndex => Some(Cell::Int(row.key.map_index.0.into())),
        TiField::State => Some(row.state.name().as_str().into()),
        TiField::TryNumber => Some(Cell::Int(row.try_number.into())),
        TiField::Operator => Some((&*ti.operator).into()),
        TiField::Pool => Some((&*ti.pool).into()),
        TiField::Queue => Some((&*ti.queue).into()),
        TiField::LogicalDate => ti.logical_date.map(Cell::from),
        TiField::RunAfter => Some(ti.run_after.into()),
        TiField::QueuedAt => row.queued_at.map(Cell::from),
        TiField::StartedAt => row.started_at.map(Cell::from),
        TiField::EndedAt => row.ended_at.map(Cell::from),
        TiField::Duration => duration(row.started_at, row.ended_at).map(Cell::from),
    }
}

pub(super) fn xcoms(tables: &Tables, query: &XcomQuery) -> Page<XcomListing> {
    let mut rows = Vec::new();
    for run in tables.runs.values().filter(|run| xcoms_of_run(&run.row, query)) {
        for row in run.xcoms.values() {
            let Some(ti) = run.tis.get(&row.ti) else { continue };
            if matches(&query.task_id, Some(&ti.task_id))
                && among(&query.map_indexes, &row.ti.map_index)
                && matches(&query.key, Some(&row.key))
            {
                rows.push(XcomListing {
                    ti: row.ti,
                    key: row.key.clone(),
                    at: row.at,
                    value: query.with_values.then(|| row.value.clone()),
                    dag: run.row.dag.clone(),
                    run_id: run.row.run_id.clone(),
                    task_id: ti.task_id.clone(),
                    logical_date: run.row.logical_date,
                    run_after: run.row.run_after,
                });
            }
        }
    }
    page(rows, query.window)
}

fn xcoms_of_run(run: &RunRow, query: &XcomQuery) -> bool {
    run.dag.namespace == query.namespace
        && matches(&query.dag_id, Some(&run.dag.dag_id))
        && query.run.is_none_or(|key| run.key == key)
        && matches(&query.run_id, Some(&run.run_id))
        && within(&query.logical_date, run.logical_date)
        && within(&query.run_after, Some(run.run_after))
}
