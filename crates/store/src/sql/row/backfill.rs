//! Backfills and their dates.

use std::sync::Arc;

use updraft_core::{DagKey, RunKey};

use super::json;
use crate::{
    BackfillId, BackfillRow, BackfillRunListing, BackfillRunRow, Error, NewBackfill, Progress, Reprocess,
    sql::{
        db::{Fields, broken},
        statement::{
            Arg,
            Type::{Int, Text},
        },
        table::Table,
    },
};

/// The columns that [`read_backfill`] reads.
pub(crate) const BACKFILL: &str = "b.id, b.namespace, b.dag_id, b.from_date, b.to_date, b.reprocess, \
    b.run_backwards, b.max_active_runs, b.conf, b.tasks, b.account, b.is_paused, b.created_at, \
    b.updated_at, b.completed_at";

pub(crate) fn read_backfill(f: &mut Fields) -> Result<BackfillRow, Error> {
    Ok(BackfillRow {
        id: BackfillId(f.int()?),
        backfill: NewBackfill {
            dag: DagKey { namespace: f.name()?, dag_id: f.name()? },
            from_date: f.time()?,
            to_date: f.time()?,
            reprocess: read_reprocess(&f.text()?)?,
            run_backwards: f.flag()?,
            max_active_runs: f.number()?,
            conf: Arc::new(f.json()?),
            tasks: f.json()?,
            account: f.text()?,
            is_paused: f.flag()?,
        },
        created_at: f.time()?,
        updated_at: f.time()?,
        completed_at: f.opt_time()?,
    })
}

fn read_reprocess(text: &str) -> Result<Reprocess, Error> {
    let found = Reprocess::ALL.into_iter().find(|reprocess| reprocess.as_str() == text);
    found.ok_or_else(|| broken("reading a backfill", format!("there is no behaviour `{text}`")))
}

/// The arguments of a new row, in the order of [`BACKFILL`] from `namespace` to `is_paused`.
pub(crate) fn backfill_cells(row: &NewBackfill) -> [Arg; 11] {
    [
        (&*row.dag.namespace).into(),
        (&*row.dag.dag_id).into(),
        row.from_date.into(),
        row.to_date.into(),
        row.reprocess.as_str().into(),
        row.run_backwards.into(),
        row.max_active_runs.into(),
        json(&row.conf).into(),
        json(&row.tasks).into(),
        (&row.account).into(),
        row.is_paused.into(),
    ]
}

pub(crate) const BACKFILL_RUN: Table = Table {
    name: "backfill_run",
    columns: &[
        ("backfill", Int),
        ("ix", Int),
        ("logical_date", Int),
        ("interval_start", Int),
        ("interval_end", Int),
        ("progress", Text),
        ("run", Int),
        ("clear_number", Int),
        ("reason", Text),
    ],
    key: &["backfill", "ix"],
};

pub(crate) fn backfill_run_cells(id: BackfillId, row: &BackfillRunRow) -> [Arg; 9] {
    let clear_number = match row.progress {
        Progress::Starting { clear_number } => clear_number,
        Progress::Waiting | Progress::Started | Progress::PassedOver => None,
    };
    [
        id.0.into(),
        row.ix.into(),
        row.logical_date.into(),
        row.data_interval.0.into(),
        row.data_interval.1.into(),
        row.progress.as_str().into(),
        row.run.map(|run| run.0).into(),
        clear_number.into(),
        row.reason.as_ref().into(),
    ]
}

pub(crate) fn read_backfill_run(f: &mut Fields) -> Result<BackfillRunRow, Error> {
    f.skip(1);
    let (ix, logical_date, data_interval) = (f.number()?, f.time()?, (f.time()?, f.time()?));
    let (progress, run, clear_number) = (f.text()?, f.opt_number()?.map(RunKey), f.opt_number()?);
    let progress = match &*progress {
        "waiting" => Progress::Waiting,
        "starting" => Progress::Starting { clear_number },
        "started" => Progress::Started,
        "passed_over" => Progress::PassedOver,
        other => return Err(broken("reading a backfill", format!("there is no progress `{other}`"))),
    };
    Ok(BackfillRunRow { ix, logical_date, data_interval, progress, run, reason: f.opt_text()? })
}

/// Of the columns of [`BACKFILL_RUN`], then the run's `run_id, state`.
pub(crate) fn read_backfill_run_listing(f: &mut Fields) -> Result<BackfillRunListing, Error> {
    let row = read_backfill_run(f)?;
    let (run_id, state) = (f.opt_name()?, f.opt_text()?);
    let state = state.map(|state| state.parse()).transpose();
    let state = state.map_err(|error| broken("reading a state", error))?;
    Ok(BackfillRunListing { row, run: run_id.zip(state) })
}
