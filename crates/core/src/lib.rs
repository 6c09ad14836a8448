//! The pure heart of Updraft: DAGs, runs and task instances as data, and the function that schedules them.
//!
//! # Architecture Invariant
//!
//! Nothing here reads a clock, draws a random number, touches a file or a socket, or waits. Whatever
//! happens comes in as an input with the time at which it happened; whatever is to be done goes out as
//! data. `clippy.toml` beside this crate bans the calls that would break this.

pub mod schedule;
