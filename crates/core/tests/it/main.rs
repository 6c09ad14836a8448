//! Tests of the core through its public face.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has to end")]

mod engine;
mod limits;
mod restart;
mod oracle;
mod schedule;
mod world;
