//! Every case in `tests/oracle/runs/cases.jsonl`, which Airflow 3.3.2 has answered. What a case holds is said
//! at the top of `generate.py` beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::json;
use updraft_core::{
    AttemptId, Config, DagKey, Engine, MapIndex, RunKey, RunState, TiKey, TiState, TiStateName, XcomValue,
    input::{AttemptEnd, Branch, Clear, Command, Outcome, Reply, Report, ToWorker, Trigger},
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
    name: String,
    dag: CaseDag,
    #[serde(default)]
    given: BTreeMap<String, String>,
    #[serde(default)]
    events: Vec<String>,
    end: BTreeMap<String, String>,
    run: Vec<RunState>,
    /// What had to be mended about Airflow for this answer: see `mended.py`.
    #[serde(default)]
    mended: Vec<String>,
}

/// A case in which a run goes another way here, on purpose.
struct Exception {
    name: &'static str,
    /// The states in which tasks end here.
    end: &'static [(&'static str, &'static str)],
    run: RunState,
}

const EXCEPTIONS: [Exception; 6] = [
    // A short circuit passes over all that comes after it, says its documentation. Airflow misses copies that
    // are there from the beginning and do not come directly after it.
    Exception { name: "short over copies farther on", end: &[("each", "[kk]")], run: RunState::Success },
    // In a mapped group, Airflow sees nothing before a task that is yet to be mapped, and takes that for no
    // success.
    Exception {
        name: "a group of list with all_done_min_one_success, s f",
        end: &[("g.b", "[Qu]")],
        run: RunState::Running,
    },
    Exception {
        name: "a group of list with all_done_min_one_success, f f",
        end: &[("g.b", "[uu]")],
        run: RunState::Failed,
    },
    Exception {
        name: "a group of list with all_done_min_one_success, k s",
        end: &[("g.b", "[kQ]")],
        run: RunState::Running,
    },
    Exception {
        name: "a group of list with all_done_min_one_success, k k",
        end: &[("g.b", "[kk]")],
        run: RunState::Success,
    },
    // The results of all copies are a list here, whether it is the task that is mapped or a group around it.
    Exception {
        name: "mapped over a task of a mapped group",
        end: &[("each", "[QQ]"), ("g.a", "[ss]")],
        run: RunState::Running,
    },
];

#[test]
fn every_run_goes_as_airflow_lets_it_go() {
    let cases = cases();
    let mut differences = Vec::new();
    let mut excused = Vec::new();
    let (mut compared, mut mended) = (0, 0);
    for line in cases.lines().skip(1) {
        let case: Case = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        compared += 1;
        mended += usize::from(!case.mended.is_empty());
        let mut difference = compare(&case);
        if let Some(exception) = EXCEPTIONS.iter().find(|exception| exception.name == case.name) {
            assert!(difference.is_err(), "`{}` needs no exception", exception.name);
            excused.push(exception.name);
            difference = compare(&case.but(exception));
        }
        differences.extend(difference.err().map(|what| format!("{line}\n    {what}")));
    }
    println!("{compared} compared, of these {mended} mended, {} differ", differences.len());
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differ:\n{shown}", differences.len());
    if cases == COMMITTED {
        assert_eq!(excused.len(), EXCEPTIONS.len(), "some exceptions have no case: there are {excused:?}");
        assert!(compared >= 1500, "too few cases: {compared}");
    }
}

impl Case {
    /// The case, ending as it does here.
    fn but(mut self, exception: &Exception) -> Self {
        let end = exception.end.iter().map(|(task, state)| ((*task).to_owned(), (*state).to_owned()));
        self.end.extend(end);
        self.run = vec![exception.run];
        self
    }
}

fn compare(case: &Case) -> Result<(), String> {
    let mut replay = Replay::new(case);
    for event in &case.events {
        replay.happen(event).map_err(|why| format!("{event}: {why}, with {:?}", replay.shown()))?;
    }
    let ours = replay.shown();
    let runs: Vec<RunState> = replay.runs.iter().map(|run| replay.world.run_state(*run)).collect();
    if (&ours, &runs) == (&case.end, &case.run) {
        return Ok(());
    }
    let differ = |task: &&String| ours.get(*task) != case.end.get(*task);
    let tasks: BTreeSet<&String> = ours.keys().chain(case.end.keys()).filter(differ).collect();
    Err(format!("Airflow {:?} {:?}\n    ours    {ours:?} {runs:?}\n    in {tasks:?}", case.end, case.run))
}

/// The runs of a case in the engine.
struct Replay<'a> {
    case: &'a Case,
    world: World,
    runs: Vec<RunKey>,
    /// The last attempt of each task instance that a worker was given.
    attempts: BTreeMap<TiKey, AttemptId>,
}

impl<'a> Replay<'a> {
    fn new(case: &'a Case) -> Self {
        let mut world = World::new(0);
        world.engine = Engine::new(config());
        world.put(case.dag.spec());
        let begin = SignedDuration::from_secs(10);
        let runs: Vec<RunKey> =
            (0..case.run.len()).map(|number| trigger(&mut world, number as i64, begin)).collect();
        if !case.given.is_empty() {
            give(&mut world, &runs, &case.given);
        }
        world.join(1, 1000, Vec::new());
        let mut replay = Self { case, world, runs, attempts: BTreeMap::new() };
        replay.pass(begin);
        replay
    }

