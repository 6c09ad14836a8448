//! Why a task instance does not run.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Engine,
    dispatch::{EVERYTHING_PAUSED, Needs},
    run::Past,
    run::Run,
};
use crate::{MapIndex, RunState, TiKey, TiState, TiStateName, Wait, trigger_rule::Verdict};

/// Why a task instance is where it is, in sentences; the first one matters most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// Where it is.
    pub state: TiStateName,
    /// Why.
    pub reasons: Vec<String>,
    /// When it moves on by itself, where that is known.
    pub until: Option<Timestamp>,
}

impl Engine {
    /// Why a task instance is where it is; `None` where the engine does not have its run in mind.
    pub fn explain(&self, key: TiKey) -> Option<Why> {
        let run = self.runs.get(&key.run)?;
        let ti = run.ti(key)?;
        let mut reasons: Vec<String> = ti.reason.iter().map(|reason| reason.to_string()).collect();
        match &ti.state {
            TiState::None => reasons.extend(self.why_not_begun(run, key)),
            TiState::Scheduled => {
                if reasons.is_empty() {
                    reasons.push(self.why_no_worker(key));
                }
                // Whatever it waited for when it was looked at last, a pause keeps it, too.
                let pauses: Vec<String> = self.pauses(run).filter(|pause| !reasons.contains(pause)).collect();
                reasons.splice(0..0, pauses);
            }
            TiState::Queued(a) => {
                reasons.push(format!("handed to worker `{}`, which has not begun it", a.worker))
            }
            TiState::Deferred(Wait::Until(_)) => reasons.push("it waits for a time".into()),
            TiState::Deferred(Wait::Worker(a)) => {
                reasons.push(format!("worker `{}` watches for it; it holds no slot", a.worker));
            }
            TiState::Restarting(a) => {
                reasons
                    .push(format!("it was cleared; worker `{}` has to end the old attempt first", a.worker));
            }
            TiState::Running(a) => reasons.push(format!("it runs on worker `{}`", a.worker)),
            TiState::Paused(_)
            | TiState::UpForRetry(_)
            | TiState::UpForReschedule(_)
            | TiState::Success
            | TiState::Failed
            | TiState::Skipped
            | TiState::UpstreamFailed
            | TiState::Removed => {}
        }
        Some(Why { state: ti.state.name(), reasons, until: ti.state.wakes_at() })
    }

    /// The pauses that keep what is of a run from beginning.
    fn pauses(&self, run: &Run) -> impl Iterator<Item = String> {
        let everything = self.paused.then(|| EVERYTHING_PAUSED.into());
        let is_paused = self.dags.get(&run.row.dag).is_some_and(|dag| dag.row.is_paused);
        let of_dag = is_paused.then(|| format!("the DAG `{}` is paused", run.row.dag));
        everything.into_iter().chain(of_dag)
    }

    fn why_not_begun(&self, run: &Run, key: TiKey) -> Vec<String> {
        let dag = self.dags.get(&run.row.dag);
        let mut reasons: Vec<String> = self.pauses(run).collect();
        match run.row.state {
            RunState::Queued => {
                let most = dag.map_or(0, |dag| dag.dag.spec().max_active_runs);
                reasons.push(format!(
                    "its run has not begun: it may from {} on, when fewer than {most} runs are active \
                     (max_active_runs)",
                    run.row.run_after
                ));
            }
            RunState::Running => {}
            RunState::Success | RunState::Failed => reasons.push("its run is over".into()),
        }
        let spec = run.dag.task(key.task);
        let counts = run.counts(key);
        if spec.trigger_rule.verdict(&counts, None) == Verdict::Wait {
            let open = run.dag.upstream(key.task).iter().flat_map(|up| &run.tasks[up.usize()].instances);
            let open: Vec<String> = open
                .filter(|ti| !ti.state.is_finished())
                .take(5)
                .map(|ti| format!("`{}` is {}", ti.task_id, ti.state.name()))
                .collect();
            let (rule, done, of) = (spec.trigger_rule, counts.done(), counts.expected);
            reasons
                .push(format!("trigger rule {rule}: {done} of {of} before it are over; {}", open.join(", ")));
        }
        if spec.looks_at_past() {
            match run.past {
                Past::Unknown | Past::Asked => reasons.push("the run before is being looked up".into()),
                Past::None => {}
                Past::Is(before) => {
                    if let Some(before) = self.runs.get(&before) {
                        let name = &before.row.run_id;
                        reasons.push(format!("depends_on_past: it has to have succeeded in run `{name}`"));
                    }
                }
            }
        }
        if run.dag.mapping(key.task).is_some() && key.map_index == MapIndex::NONE {
            reasons.push("what it is mapped over is not there yet".into());
        }
        reasons
    }

    fn why_no_worker(&self, key: TiKey) -> String {
        let Some(needs) = self.needs_of(key) else { return String::new() };
        let serving: Vec<_> = self.workers.values().filter(|worker| worker.takes(&needs)).collect();
        if serving.is_empty() {
            let stopping = self.workers.iter().find(|(_, worker)| worker.stops_taking(&needs));
            return match stopping {
                Some((id, worker)) => {
                    let left = worker.held().count();
                    format!(
                        "worker `{id}` takes nothing more, since it drains or is being stopped, with {left} left; \
                         another has to come, or this one to be resumed (`updraft workers resume {id}`)"
                    )
                }
                None => match self.workers.iter().find(|(_, worker)| worker.is_away_from(&needs)) {
                    Some((id, _)) => format!("worker `{id}` is away, and is given nothing until it is back"),
                    None => format!("no worker that is there {}", needs.of_a_worker()),
                },
            };
        }
        let used: u32 = serving.iter().map(|worker| worker.used()).sum();
        let free: u32 = serving.iter().map(|worker| worker.free()).sum();
        let most = serving.iter().map(|worker| worker.free()).max().unwrap_or(0);
        let Needs { queue, slots, .. } = &needs;
        match (free, most < *slots) {
            (0, true) => format!("all {used} slots of the workers that serve queue `{queue}` are taken"),
            (_, true) => {
                format!("it takes {slots} slots of one worker, of which no more than {most} are free")
            }
            // Who could begin has begun.
            (_, false) => "what is free is kept for one before it that takes more slots".into(),
        }
    }
}

impl Needs {
    /// What a worker has that will do, in words: `serves queue …`.
    fn of_a_worker(&self) -> String {
        let Self { namespace, queue, labels, slots } = self;
        let mut text = format!("serves queue `{queue}` for namespace `{namespace}`");
        for (name, value) in labels {
            text += &format!(", with the label `{name}={value}`");
        }
        if *slots > 1 {
            text += &format!(", with {slots} slots");
        }
        text
    }
}
