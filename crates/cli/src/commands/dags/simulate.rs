//! `updraft dags simulate`: the runs that schedules will make, with no server needed.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use updraft_core::{
    DagSpec,
    schedule::{Schedule, Tick, TimeRestriction},
};

use super::{find, time};
use crate::{
    config::Config,
    dag_files,
    output::{Columns, Format, count},
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

const RUNS: Columns = &[
    ("RUN AFTER", "/local"),
    ("DAG", "/dag_id"),
    ("LOGICAL DATE", "/logical_date"),
    ("DATA UP TO", "/data_interval_end"),
];

/// Which schedules, and when.
#[derive(clap::Args)]
pub struct Simulate {
    /// DAG files and folders of them, or names of DAGs in the folder of DAG files [default: all of the folder].
    #[arg(value_name = "FILE|DAG_ID")]
    what: Vec<String>,
    #[command(flatten)]
    root: find::Root,
    /// From this time on, such as 2026-03-29 [default: now].
    #[arg(long, value_name = "TIME", value_parser = time::time)]
    from: Option<Timestamp>,
    /// Up to this time [default: a day later].
    #[arg(long, value_name = "TIME", value_parser = time::time)]
    to: Option<Timestamp>,
    /// So many runs at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

/// Lists the runs, the earliest first.
pub fn simulate(home: &Path, format: Format, args: &Simulate) -> Result<()> {
    let folder = dag_files::of(home, &args.root.over(Config::read(home)?))?;
    let from = args.from.unwrap_or_else(Timestamp::now);
    let to = match args.to {
        Some(to) => to,
        None => from.checked_add(DAY)?,
    };
    if to < from {
        bail!("--to is before --from");
    }
    let dags = find::all(&folder, &args.what)?;
    let mut all: Vec<(Tick, &DagSpec)> = Vec::new();
    let mut is_cut = false;
    for read in &dags {
        let spec = &*read.spec;
        for why in not_foreseen(spec) {
            eprintln!("`{}` {why}", spec.dag_id);
        }
        let restriction =
            TimeRestriction { earliest: spec.start_date, latest: spec.end_date, catchup: spec.catchup };
        let ticks = spec.schedule.ticks_from(from, &restriction).take_while(|tick| tick.run_after <= to);
        // One more than is shown, to know that there are more.
        let before = all.len();
        all.extend(ticks.take(args.limit.saturating_add(1)).map(|tick| (tick, spec)));
        is_cut |= all.len() - before > args.limit;
    }
    all.sort_by(|(a, x), (b, y)| (a.run_after, &x.dag_id).cmp(&(b.run_after, &y.dag_id)));
    is_cut |= all.len() > args.limit;
    all.truncate(args.limit);
    let rows: Vec<Value> = all.iter().map(|(tick, spec)| row(tick, spec)).collect();
    format.list(&rows, RUNS)?;
    tell(&all, is_cut);
    Ok(())
}

/// What runs are made of besides ticks.
fn not_foreseen(spec: &DagSpec) -> impl Iterator<Item = &'static str> {
    let schedule = spec.schedule.without_holidays();
    let whys = [
        (*schedule == Schedule::Continuous, "runs continuously: when depends on how long its runs take"),
        (*schedule == Schedule::AtBoot, "runs after each start of the machine, which nobody knows before"),
        (spec.assets.is_some(), "runs for what happens to assets, which nobody knows before"),
        (
            matches!(schedule, Schedule::DeltaTrigger { .. }) && !spec.catchup,
            "does not catch up: its runs count from when a server first sees it, and here from its start date",
        ),
    ];
    whys.into_iter().filter(|(is_so, _)| *is_so).map(|(_, why)| why)
}

fn row(tick: &Tick, spec: &DagSpec) -> Value {
    let zone = TimeZone::get(&spec.timezone()).unwrap_or(TimeZone::UTC);
    json!({
        "dag_id": spec.dag_id,
        "run_after": tick.run_after,
        // As clocks there show it, with its distance to UTC: that changes with daylight saving.
        "local": tick.run_after.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
        "logical_date": tick.logical_date(),
        "data_interval_start": tick.data_interval.start,
        "data_interval_end": tick.data_interval.end,
        "run_id": tick.scheduled_run_id(),
    })
}

/// How many there are, and when most of them come together.
fn tell(all: &[(Tick, &DagSpec)], is_cut: bool) {
    let mut minutes: BTreeMap<i64, usize> = BTreeMap::new();
    for (tick, _) in all {
        *minutes.entry(tick.run_after.as_second().div_euclid(60)).or_default() += 1;
    }
    // The first of those that are alike.
    let most = minutes.iter().rev().max_by_key(|(_, runs)| **runs);
    let most = most.filter(|(_, runs)| **runs > 1).and_then(|(minute, runs)| {
        let at = Timestamp::from_second(minute * 60).ok()?;
        Some(format!(", {runs} of them in the minute of {at}"))
    });
    eprintln!("{}{}", count(all.len(), "run", "runs"), most.unwrap_or_default());
    if is_cut {
        eprintln!("there are more with a higher --limit");
    }
}
