//! What has to be written beside the changes: the history of tries, and alerts.

use updraft_core::{
    AlertOn, TaskSpec, TiKey, TiStateName as S,
    record::{Batch, TransitionRow},
};

use super::{Check, order::Replay, shapes::Shapes};
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

fn alert_of(change: &TransitionRow) -> Option<AlertOn> {
    match change.to {
        S::Failed if change.reason.as_deref() == Some("it failed") => Some(AlertOn::Failure),
        S::UpForRetry => Some(AlertOn::Retry),
        _ => None,
    }
}

fn wanted(replay: &Replay<'_>, shapes: &Shapes, key: TiKey, on: AlertOn) -> usize {
    let shape = replay.run(key.run).and_then(|run| shapes.of(replay.disk, replay.batch, run));
    let of = |task: &TaskSpec| task.alerts.iter().filter(|alert| alert.on == on).count();
    shape.map_or(0, |shape| of(&shape.spec.tasks[key.task.usize()]))
}
