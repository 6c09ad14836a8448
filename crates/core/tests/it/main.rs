//! Tests of the core through its public face.

#![expect(clippy::disallowed_macros, reason = "a test that compares much says how much")]
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has to end")]

mod alerts;
mod assets;
mod branching;
mod clearing;
mod engine;
mod limits;
mod mapping;
mod marking;
mod needs;
mod oracle;
mod restart;
mod schedule;
mod ticks;
mod workers;
mod world;
