//! The benchmarks. Each prints one table: what is measured, ours, what stands beside it (a bare loop, a disk's
//! own speed), and the goal with whether it was met.
//!
//! `make bench` runs all, `make bench ARGS="noop engine"` some. A goal that was missed is said and is no
//! error: these are measurements. What can't be measured is one.

mod bare;
mod counting;
mod engine;
mod files;
mod fleet;
mod growth;
mod installation;
mod latency;
mod machine;
mod noop;
mod restore;
mod sleep;
mod spawn;
mod start;
mod statistics;
mod store;
mod table;
mod waits;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use table::Table;

/// One benchmark.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Table>,
}

/// These take their time, and are only done where they are asked for.
const FLEET: Benchmark = Benchmark {
    name: "fleet",
    about: "100 workers in five groups: 100 batches of 1000 tasks, and processes that are killed",
    run: fleet::run,
};

const GROWTH: Benchmark = Benchmark {
    name: "growth",
    about: "a million runs that are over: start, latency and lists beside none",
    run: growth::run,
};

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "sleep", about: "1000 x `sleep 1; echo res` on 500 slots", run: sleep::run },
    Benchmark {
        name: "noop",
        about: "no-op scripts per second, output captured, state durable",
        run: noop::run,
    },
    Benchmark { name: "spawn", about: "the script runtime alone, no server", run: spawn::run },
    Benchmark { name: "engine", about: "200 runs of chains of 10 Empty tasks", run: engine::run },
    Benchmark { name: "latency", about: "trigger to start, and from task to task", run: latency::run },
    Benchmark { name: "start", about: "start to healthy, and idle memory", run: start::run },
    Benchmark { name: "files", about: "2000 YAML files: read, changed, watched", run: files::run },
    Benchmark { name: "waits", about: "100,000 time waits and 10,000 HTTP sensors", run: waits::run },
    Benchmark { name: "restore", about: "10,000 active task instances from the store", run: restore::run },
    Benchmark { name: "store", about: "commits, rebuilding and lists, by database", run: store::run },
];

/// That of the program: the engine and the stores are measured within this one.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn every() -> impl Iterator<Item = &'static Benchmark> {
    BENCHMARKS.iter().chain([&FLEET, &GROWTH])
}

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| every().all(|it| it.name != **name)) {
        eprintln!("`{unknown}` is no benchmark; there are:");
        for Benchmark { name, about, .. } in every() {
            eprintln!("  {name:<8} {about}");
        }
        return ExitCode::FAILURE;
    }
    // The one provider of TLS; where it is there already, it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    println!("{}", machine::describe());
    let mut ok = true;
    for Benchmark { name, about, run } in every().filter(|it| match asked.is_empty() {
        true => it.name != FLEET.name && it.name != GROWTH.name,
        false => asked.iter().any(|name| name == it.name),
    }) {
        let began = Instant::now();
        println!("\n== {name}: {about}");
        // On a thread of its own: the first thread of a program is the parent of the orphans of its tasks.
        match std::thread::spawn(run).join() {
            Ok(Ok(table)) => print!("{table}"),
            Ok(Err(error)) => {
                ok = false;
                println!("could not be measured: {error:#}");
            }
            // It has said why.
            Err(_panic) => ok = false,
        }
        println!("({:.0} s; {})", began.elapsed().as_secs_f64(), machine::load());
    }
    installation::clean_up();
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