    /// Lets time go by, and all that it brings.
    fn pass(&mut self, time: SignedDuration) {
        self.world.pass(time);
        // What is ended with the run ends as it is told; what is cleared, when the case says so.
        while let Some(cancelled) = self.cancelled() {
            self.world.report(cancelled, Report::Ended(Box::new(Outcome::new(AttemptEnd::Cancelled))));
        }
        self.attempts.extend(self.world.assigned().into_iter().map(|attempt| (attempt.ti, attempt)));
    }

    /// An attempt that is to end, and is over for the engine.
    fn cancelled(&mut self) -> Option<AttemptId> {
        let is_over = |attempt: &AttemptId| {
            self.world.engine.ti(attempt.ti).is_some_and(|ti| ti.state.name().is_finished())
        };
        let place = self
            .world
            .told
            .iter()
            .position(|message| matches!(message, ToWorker::Cancel(attempt) if is_over(attempt)))?;
        match self.world.told.remove(place) {
            ToWorker::Cancel(attempt) => Some(attempt),
            _ => None,
        }
    }

    fn happen(&mut self, event: &str) -> Result<(), String> {
        let mut words = event.split(' ');
        let (who, how) = (words.next().unwrap(), words.next().unwrap());
        if how == "clear" {
            self.clear(who, words.next());
            return Ok(());
        }
        let (who, number) = who.split_once('@').unwrap_or((who, "1"));
        let (task, map_index) = place(who);
        let run = self.runs[number.parse::<usize>().unwrap() - 1];
        let dag = self.world.engine.run(run).ok_or("the run is over")?.1.clone();
        let key = TiKey { run, task: dag.find(task).unwrap(), map_index };
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

    fn clear(&mut self, who: &str, direction: Option<&str>) {
        let copy = |index| Some(index).filter(|index| *index != MapIndex::NONE);
        let tasks = who.split(',').map(place).map(|(task, index)| (task.into(), copy(index))).collect();
        let clear = Clear {
            run: self.runs[0],
            tasks,
            upstream: direction == Some("up"),
            downstream: direction == Some("down"),
            only_failed: false,
            only_running: false,
            reset_run: true,
            latest: false,
            dry_run: false,
        };
        self.world.command(Command::Clear(clear)).unwrap();
        self.pass(SignedDuration::ZERO);
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
        for (number, run) in self.runs.iter().enumerate() {
            for (key, (task, state)) in self.world.instances(*run) {
                let name = if number == 0 { task } else { format!("{task}@{}", number + 1) };
                let (text, letter) = (shown.entry(name).or_default(), letter(state));
                if key.map_index != MapIndex::NONE {
                    let before = if text.is_empty() { "[" } else { text.trim_end_matches(']') };
                    *text = format!("{before}{letter}]");
                } else {
                    text.push(letter);
                }
            }
        }
        shown
    }
}

fn place(who: &str) -> (&str, MapIndex) {
    let (task, index) = who.split_once('#').unwrap_or((who, "-1"));
    (task, MapIndex(index.parse().unwrap()))
}

fn config() -> Config {
    Config { max_map_length: 4, ..Config::default() }
}

/// A run, the later ones with a later date, that all begin after a while.
fn trigger(world: &mut World, number: i64, begin: SignedDuration) -> RunKey {
    let reply = world.command(Command::Trigger(Trigger {
        dag: DagKey::new("default", "d"),
        run_id: None,
        logical_date: Some(world.now + SignedDuration::from_secs(number)),
        data_interval: None,
        run_after: Some(world.now + begin),
        conf: Arc::new(json!({})),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: "cli",
    }));
    match reply.unwrap() {
        Reply::Run(run, _) => run,
        other => panic!("no run but {other:?}"),
    }
}

/// Puts tasks into states in which they can't be found by playing alone: the engine is made anew from a store
/// that has them so.
fn give(world: &mut World, runs: &[RunKey], given: &BTreeMap<String, String>) {
    let mut stored = Snapshot::default();
    for run in runs {
        let (version, mut snapshot): (_, RunSnapshot) = world.stored(*run);
        snapshot.tis.iter_mut().for_each(|ti| ti.state = given_state(given.get(&*ti.task_id)));
        let tis = snapshot.tis.iter().map(|ti| (ti.key, ti.clone())).collect();
        world.batches.push(Batch { tis, ..Batch::default() });
        stored.versions = vec![version];
        stored.runs.push(snapshot);
        stored.last_run = run.0;
    }
    stored.dags = world.batches.iter().flat_map(|batch| batch.dags.values().cloned()).take(1).collect();
    stored.pools = world.batches.iter().flat_map(|batch| batch.pools.values().cloned()).collect();
    world.engine = Engine::restore(config(), stored, world.now);
}

fn given_state(letter: Option<&String>) -> TiState {
    match letter.map(String::as_str) {
        None | Some("n") => TiState::None,
        Some("s") => TiState::Success,
        Some("f") => TiState::Failed,
        Some("k") => TiState::Skipped,
        Some("u") => TiState::UpstreamFailed,
        Some("r") => TiState::Removed,
        Some(other) => panic!("no such state: {other}"),
    }
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
        TiStateName::Restarting => 'X',
        TiStateName::Paused | TiStateName::Deferred | TiStateName::UpForReschedule => {
            panic!("no case is about {state}")
        }
    }
}
