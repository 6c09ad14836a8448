//! The states of runs and task instances, and the one function each by which they change.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Incarnation, WorkerId};

macro_rules! state_names {
    ($(#[$doc:meta])* $enum:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $enum { $($(#[$vdoc])* $variant,)* }

        impl $enum {
            /// Every state there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the store, the API and the logs.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $enum {
            type Err = UnknownState;
            fn from_str(text: &str) -> Result<Self, UnknownState> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(UnknownState(text.into())) }
            }
        }
    };
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no state `{0}`")]
pub struct UnknownState(String);

state_names! {
    /// Where a run stands (Airflow's `DagRunState`).
    RunState {
        /// Made, and not begun: `max_active_runs` is reached, or the DAG is paused.
        Queued = "queued",
        /// Begun.
        Running = "running",
        /// Over, and no leaf failed.
        Success = "success",
        /// Over, and a leaf failed; or nothing could run any more; or its time was up; or it was marked so.
        Failed = "failed",
    }
}

impl RunState {
    /// Nothing more will happen unless somebody asks for it.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

state_names! {
    /// The name of a task instance's state: Airflow's `TaskInstanceState`, `none` for its null, and `paused`.
    TiStateName {
        /// What it depends on has not happened yet.
        None = "none",
        /// May run, and waits for a slot.
        Scheduled = "scheduled",
        /// Handed to a worker.
        Queued = "queued",
        /// A worker has begun it.
        Running = "running",
        /// Begun, and stopped by a person for now.
        Paused = "paused",
        /// Waits for a time or an event and holds no slot.
        Deferred = "deferred",
        /// Failed, and will be tried again at a set time.
        UpForRetry = "up_for_retry",
        /// A sensor between two looks.
        UpForReschedule = "up_for_reschedule",
        /// Cleared while it ran: begins anew as soon as the old attempt has ended.
        Restarting = "restarting",
        /// Done.
        Success = "success",
        /// Failed for good.
        Failed = "failed",
        /// Passed over.
        Skipped = "skipped",
        /// Can't run, since something before it failed.
        UpstreamFailed = "upstream_failed",
        /// Its place is gone: the list it was mapped over became shorter.
        Removed = "removed",
    }
}

impl TiStateName {
    /// Nothing more will happen unless somebody asks for it.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Skipped | Self::UpstreamFailed | Self::Removed)
    }
}

/// Who was given a task instance: which worker, in which of its lives, under which lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The worker.
    pub worker: WorkerId,
    /// The life of the worker process that was given it.
    pub incarnation: Incarnation,
    /// See [`crate::AttemptId::lease`].
    pub lease: u32,
}

/// What a deferred task instance waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// A time; the engine's timer ends it.
    Until(Timestamp),
    /// A worker that looks on its behalf, holding no slot.
    Worker(Assignment),
}

/// A task instance's state with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TiState {
    /// See [`TiStateName::None`].
    None,
    /// See [`TiStateName::Scheduled`].
    Scheduled,
    /// See [`TiStateName::Queued`].
    Queued(Assignment),
    /// See [`TiStateName::Running`].
    Running(Assignment),
    /// See [`TiStateName::Paused`].
    Paused(Assignment),
    /// See [`TiStateName::Deferred`].
    Deferred(Wait),
    /// See [`TiStateName::UpForRetry`]: when it is tried again.
    UpForRetry(Timestamp),
    /// See [`TiStateName::UpForReschedule`]: when it looks again.
    UpForReschedule(Timestamp),
    /// See [`TiStateName::Restarting`].
    Restarting(Assignment),
    /// See [`TiStateName::Success`].
    Success,
    /// See [`TiStateName::Failed`].
    Failed,
    /// See [`TiStateName::Skipped`].
    Skipped,
    /// See [`TiStateName::UpstreamFailed`].
    UpstreamFailed,
    /// See [`TiStateName::Removed`].
    Removed,
}

