//! Task instances. A state stands as its name, with what belongs to it in columns of its own: who holds it,
//! or when it wakes. CHECK constraints say which state has which.

use jiff::Timestamp;
use updraft_core::{
    Assignment, Incarnation, MapIndex, RunKey, TaskIx, TiKey, TiState, TiStateName, Wait, record::TiRow,
};

use super::json;
use crate::{
    Error,
    sql::{
        db::{Fields, broken},
        statement::{
            Arg,
            Type::{self, Int, Text},
        },
        table::Table,
    },
};

const COLUMNS: &[(&str, Type)] = &[
    ("run", Int),
    ("task", Int),
    ("map_index", Int),
    ("task_id", Text),
    ("state", Text),
    ("holder_worker", Text),
    ("holder_incarnation", Int),
    ("holder_lease", Int),
    ("wake_at", Int),
    ("try_number", Int),
    ("max_tries", Int),
    ("lost", Int),
    ("lease", Int),
    ("scheduled_at", Int),
    ("queued_at", Int),
    ("started_at", Int),
    ("ended_at", Int),
    ("paused_at", Int),
    ("paused_us", Int),
    ("exit_code", Int),
    ("worker", Text),
    ("reason", Text),
    ("result_length", Int),
    ("skips", Text),
    ("first_started_at", Int),
    ("name", Text),
    ("tries_before", Int),
];

pub(crate) const TI: Table = Table { name: "ti", columns: COLUMNS, key: &["run", "task", "map_index"] };

pub(crate) const TI_HISTORY: Table =
    Table { name: "ti_history", columns: COLUMNS, key: &["run", "task", "map_index", "try_number"] };

/// The columns of a key by itself.
pub(crate) const TI_KEY: &[(&str, Type)] = &[("run", Int), ("task", Int), ("map_index", Int)];

pub(crate) fn ti_key_cells(key: TiKey) -> [Arg; 3] {
    [key.run.0.into(), key.task.0.into(), key.map_index.0.into()]
}

pub(crate) fn ti_cells(row: &TiRow) -> [Arg; 27] {
    let holder = row.state.assignment();
    [
        row.key.run.0.into(),
        row.key.task.0.into(),
        row.key.map_index.0.into(),
        (&*row.task_id).into(),
        row.state.name().as_str().into(),
        holder.map(|to| &*to.worker).into(),
        holder.map(|to| to.incarnation.0).into(),
        holder.map(|to| to.lease).into(),
        row.state.wakes_at().into(),
        row.try_number.into(),
        row.max_tries.into(),
        row.lost.into(),
        row.lease.into(),
        row.scheduled_at.into(),
        row.queued_at.into(),
        row.started_at.into(),
        row.ended_at.into(),
        row.paused_at.into(),
        row.paused_for.into(),
        row.exit_code.into(),
        row.worker.as_deref().into(),
        row.reason.clone().into(),
        row.result_length.into(),
        (!row.skips.is_empty()).then(|| json(&row.skips)).into(),
        row.first_started_at.into(),
        row.name.clone().into(),
        row.tries_before.into(),
    ]
}

pub(crate) fn read_ti(f: &mut Fields) -> Result<TiRow, Error> {
    Ok(TiRow {
        key: read_ti_key(f)?,
        task_id: f.name()?,
        state: read_state(f)?,
        try_number: f.number()?,
        max_tries: f.number()?,
        lost: f.number()?,
        lease: f.number()?,
        scheduled_at: f.opt_time()?,
        queued_at: f.opt_time()?,
        started_at: f.opt_time()?,
        ended_at: f.opt_time()?,
        paused_at: f.opt_time()?,
        paused_for: f.duration()?,
        exit_code: f.opt_number()?,
        worker: f.opt_name()?,
        reason: f.opt_arc()?,
        result_length: f.opt_number()?,
        skips: f.opt_json::<Vec<TaskIx>>()?.unwrap_or_default().into(),
        first_started_at: f.opt_time()?,
        name: f.opt_arc()?,
        tries_before: f.number()?,
    })
}

pub(crate) fn read_ti_key(f: &mut Fields) -> Result<TiKey, Error> {
    Ok(TiKey { run: RunKey(f.int()?), task: TaskIx(f.number()?), map_index: MapIndex(f.number()?) })
}

fn read_state(f: &mut Fields) -> Result<TiState, Error> {
    let name: TiStateName = f.parse()?;
    let worker = f.opt_name()?;
    let incarnation = f.opt_number()?;
    let lease = f.opt_number()?;
    let holder = worker.zip(incarnation).zip(lease).map(|((worker, incarnation), lease)| Assignment {
        worker,
        incarnation: Incarnation(incarnation),
        lease,
    });
    state(name, holder, f.opt_time()?)
        .ok_or_else(|| broken("reading a task instance", format!("`{name}` without what belongs to it")))
}

/// A state of this name with what belongs to it.
fn state(name: TiStateName, holder: Option<Assignment>, wake_at: Option<Timestamp>) -> Option<TiState> {
    Some(match name {
        TiStateName::None => TiState::None,
        TiStateName::Scheduled => TiState::Scheduled,
        TiStateName::Queued => TiState::Queued(holder?),
        TiStateName::Running => TiState::Running(holder?),
        TiStateName::Paused => TiState::Paused(holder?),
        TiStateName::Deferred => {
            TiState::Deferred(holder.map(Wait::Worker).or_else(|| wake_at.map(Wait::Until))?)
        }
        TiStateName::UpForRetry => TiState::UpForRetry(wake_at?),
        TiStateName::UpForReschedule => TiState::UpForReschedule(wake_at?),
        TiStateName::Restarting => TiState::Restarting(holder?),
        TiStateName::Success => TiState::Success,
        TiStateName::Failed => TiState::Failed,
        TiStateName::Skipped => TiState::Skipped,
        TiStateName::UpstreamFailed => TiState::UpstreamFailed,
        TiStateName::Removed => TiState::Removed,
    })
}
