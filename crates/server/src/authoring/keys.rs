//! The keys of the dialect that are not read, and what becomes of each: nothing is passed over in silence.

use super::callback;

/// What becomes of a key that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It changes nothing about what runs and when.
    Harmless,
    /// It has no effect here, which its author should know.
    NoEffect(&'static str),
    /// It can't be had; the mend.
    Refused(&'static str),
}

use Fate::{Harmless, NoEffect, Refused};

/// The keys of a DAG that are read.
pub(super) const DAG: [&str; 39] = [
    "alerts",
    "catchup",
    "concurrency",
    "dag_display_name",
    "dag_id",
    "dagrun_timeout",
    "dagrun_timeout_sec",
    "default_args",
    "description",
    "doc_md",
    "doc_md_file_path",
    "end_date",
    "fail_fast",
    "fail_stop",
    "holidays",
    "is_paused_upon_creation",
    "max_active_runs",
    "max_active_tasks",
    "max_consecutive_failed_dag_runs",
    "on_failure_callback",
    "on_failure_callback_file",
    "on_failure_callback_name",
    "on_success_callback",
    "on_success_callback_file",
    "on_success_callback_name",
    "params",
    "render_template_as_native_obj",
    "schedule",
    "schedule_interval",
    "start_date",
    "tags",
    "task_groups",
    "tasks",
    "template_searchpath",
    "template_undefined",
    "timetable",
    "timezone",
    "user_defined_macros",
    "vars",
];

/// The keys of every task that are read; what is not among them is its operator's.
pub(super) const TASK: [&str; 60] = [
    "alerts",
    "decorator",
    "dependencies",
    "depends_on_past",
    "do_xcom_push",
    "doc_md",
    "email",
    "email_on_failure",
    "email_on_retry",
    "execution_timeout",
    "execution_timeout_sec",
    "execution_timeout_secs",
    "expand",
    "expand_kwargs",
    "expected_duration",
    "ignore_first_depends_on_past",
    "inlets",
    "is_setup",
    "is_teardown",
    "map_index_template",
    "max_active_tis_per_dag",
    "max_active_tis_per_dagrun",
    "max_lost",
    "max_retry_delay",
    "on_execute_callback",
    "on_execute_callback_file",
    "on_execute_callback_name",
    "on_failure_callback",
    "on_failure_callback_file",
    "on_failure_callback_name",
    "on_failure_fail_dagrun",
    "on_lease_loss",
    "on_retry_callback",
    "on_retry_callback_file",
    "on_retry_callback_name",
    "on_skipped_callback",
    "on_skipped_callback_file",
    "on_skipped_callback_name",
    "on_success_callback",
    "on_success_callback_file",
    "on_success_callback_name",
    "operator",
    "outlets",
    "owner",
    "params",
    "partial",
    "pool",
    "pool_slots",
    "priority_weight",
    "queue",
    "retries",
    "retry_delay",
    "retry_exponential_backoff",
    "retry_on_exit_codes",
    "run_as_user",
    "task_group_name",
    "trigger_rule",
    "variables_as_arguments",
    "worker_labels",
    "worker_slots",
];

/// The keys of a task group that are read.
pub(super) const GROUP: [&str; 7] = [
    "default_args",
    "dependencies",
    "group_id",
    "group_name",
    "parent_group_name",
    "prefix_group_id",
    "tooltip",
];

const CALLBACKS: &str = "there are `on_execute_callback`, `on_failure_callback`, `on_retry_callback`, \
                         `on_skipped_callback` and `on_success_callback`";
const CALLBACKS_OF_RUNS: &str = "about runs there are `on_failure_callback` and `on_success_callback`";
const CALLBACKS_OF_TASKS: &str = "a run calls nothing on this, here as in Airflow; write it in `default_args`, for \
                                  each task";
const CALLBACKS_OF_GROUPS: &str = "write it in the group's `default_args`, for each of its tasks";
const DOC: &str = "no Python is called while files are read; write the text under `doc_md`, or into a file that \
                   `doc_md_file_path` names";

fn is_callback(key: &str) -> bool {
    let key = key.strip_suffix("_name").or_else(|| key.strip_suffix("_file")).unwrap_or(key);
    key.starts_with("on_") && key.ends_with("_callback")
}

/// What becomes of a DAG's key that is not read, `None` where it is not known.
pub(super) fn of_dag(key: &str) -> Option<Fate> {
    Some(match key {
        "default_view"
        | "orientation"
        | "owner_links"
        | "auto_register"
        | "disable_bundle_versioning"
        | "ui_color"
        | "ui_fgcolor" => Harmless,
        "doc_md_python_callable_name" | "doc_md_python_callable_file" | "doc_md_python_arguments" => {
            NoEffect(DOC)
        }
        "sla_miss_callback" | "sla_miss_callback_name" | "sla_miss_callback_file" => {
            NoEffect("Airflow 3 has no SLAs either")
        }
        "access_control" => Refused("who may do what is set by roles, not by a DAG file; take it out"),
        "user_defined_filters" => {
            Refused("filters of one's own are not run: call a function of `user_defined_macros`")
        }
        "jinja_environment_kwargs" | "jinja_environment" => {
            Refused("Jinja is as Airflow sets it up; take it out")
        }
        "deadline" => Refused("write `alerts: [{on: deadline, after: 2 hours, email: who@example.com}]`"),
        "allowed_run_types" => Refused("runs of every type are allowed; take it out"),
        "rerun_with_latest_version" => Refused("a run stays on the version it began with; take it out"),
        key if is_callback(key) && !callback::is_key_of_dag(key) => match key.split('_').nth(1) {
            Some("execute" | "retry" | "skipped") => NoEffect(CALLBACKS_OF_TASKS),
            _ => Refused(CALLBACKS_OF_RUNS),
        },
        _ => return None,
    })
}

/// What becomes of a task's key that is not read, `None` where it is the operator's.
pub(super) fn of_task(key: &str) -> Option<Fate> {
    Some(match key {
        "doc"
        | "doc_json"
        | "doc_yaml"
        | "doc_rst"
        | "task_display_name"
        | "logger_name"
        | "allow_nested_operators"
        | "ui_color"
        | "ui_fgcolor" => Harmless,
        "sla" | "sla_secs" => {
            NoEffect("Airflow 3 has no SLAs either; `expected_duration` shows what is late")
        }
        "executor_config" => {
            NoEffect("there are no executors here; a task's worker is chosen by its `queue`")
        }
        "executor" => Refused("there are no executors here; choose a task's worker by its `queue`"),
        "start_date" | "end_date" => Refused("a task has no dates of its own; write it at the DAG"),
        "render_template_as_native_obj" => Refused("this is set for a whole DAG; write it there"),
        "retry_policy" => Refused("write `retries`, `retry_delay` and `retry_on_exit_codes`"),
        "pre_execute" | "post_execute" => {
            Refused("hooks are Python and are not run yet; write a task for it")
        }
        "resources" => Refused("resources are not counted; use a `pool`"),
        "default_args" | "dag" | "task_group" => Refused("this belongs to the DAG or to a task group"),
        key if is_callback(key) && !callback::is_key(key) => Refused(CALLBACKS),
        _ => return None,
    })
}

/// What becomes of a task group's key that is not read, `None` where it is not known.
pub(super) fn of_group(key: &str) -> Option<Fate> {
    Some(match key {
        "ui_color" | "ui_fgcolor" | "group_display_name" | "doc_md" => Harmless,
        "expand" | "expand_kwargs" | "partial" => {
            Refused("mapping a whole group comes later; map its tasks one by one")
        }
        "add_suffix_on_collision" => Refused("give each group a name of its own"),
        key if is_callback(key) => Refused(CALLBACKS_OF_GROUPS),
        _ => return None,
    })
}
