//! Every case in `tests/oracle/runs/cases.jsonl`, which Airflow 3.3.2 has answered. What a case holds is said
//! at the top of `generate.py` beside it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::json;
use updraft_core::{
    AttemptId, Config, DagKey, Engine, MapIndex, RunKey, RunState, TiKey, TiState, TiStateName, XcomValue,
    input::{AttemptEnd, Branch, Command, Outcome, Reply, Report, Trigger},
    record::{Batch, RunSnapshot, RunType, Snapshot},
};

use super::dag::{CaseDag, Kind};
use crate::world::World;

const COMMITTED: &str = include_str!("../../oracle/runs/cases.jsonl");

/// Another file of cases, where the environment names one.
#[expect(clippy::disallowed_methods, reason = "this is a test's input, not the core's")]
fn cases() -> String {
    match std::env::var("UPDRAFT_ORACLE_RUNS") {
        Ok(path) => std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}")),
        Err(_) => COMMITTED.to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "name")]
    _name: String,
    dag: CaseDag,
    #[serde(default)]
    given: BTreeMap<String, String>,
    #[serde(default)]
    events: Vec<String>,
    end: BTreeMap<String, String>,
    run: RunState,
    /// What had to be mended about Airflow for this answer: see `airflow_run.py`.
    #[serde(default)]
    mended: Vec<String>,
}

#[test]
fn every_run_goes_as_airflow_lets_it_go() {
    let cases = cases();
    let mut differences = Vec::new();
    let (mut compared, mut mended) = (0, 0);
    for line in cases.lines().skip(1) {
        let case: Case = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        compared += 1;
        mended += usize::from(!case.mended.is_empty());
        if let Err(difference) = compare(&case) {
            differences.push(format!("{line}\n    {difference}"));
        }
    }
    println!("{compared} compared, of these {mended} mended, {} differ", differences.len());
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differ:\n{shown}", differences.len());
    assert!(compared >= 450, "too few cases: {compared}");
}

fn compare(case: &Case) -> Result<(), String> {
    let mut replay = Replay::new(case);
    for event in &case.events {
        replay.happen(event).map_err(|why| format!("{event}: {why}, with {:?}", replay.shown()))?;
    }
    let (ours, run) = (replay.shown(), replay.world.run_state(replay.run));
    if (&ours, run) == (&case.end, case.run) {
        return Ok(());
    }
    let differ = |task: &&String| ours.get(*task) != case.end.get(*task);
    let tasks: std::collections::BTreeSet<&String> =
        ours.keys().chain(case.end.keys()).filter(differ).collect();
    Err(format!("Airflow {:?} {}\n    ours    {ours:?} {run}\n    in {tasks:?}", case.end, case.run))
}

/// A run of a case in the engine.
struct Replay<'a> {
    case: &'a Case,
    world: World,
    run: RunKey,
    /// The last attempt of each task instance that a worker was given.
    attempts: BTreeMap<TiKey, AttemptId>,
}

impl<'a> Replay<'a> {
    fn new(case: &'a Case) -> Self {
        let mut world = World::new(0);
        world.engine = Engine::new(config());
        let spec = case.dag.spec();
        world.put(spec);
        let later = world.now + SignedDuration::from_secs(1);
        let reply = world.command(Command::Trigger(Trigger {
            dag: DagKey::new("default", "d"),
            run_id: None,
            logical_date: Some(world.now),
            data_interval: None,
            run_after: Some(later),
            conf: Arc::new(json!({})),
            tasks: Vec::new(),
            run_type: RunType::Manual,
            triggered_by: "cli",
        }));
        let Reply::Run(run, _) = reply.unwrap() else { panic!("no run") };
        if !case.given.is_empty() {
            give(&mut world, run, &case.given);
        }
        world.join(1, 1000, Vec::new());
        let mut replay = Self { case, world, run, attempts: BTreeMap::new() };
        replay.pass(SignedDuration::from_secs(1));
        replay
    }

    /// Lets time go by, and all that it brings.
    fn pass(&mut self, time: SignedDuration) {
        self.world.pass(time);
        self.attempts.extend(self.world.assigned().into_iter().map(|attempt| (attempt.ti, attempt)));
    }

