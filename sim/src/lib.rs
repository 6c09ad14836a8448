//! A simulation of the core, after TigerBeetle's: a world whose every accident comes from one number.
//!
//! A seed makes a world: servers with the engine of `updraft-core`, a store, workers, a network, people
//! with commands, and what goes wrong between them. Time is virtual, nothing waits, so that days pass in
//! milliseconds. What must hold is checked at each commit by code that knows nothing of the engine's
//! inside ([`Failure`] says what did not). In the end the faults stop, and then everything must finish.
//!
//! The same seed always gives the same world, so that a seed is all that a report of a bug needs:
//! `cargo run --release -p updraft-sim -- --seed N --trace`.

mod checks;
mod coverage;
mod disk;
mod net;
mod plan;
mod rng;
mod trace;
mod worker;
mod workload;
mod world;

use jiff::SignedDuration;

pub use coverage::Coverage;

/// Microseconds of the world's time since it began.
type Micros = i64;

const SECOND: Micros = 1_000_000;

/// How a world is to be run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Print what happens.
    pub trace: bool,
}

/// What came of a world in which everything held.
#[derive(Debug)]
pub struct Summary {
    /// The world's seed.
    pub seed: u64,
    /// How many things happened.
    pub events: u64,
    /// How long the world lasted.
    pub virtual_time: SignedDuration,
    /// A hash of everything that happened: the same for the same seed.
    pub trace_hash: u64,
    /// What was seen.
    pub coverage: Coverage,
}

/// Something did not hold.
#[derive(Debug)]
pub struct Failure {
    /// The world's seed.
    pub seed: u64,
    /// What did not hold.
    pub message: String,
    /// When, since the world began.
    pub at: SignedDuration,
    /// After how many events.
    pub events: u64,
    /// What happened last.
    pub trace: Vec<String>,
}

/// Runs the world of a seed. A panic is a failure like another.
pub fn run(seed: u64, options: &Options) -> Result<Summary, Box<Failure>> {
    world::World::new(seed, options).run()
}
