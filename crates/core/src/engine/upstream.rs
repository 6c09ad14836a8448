//! What lies before a task instance: whether it lets it run, and how many copies it makes of it.
//!
//! Where several things decide, the order is that of Airflow 3.3.2: each of its dependencies may set the
//! state, first the trigger rule, then a branch that left the task out, then what the task is mapped over.

use std::sync::Arc;

use super::{branch, evaluate::Decision, run::Run};
use crate::{
    End, MapIndex, TaskIx, TiKey, TiStateName, TriggerRule,
    trigger_rule::{Counts, Verdict},
};

/// What decides about a task instance before it may run; nothing, where it may.
pub(super) fn decides(run: &Run, key: TiKey) -> Option<Decision> {
    let source = source(run, key.task);
    if let Some(Decision::Become(End::UpstreamFailed, _)) = source {
        return source;
    }
    if run.is_left_out(key) {
        return Some(Decision::Become(End::Skipped, left_out_by(run, key)));
    }
    match by_rule(run, key) {
        Some(Decision::Become(End::UpstreamFailed, reason)) => {
            Some(Decision::Become(End::UpstreamFailed, reason))
        }
        other => source.or(other),
    }
}

/// What the trigger rule and the setups say.
fn by_rule(run: &Run, key: TiKey) -> Option<Decision> {
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
    let is_over = |task: &TaskIx| run.before(key, *task).iter().all(|ti| ti.state.is_finished());
    match run.dag.node(key.task).scope.iter().all(is_over) {
        true => setups,
        false => Some(Decision::Wait),
    }
}

/// What the setups that are not directly before a task say, where they decide.
fn setups(run: &Run, key: TiKey) -> Option<Decision> {
    let setups = &run.dag.node(key.task).setups;
    let mut waits = false;
    let mut skipped = None;
    for ti in setups.iter().flat_map(|setup| run.before(key, *setup)) {
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

/// What a task that is mapped becomes where what it is mapped over came to nothing. What was mapped itself
/// counts as long as it has no copies: a copy more or less is one value more or less.
fn source(run: &Run, task: TaskIx) -> Option<Decision> {
    let mut skipped = None;
    for name in run.dag.mapping(task)?.upstream() {
        let Some(source) = run.dag.find(name) else { continue };
        let instances = &run.tasks[source.usize()].instances;
        let whole = instances.iter().find(|ti| ti.key.map_index == MapIndex::NONE);
        let over = |what: &str| format!("it is mapped over the result of `{name}`, which {what}").into();
        match whole.map(|ti| ti.state.name()) {
            Some(TiStateName::Failed | TiStateName::UpstreamFailed) => {
                return Some(Decision::Become(End::UpstreamFailed, over("failed")));
            }
            None if instances.is_empty() => {
                return Some(Decision::Become(End::UpstreamFailed, over("this run leaves out")));
            }
            Some(TiStateName::Skipped) => skipped = Some(over("was skipped")),
            Some(
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
                | TiStateName::Removed,
            )
            | None => {}
        }
    }
    skipped.map(|reason| Decision::Become(End::Skipped, reason))
}

/// How many copies a mapped task gets.
pub(super) fn copies(run: &Run, task: TaskIx) -> Decision {
    if let Some(copies) = length(run, task) {
        return Decision::Expand(u32::try_from(copies).unwrap_or(u32::MAX));
    }
    let mapping = run.dag.mapping(task);
    let sources = mapping.map(|mapping| mapping.upstream()).unwrap_or_default();
    let is_over =
        |source: TaskIx| run.tasks[source.usize()].instances.iter().all(|ti| ti.state.is_finished());
    match sources.iter().filter_map(|name| run.dag.find(name)).all(is_over) {
        true => Decision::Become(End::UpstreamFailed, "what it is mapped over left no result".into()),
        false => Decision::Wait,
    }
}

/// How many values there are to map a task over; `None` while that is open.
pub(super) fn length(run: &Run, task: TaskIx) -> Option<usize> {
    let mapping = run.dag.mapping(task)?;
    mapping.length(&mut |source| run.result_length(run.dag.find(source)?))
}

/// Who left it out, and why.
pub(super) fn left_out_by(run: &Run, key: TiKey) -> Arc<str> {
    match run.all().find(|ti| run.leaves_out(ti, key)) {
        Some(by) => branch::left_out_by(run, by, key.task),
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
