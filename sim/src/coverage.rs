//! What was seen: which input met a task instance in which state, while what was wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use updraft_core::{
    Engine, TiKey, TiStateName,
    input::{AttemptEnd, Command, Input, Report, WorkerEvent},
    record::Batch,
};

/// What was seen in one world or in several.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// A task instance's state, the input that concerned it, and what was going wrong.
    pub triples: BTreeSet<(TiStateName, &'static str, &'static str)>,
    /// Changes of state, from and to.
    pub transitions: BTreeSet<(TiStateName, TiStateName)>,
    /// What went wrong, and how often.
    pub faults: BTreeMap<&'static str, u64>,
}

/// The inputs that are about a task instance.
const ABOUT_ONE: [&str; 17] = [
    "mark success",
    "mark failed",
    "mark skipped",
    "pause",
    "continue",
    "stop",
    "joined with it",
    "named",
    "started",
    "deferred",
    "ended success",
    "ended skipped",
    "ended failed",
    "ended failed for good",
    "ended rescheduled",
    "ended cancelled",
    "ended lost",
];

impl Coverage {
    /// Takes in what was seen elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.triples.extend(&other.triples);
        self.transitions.extend(&other.transitions);
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn note(&mut self, engine: &Engine, input: &Input, fault: &'static str) {
        if let Input::Worker { event: WorkerEvent::Report { attempt, .. }, .. } = input {
            let ti = engine.ti(attempt.ti);
            if ti.is_none_or(|ti| (ti.try_number, ti.lease) != (attempt.try_number, attempt.lease)) {
                self.count("report of an older attempt");
            } else if ti.is_some_and(|ti| ti.state.assignment().is_none()) {
                self.count("report repeated");
            }
        }
        let (kind, concerned) = concerns(input);
        for key in concerned {
            if let Some(ti) = engine.ti(key) {
                self.triples.insert((ti.state.name(), kind, fault));
            }
        }
    }

    pub(crate) fn note_batch(&mut self, batch: &Batch) {
        self.transitions.extend(batch.transitions.iter().map(|row| (row.from, row.to)));
    }
}

