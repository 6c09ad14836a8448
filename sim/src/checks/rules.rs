//! The trigger rules once more, read from their documentation.

use updraft_core::{TiStateName as S, TriggerRule};

/// Whether a task may begin when the task instances before it, setups marked, are in these states.
///
/// `copy` is the place of a mapped task's copy.
pub(super) fn may_begin(rule: TriggerRule, before: &[(S, bool)]) -> bool {
    if before.is_empty() {
        return true;
    }
    let all = |good: &[S]| before.iter().all(|(state, _)| good.contains(state));
    let any = |good: &[S]| before.iter().any(|(state, _)| good.contains(state));
    let done = before.iter().all(|(state, _)| state.is_finished());
    let failed = [S::Failed, S::UpstreamFailed];
    match rule {
        TriggerRule::Always => true,
        TriggerRule::AllSuccess => all(&[S::Success, S::Removed]),
        TriggerRule::AllFailed => all(&[S::Failed, S::UpstreamFailed, S::Removed]),
        TriggerRule::AllDone => done,
        TriggerRule::AllDoneMinOneSuccess => done && any(&[S::Success]) && !any(&[S::Skipped]),
        TriggerRule::AllDoneSetupSuccess => {
            let mut setups = before.iter().filter(|(_, setup)| *setup).peekable();
            done && (setups.peek().is_none() || setups.any(|(state, _)| *state == S::Success))
        }
        TriggerRule::AllSkipped => all(&[S::Skipped]),
        TriggerRule::OneFailed => any(&failed),
        TriggerRule::OneSuccess => any(&[S::Success]),
        TriggerRule::OneDone => any(&[S::Success, S::Failed]),
        TriggerRule::NoneFailed => done && !any(&failed),
        TriggerRule::NoneFailedMinOneSuccess => done && !any(&failed) && any(&[S::Success]),
        TriggerRule::NoneSkipped => done && !any(&[S::Skipped]),
    }
}
