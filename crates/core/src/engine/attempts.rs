//! What workers report about attempts, and what follows for the task instances.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Engine, upstream::left_out_by};
use crate::{
    AlertOn, AttemptId, End, MapIndex, Mapping, TiEvent, TiKey, TiState, TiStateName, Wait, WorkerId,
    XcomValue,
    input::{AttemptEnd, Outcome, Report, ToWorker},
    record::{TaskStatsRow, XcomRow},
    retry::is_tried_again,
};

/// The mean duration of a task follows the last so many successes.
const STATS_OVER: u64 = 20;

impl Engine {
    pub(super) fn on_report(
        &mut self,
        now: Timestamp,
        worker: &WorkerId,
        attempt: AttemptId,
        at: Timestamp,
        report: Report,
    ) {
        let current = self.is_current(worker, attempt);
        match report {
            Report::Named(name) if current => self.on_named(attempt.ti, name.into()),
            Report::Named(_) => {}
            Report::Started if current => self.on_started(now, attempt.ti, at),
            // Somebody else has it by now, or nobody: what runs there is not wanted.
            Report::Started => self.tell(worker, ToWorker::Cancel(attempt)),
            Report::Deferred { until } => {
                self.release(worker, attempt);
                self.tell(worker, ToWorker::Acknowledge(attempt));
                if current {
                    self.on_started(now, attempt.ti, at);
                    self.on_deferred(now, attempt.ti, until);
                }
            }
            Report::Ended(outcome) => {
                if !current {
                    self.release(worker, attempt);
                } else if matches!(outcome.end, AttemptEnd::Lost | AttemptEnd::Cancelled) {
                    let why = outcome.message.as_deref().unwrap_or("its worker ended it");
                    // Somebody stops the worker in order, and may do so often: that is no sign of a task that
                    // takes its workers down.
                    let in_order = outcome.end == AttemptEnd::Cancelled && self.is_draining(worker);
                    self.lose(now, worker, attempt, (why, !in_order));
                } else {
                    self.release(worker, attempt);
                    self.on_ended(now, attempt.ti, at, *outcome);
                }
                self.tell(worker, ToWorker::Acknowledge(attempt));
            }
        }
    }