/// What can happen to a task instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TiEvent {
    /// Its dependencies are met, or the time of its retry or next look has come.
    Ready,
    /// Given to a worker, with a slot.
    Assigned(Assignment),
    /// Begins to wait without a slot.
    Deferred(Wait),
    /// The worker has begun.
    Started,
    /// A person stops it for now.
    Paused,
    /// A person lets it go on.
    Continued,
    /// Its attempt failed, or was lost and not the first in a row, and another follows at this time.
    Retry(Timestamp),
    /// Its sensor looks again at this time.
    Reschedule(Timestamp),
    /// Its worker is gone.
    Lost,
    /// Cleared by a person; where an attempt runs, that has to end first.
    Cleared,
    /// An attempt that had to end has ended.
    Stopped,
    /// It ends in this way: by its own report, by a rule, or by a person's mark.
    Ended(End),
}

/// The ways in which a task instance ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Done.
    Success,
    /// Failed for good.
    Failed,
    /// Passed over.
    Skipped,
    /// Something before it failed.
    UpstreamFailed,
    /// Its place is gone.
    Removed,
}

impl From<End> for TiState {
    fn from(end: End) -> Self {
        match end {
            End::Success => Self::Success,
            End::Failed => Self::Failed,
            End::Skipped => Self::Skipped,
            End::UpstreamFailed => Self::UpstreamFailed,
            End::Removed => Self::Removed,
        }
    }
}

/// An event that can't happen in this state: a bug in whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task instance that is {state} can't take {event:?}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub state: TiStateName,
    /// The event that came.
    pub event: TiEvent,
}

impl TiState {
    /// The state's name.
    pub fn name(&self) -> TiStateName {
        match self {
            Self::None => TiStateName::None,
            Self::Scheduled => TiStateName::Scheduled,
            Self::Queued(_) => TiStateName::Queued,
            Self::Running(_) => TiStateName::Running,
            Self::Paused(_) => TiStateName::Paused,
            Self::Deferred(_) => TiStateName::Deferred,
            Self::UpForRetry(_) => TiStateName::UpForRetry,
            Self::UpForReschedule(_) => TiStateName::UpForReschedule,
            Self::Restarting(_) => TiStateName::Restarting,
            Self::Success => TiStateName::Success,
            Self::Failed => TiStateName::Failed,
            Self::Skipped => TiStateName::Skipped,
            Self::UpstreamFailed => TiStateName::UpstreamFailed,
            Self::Removed => TiStateName::Removed,
        }
    }

    /// Nothing more will happen unless somebody asks for it.
    pub fn is_finished(&self) -> bool {
        self.name().is_finished()
    }

    /// The worker that has it, if one has.
    pub fn assignment(&self) -> Option<&Assignment> {
        match self {
            Self::Queued(a)
            | Self::Running(a)
            | Self::Paused(a)
            | Self::Restarting(a)
            | Self::Deferred(Wait::Worker(a)) => Some(a),
            Self::None
            | Self::Scheduled
            | Self::Deferred(Wait::Until(_))
            | Self::UpForRetry(_)
            | Self::UpForReschedule(_)
            | Self::Success
            | Self::Failed
            | Self::Skipped
            | Self::UpstreamFailed
            | Self::Removed => None,
        }
    }

