//! Random DAGs.

use jiff::{Timestamp, civil::date};
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, Asset, AssetCondition, Condition, Dag, DagSpec, Deadline, DeadlineFrom,
    EdgeSpec, GroupSpec, Role, TaskKind, TaskSpec, TriggerRule,
    schedule::{Crons, Delta, Holidays, Schedule, Span, Times, Zone},
};

use super::{
    outcome::span,
    tasks::{self, Taste},
};
use crate::{Micros, SECOND, rng::Rng, world::wall};

const CONDITIONS: [&str; 5] =
    ["result | int > 4", "result | int <= 4", "state == 'failed'", "exit_code == 1", "result.rows > 1"];

/// A DAG of this name: something that compiles, and otherwise anything.
pub(crate) fn draw(rng: &mut Rng, name: &str, active: Micros) -> DagSpec {
    loop {
        let spec = attempt(rng, name, active);
        if Dag::compile(spec.clone()).is_ok() {
            return spec;
        }
    }
}

fn attempt(rng: &mut Rng, name: &str, active: Micros) -> DagSpec {
    let mut spec = DagSpec::new(name);
    spec.owner = (*rng.pick(&["zoro", "sanji", "usopp"]).unwrap_or(&"zoro")).into();
    limits(rng, &mut spec);
    schedule(rng, &mut spec, active);
    if rng.chance(0.25) {
        spec.assets = Some(assets(rng, 2));
    }
    let mut sometimes = |p: f64, most: f64| if rng.chance(p) { most * rng.unit() } else { 0.0 };
    let taste = Taste {
        other_rules: sometimes(0.6, 1.0),
        limits: sometimes(0.3, 0.5),
        pools: sometimes(0.4, 0.8),
        past: sometimes(0.25, 0.6),
        alerts: sometimes(0.2, 0.5),
        outlets: sometimes(0.3, 0.3),
    };
    let size = rng.log_between(1, 40) as usize;
    spec.tasks = (0..size).map(|n| tasks::task(rng, format!("t{n}"), &taste)).collect();
    spec.edges = edges(rng, size);
    if rng.chance(0.4) {
        conditions(rng, &mut spec);
    }
    if rng.chance(0.15) {
        mapped_group(rng, &mut spec);
    }
    if rng.chance(0.3) {
        mapped_tasks(rng, &mut spec);
    }
    if rng.chance(0.2) {
        setup_and_teardown(rng, &mut spec);
    }
    if rng.chance(0.1) {
        spec.fail_fast = true;
        spec.tasks.iter_mut().for_each(|task| task.trigger_rule = TriggerRule::AllSuccess);
    }
    spec
}

fn limits(rng: &mut Rng, spec: &mut DagSpec) {
    spec.max_active_runs = *rng.pick(&[1, 2, 3, 16]).unwrap_or(&16);
    spec.max_active_tasks = *rng.pick(&[1, 2, 4, 16, 16]).unwrap_or(&16);
    spec.max_consecutive_failed_dag_runs = if rng.chance(0.2) { rng.between(1, 4) as u32 } else { 0 };
    if rng.chance(0.15) {
        spec.dagrun_timeout = Some(span(rng.log_between(20 * SECOND, 1800 * SECOND)));
    }
    if rng.chance(0.2) {
        const ON: [AlertOn; 4] = [AlertOn::Failure, AlertOn::Success, AlertOn::Deadline, AlertOn::Missed];
        let on = *rng.pick(&ON).unwrap_or(&AlertOn::Failure);
        let channel = AlertChannel::email(vec!["robin@example.com".into()]);
        let from = *rng
            .pick(&[DeadlineFrom::LogicalDate, DeadlineFrom::QueuedAt, DeadlineFrom::StartedAt])
            .unwrap_or(&DeadlineFrom::QueuedAt);
        let after = span(rng.log_between(20 * SECOND, 1800 * SECOND));
        let deadline = Some(Deadline { from, after }).filter(|_| on == AlertOn::Deadline);
        spec.alerts = vec![AlertSpec { deadline, ..AlertSpec::new(on, channel) }];
    }
    spec.is_paused_upon_creation = rng.chance(0.1).then_some(true);
}

