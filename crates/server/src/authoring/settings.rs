//! What every task can have, from `default_args` and from the task itself.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use updraft_core::{
    AlertChannel, AlertOn, AlertSpec, CallbackOn, Labels, OnLeaseLoss, PoolName, QueueName, RetryPolicy,
    Role, TaskKind, TaskSpec, TriggerRule, WeightRule,
};

use super::{
    alert, assets,
    callback::{self, Called},
    field::{self, Got, Noted, set, set_option},
    keys::{self, Fate},
    node::{Entry, Mapping, Node, Value},
    problem::Problems,
};

/// Settings that tasks have in common. Airflow's defaults, then `default_args`, then those of the groups
/// around a task, then its own: each over the one before.
#[derive(Clone)]
pub(super) struct Settings {
    /// The settings, on a task without name and operator.
    pub spec: TaskSpec,
    email: Vec<String>,
    email_on_failure: bool,
    email_on_retry: bool,
    alerts: Vec<AlertSpec>,
    /// What callbacks come to; one that is written nearer takes the place of another on the same.
    callbacks: BTreeMap<CallbackOn, Called>,
    is_setup: bool,
    is_teardown: bool,
    on_failure_fail_dagrun: bool,
    trigger_rule: Option<(TriggerRule, super::node::Place)>,
    /// What is for the operators that take it.
    pub for_operators: Vec<Entry>,
}

pub(super) const TRIGGER_RULES: [&str; 13] = [
    "all_success",
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "all_done_setup_success",
    "all_skipped",
    "one_failed",
    "one_success",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "always",
];
pub(super) const ON_LEASE_LOSS: [&str; 2] = ["end", "continue"];
pub(super) const WEIGHT_RULES: [&str; 3] = ["downstream", "upstream", "absolute"];

impl Settings {
    pub fn new() -> Self {
        Self {
            spec: TaskSpec::new("", "", TaskKind::Empty),
            email: Vec::new(),
            email_on_failure: true,
            email_on_retry: true,
            alerts: Vec::new(),
            callbacks: BTreeMap::new(),
            is_setup: false,
            is_teardown: false,
            on_failure_fail_dagrun: false,
            trigger_rule: None,
            for_operators: Vec::new(),
        }
    }

    /// The same with these `default_args` over it.
    pub fn with_defaults(&self, default_args: &Mapping, problems: &mut Problems) -> Self {
        let mut all = self.clone();
        all.set_callbacks(default_args, problems);
        for entry in &default_args.entries {
            match &*entry.key {
                // They are the DAG's, which has read them.
                "start_date" | "end_date" | "timezone" => {}
                "is_setup"
                | "is_teardown"
                | "task_id"
                | "dependencies"
                | "operator"
                | "expand"
                | "partial"
                | "task_group_name"
                | "variables_as_arguments" => {
                    problems.error(
                        entry.key_place,
                        format!("`{}` belongs to one task: write it there", entry.key),
                    );
                }
                key if all.set(key, entry, problems) => {}
                key if keys::DAG.contains(&key) || keys::of_dag(key).is_some() => {
                    let message = format!("`{key}` has no effect in default_args: write it at the DAG");
                    problems.warn(entry.key_place, message);
                }
                key => {
                    all.for_operators.retain(|known| &*known.key != key);
                    all.for_operators.push(entry.clone());
                }
            }
        }
        // A teardown passes over a default, and refuses only what it says itself.
        if let Some((rule, _)) = all.trigger_rule.take() {
            all.spec.trigger_rule = rule;
        }
        all
    }

    /// Takes up what a task, or `default_args`, says of callbacks, by several keys each.
    pub fn set_callbacks(&mut self, given: &Mapping, problems: &mut Problems) {
        self.callbacks.extend(callback::of_tasks(given, problems));
    }

