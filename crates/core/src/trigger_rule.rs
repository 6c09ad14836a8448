//! Trigger rules: what a task's upstream came to, and what follows from it.
//!
//! The rules are those of Airflow 3.3.2, as its documentation names them and as its scheduler applies them
//! (`TriggerRuleDep`).

use std::fmt;

use crate::{End, TiState, TriggerRule};

/// How many of the task instances before a task stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub expected: u32,
    /// Those that succeeded.
    pub success: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that could not run.
    pub upstream_failed: u32,
    /// Those that were skipped.
    pub skipped: u32,
    /// Those whose place is gone.
    pub removed: u32,
    /// Setups among all of them.
    pub setups: u32,
    /// Setups that succeeded.
    pub setups_success: u32,
    /// Setups that were skipped.
    pub setups_skipped: u32,
}

impl Counts {
    /// Puts a task instance in.
    pub fn add(&mut self, state: &TiState, setup: bool) {
        self.change(state, setup, 1);
    }

    /// Takes a task instance out.
    pub fn remove(&mut self, state: &TiState, setup: bool) {
        self.change(state, setup, -1);
    }

    fn change(&mut self, state: &TiState, setup: bool, by: i32) {
        let bump = |count: &mut u32| *count = count.saturating_add_signed(by);
        bump(&mut self.expected);
        if setup {
            bump(&mut self.setups);
        }
        match state {
            TiState::Success => {
                bump(&mut self.success);
                if setup {
                    bump(&mut self.setups_success);
                }
            }
            TiState::Skipped => {
                bump(&mut self.skipped);
                if setup {
                    bump(&mut self.setups_skipped);
                }
            }
            TiState::Failed => bump(&mut self.failed),
            TiState::UpstreamFailed => bump(&mut self.upstream_failed),
            TiState::Removed => bump(&mut self.removed),
            TiState::None
            | TiState::Scheduled
            | TiState::Queued(_)
            | TiState::Running(_)
            | TiState::Paused(_)
            | TiState::Deferred(_)
            | TiState::UpForRetry(_)
            | TiState::UpForReschedule(_)
            | TiState::Restarting(_) => {}
        }
    }

    /// Those that are over, in whatever way.
    pub fn done(&self) -> u32 {
        self.success + self.failed + self.upstream_failed + self.skipped + self.removed
    }
}

/// What follows for the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Run,
    /// Not yet.
    Wait,
    /// It never will, and is this instead.
    Become(End),
}

impl TriggerRule {
    /// What follows from these counts. `copy` is the place of a mapped task's copy, which a list that
    /// became shorter may have removed.
    pub fn verdict(self, c: &Counts, copy: Option<u32>) -> Verdict {
        if c.expected == 0 {
            return Verdict::Run;
        }
        let all_done = c.done() >= c.expected;
        let any_failed = c.failed + c.upstream_failed > 0;
        let run_if = |met: bool| if met { Verdict::Run } else { Verdict::Wait };
        let become_if = |end: End, when: bool| when.then_some(Verdict::Become(end));
        match self {
            Self::Always => Verdict::Run,
            Self::AllSuccess => become_if(End::UpstreamFailed, any_failed)
                .or(become_if(End::Skipped, c.skipped > 0))
                .or(become_if(
                    End::Removed,
                    c.removed > 0 && c.success > 0 && copy.is_some_and(|copy| copy >= c.success),
                ))
                .unwrap_or(run_if(c.success + c.removed >= c.expected)),
            Self::AllFailed => become_if(End::Skipped, c.success + c.skipped > 0)
                .unwrap_or(run_if(c.failed + c.upstream_failed + c.removed >= c.expected)),
            Self::AllDone => run_if(all_done),
            Self::AllDoneMinOneSuccess => become_if(End::Skipped, c.skipped > 0)
                .or(become_if(End::UpstreamFailed, all_done && c.success == 0))
                .unwrap_or(run_if(all_done && c.success > 0)),
            Self::AllDoneSetupSuccess => {
                let setups_over = all_done && c.setups > 0;
                become_if(End::Skipped, setups_over && c.setups_skipped >= c.setups)
                    .or(become_if(End::UpstreamFailed, setups_over && c.setups_success == 0))
                    .unwrap_or(run_if(all_done))
            }
            Self::AllSkipped => become_if(End::Skipped, c.success > 0 || any_failed)
                .unwrap_or(run_if(c.skipped >= c.expected)),
            Self::OneFailed => {
                if any_failed {
                    Verdict::Run
                } else {
                    become_if(End::Skipped, all_done).unwrap_or(Verdict::Wait)
                }
            }
            Self::OneSuccess => {
                if c.success > 0 {
                    Verdict::Run
                } else {
                    become_if(End::Skipped, all_done && c.done() == c.skipped)
                        .or(become_if(End::UpstreamFailed, all_done))
                        .unwrap_or(Verdict::Wait)
                }
            }
            Self::OneDone => {
                if c.success + c.failed > 0 {
                    Verdict::Run
                } else {
                    become_if(End::Skipped, all_done).unwrap_or(Verdict::Wait)
                }
            }
            Self::NoneFailed => become_if(End::UpstreamFailed, any_failed)
                .unwrap_or(run_if(c.success + c.skipped + c.removed >= c.expected)),
            Self::NoneFailedMinOneSuccess => become_if(End::UpstreamFailed, any_failed)
                .or(become_if(End::Skipped, c.skipped == c.expected))
                .or(become_if(End::UpstreamFailed, all_done && c.success == 0))
                .unwrap_or(run_if(all_done)),
            Self::NoneSkipped => become_if(End::Skipped, c.skipped > 0).unwrap_or(run_if(all_done)),
        }
    }

    /// Its name, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllSuccess => "all_success",
            Self::AllFailed => "all_failed",
            Self::AllDone => "all_done",
            Self::AllDoneMinOneSuccess => "all_done_min_one_success",
            Self::AllDoneSetupSuccess => "all_done_setup_success",
            Self::AllSkipped => "all_skipped",
            Self::OneFailed => "one_failed",
            Self::OneSuccess => "one_success",
            Self::OneDone => "one_done",
            Self::NoneFailed => "none_failed",
            Self::NoneFailedMinOneSuccess => "none_failed_min_one_success",
            Self::NoneSkipped => "none_skipped",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for TriggerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
