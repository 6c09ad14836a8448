//! Backfills: runs of a DAG for times that are past.
//!
//! `plan` says what a backfill would do, and is what a preview shows and what is kept when one is made.
//! [`Backfiller`] does it, a few runs at a time, wherever this server leads: it gives the engine the same
//! commands that a person would. Before each it notes what it is about to do, so that after a crash it can tell
//! what was done: each run is made once, and each run that is there is cleared once.

mod plan;
mod work;

pub(crate) use self::plan::{Action, Planned, Unplanned, Wanted, plan};
pub use self::work::Backfiller;
