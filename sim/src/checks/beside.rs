//! What has to be written beside the changes: the history of tries, and alerts.

use updraft_core::{
    AlertOn, DeadlineFrom, TaskSpec, TiKey, TiStateName as S,
    record::{Batch, DeliveryRow, RunType, TickOutcome, TransitionRow},
};

use super::{Check, attempts::is_lost, order::Replay, shapes::Shapes};
use crate::disk::Disk;

/// Every try before the present one stands in the history.
pub(super) fn history(disk: &Disk, batch: &Batch) -> Check {
    for (key, ti) in &batch.tis {
        let missing = (1..ti.try_number).find(|number| !disk.history.contains_key(&(*key, *number)));
        if let Some(missing) = missing {
            return Err(format!("{key:?} is at try {}, and try {missing} left no trace", ti.try_number));
        }
    }
    Ok(())
}

/// Who fails by itself alerts those who want to know, and so does who is tried again.
pub(super) fn alerts(replay: &Replay<'_>, shapes: &Shapes, batch: &Batch) -> Check {
    for change in &batch.transitions {
        let Some(on) = alert_of(change) else { continue };
        let wanted = wanted(replay, shapes, change.ti, on);
        let of_it = |other: &&TransitionRow| other.ti == change.ti && alert_of(other) == Some(on);
        let due = wanted * batch.transitions.iter().filter(of_it).count();
        let sent = batch.deliveries.iter().filter(|row| row.ti == Some(change.ti) && row.on == on).count();
        if sent < due && !batch.deleted_runs.contains(&change.ti.run) {
            return Err(format!(
                "{:?} became {}, and {sent} alerts of {due} were written",
                change.ti, change.to
            ));
        }
    }
    Ok(())
}

/// A run that ended after its deadline was told of, once.
pub(super) fn deadlines(disk: &Disk, batch: &Batch) -> Check {
    for run in batch.runs.values().filter(|run| run.clear_number == 0) {
        let Some(version) = disk.version_of(run) else { continue };
        let mut alerts = version.spec.alerts.iter().filter(|alert| alert.on == AlertOn::Deadline);
        let deadline = alerts.find_map(|alert| alert.deadline);
        let from = deadline.and_then(|deadline| match deadline.from {
            DeadlineFrom::LogicalDate => run.logical_date,
            DeadlineFrom::QueuedAt => Some(run.queued_at),
            DeadlineFrom::StartedAt => run.started_at,
        });
        let at = from.zip(deadline).and_then(|(from, deadline)| from.saturating_add(deadline.after).ok());
        // Who runs the past knows that it is late.
        let at = at.filter(|at| run.run_type == RunType::Scheduled || *at > run.queued_at);
        let late = at.zip(run.ended_at).is_some_and(|(at, ended)| at <= ended);
        let about = |row: &&DeliveryRow| row.run == Some(run.key) && row.on == AlertOn::Deadline;
        let told = disk.deliveries.values().filter(about).count();
        if told > 1 || (late && told == 0) {
            return Err(format!("run {} had time until {at:?}, and that was told {told} times", run.key));
        }
    }
    Ok(())
}

/// Ticks that were missed are told of.
pub(super) fn missed(disk: &Disk, batch: &Batch) -> Check {
    for (key, ticks) in &batch.ticks {
        let before = disk.ticks.get(key).map_or(0, |before| before.count);
        if ticks.outcome != TickOutcome::Missed || ticks.count <= before {
            continue;
        }
        let Some(dag) = batch.dags.get(&key.0).or_else(|| disk.dags.get(&key.0)) else { continue };
        let Some(version) = disk.versions.get(&(key.0.clone(), dag.version)) else { continue };
        let wanted = version.spec.alerts.iter().any(|alert| alert.on == AlertOn::Missed);
        let about = |row: &DeliveryRow| row.dag == key.0 && row.on == AlertOn::Missed;
        if wanted && !batch.deliveries.iter().any(about) {
            return Err(format!(
                "ticks of {} were missed from {} on, and nobody was told",
                key.0.dag_id, key.1
            ));
        }
    }
    Ok(())
}

fn alert_of(change: &TransitionRow) -> Option<AlertOn> {
    match change.to {
        S::Failed if change.reason.as_deref() == Some("it failed") => Some(AlertOn::Failure),
        S::UpForRetry if !is_lost(change) => Some(AlertOn::Retry),
        _ => None,
    }
}

fn wanted(replay: &Replay<'_>, shapes: &Shapes, key: TiKey, on: AlertOn) -> usize {
    let shape = replay.run(key.run).and_then(|run| shapes.of(replay.disk, replay.batch, run));
    let of = |task: &TaskSpec| task.alerts.iter().filter(|alert| alert.on == on).count();
    shape.map_or(0, |shape| of(&shape.spec.tasks[key.task.usize()]))
}
