//! A seed makes one world, whenever and wherever it is run.

use std::process::Command;

use updraft_sim::{Options, run};

#[test]
fn the_same_seed_gives_the_same_trace_within_a_process() {
    let worlds = || {
        [1, 5, 7].map(|seed| match run(seed, &Options::default()) {
            Ok(world) => (world.trace_hash, world.events, world.virtual_time),
            Err(failure) => panic!("seed {seed} fails: {}", failure.message),
        })
    };
    let first = worlds();
    assert_eq!(first, worlds());
    assert_ne!(first[0].0, first[1].0, "the hash is of what happened");
}

#[test]
fn the_same_seed_gives_the_same_trace_in_two_processes() {
    let traced = || {
        let mut simulation = Command::new(env!("CARGO_BIN_EXE_updraft-sim"));
        let output = simulation.args(["--seed", "7", "--trace"]).output();
        match output {
            Ok(output) if output.status.success() => output.stdout,
            other => panic!("{other:?}"),
        }
    };
    let first = traced();
    assert!(first.len() > 10_000, "it tells what happens");
    assert!(first == traced(), "two processes made two worlds of one seed");
}
