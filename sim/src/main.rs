//! Runs worlds: fresh ones until the time is up, or the one of a seed.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use updraft_sim::{Coverage, Options, run};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            eprintln!("a panic at {place}");
        }
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let options = Options { trace: args.iter().any(|arg| arg == "--trace") };
    if let Some(seed) = number("--seed") {
        return match run(seed, &options) {
            Ok(summary) => {
                println!(
                    "seed {seed}: {} events, {:#}, hash {:016x}",
                    summary.events, summary.virtual_time, summary.trace_hash
                );
                ExitCode::SUCCESS
            }
            Err(failure) => {
                if !options.trace {
                    failure.trace.iter().for_each(|line| println!("{line}"));
                }
                println!("seed {seed} fails after {} events: {}", failure.events, failure.message);
                ExitCode::FAILURE
            }
        };
    }
    let seconds = number("--seconds").unwrap_or(60);
    let mut seed = number("--from").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
    });
    let begin = Instant::now();
    let (mut worlds, mut events, mut failed) = (0u64, 0u64, 0u64);
    let mut coverage = Coverage::default();
    while begin.elapsed() < Duration::from_secs(seconds) {
        worlds += 1;
        match run(seed, &options) {
            Ok(summary) => {
                events += summary.events;
                coverage.merge(&summary.coverage);
            }
            Err(failure) => {
                failed += 1;
                println!(
                    "seed {seed} fails after {} events: {}",
                    failure.events,
                    failure.message.chars().take(400).collect::<String>()
                );
            }
        }
        seed += 1;
    }
    println!("{worlds} worlds, {events} events, {} triples, {failed} failed", coverage.triples.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
