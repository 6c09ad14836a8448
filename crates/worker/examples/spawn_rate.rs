//! Scripts per second: ours, with output captured, a log and a result each, beside a bare posix_spawn loop that throws the
//! output away. Rounds are interleaved and the medians printed, since a machine's speed drifts; the processor time per
//! script, all processes together, tells more than the rate where others use the machine as well.
//!
//! `cargo run --release -p updraft-worker --example spawn_rate [scripts per round] [rounds] [ours|guarded|merged|bare]`

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use updraft_worker::process::{
    Guard, GuardPolicy, Marker, Outcome, ProcessSpec, Program, ResultValue, Spawner, SpawnerConfig, Streams,
};

const SCRIPT: &str = "echo res";

/// One way of running scripts.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bare,
    Ours,
    Merged,
    Guarded,
}

const WAYS: [(Way, &str); 4] =
    [(Way::Bare, "bare"), (Way::Ours, "ours"), (Way::Merged, "merged"), (Way::Guarded, "guarded")];

fn main() {
    let mut args = std::env::args().skip(1);
    let scripts: usize = args.next().map_or(2000, |text| text.parse().expect("a number of scripts"));
    let rounds: usize = args.next().map_or(5, |text| text.parse().expect("a number of rounds"));
    let only = args.next();
    let home = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let spawner = Spawner::new(&SpawnerConfig::new(home.path().join("scratch"))).expect("a spawner");
    let guard = Arc::new(Guard::new(policy(home.path())).expect("a guard"));
    println!("{scripts} x sh -c '{SCRIPT}', medians of {rounds} rounds");
    for concurrency in [8, 500] {
        let mut rates = WAYS.map(|_| Vec::new());
        let mut costs = WAYS.map(|_| Vec::new());
        for round in 0..rounds {
            for (at, (way, name)) in WAYS.iter().enumerate() {
                if only.as_deref().is_some_and(|only| only != *name) {
                    continue;
                }
                let (started, cpu) = (Instant::now(), cpu_seconds());
                match way {
                    Way::Bare => bare(scripts, concurrency),
                    _ => {
                        let logs = home.path().join(format!("logs-{concurrency}-{round}-{name}"));
                        runtime.block_on(ours(&spawner, *way, &guard, &logs, scripts, concurrency));
                    }
                }
                rates[at].push(scripts as f64 / started.elapsed().as_secs_f64());
                costs[at].push((cpu_seconds() - cpu) / scripts as f64);
            }
        }
        let (rates, costs) = (rates.map(median), costs.map(median));
        for (at, (_, name)) in WAYS.iter().enumerate().filter(|(at, _)| rates[*at].is_finite()) {
            let (rate, cost) = (rates[at], costs[at]);
            let (rate_share, cost_share) = (rate / rates[0], costs[0] / cost);
            println!(
                "{concurrency:>4} at once  {name:<8} {rate:>6.0}/s ({rate_share:.2})  {:>5.0} us of processor ({cost_share:.2})",
                cost * 1e6
            );
        }
    }
}

fn policy(home: &Path) -> GuardPolicy {
    GuardPolicy { denied: vec![home.to_owned()], list_names: true, ..GuardPolicy::default() }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What this process and its ended children have used.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields = stat.rsplit(')').next().expect("fields").split_ascii_whitespace().skip(11).take(4);
    // In ticks of 10 ms: over a round of seconds that is exact enough.
    fields.map(|ticks| ticks.parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}

/// The standard library starts a process by posix_spawn where nothing forbids it, as here.
fn bare(scripts: usize, concurrency: usize) {
    let (mut started, mut ended) = (0, 0);
    while ended < scripts {
        while started < scripts && started - ended < concurrency {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", SCRIPT]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            drop(command.spawn().expect("sh starts"));
            started += 1;
        }
        rustix::process::wait(rustix::process::WaitOptions::empty()).expect("a child to wait for");
        ended += 1;
    }
}

async fn ours(
    spawner: &Spawner,
    way: Way,
    guard: &Arc<Guard>,
    logs: &Path,
    scripts: usize,
    concurrency: usize,
) {
    let mut running = JoinSet::new();
    for number in 0..scripts {
        if running.len() >= concurrency {
            running.join_next().await;
        }
        let marker = Marker::new(format!("rate-{number}")).expect("a marker");
        let argv = ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec();
        let mut spec = ProcessSpec::new(marker, Program::Argv(argv), logs.join(format!("{number}.log")));
        if way == Way::Merged {
            spec.streams = Streams::Merged;
        }
        if way == Way::Guarded {
            spec.guard = Some(Arc::clone(guard));
        }
        let spawner = spawner.clone();
        running.spawn(async move {
            let ended = spawner.spawn(spec).await.expect("sh starts").wait().await.expect("a watched end");
            assert_eq!(ended.outcome, Outcome::Succeeded);
            assert!(matches!(ended.result, Ok(Some(ResultValue::Inline(result))) if result == b"res"));
        });
    }
    running.join_all().await;
}
