//! Whether a task instance may run now, never, or not yet.

use std::sync::Arc;

use jiff::{Timestamp, Zoned, tz::TimeZone};

use super::{
    Engine,
    run::{Past, Run},
};
use crate::{
    End, MapIndex, RunState, TaskIx, TaskKind, TiEvent, TiKey, TiState, TiStateName, TriggerRule, Wait,
    WaitRule,
    input::Want,
    record::TiRow,
    trigger_rule::{Counts, Verdict},
};

/// What was found out about a task instance that has not begun.
enum Decision {
    Wait,
    /// Only the run before stands in the way.
    WaitForPast,
    /// The run before has to be looked up.
    AskForPast,
    Become(End, Arc<str>),
    /// A mapped task whose number of copies is known now.
    Expand(u32),
    Ready,
}

impl Engine {
    /// Looks at all instances of a task that have not begun.
    pub(super) fn evaluate(&mut self, now: Timestamp, run_key: crate::RunKey, task: TaskIx) {
        let Some(run) = self.runs.get(&run_key) else { return };
        let dag_paused = self.dags.get(&run.row.dag).is_some_and(|dag| dag.row.is_paused);
        if run.row.state != RunState::Running || dag_paused {
            return;
        }
        self.revise(now, run_key, task);
        let Some(run) = self.runs.get(&run_key) else { return };
        let waiting: Vec<TiKey> = run.tasks[task.usize()]
            .instances
            .iter()
            .filter(|ti| ti.state == TiState::None)
            .map(|ti| ti.key)
            .collect();
        for key in waiting {
            let Some(run) = self.runs.get(&run_key) else { return };
            match self.decide(run, key) {
                Decision::Wait | Decision::WaitForPast => {}
                Decision::AskForPast => self.ask_for_past(run_key),
                Decision::Become(end, reason) => {
                    self.end(now, key, end, reason);
                }
                Decision::Expand(0) => {
                    self.end(now, key, End::Skipped, "it is mapped over nothing: the list is empty");
                }
                Decision::Expand(copies) => self.expand(key, copies),
                Decision::Ready => self.make_ready(now, key),
            }
        }
    }

    /// Whether nothing but the run before keeps a task instance that has not begun from beginning.
    pub(super) fn waits_for_past(&self, run: &Run, key: TiKey) -> bool {
        matches!(self.decide(run, key), Decision::WaitForPast | Decision::AskForPast)
    }

    fn decide(&self, run: &Run, key: TiKey) -> Decision {
        let state = &run.tasks[key.task.usize()];
        if state.skip_votes > 0 {
            return Decision::Become(End::Skipped, skipped_by(run, key.task));
        }
        if let Some(decision) = upstream(run, key) {
            return decision;
        }
        match self.past(run, key) {
            Ok(true) => {}
            Ok(false) => return Decision::WaitForPast,
            Err(()) => return Decision::AskForPast,
        }
        if key.map_index == MapIndex::NONE && run.dag.mapping(key.task).is_some() {
            return copies(run, key.task);
        }
        Decision::Ready
    }

    /// Whether the run before lets this one begin (Airflow's `depends_on_past` and `wait_for_downstream`).
    fn past(&self, run: &Run, key: TiKey) -> Result<bool, ()> {
        let spec = run.dag.task(key.task);
        if !spec.looks_at_past() {
            return Ok(true);
        }
        let before = match run.past {
            Past::Unknown => return Err(()),
            Past::Asked => return Ok(false),
            Past::None => return Ok(true),
            Past::Is(before) => match self.runs.get(&before) {
                Some(before) => before,
                None => return Ok(true),
            },
        };
        let good = |ti: &TiRow| matches!(ti.state, TiState::Success | TiState::Skipped);
        let Some(task) = before.dag.find(&spec.task_id) else {
            return Ok(spec.ignore_first_depends_on_past);
        };
        let instances = &before.tasks[task.usize()].instances;
        if instances.is_empty() {
            return Ok(spec.ignore_first_depends_on_past);
        }
        let after_too = !spec.wait_for_downstream
            || before.dag.downstream(task).iter().all(|d| before.tasks[d.usize()].instances.iter().all(good));
        Ok(instances.iter().all(good) && after_too)
    }

