//! Runs.

use std::sync::Arc;

use updraft_core::{
    DagKey, RunKey, TaskIx,
    record::{RunRow, RunType},
};

use super::json;
use crate::{
    Error,
    sql::{
        db::{Fields, broken},
        statement::{
            Arg,
            Type::{Int, Text},
        },
        table::Table,
    },
};

pub(crate) const RUN: Table = Table {
    name: "run",
    columns: &[
        ("key", Int),
        ("namespace", Text),
        ("dag_id", Text),
        ("run_id", Text),
        ("version", Int),
        ("state", Text),
        ("run_type", Text),
        ("triggered_by", Text),
        ("triggering_user", Text),
        ("owner", Text),
        ("logical_date", Int),
        ("interval_start", Int),
        ("interval_end", Int),
        ("run_after", Int),
        ("conf", Text),
        ("selection", Text),
        ("queued_at", Int),
        ("started_at", Int),
        ("ended_at", Int),
        ("clear_number", Int),
        ("deadlines_told", Int),
        ("reason", Text),
        ("marked", Text),
    ],
    key: &["key"],
};

pub(crate) fn run_cells(row: &RunRow) -> [Arg; 23] {
    [
        row.key.0.into(),
        (&*row.dag.namespace).into(),
        (&*row.dag.dag_id).into(),
        (&*row.run_id).into(),
        row.version.into(),
        row.state.as_str().into(),
        row.run_type.as_str().into(),
        (&row.triggered_by).into(),
        row.triggering_user.as_ref().into(),
        (&*row.owner).into(),
        row.logical_date.into(),
        row.data_interval.map(|(start, _)| start).into(),
        row.data_interval.map(|(_, end)| end).into(),
        row.run_after.into(),
        json(&row.conf).into(),
        row.selection.as_ref().map(json).into(),
        row.queued_at.into(),
        row.started_at.into(),
        row.ended_at.into(),
        row.clear_number.into(),
        row.deadlines_told.into(),
        row.reason.as_ref().into(),
        row.marked.map(|state| state.as_str()).into(),
    ]
}

pub(crate) fn read_run(f: &mut Fields) -> Result<RunRow, Error> {
    Ok(RunRow {
        key: RunKey(f.int()?),
        dag: DagKey { namespace: f.name()?, dag_id: f.name()? },
        run_id: f.name()?,
        version: f.number()?,
        state: f.parse()?,
        run_type: read_run_type(&f.text()?)?,
        triggered_by: f.text()?,
        triggering_user: f.opt_text()?,
        owner: f.name()?,
        logical_date: f.opt_time()?,
        data_interval: f.opt_time()?.zip(f.opt_time()?),
        run_after: f.time()?,
        conf: Arc::new(f.json()?),
        selection: f.opt_json::<Vec<TaskIx>>()?.map(Arc::from),
        queued_at: f.time()?,
        started_at: f.opt_time()?,
        ended_at: f.opt_time()?,
        clear_number: f.number()?,
        deadlines_told: f.opt_time()?,
        reason: f.opt_text()?,
        marked: f.opt_parse()?,
    })
}

fn read_run_type(text: &str) -> Result<RunType, Error> {
    use RunType::{AssetTriggered, Backfill, Manual, Scheduled};
    [Scheduled, Manual, Backfill, AssetTriggered]
        .into_iter()
        .find(|run_type| run_type.as_str() == text)
        .ok_or_else(|| broken("reading a run", format!("there is no run type `{text}`")))
}