    /// When a timer moves it on, if one does.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        match self {
            Self::Deferred(Wait::Until(at)) | Self::UpForRetry(at) | Self::UpForReschedule(at) => Some(*at),
            Self::None
            | Self::Scheduled
            | Self::Queued(_)
            | Self::Running(_)
            | Self::Paused(_)
            | Self::Deferred(Wait::Worker(_))
            | Self::Restarting(_)
            | Self::Success
            | Self::Failed
            | Self::Skipped
            | Self::UpstreamFailed
            | Self::Removed => None,
        }
    }

    /// Counts against `max_active_tasks` and takes pool slots: Airflow's execution states, and what is
    /// paused or about to restart, since its process is still there.
    pub fn holds_slots(&self) -> bool {
        matches!(self, Self::Queued(_) | Self::Running(_) | Self::Paused(_) | Self::Restarting(_))
    }

    /// The state after `event`. Every pair is decided: what can't happen is an error.
    pub fn next(self, event: TiEvent) -> Result<Self, IllegalTransition> {
        use TiState as S;
        let name = self.name();
        let illegal = |event| Err(IllegalTransition { state: name, event });
        match event {
            TiEvent::Ready => match self {
                S::None | S::UpForRetry(_) | S::UpForReschedule(_) => Ok(S::Scheduled),
                _ => illegal(TiEvent::Ready),
            },
            TiEvent::Assigned(to) => match self {
                S::Scheduled => Ok(S::Queued(to)),
                _ => illegal(TiEvent::Assigned(to)),
            },
            TiEvent::Deferred(wait) => match self {
                S::None | S::Scheduled | S::Queued(_) | S::Running(_) | S::Paused(_) => Ok(S::Deferred(wait)),
                S::Deferred(Wait::Worker(_)) => Ok(S::Deferred(wait)),
                _ => illegal(TiEvent::Deferred(wait)),
            },
            TiEvent::Started => match self {
                S::Queued(a) => Ok(S::Running(a)),
                _ => illegal(TiEvent::Started),
            },
            TiEvent::Paused => match self {
                S::Running(a) => Ok(S::Paused(a)),
                _ => illegal(TiEvent::Paused),
            },
            TiEvent::Continued => match self {
                S::Paused(a) => Ok(S::Running(a)),
                _ => illegal(TiEvent::Continued),
            },
            TiEvent::Retry(at) => match self {
                S::Queued(_) | S::Running(_) | S::Paused(_) | S::Deferred(_) => Ok(S::UpForRetry(at)),
                _ => illegal(TiEvent::Retry(at)),
            },
            TiEvent::Reschedule(at) => match self {
                S::Queued(_) | S::Running(_) | S::Paused(_) | S::Deferred(Wait::Worker(_)) => {
                    Ok(S::UpForReschedule(at))
                }
                _ => illegal(TiEvent::Reschedule(at)),
            },
            TiEvent::Lost => match self {
                S::Queued(_) | S::Running(_) | S::Paused(_) | S::Deferred(Wait::Worker(_)) => {
                    Ok(S::Scheduled)
                }
                S::Restarting(_) => Ok(S::None),
                _ => illegal(TiEvent::Lost),
            },
            TiEvent::Cleared => match self {
                S::Queued(a) | S::Running(a) | S::Paused(a) | S::Restarting(a) => Ok(S::Restarting(a)),
                S::Deferred(Wait::Worker(a)) => Ok(S::Restarting(a)),
                S::None
                | S::Scheduled
                | S::Deferred(Wait::Until(_))
                | S::UpForRetry(_)
                | S::UpForReschedule(_)
                | S::Success
                | S::Failed
                | S::Skipped
                | S::UpstreamFailed
                | S::Removed => Ok(S::None),
            },
            TiEvent::Stopped => match self {
                S::Restarting(_) => Ok(S::None),
                _ => illegal(TiEvent::Stopped),
            },
            TiEvent::Ended(end) => Ok(end.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in TiStateName::ALL {
            assert_eq!(name.as_str().parse::<TiStateName>().unwrap(), *name);
        }
        assert!("sleeping".parse::<RunState>().is_err());
    }

    #[test]
    fn an_attempt_cleared_while_it_runs_begins_anew_only_when_it_has_ended() {
        let a = Assignment { worker: "w".into(), incarnation: Incarnation(1), lease: 1 };
        let state = TiState::Running(a.clone()).next(TiEvent::Cleared).unwrap();
        assert_eq!(state, TiState::Restarting(a));
        assert_eq!(state.next(TiEvent::Stopped).unwrap(), TiState::None);
    }

    #[test]
    fn what_is_finished_does_not_start() {
        for end in [End::Success, End::Failed, End::Skipped, End::UpstreamFailed, End::Removed] {
            assert!(TiState::from(end).next(TiEvent::Started).is_err());
        }
    }
}