fn schedule(rng: &mut Rng, spec: &mut DagSpec, active: Micros) {
    let seconds = (active / SECOND / rng.between(2, 25)).max(1);
    let minutes = (seconds / 60).clamp(1, 30);
    let cron = if seconds < 60 {
        format!("* * * * * */{}", seconds.clamp(1, 30))
    } else {
        format!("*/{minutes} * * * *")
    };
    let delta = Delta::new(0, span(seconds * SECOND)).ok();
    let interval = rng.chance(0.3).then_some(delta).flatten();
    let cron_trigger = |crons: Option<Crons>| {
        crons.map(|crons| Schedule::CronTrigger {
            crons,
            zone: Zone::UTC,
            interval,
            run_immediately: Default::default(),
        })
    };
    let cron = updraft_core::schedule::Cron::new(&cron).ok();
    let chosen = match rng.below(11) {
        0..=3 => None,
        4 => Some(Schedule::Once),
        5 => Some(Schedule::Continuous),
        6 => cron_trigger(cron.map(Into::into)),
        7 => cron.map(|cron| Schedule::CronDataInterval { cron, zone: Zone::UTC }),
        8 => delta.map(|every| Schedule::DeltaTrigger { every, interval }),
        9 => delta.map(|every| Schedule::DeltaDataInterval { every }),
        _ => Some(Schedule::ListOfTimes { times: times(rng, active), restrict_to_events: rng.chance(0.5) }),
    };
    spec.schedule = chosen.unwrap_or(Schedule::Manual);
    if rng.chance(0.3) {
        holidays(rng, spec, active);
    }
    if spec.schedule == Schedule::Continuous {
        spec.max_active_runs = 1;
    }
    spec.catchup = rng.chance(0.4);
    let back = if rng.chance(0.5) { 6 * seconds } else { -seconds };
    spec.start_date = rng.chance(0.8).then(|| wall(-rng.between(0, back.abs()) * back.signum() * SECOND));
    spec.end_date = rng.chance(0.2).then(|| wall(rng.between(0, active)));
}

/// One of the few assets of this world.
pub(super) fn asset(rng: &mut Rng) -> Asset {
    Asset::new(*rng.pick(&["s3://shop/orders", "s3://shop/goods", "stock", "mail"]).unwrap_or(&"stock"))
}

fn assets(rng: &mut Rng, depth: u32) -> AssetCondition {
    match rng.below(if depth == 0 { 1 } else { 3 }) {
        0 => AssetCondition::Asset(asset(rng)),
        1 => AssetCondition::All((0..rng.between(0, 3)).map(|_| assets(rng, depth - 1)).collect()),
        _ => AssetCondition::Any((0..rng.between(0, 3)).map(|_| assets(rng, depth - 1)).collect()),
    }
}

/// Days without runs, of which one begins or ends while the world lasts.
fn holidays(rng: &mut Rng, spec: &mut DagSpec, active: Micros) {
    if matches!(spec.schedule, Schedule::Manual | Schedule::AtBoot | Schedule::Once | Schedule::Continuous) {
        return;
    }
    // The world begins at midnight in UTC: so long after that it is midnight in this zone.
    let midnight = rng.between(0, active) / SECOND;
    let Some(zone) = i32::try_from(-midnight).ok().and_then(Zone::fixed) else { return };
    let today = date(2026, 1, 1);
    let days = match rng.below(4) {
        0 => vec![today],
        1 => vec![date(2025, 12, 31)],
        2 => vec![date(2025, 12, 31), today, date(2026, 1, 2)],
        _ => vec![date(2025, 12, 25), today],
    };
    let holidays = Holidays::new(zone, days.into_iter().map(Span::from).collect());
    spec.schedule = Schedule::WithHolidays { schedule: Box::new(spec.schedule.clone()), holidays };
}

fn times(rng: &mut Rng, active: Micros) -> Times {
    let at = |at: Micros| wall(at / SECOND * SECOND);
    let times: Vec<Timestamp> = (0..rng.below(12)).map(|_| at(rng.between(-active / 10, active))).collect();
    times.into()
}