    fn on_named(&mut self, key: TiKey, name: Arc<str>) {
        let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) else { return };
        ti.name = Some(name);
        self.changed.tis.insert(key);
    }

    /// Notes when an attempt began. The worker's clock is believed as far as it is possible.
    fn on_started(&mut self, now: Timestamp, key: TiKey, at: Timestamp) {
        let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) else { return };
        let begins = matches!(ti.state, TiState::Queued(_));
        if ti.started_at.is_none() || matches!(ti.state, TiState::Deferred(_)) {
            ti.started_at = Some(at.clamp(ti.queued_at.unwrap_or(at).min(now), now));
        }
        self.changed.tis.insert(key);
        if begins {
            self.transition(now, key, TiEvent::Started, None);
        }
    }

    fn on_deferred(&mut self, now: Timestamp, key: TiKey, until: Timestamp) {
        if self.ti(key).is_some_and(|ti| matches!(ti.state, TiState::Restarting(_))) {
            self.restart(now, key);
        } else {
            self.is_not_lost(key);
            self.transition(now, key, TiEvent::Deferred(Wait::Until(until)), None);
        }
    }

    /// An attempt has ended by itself: the losses before it are no more in a row with what comes.
    fn is_not_lost(&mut self, key: TiKey) {
        if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
            ti.lost = 0;
        }
    }

    fn on_ended(&mut self, now: Timestamp, key: TiKey, at: Timestamp, outcome: Outcome) {
        match self.ti(key).map(|ti| ti.state.name()) {
            Some(TiStateName::Restarting) => return self.restart(now, key),
            // The child may have ended before anyone heard that it began.
            Some(TiStateName::Queued) => self.on_started(now, key, at),
            Some(_) | None => {}
        }
        if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
            ti.exit_code = outcome.exit_code;
        }
        if let Some(rendered) = &outcome.rendered {
            self.out.batch.rendered.insert(key, rendered.clone());
        }
        let reason: Option<Arc<str>> = outcome.message.as_deref().map(Into::into);
        match outcome.end.clone() {
            AttemptEnd::Success => match self.unmappable(key, &outcome) {
                None => self.on_success(now, key, at, &outcome),
                Some(reason) => self.on_failed(now, key, at, &outcome, Some(reason)),
            },
            AttemptEnd::Skipped => {
                self.leave_xcoms(now, key, &outcome);
                self.finish(now, key, End::Skipped, Some(at), reason);
            }
            AttemptEnd::Failed | AttemptEnd::FailedForGood => self.on_failed(now, key, at, &outcome, reason),
            AttemptEnd::Rescheduled(until) => {
                self.is_not_lost(key);
                self.transition(now, key, TiEvent::Reschedule(until), reason);
            }
            // Told apart before.
            AttemptEnd::Cancelled | AttemptEnd::Lost => {}
        }
    }

    fn on_success(&mut self, now: Timestamp, key: TiKey, at: Timestamp, outcome: &Outcome) {
        if let Some(branch) = &outcome.branch
            && let Err(reason) = self.follow_branch(now, key, branch)
        {
            return self.on_failed(now, key, at, outcome, Some(reason.into()));
        }
        self.leave_xcoms(now, key, outcome);
        let is_copy = key.map_index != MapIndex::NONE;
        let left = outcome.xcoms.iter().any(|(name, _)| name == "return_value");
        if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
            ti.result_length = if is_copy { left.then_some(1) } else { outcome.result_length };
        }
        self.follow_conditions(now, key, outcome, TiStateName::Success);
        self.finish(now, key, End::Success, Some(at), outcome.message.as_deref().map(Into::into));
        self.note_duration(key);
    }

    /// A task that needs no worker is done as soon as it may run.
    pub(super) fn succeed_at_once(&mut self, now: Timestamp, key: TiKey) {
        self.follow_conditions(now, key, &Outcome::new(AttemptEnd::Success), TiStateName::Success);
        self.finish(now, key, End::Success, None, None);
    }

    pub(super) fn on_failed(
        &mut self,
        now: Timestamp,
        key: TiKey,
        at: Timestamp,
        outcome: &Outcome,
        reason: Option<Arc<str>>,
    ) {
        let Some((run, spec)) = self.spec(key) else { return };
        let Some(ti) = run.ti(key) else { return };
        let tries = (ti.try_number, ti.max_tries);
        let again = is_tried_again(&outcome.end, outcome.exit_code, tries, &spec.retry.on_exit_codes);
        // The backoff counts the tries that failed since it last began anew: those before and those that
        // were lost have raised both numbers.
        let failures = (ti.try_number + spec.retry.retries).saturating_sub(ti.max_tries).max(1);
        let next = spec.retry.next_at(now, failures, &run.row.dag, &run.row.run_id, &spec.task_id);
        let left_out = run.is_left_out(key).then(|| left_out_by(run, key));
        // As in Airflow, what it pushed before it failed stays, until the next try begins.
        let pushed = outcome.xcoms.iter().filter(|(name, _)| name != "return_value");
        self.out.batch.xcoms.extend(xcoms_of(now, key, pushed));
        if !again {
            self.follow_conditions(now, key, outcome, TiStateName::Failed);
            let asked = outcome.end == AttemptEnd::FailedForGood;
            let usual = if asked { "it failed, and asked not to be tried again" } else { "it failed" };
            let reason = reason.unwrap_or_else(|| usual.into());
            return self.fail_for_good(now, key, Some(at), reason);
        }
        if left_out.is_some() {
            return self.finish(now, key, End::Skipped, Some(at), left_out);
        }
        self.is_not_lost(key);
        self.transition(now, key, TiEvent::Retry(next), reason);
        self.end_at(key, at, now);
        self.alert(now, key, AlertOn::Retry);
    }

    /// A task instance fails, whatever retries it may have left.
    pub(super) fn fail_for_good(
        &mut self,
        now: Timestamp,
        key: TiKey,
        at: Option<Timestamp>,
        reason: Arc<str>,
    ) {
        self.finish(now, key, End::Failed, at, Some(reason));
        let Some((run, _)) = self.spec(key) else { return };
        if run.dag.spec().fail_fast {
            self.stop_the_rest(now, key);
        }
    }

    /// The end of an attempt, with the alerts that follow.
    fn finish(
        &mut self,
        now: Timestamp,
        key: TiKey,
        end: End,
        at: Option<Timestamp>,
        reason: Option<Arc<str>>,
    ) {
        self.is_not_lost(key);
        self.transition(now, key, TiEvent::Ended(end), reason);
        if let Some(at) = at {
            self.end_at(key, at, now);
        }
        match end {
            End::Success => {
                self.alert(now, key, AlertOn::Success);
                self.tell_outlets(now, key);
            }
            End::Failed => self.alert(now, key, AlertOn::Failure),
            End::Skipped | End::UpstreamFailed | End::Removed => {}
        }
    }

    fn end_at(&mut self, key: TiKey, at: Timestamp, now: Timestamp) {
        if let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) {
            ti.ended_at = Some(at.clamp(ti.started_at.unwrap_or(at).min(now), now));
        }
    }

    /// With `fail_fast`, a failure ends what runs and skips what does not, teardowns and the other copies of
    /// the same task left aside (as Airflow does).
    fn stop_the_rest(&mut self, now: Timestamp, failed: TiKey) {
        let Some(run) = self.runs.get(&failed.run) else { return };
        let rest: Vec<(TiKey, bool)> = run
            .all()
            .filter(|ti| !ti.state.is_finished() || ti.state == TiState::UpstreamFailed)
            .filter(|ti| ti.key.task != failed.task)
            .filter(|ti| !run.dag.is_teardown(ti.key.task))
            .map(|ti| (ti.key, has_begun(&ti.state)))
            .collect();
        for (key, runs) in rest {
            self.tell_holder(key, ToWorker::Cancel);
            let end = if runs { End::Failed } else { End::Skipped };
            self.end(now, key, end, "another task failed, and the DAG has fail_fast");
        }
    }

    fn leave_xcoms(&mut self, now: Timestamp, key: TiKey, outcome: &Outcome) {
        self.out.batch.xcoms.extend(xcoms_of(now, key, outcome.xcoms.iter()));
    }

    /// A new try begins without the values that one before it left.
    pub(super) fn clear_xcoms(&mut self, key: TiKey) {
        // Those of a step before that is still to be written go too: a batch clears before it writes.
        self.out.batch.xcoms.retain(|xcom| xcom.ti != key);
        self.out.batch.cleared_xcoms.insert(key);
    }

    /// Why the result can't be mapped over, where a task is mapped over it.
    fn unmappable(&self, key: TiKey, outcome: &Outcome) -> Option<Arc<str>> {
        let (run, spec) = self.spec(key)?;
        let by = run.dag.node(key.task).mapped_by.first()?;
        // The copies of a mapped task leave one value each, whatever it is.
        if run.dag.mapping(key.task).is_some() {
            return None;
        }
        let of_kwargs = matches!(run.dag.mapping(*by), Some(Mapping::Kwargs(_)));
        let by = &run.dag.task(*by).task_id;
        match outcome.result_length {
            None => Some(
                format!(
                    "task `{by}` is mapped over the result of `{}`, which is {}{}. What a script prints is text: to leave \
                     JSON, let it write that to the file $UPDRAFT_RESULT, with `result: file`",
                    spec.task_id,
                    if of_kwargs {
                        "no list of mappings, as `expand_kwargs` takes"
                    } else {
                        "neither a list nor an object"
                    },
                    found(outcome)
                )
                .into(),
            ),
            Some(length) if length > self.config.max_map_length => Some(
                format!(
                    "task `{by}` is mapped over the result of `{}`, which has {length} values: more than \
                     dags.max_map_length, {}",
                    spec.task_id, self.config.max_map_length
                )
                .into(),
            ),
            Some(_) => None,
        }
    }

    fn note_duration(&mut self, key: TiKey) {
        let Some((run, spec)) = self.spec(key) else { return };
        let Some(ti) = run.ti(key) else { return };
        let (Some(from), Some(to)) = (ti.started_at, ti.ended_at) else { return };
        let took = to.duration_since(from).saturating_sub(ti.paused_for).as_millis() as f64;
        let (dag_key, task_id) = (run.row.dag.clone(), spec.task_id.clone());
        let Some(dag) = self.dags.get_mut(&dag_key) else { return };
        let stats = dag.stats.entry(task_id.clone()).or_insert_with(|| TaskStatsRow {
            dag: dag_key.clone(),
            task_id: task_id.clone(),
            successes: 0,
            mean_ms: 0.0,
        });
        stats.successes += 1;
        stats.mean_ms += (took - stats.mean_ms) / stats.successes.min(STATS_OVER) as f64;
        self.out.batch.stats.insert((dag_key, task_id), stats.clone());
    }

    /// A deferred task instance's time, a retry's, or a sensor's next look has come.
    pub(super) fn on_wake(&mut self, now: Timestamp, key: TiKey) {
        let Some(state) = self.ti(key).map(|ti| ti.state.clone()) else { return };
        // The timer may be of a state that is past.
        if state.wakes_at().is_none_or(|at| at > now) {
            return;
        }
        match state {
            TiState::Deferred(_) => {
                self.succeed_at_once(now, key);
            }
            TiState::UpForRetry(_) => {
                self.archive(now, key, None);
                self.transition(now, key, TiEvent::Ready, None);
            }
            TiState::UpForReschedule(_) => {
                self.transition(now, key, TiEvent::Ready, None);
            }
            // None of these wakes at a time.
            TiState::None
            | TiState::Scheduled
            | TiState::Queued(_)
            | TiState::Running(_)
            | TiState::Paused(_)
            | TiState::Restarting(_)
            | TiState::Success
            | TiState::Failed
            | TiState::Skipped
            | TiState::UpstreamFailed
            | TiState::Removed => {}
        }
    }

    /// An attempt that had to end for its task instance to begin anew has ended.
    fn restart(&mut self, now: Timestamp, key: TiKey) {
        self.renew(now, key);
        self.transition(now, key, TiEvent::Stopped, None);
    }

    /// Puts the try that is over into the history, where one was begun and is not there yet, and makes the
    /// row ready for the next one. What did not end by itself stands there as failed (as Airflow has it).
    pub(super) fn archive(&mut self, now: Timestamp, key: TiKey, reason: Option<Arc<str>>) {
        let Some(ti) = self.runs.get_mut(&key.run).and_then(|run| run.ti_mut(key)) else { return };
        if ti.queued_at.is_some() || ti.started_at.is_some() {
            let mut over = ti.clone();
            if !over.state.is_finished() {
                over.state = TiState::Failed;
                over.ended_at = over.ended_at.or(Some(now));
            }
            over.reason = reason.or(over.reason);
            self.out.batch.history.push(over);
        }
        ti.queued_at = None;
        ti.first_started_at = ti.first_started_at.or(ti.started_at);
        ti.started_at = None;
        ti.ended_at = None;
        ti.paused_at = None;
        ti.paused_for = SignedDuration::ZERO;
        ti.exit_code = None;
        self.changed.tis.insert(key);
    }

    /// Makes a task instance as if it had never run, but for its tries.
    pub(super) fn renew(&mut self, now: Timestamp, key: TiKey) {
        let Some((_, spec)) = self.spec(key) else { return };
        let retries = spec.retry.retries;
        self.archive(now, key, None);
        let Some(run) = self.runs.get_mut(&key.run) else { return };
        run.set_skips(key, [].into());
        if let Some(ti) = run.ti_mut(key) {
            ti.max_tries = ti.try_number + retries;
            ti.tries_before = ti.try_number;
            ti.lost = 0;
            ti.first_started_at = None;
            ti.scheduled_at = None;
            ti.result_length = None;
            ti.name = None;
            ti.worker = None;
        }
        self.clear_xcoms(key);
    }
}