    fn happen(&mut self, event: &str) -> Result<(), String> {
        let mut words = event.split(' ');
        let (who, how) = (words.next().unwrap(), words.next().unwrap());
        let (task, index) = who.split_once('#').unwrap_or((who, "-1"));
        let dag = self.world.engine.run(self.run).ok_or("the run is over")?.1.clone();
        let map_index = MapIndex(index.parse().unwrap());
        let key = TiKey { run: self.run, task: dag.find(task).unwrap(), map_index };
        let state = self.world.engine.ti(key).ok_or("there is no such task instance")?.state.name();
        if !matches!(state, TiStateName::Queued | TiStateName::Running) {
            return Err(format!("it is {state}"));
        }
        let attempt = self.attempts[&key];
        if state == TiStateName::Queued {
            self.world.report(attempt, Report::Started);
        }
        if how != "+" {
            let outcome = self.outcome(task, how, words.collect());
            self.world.report(attempt, Report::Ended(Box::new(outcome)));
        }
        self.pass(SignedDuration::ZERO);
        Ok(())
    }

    fn outcome(&self, task: &str, how: &str, arguments: Vec<&str>) -> Outcome {
        let mut outcome = Outcome::new(match how {
            "s" | ">" | "!" => AttemptEnd::Success,
            "f" => AttemptEnd::Failed,
            "F" => AttemptEnd::FailedForGood,
            "k" => AttemptEnd::Skipped,
            other => panic!("no such end: {other}"),
        });
        match (how, self.case.dag.kind(task)) {
            ("s", _) => {
                outcome.result_length = arguments.first().and_then(|length| length.parse().ok());
                if arguments.first() != Some(&"-") {
                    let value = match outcome.result_length {
                        Some(length) => json!((0..length).collect::<Vec<_>>()),
                        None => json!(1),
                    };
                    outcome.xcoms = vec![("return_value".into(), XcomValue::Inline(Arc::new(value)))];
                }
            }
            (">", _) => {
                outcome.branch = Some(Branch::Follow(arguments.into_iter().map(Into::into).collect()))
            }
            ("!", Kind::ShortDirect) => outcome.branch = Some(Branch::SkipDownstream),
            ("!", _) => outcome.branch = Some(Branch::SkipAllDownstream),
            _ => {}
        }
        outcome
    }

    /// The states as a case writes them.
    fn shown(&self) -> BTreeMap<String, String> {
        let mut shown: BTreeMap<String, String> = BTreeMap::new();
        for (key, (task, state)) in self.world.instances(self.run) {
            let letter = letter(state);
            let text = shown.entry(task).or_default();
            match key.map_index {
                MapIndex::NONE => text.push(letter),
                _ => {
                    *text =
                        format!("{}{letter}]", if text.is_empty() { "[" } else { text.trim_end_matches(']') })
                }
            }
        }
        shown
    }
}

fn config() -> Config {
    Config { max_map_length: 4, ..Config::default() }
}

/// Puts tasks into states in which they can't be found by playing alone: the engine is made anew from a store
/// that has them so.
fn give(world: &mut World, run: RunKey, given: &BTreeMap<String, String>) {
    let (version, mut snapshot): (_, RunSnapshot) = world.stored(run);
    for ti in &mut snapshot.tis {
        match given.get(&*ti.task_id).map(String::as_str) {
            None | Some("n") => {}
            Some("s") => ti.state = TiState::Success,
            Some("f") => ti.state = TiState::Failed,
            Some("k") => ti.state = TiState::Skipped,
            Some("u") => ti.state = TiState::UpstreamFailed,
            Some("r") => ti.state = TiState::Removed,
            Some(other) => panic!("no such state: {other}"),
        }
    }
    let rows = snapshot.tis.iter().map(|ti| (ti.key, ti.clone())).collect();
    world.batches.push(Batch { tis: rows, ..Batch::default() });
    let dag = world.batches.iter().rev().find_map(|batch| batch.dags.values().next()).unwrap().clone();
    let last_run = run.0;
    let pools = world.batches.iter().flat_map(|batch| batch.pools.values().cloned()).collect();
    let stored = Snapshot {
        dags: vec![dag],
        versions: vec![version],
        runs: vec![snapshot],
        pools,
        last_run,
        ..Snapshot::default()
    };
    world.engine = Engine::restore(config(), stored, world.now);
}

fn letter(state: TiStateName) -> char {
    match state {
        TiStateName::None => 'n',
        TiStateName::Scheduled => 'S',
        TiStateName::Queued => 'Q',
        TiStateName::Running => 'R',
        TiStateName::UpForRetry => 't',
        TiStateName::Success => 's',
        TiStateName::Failed => 'f',
        TiStateName::Skipped => 'k',
        TiStateName::UpstreamFailed => 'u',
        TiStateName::Removed => 'r',
        TiStateName::Paused
        | TiStateName::Deferred
        | TiStateName::UpForReschedule
        | TiStateName::Restarting => panic!("no case is about {state}"),
    }
}
