//! Runs worlds: fresh ones until the time is up, or the one of a seed.

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::SignedDuration;
use updraft_sim::{Coverage, Failure, Options, run};

const USAGE: &str = "\
Usage: updraft-sim [--seconds S | --worlds N] [--from SEED] [--first]
       updraft-sim --seed SEED [--trace]

Runs the worlds of fresh seeds for a minute, and says in which of them something did not hold.

  --seconds S   for so long
  --worlds N    so many
  --from SEED   these seeds: SEED, SEED + 1, ...
  --first       end with the first failure
  --seed SEED   the world of this seed alone
  --trace       print all that happens in it";

/// What the command line asks for.
#[derive(Default)]
struct Args {
    seconds: Option<u64>,
    worlds: Option<u64>,
    from: Option<u64>,
    first: bool,
    seed: Option<u64>,
    options: Options,
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            eprintln!("a panic at {place}");
        }
    }));
    match parse(std::env::args().skip(1)) {
        Some(Args { seed: Some(seed), options, .. }) => one(seed, &options),
        Some(args) => many(&args),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Args> {
    let mut args = Args::default();
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse().ok();
        match word.as_str() {
            "--seconds" => args.seconds = Some(number()?),
            "--worlds" => args.worlds = Some(number()?),
            "--from" => args.from = Some(number()?),
            "--seed" => args.seed = Some(number()?),
            "--first" => args.first = true,
            "--trace" => args.options.trace = true,
            _ => return None,
        }
    }
    Some(args)
}

fn one(seed: u64, options: &Options) -> ExitCode {
    match run(seed, options) {
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
    }
}

/// What came of many worlds.
#[derive(Default)]
struct Sum {
    worlds: u64,
    events: u64,
    virtual_time: SignedDuration,
    coverage: Coverage,
    failures: Vec<Failure>,
}

fn many(args: &Args) -> ExitCode {
    let first = args.from.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
    });
    println!("from seed {first} on");
    let worlds = args.worlds.unwrap_or(u64::MAX);
    let seconds = args.seconds.or(args.worlds.map(|_| u64::MAX)).unwrap_or(60);
    let begin = Instant::now();
    let (taken, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && begin.elapsed() < Duration::from_secs(seconds) {
                    let nth = taken.fetch_add(1, Ordering::Relaxed);
                    if nth >= worlds {
                        break;
                    }
                    let outcome = run(first.wrapping_add(nth), &Options::default());
                    stop.fetch_or(outcome.is_err() && args.first, Ordering::Relaxed);
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.print(begin.elapsed());
    if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Sum {
    fn add(&mut self, outcome: Result<updraft_sim::Summary, Box<Failure>>) {
        self.worlds += 1;
        match outcome {
            Ok(summary) => {
                self.events += summary.events;
                self.virtual_time = self.virtual_time.saturating_add(summary.virtual_time);
                self.coverage.merge(&summary.coverage);
            }
            Err(failure) => {
                println!("seed {} fails", failure.seed);
                self.failures.push(*failure);
            }
        }
    }

    fn print(&self, took: Duration) {
        println!(
            "{} worlds in {:.0} s: {} events in {} days of theirs; {} changes of state; {} failed",
            self.worlds,
            took.as_secs_f64(),
            self.events,
            self.virtual_time.as_hours() / 24,
            self.coverage.transitions.len(),
            self.failures.len(),
        );
        print!("{}", self.coverage);
        for (fault, count) in &self.coverage.faults {
            println!("{count:>10}  {fault}");
        }
        for Failure { seed, events, message, .. } in &self.failures {
            println!("seed {seed} fails after {events} events: {message:.600}");
            println!("  cargo run --release -p updraft-sim -- --seed {seed} --trace");
        }
    }
}
