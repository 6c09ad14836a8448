//! Why a task instance does not run.

use jiff::Timestamp;
use serde::Serialize;

use super::{Engine, dispatch::EVERYTHING_PAUSED, run::Past, run::Run};
use crate::{MapIndex, RunState, TaskKind, TiKey, TiState, TiStateName, Wait, trigger_rule::Verdict};

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
                    reasons.push(self.why_no_worker(run, key));
                }
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

    fn why_not_begun(&self, run: &Run, key: TiKey) -> Vec<String> {
        let mut reasons = Vec::new();
        let dag = self.dags.get(&run.row.dag);
        if self.paused {
            reasons.push(EVERYTHING_PAUSED.into());
        }
        let paused = dag.is_some_and(|dag| dag.row.is_paused);
        if paused {
            reasons.push(format!("the DAG `{}` is paused", run.row.dag));
        }
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

    fn why_no_worker(&self, run: &Run, key: TiKey) -> String {
        let (namespace, queue) = (&run.row.dag.namespace, &run.dag.task(key.task).queue);
        let needs_slot = run.dag.task(key.task).kind == TaskKind::Run;
        let serving: Vec<_> = self.workers.values().filter(|worker| worker.takes(namespace, queue)).collect();
        if serving.is_empty() {
            let stopping = self.workers.iter().find(|(_, worker)| worker.stops_taking(namespace, queue));
            return match stopping {
                Some((id, worker)) => {
                    let left = worker.held().count();
                    format!(
                        "worker `{id}` takes nothing more, since it drains or is being stopped, with {left} left; \
                         another has to come, or this one to be resumed (`updraft workers resume {id}`)"
                    )
                }
                None => match self.workers.iter().find(|(_, worker)| worker.is_away_from(namespace, queue)) {
                    Some((id, _)) => format!("worker `{id}` is away, and is given nothing until it is back"),
                    None => {
                        format!("no worker that is there serves queue `{queue}` for namespace `{namespace}`")
                    }
                },
            };
        }
        let used: u32 = serving.iter().map(|worker| worker.used()).sum();
        let free: u32 = serving.iter().map(|worker| worker.free()).sum();
        match needs_slot && free == 0 {
            true => format!("all {used} slots of the workers that serve queue `{queue}` are taken"),
            false => "it is next".into(),
        }
    }
}
