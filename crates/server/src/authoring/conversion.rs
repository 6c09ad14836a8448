//! From a schedule as a DAG file writes it to the engine's.

use updraft_core::schedule::Schedule;

use super::schedule::When;

/// The engine's schedule; where it can't be one, why.
pub(super) fn schedule(when: When) -> Result<Schedule, String> {
    let _ = when;
    Ok(Schedule::None)
}