    fn ask_for_past(&mut self, key: crate::RunKey) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.past = Past::Asked;
        let want = Want {
            before: key,
            dag: run.row.dag.clone(),
            logical_date: run.date(),
            only_scheduled: run.dag.spec().catchup,
        };
        self.out.wants.push(want);
    }

    /// Puts the copies of a mapped task in the place of the one that stood for all.
    fn expand(&mut self, key: TiKey, copies: u32) {
        let Some(run) = self.runs.get_mut(&key.run) else { return };
        let Some(stood_for_all) = run.take(key) else { return };
        for index in 0..copies {
            let mut copy = stood_for_all.clone();
            copy.key.map_index = MapIndex(index as i32);
            self.changed.tis.insert(copy.key);
            run.insert(copy);
        }
        self.changed.tis.remove(&key);
        self.out.batch.deleted_tis.insert(key);
        self.look_at_neighbours(key);
        self.todo.insert((key.run, key.task));
    }

    /// Adds or removes copies of a mapped task that begins anew, where what it is mapped over has changed.
    fn revise(&mut self, now: Timestamp, run_key: crate::RunKey, task: TaskIx) {
        let Some(run) = self.runs.get(&run_key) else { return };
        let instances = &run.tasks[task.usize()].instances;
        let mapped = run.dag.mapping(task).is_some();
        let is_copy = |ti: &TiRow| ti.key.map_index != MapIndex::NONE;
        if !mapped || instances.is_empty() || !instances.iter().all(is_copy) {
            return;
        }
        let begins = instances.iter().any(|ti| ti.state == TiState::None);
        let Some(length) = begins.then(|| length(run, task)).flatten() else { return };
        let last = instances.last().map_or(-1, |ti| ti.key.map_index.0);
        let too_many: Vec<TiKey> = instances
            .iter()
            .filter(|ti| ti.key.map_index.0 >= length as i32 && !ti.state.is_finished())
            .map(|ti| ti.key)
            .collect();
        for key in too_many {
            self.end(now, key, End::Removed, "what it is mapped over became shorter");
        }
        if let Some(run) = self.runs.get_mut(&run_key) {
            // A copy of this index may have been there before the task was mapped anew: its tries stay used.
            let tries = run.tasks[task.usize()].instances.iter().map(|ti| ti.try_number).max().unwrap_or(0);
            for index in last + 1..length as i32 {
                let mut fresh = run.fresh(task, MapIndex(index));
                fresh.try_number = tries;
                fresh.max_tries += tries;
                self.changed.tis.insert(fresh.key);
                run.insert(fresh);
            }
        }
    }

    /// Marks for evaluation what comes after a task whose number of instances has changed.
    fn look_at_neighbours(&mut self, key: TiKey) {
        let Some(run) = self.runs.get(&key.run) else { return };
        let dag = run.dag.clone();
        for task in dag.downstream(key.task) {
            self.todo.insert((key.run, *task));
        }
    }

    fn make_ready(&mut self, now: Timestamp, key: TiKey) {
        let Some((_, spec)) = self.spec(key) else { return };
        match &spec.kind {
            TaskKind::Empty => {
                self.begin_try(now, key);
                if self.transition(now, key, TiEvent::Ready, None) {
                    self.succeed_at_once(now, key);
                }
            }
            TaskKind::Run | TaskKind::Watch | TaskKind::Wait(_) => {
                self.transition(now, key, TiEvent::Ready, None);
            }
        }
    }

    /// Begins to wait for a time, now that the limits allow it.
    pub(super) fn begin_wait(&mut self, now: Timestamp, key: TiKey) {
        let Some((run, spec)) = self.spec(key) else { return };
        let TaskKind::Wait(rule) = &spec.kind else { return };
        let until = wait_until(rule, run, now);
        self.begin_try(now, key);
        if until <= now {
            self.succeed_at_once(now, key);
        } else {
            self.transition(now, key, TiEvent::Deferred(Wait::Until(until)), None);
        }
    }

    /// Begins a try that no worker is needed for.
    fn begin_try(&mut self, now: Timestamp, key: TiKey) {
        if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
            ti.try_number += 1;
            ti.started_at = Some(now);
        }
    }
}

fn wait_until(rule: &WaitRule, run: &Run, now: Timestamp) -> Timestamp {
    let after = |from: Timestamp, delta| from.saturating_add(delta).unwrap_or(Timestamp::MAX);
    match rule {
        WaitRule::AfterInterval(delta) => {
            after(run.row.data_interval.map_or(run.row.run_after, |(_, end)| end), *delta)
        }
        WaitRule::AfterReady(delta) => after(now, *delta),
        WaitRule::At(at) => *at,
        WaitRule::TimeOfDay { time, zone } => {
            // A zone that is not known was refused when the DAG was read.
            let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
            let today = Zoned::new(now, zone.clone()).date();
            today.to_datetime(*time).to_zoned(zone).map_or(now, |at| at.timestamp())
        }
    }
}