    /// Takes up a key that every task can have; `false` where it is none.
    pub fn set(&mut self, key: &str, entry: &Entry, problems: &mut Problems) -> bool {
        // They are taken up together.
        if callback::is_key(key) {
            return true;
        }
        if self.set_limit(key, &entry.node, problems) || self.set_retry(key, &entry.node, problems) {
            return true;
        }
        let node = &entry.node;
        let spec = &mut self.spec;
        match key {
            "owner" => set_option(&mut spec.owner, field::text(node, problems)),
            "run_as_user" => set_option(&mut spec.run_as_user, field::text(node, problems)),
            "params" => spec.params.extend(super::dag::params(node, problems)),
            "email" => set(&mut self.email, field::addresses(node, problems), Vec::new()),
            "email_on_failure" => set(&mut self.email_on_failure, field::boolean(node, problems), true),
            "email_on_retry" => set(&mut self.email_on_retry, field::boolean(node, problems), true),
            "alerts" => set(&mut self.alerts, alert::alerts(alert::Of::Task, node, problems), Vec::new()),
            "inlets" => set(&mut spec.inlets, assets::list(node, problems).map(Some), Vec::new()),
            "outlets" => set(&mut spec.outlets, assets::list(node, problems).map(Some), Vec::new()),
            "depends_on_past" => set(&mut spec.depends_on_past, field::boolean(node, problems), false),
            "wait_for_downstream" => {
                set(&mut spec.wait_for_downstream, field::boolean(node, problems), false)
            }
            "ignore_first_depends_on_past" => {
                let default = TaskSpec::new("", "", TaskKind::Empty).ignore_first_depends_on_past;
                set(&mut spec.ignore_first_depends_on_past, field::boolean(node, problems), default);
            }
            "wait_for_past_depends_before_skipping" => {
                if let Ok(Some(true)) = field::boolean(node, problems) {
                    problems.error(entry.key_place, "this comes later: take it out, or set it to false");
                }
            }
            "trigger_rule" => {
                if let Ok(rule) = field::word(node, &TRIGGER_RULES, problems) {
                    self.trigger_rule = rule.map(|rule| (rule, node.place));
                }
            }
            "map_index_template" => set_option(&mut spec.map_index_template, field::text(node, problems)),
            "do_xcom_push" => set(&mut spec.do_xcom_push, field::boolean(node, problems), true),
            "doc_md" => set_option(&mut spec.doc_md, field::text(node, problems)),
            "is_setup" => set(&mut self.is_setup, field::boolean(node, problems), false),
            "is_teardown" => set(&mut self.is_teardown, field::boolean(node, problems), false),
            "on_failure_fail_dagrun" => {
                set(&mut self.on_failure_fail_dagrun, field::boolean(node, problems), false);
            }
            _ => return self.has_fate(key, entry, problems),
        }
        true
    }

    fn has_fate(&self, key: &str, entry: &Entry, problems: &mut Problems) -> bool {
        let fate = keys::of_task(key);
        tell(fate, entry, problems);
        fate.is_some()
    }

    fn set_limit(&mut self, key: &str, node: &Node, problems: &mut Problems) -> bool {
        let spec = &mut self.spec;
        match key {
            "execution_timeout" | "execution_timeout_sec" | "execution_timeout_secs" => {
                set_option(&mut spec.execution_timeout, field::duration(node, problems));
            }
            "expected_duration" => set_option(&mut spec.expected_duration, field::duration(node, problems)),
            "max_lost" => set(&mut spec.max_lost, field::count(node, problems), 3),
            "on_lease_loss" => {
                let fate = field::word(node, &ON_LEASE_LOSS, problems);
                set(&mut spec.on_lease_loss, fate, OnLeaseLoss::default());
            }
            "pool" => {
                let pool: Got<PoolName> = field::text(node, problems).map(|name| name.map(Into::into));
                set(&mut spec.pool, pool, TaskSpec::new("", "", TaskKind::Empty).pool);
            }
            "pool_slots" => set(&mut spec.pool_slots, field::at_least_one(node, problems), 1),
            "queue" => {
                let queue: Got<QueueName> = field::text(node, problems).map(|name| name.map(Into::into));
                set(&mut spec.queue, queue, TaskSpec::new("", "", TaskKind::Empty).queue);
            }
            "worker_labels" => set(&mut spec.worker_labels, field::labels(node, problems), Labels::new()),
            "worker_slots" => set(&mut spec.worker_slots, field::at_least_one(node, problems), 1),
            "priority_weight" => {
                let weight = field::whole::<i32>(node, "a whole number", problems);
                set(&mut spec.priority_weight, weight.map(|weight| weight.map(i64::from)), 1);
            }
            "weight_rule" => {
                let rule = field::word(node, &WEIGHT_RULES, problems);
                set(&mut spec.weight_rule, rule, WeightRule::default());
            }
            "max_active_tis_per_dag" | "task_concurrency" => {
                set_option(&mut spec.max_active_tis_per_dag, field::at_least_one(node, problems));
            }
            "max_active_tis_per_dagrun" => {
                set_option(&mut spec.max_active_tis_per_dagrun, field::at_least_one(node, problems));
            }
            _ => return false,
        }
        true
    }