fn edges(rng: &mut Rng, size: usize) -> Vec<EdgeSpec> {
    let edge = |from: usize, to: usize| EdgeSpec::new(format!("t{from}"), format!("t{to}"));
    match rng.below(5) {
        // A chain.
        0 => (1..size).map(|n| edge(n - 1, n)).collect(),
        // A fan out and in.
        1 => {
            let middle = 1..size.saturating_sub(1);
            let out = middle.clone().map(|n| edge(0, n));
            out.chain(middle.map(|n| edge(n, size - 1))).collect()
        }
        // Layers, each task after some of the layer before.
        2 => {
            let width = rng.between(1, 5) as usize;
            let mut edges = Vec::new();
            for to in width..size {
                let before = to / width * width - width;
                edges.extend((before..before + width).filter(|_| rng.chance(0.6)).map(|from| edge(from, to)));
            }
            edges
        }
        // Each after a few of those before.
        _ => {
            let density = rng.unit() * 3.0 / size as f64;
            let pairs = (0..size).flat_map(|to| (0..to).map(move |from| (from, to)));
            pairs.filter(|_| rng.chance(density)).map(|(from, to)| edge(from, to)).collect()
        }
    }
}

fn conditions(rng: &mut Rng, spec: &mut DagSpec) {
    for edge in &mut spec.edges {
        if rng.chance(0.2) {
            edge.when = rng.pick(&CONDITIONS).and_then(|text| Condition::parse(*text).ok());
        }
    }
}

fn names(tasks: &[TaskSpec]) -> Vec<String> {
    tasks.iter().map(|task| task.task_id.to_string()).collect()
}

/// Has the named tasks leave lists, most of the time.
fn make_sources(rng: &mut Rng, spec: &mut DagSpec, named: &[String]) {
    for task in &mut spec.tasks {
        if named.iter().any(|name| **name == *task.task_id)
            && task.kind != TaskKind::Watch
            && rng.chance(0.95)
        {
            task.kind = TaskKind::Run;
            task.operator = "List".into();
        }
    }
}

fn mapped_tasks(rng: &mut Rng, spec: &mut DagSpec) {
    for at in 0..spec.tasks.len() {
        if spec.tasks[at].group.is_none() && rng.chance(0.2) {
            let (mapping, named) = tasks::mapping(rng, &names(&spec.tasks[..at]));
            spec.tasks[at].map = Some(mapping);
            make_sources(rng, spec, &named);
        }
    }
}

fn mapped_group(rng: &mut Rng, spec: &mut DagSpec) {
    let size = spec.tasks.len() as u64;
    let from = rng.below(size) as usize;
    let to = (from + 1 + rng.below(5) as usize).min(size as usize);
    let (mapping, named) = tasks::mapping(rng, &names(&spec.tasks[..from]));
    let group = GroupSpec { group_id: "g".into(), parent: None, tooltip: None, map: Some(mapping) };
    spec.groups.push(group);
    for task in &mut spec.tasks[from..to] {
        task.group = Some("g".into());
    }
    make_sources(rng, spec, &named);
}

fn setup_and_teardown(rng: &mut Rng, spec: &mut DagSpec) {
    let size = spec.tasks.len() as u64;
    if size < 3 {
        return;
    }
    let setup = rng.below(size - 2) as usize;
    let teardown = setup + 2 + rng.below(size - setup as u64 - 2) as usize;
    for between in setup + 1..teardown {
        if rng.chance(0.5) {
            spec.edges.push(EdgeSpec::new(format!("t{setup}"), format!("t{between}")));
        }
        if rng.chance(0.5) {
            spec.edges.push(EdgeSpec::new(format!("t{between}"), format!("t{teardown}")));
        }
    }
    spec.edges.push(EdgeSpec::new(format!("t{setup}"), format!("t{teardown}")));
    spec.tasks[setup].role = Role::Setup;
    spec.tasks[teardown].role = Role::Teardown { on_failure_fail_dagrun: rng.chance(0.3) };
    spec.tasks[teardown].trigger_rule = TriggerRule::AllDoneSetupSuccess;
}