/// How much of all states, inputs and faults was seen, and for each input the states in which it met no task instance.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: BTreeSet<_> = self.triples.iter().map(|(_, _, fault)| fault).collect();
        let pairs: BTreeSet<_> = self.triples.iter().map(|(state, input, _)| (*input, *state)).collect();
        let all = ABOUT_ONE.len() * TiStateName::ALL.len();
        writeln!(
            f,
            "{} of {all} pairs of input and state, and {} of {} with what was going wrong; never met:",
            pairs.len(),
            self.triples.len(),
            all * faults.len(),
        )?;
        for input in ABOUT_ONE {
            let never = TiStateName::ALL.iter().filter(|state| !pairs.contains(&(input, **state)));
            let never: Vec<&str> = never.map(|state| state.as_str()).collect();
            if !never.is_empty() {
                writeln!(f, "{input:>22}  {}", never.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The kind of an input, and the task instances that it is directly about.
fn concerns(input: &Input) -> (&'static str, Vec<TiKey>) {
    match input {
        Input::Clock => ("clock", Vec::new()),
        Input::ClockSet { .. } => ("clock set", Vec::new()),
        Input::Loaded { .. } => ("loaded", Vec::new()),
        Input::Past { .. } => ("past", Vec::new()),
        Input::AssetEventKnown { .. } => ("event known", Vec::new()),
        Input::Command { command, .. } => match command {
            Command::Mark { tis, state } => {
                let kind = match state {
                    updraft_core::End::Success => "mark success",
                    updraft_core::End::Failed => "mark failed",
                    updraft_core::End::Skipped => "mark skipped",
                    updraft_core::End::UpstreamFailed | updraft_core::End::Removed => "mark otherwise",
                };
                (kind, tis.clone())
            }
            Command::Pause(ti) => ("pause", vec![*ti]),
            Command::Continue(ti) => ("continue", vec![*ti]),
            Command::Stop(ti) => ("stop", vec![*ti]),
            _ => ("command", Vec::new()),
        },
        Input::Worker { event, .. } => match event {
            WorkerEvent::Joined { held, .. } => ("joined with it", held.iter().map(|a| a.ti).collect()),
            WorkerEvent::Heartbeat => ("heartbeat", Vec::new()),
            WorkerEvent::Draining => ("draining", Vec::new()),
            WorkerEvent::Away => ("away", Vec::new()),
            WorkerEvent::Left => ("left", Vec::new()),
            WorkerEvent::Report { attempt, report, .. } => (report_kind(report), vec![attempt.ti]),
        },
    }
}

fn report_kind(report: &Report) -> &'static str {
    match report {
        Report::Named(_) => "named",
        Report::Started => "started",
        Report::Deferred { .. } => "deferred",
        Report::Ended(outcome) => match outcome.end {
            AttemptEnd::Success => "ended success",
            AttemptEnd::Skipped => "ended skipped",
            AttemptEnd::Failed => "ended failed",
            AttemptEnd::FailedForGood => "ended failed for good",
            AttemptEnd::Rescheduled(_) => "ended rescheduled",
            AttemptEnd::Cancelled => "ended cancelled",
            AttemptEnd::Lost => "ended lost",
        },
    }
}

/// An input in one line.
pub(crate) struct Shown<'a>(pub &'a Input);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::Clock => f.write_str("the time"),
            Input::ClockSet { by } => write!(f, "that its clock was set by {by}"),
            Input::Loaded { run, .. } => write!(f, "run {} from the store", run.run.key),
            Input::Past { of, found } => {
                write!(f, "what is before run {of}: {:?}", found.as_ref().map(|found| found.1.run.key))
            }
            Input::AssetEventKnown { event, key, .. } => write!(f, "that {key} was event {event}"),
            Input::Command { id, command, .. } => match command {
                Command::PutDag { spec, hash, .. } => write!(f, "command {id}: put {} {hash}", spec.dag_id),
                command => write!(f, "command {id}: {command:?}"),
            },
            Input::Worker { worker, incarnation, event } => match event {
                WorkerEvent::Report { attempt, report, .. } => {
                    write!(f, "{worker}/{incarnation}: {attempt} {}", ShownReport(report))
                }
                event => write!(f, "{worker}/{incarnation}: {event:?}"),
            },
        }
    }
}

/// A report in a few words.
pub(crate) struct ShownReport<'a>(pub &'a Report);

impl fmt::Display for ShownReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(report_kind(self.0))?;
        match self.0 {
            Report::Ended(outcome) => match &outcome.branch {
                Some(branch) => write!(f, " {:?} {branch:?}", outcome.result_length),
                None => write!(f, " {:?} {:?}", outcome.exit_code, outcome.result_length),
            },
            Report::Named(_) | Report::Started | Report::Deferred { .. } => Ok(()),
        }
    }
}

/// What a batch changes, in one line.
pub(crate) struct ShownBatch<'a>(pub &'a Batch);

impl fmt::Display for ShownBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = self.0;
        for (key, dag) in &batch.dags {
            write!(f, "{key} v{} ", dag.version)?;
        }
        for (key, run) in &batch.runs {
            write!(f, "run {key} {} ", run.state)?;
        }
        for t in &batch.transitions {
            write!(f, "{}.{}.{} {}->{}, ", t.ti.run, t.ti.task, t.ti.map_index, t.from, t.to)?;
        }
        write!(f, "({} tis)", batch.tis.len())?;
        if !batch.deleted_tis.is_empty() {
            write!(f, " gone: {:?}", batch.deleted_tis)?;
        }
        if !batch.deleted_runs.is_empty() || !batch.deleted_dags.is_empty() {
            write!(f, " gone: {:?} {:?}", batch.deleted_runs, batch.deleted_dags)?;
        }
        Ok(())
    }
}