    fn set_retry(&mut self, key: &str, node: &Node, problems: &mut Problems) -> bool {
        let retry = &mut self.spec.retry;
        match key {
            "retries" => set(&mut retry.retries, field::count_as_text(node, problems), 0),
            "retry_delay" | "retry_delay_sec" | "retry_delay_secs" => {
                set(&mut retry.delay, field::duration(node, problems), RetryPolicy::default().delay);
            }
            "retry_exponential_backoff" => set(&mut retry.backoff, backoff(node, problems), 0.0),
            "max_retry_delay" | "max_retry_delay_sec" | "max_retry_delay_secs" => {
                let longest = field::duration(node, problems);
                set_option(
                    &mut retry.max_delay,
                    longest.map(|delay| delay.filter(SignedDuration::is_positive)),
                );
            }
            "retry_on_exit_codes" => {
                set(&mut retry.on_exit_codes, field::exit_codes(node, problems), Vec::new());
            }
            _ => return false,
        }
        true
    }

    /// The settings as a task has them.
    pub fn finish(self, task: &Entry, problems: &mut Problems) -> TaskSpec {
        let mut spec = self.spec;
        let place = task.key_place;
        spec.role = match (self.is_setup, self.is_teardown) {
            (true, true) => {
                problems.error(place, "a task is a setup or a teardown, not both: take one of the two out");
                Role::Normal
            }
            (true, false) => Role::Setup,
            (false, true) => {
                spec.trigger_rule = TriggerRule::AllDoneSetupSuccess;
                Role::Teardown { on_failure_fail_dagrun: self.on_failure_fail_dagrun }
            }
            (false, false) => Role::Normal,
        };
        spec.depends_on_past |= spec.wait_for_downstream;
        let is_teardown = matches!(spec.role, Role::Teardown { .. });
        if self.on_failure_fail_dagrun && !is_teardown {
            problems.error(place, "on_failure_fail_dagrun is for a task with `is_teardown: true`");
        }
        match self.trigger_rule {
            Some((rule, at)) if is_teardown && rule != TriggerRule::AllDoneSetupSuccess => {
                let message = "a teardown runs when all before it is done and its setup has succeeded: \
                               take its trigger_rule out";
                problems.error(at, message);
            }
            Some((rule, _)) if !is_teardown => spec.trigger_rule = rule,
            Some(_) | None => {}
        }
        if !self.email.is_empty() {
            let told = [(self.email_on_failure, AlertOn::Failure), (self.email_on_retry, AlertOn::Retry)];
            for (_, on) in told.into_iter().filter(|(wanted, _)| *wanted) {
                spec.alerts.push(AlertSpec::new(on, AlertChannel::email(self.email.clone())));
            }
        }
        spec.alerts.extend(self.alerts);
        for called in self.callbacks.into_values() {
            spec.alerts.extend(called.alerts);
            spec.callbacks.extend(called.functions);
        }
        spec
    }
}

/// Notes what becomes of a key that is not read.
pub(super) fn tell(fate: Option<Fate>, entry: &Entry, problems: &mut Problems) {
    match fate {
        None | Some(Fate::Harmless) => {}
        Some(Fate::NoEffect(reason)) => {
            problems.warn(entry.key_place, format!("`{}` has no effect: {reason}", entry.key));
        }
        // What is not wanted needs no refusal.
        Some(Fate::Refused(_)) if entry.node.is_null() => {}
        Some(Fate::Refused(mend)) => {
            problems.error(entry.key_place, format!("`{}` can't be had here: {mend}", entry.key));
        }
    }
}

/// Airflow's `retry_exponential_backoff`: each delay so many times the one before; true is 2.
fn backoff(node: &Node, problems: &mut Problems) -> Got<f64> {
    if let Value::Bool(wanted) = node.value {
        return Ok(Some(if wanted { 2.0 } else { 0.0 }));
    }
    let number = match &node.value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64(),
        _ => None,
    };
    match number.filter(|number| *number >= 0.0) {
        Some(number) => Ok(Some(number)),
        None => {
            let message = format!("expected true, false or a number, 0 or more, found {}", node.kind());
            problems.error(node.place, message);
            Err(Noted)
        }
    }
}

/// A `default_args`, or none.
pub(super) fn default_args(node: Option<&Node>, problems: &mut Problems) -> Arc<Mapping> {
    match node {
        None => Arc::new(Mapping::new(Vec::new())),
        Some(node) if node.is_null() => Arc::new(Mapping::new(Vec::new())),
        Some(node) => match node.map() {
            Some(map) => map.clone(),
            None => {
                problems.error(node.place, format!("default_args is a mapping, and this is {}", node.kind()));
                Arc::new(Mapping::new(Vec::new()))
            }
        },
    }
}