/// What lies before a task instance decides, where it does not let it run.
fn upstream(run: &Run, key: TiKey) -> Option<Decision> {
    let rule = run.dag.task(key.task).trigger_rule;
    if rule == TriggerRule::Always {
        return None;
    }
    let setups = setups(run, key);
    if let Some(Decision::Become(..)) = setups {
        return setups;
    }
    let counts = run.counts(key);
    match rule.verdict(&counts, u32::try_from(key.map_index.0).ok()) {
        Verdict::Wait => return Some(Decision::Wait),
        Verdict::Become(end) => return Some(Decision::Become(end, because(run, key, &counts))),
        Verdict::Run => {}
    }
    let open = |task: &TaskIx| run.tasks[task.usize()].instances.iter().any(|ti| !ti.state.is_finished());
    match run.dag.node(key.task).scope.iter().any(open) {
        true => Some(Decision::Wait),
        false => setups,
    }
}

/// What the setups that are not directly before a task say, where they decide.
fn setups(run: &Run, key: TiKey) -> Option<Decision> {
    let setups = &run.dag.node(key.task).setups;
    let instances = || setups.iter().flat_map(|task| &run.tasks[task.usize()].instances);
    let mut waits = false;
    let mut skipped = None;
    for ti in instances() {
        match ti.state.name() {
            TiStateName::Failed | TiStateName::UpstreamFailed => {
                let reason = format!("setup `{}` did not succeed", ti.task_id);
                return Some(Decision::Become(End::UpstreamFailed, reason.into()));
            }
            TiStateName::Skipped => skipped = Some(&ti.task_id),
            TiStateName::Success | TiStateName::Removed => {}
            TiStateName::None
            | TiStateName::Scheduled
            | TiStateName::Queued
            | TiStateName::Running
            | TiStateName::Paused
            | TiStateName::Deferred
            | TiStateName::UpForRetry
            | TiStateName::UpForReschedule
            | TiStateName::Restarting => waits = true,
        }
    }
    match (skipped, waits) {
        (Some(task), _) => Some(Decision::Become(End::Skipped, format!("setup `{task}` was skipped").into())),
        (None, true) => Some(Decision::Wait),
        (None, false) => None,
    }
}

/// How many copies a mapped task gets, or what becomes of it where what it is mapped over failed.
fn copies(run: &Run, task: TaskIx) -> Decision {
    if let Some(copies) = length(run, task) {
        return Decision::Expand(u32::try_from(copies).unwrap_or(u32::MAX));
    }
    let sources = run.dag.mapping(task).map(|mapping| mapping.upstream()).unwrap_or_default();
    let mut skipped = None;
    for source in sources {
        let Some(source) = run.dag.find(source) else { continue };
        for ti in &run.tasks[source.usize()].instances {
            match ti.state.name() {
                TiStateName::Failed | TiStateName::UpstreamFailed => {
                    let reason = format!("it is mapped over the result of `{}`, which failed", ti.task_id);
                    return Decision::Become(End::UpstreamFailed, reason.into());
                }
                TiStateName::Skipped => skipped = Some(ti.task_id.clone()),
                TiStateName::None
                | TiStateName::Scheduled
                | TiStateName::Queued
                | TiStateName::Running
                | TiStateName::Paused
                | TiStateName::Deferred
                | TiStateName::UpForRetry
                | TiStateName::UpForReschedule
                | TiStateName::Restarting
                | TiStateName::Success
                | TiStateName::Removed => {}
            }
        }
        if run.tasks[source.usize()].instances.is_empty() {
            let reason = format!("it is mapped over the result of `{source}`, which this run leaves out");
            return Decision::Become(End::UpstreamFailed, reason.into());
        }
    }
    match skipped {
        Some(task) => Decision::Become(
            End::Skipped,
            format!("it is mapped over the result of `{task}`, which was skipped").into(),
        ),
        None => Decision::Wait,
    }
}

fn length(run: &Run, task: TaskIx) -> Option<usize> {
    let mapping = run.dag.mapping(task)?;
    mapping.length(&mut |source| run.result_length(run.dag.find(source)?))
}

fn skipped_by(run: &Run, task: TaskIx) -> Arc<str> {
    match run.all().find(|ti| ti.skips.contains(&task)) {
        Some(by) => format!("`{}` chose another way", by.task_id).into(),
        None => "a task before it chose another way".into(),
    }
}

fn because(run: &Run, key: TiKey, counts: &Counts) -> Arc<str> {
    let rule = run.dag.task(key.task).trigger_rule;
    let parts = [
        (counts.success, "succeeded"),
        (counts.failed, "failed"),
        (counts.upstream_failed, "upstream_failed"),
        (counts.skipped, "skipped"),
        (counts.removed, "removed"),
    ];
    let told: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    format!("trigger rule {rule}: of {} before it {}", counts.expected, told.join(", ")).into()
}
