//! The tests of the core's public interface, in one program.

// Tells clippy that the helpers here are tests too.
#![cfg(test)]

mod schedule;
