//! The script runtime alone, without server and store: scripts with output captured, a log and a result each.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use tokio::{runtime::Runtime, task::JoinSet};
use updraft_worker::process::{
    Guard, GuardPolicy, Marker, Outcome, ProcessSpec, Program, ResultValue, Spawner, Streams,
};

use crate::{
    bare, machine,
    statistics::{median, median_ratio},
    table::{Figure, Goal, Table},
};

const SCRIPT: &str = "echo res";
const SCRIPTS: usize = 2000;
const ROUNDS: usize = 5;

/// One way of running scripts.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Standard output and standard error told apart.
    Apart,
    /// Both in one pipe, as a `BashOperator` has them.
    Merged,
    /// The same, kept from other files: what the product does.
    Guarded,
}

const WAYS: [(Way, &str); 3] =
    [(Way::Apart, "two pipes"), (Way::Merged, "one pipe"), (Way::Guarded, "one pipe, guarded")];

/// Scripts per second, and seconds of processors for each.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    costs: Vec<f64>,
}

pub fn run() -> Result<Table> {
    let bash = bare::bash()?;
    let home = tempfile::tempdir()?;
    let runtime = Runtime::new()?;
    let spawner = Spawner::new(&home.path().join("scratch"), None)?;
    let policy = GuardPolicy { denied: vec![home.path().to_owned()], ..GuardPolicy::default() };
    let guard = Arc::new(Guard::new(policy)?);
    let title = format!(
        "{SCRIPTS} x bash -c '{SCRIPT}', with a log and a result each; medians of {ROUNDS} rounds, turn by turn"
    );
    let mut table = Table::new(title, "bare loop");
    for at_once in [8, 500] {
        let mut loops = Rounds::default();
        let mut ours = WAYS.map(|_| Rounds::default());
        for round in 0..ROUNDS {
            let took = bare::run(&bash, SCRIPT, b"res\n", SCRIPTS, at_once)?;
            loops.add(took.seconds, took.cpu_seconds);
            for (rounds, (way, _)) in ours.iter_mut().zip(WAYS) {
                let logs = home.path().join(format!("logs-{at_once}-{round}-{}", way as u8));
                let (began, cpu) = (Instant::now(), machine::cpu_seconds(std::process::id())?);
                runtime.block_on(scripts(&spawner, way, &guard, &logs, at_once))?;
                let cpu = machine::cpu_seconds(std::process::id())? - cpu;
                rounds.add(began.elapsed().as_secs_f64(), cpu);
            }
        }
        for (ours, (_, name)) in ours.iter().zip(WAYS) {
            let rate = |rounds: &Rounds| Figure::PerSecond(median(&rounds.rates));
            let cost = |rounds: &Rounds| Figure::Micros(median(&rounds.costs) * 1e6);
            let ratio = median_ratio(&ours.rates, &loops.rates);
            let what = format!("scripts, {at_once} at once, {name}");
            table.compare_by(what, rate(ours), rate(&loops), ratio, Goal::None);
            table.compare("  processor time of each", cost(ours), cost(&loops), Goal::None);
        }
    }
    Ok(table)
}

impl Rounds {
    fn add(&mut self, seconds: f64, cpu_seconds: f64) {
        self.rates.push(SCRIPTS as f64 / seconds);
        self.costs.push(cpu_seconds / SCRIPTS as f64);
    }
}

async fn scripts(spawner: &Spawner, way: Way, guard: &Arc<Guard>, logs: &Path, at_once: usize) -> Result<()> {
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    for number in 0..SCRIPTS {
        if running.len() >= at_once
            && let Some(ended) = running.join_next().await
        {
            ended??;
        }
        let marker = Marker::new(format!("spawn-{number}"))?;
        let argv = ["bash", "-c", SCRIPT].map(str::to_owned).to_vec();
        let mut spec = ProcessSpec::new(marker, Program::Argv(argv), logs.join(format!("{number}.log")));
        if way != Way::Apart {
            spec.streams = Streams::Merged;
        }
        if way == Way::Guarded {
            spec.guard = Some(Arc::clone(guard));
        }
        let spawner = spawner.clone();
        running.spawn(async move {
            let ended = spawner.spawn(spec).await?.wait().await?;
            let right = matches!(&ended.result, Ok(Some(ResultValue::Inline(result))) if result == b"res");
            ensure!(ended.outcome == Outcome::Succeeded && right, "a script came to {ended:?}");
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}