fn xcoms_of<'a>(
    now: Timestamp,
    ti: TiKey,
    values: impl Iterator<Item = &'a (String, XcomValue)>,
) -> impl Iterator<Item = XcomRow> {
    values.map(move |(key, value)| XcomRow { ti, key: key.clone(), value: value.clone(), at: now })
}

/// Whether an attempt is under way.
pub(super) fn has_begun(state: &TiState) -> bool {
    matches!(state, TiState::Running(_) | TiState::Paused(_) | TiState::Restarting(_))
}

/// What a result is that is no list and no object: its type, and how it begins.
fn found(outcome: &Outcome) -> String {
    let result = outcome.xcoms.iter().find(|(name, _)| name == "return_value").map(|(_, value)| value);
    let (kind, value) = match result {
        None => return ": it left none".into(),
        Some(XcomValue::Blob { bytes, .. }) => return format!(": it is one of {bytes} bytes"),
        Some(XcomValue::Inline(value)) => match &**value {
            Value::String(_) => ("the text ", value),
            Value::Number(_) => ("the number ", value),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => ("", value),
        },
    };
    let mut piece = value.to_string();
    if let Some((end, _)) = piece.char_indices().nth(60) {
        piece.truncate(end);
        piece.push('…');
    }
    format!(": it is {kind}{piece}")
}
