//! The page of keys in `docs/src/reference`: those of the JSON Schema with their meaning, and what becomes of each key
//! that dag-factory knows.
//!
//! It is made by a test, since only documentation needs it, which fails where the page is out of date; `cargo xtask
//! docs` writes it anew.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::Value;

use super::{
    keys::{self, Fate},
    schema,
};

const ABOUT: &str = "<!-- Made by `cargo xtask docs`: what is changed here is lost. -->

# Keys of DAG files

Every key that a DAG file in YAML can have, and what becomes of those that dag-factory 1.1 knows. What stands in
**bold** is Updraft's own, or one that Airflow has in Python alone: dag-factory would not take it. How a file is made
of these keys is told under [authoring](../authoring/yaml.md); `updraft schema` prints them as a JSON Schema for
editors.
";

/// Keys that dag-factory does not have, and what it has only as an argument in Python.
const OWN: &[&str] = &[
    "alerts",
    "expand_kwargs",
    "expected_duration",
    "fail_fast",
    "fail_stop",
    "holidays",
    "is_setup",
    "is_teardown",
    "max_consecutive_failed_dag_runs",
    "max_lost",
    "on_failure_fail_dagrun",
    "on_lease_loss",
    "retry_on_exit_codes",
    "worker_labels",
    "worker_slots",
];

/// The keys of a DAG that `dagbuilder.py` of dag-factory 1.1.0 reads.
const DAG_FACTORY: &[&str] = &[
    "access_control",
    "catchup",
    "concurrency",
    "dag_display_name",
    "dag_id",
    "dagrun_timeout",
    "default_args",
    "default_view",
    "description",
    "doc_md",
    "doc_md_file_path",
    "doc_md_python_arguments",
    "doc_md_python_callable_file",
    "doc_md_python_callable_name",
    "end_date",
    "is_paused_upon_creation",
    "max_active_runs",
    "max_active_tasks",
    "on_failure_callback",
    "on_failure_callback_file",
    "on_failure_callback_name",
    "on_success_callback",
    "on_success_callback_file",
    "on_success_callback_name",
    "orientation",
    "params",
    "render_template_as_native_obj",
    "schedule",
    "schedule_interval",
    "sla_miss_callback",
    "sla_miss_callback_file",
    "sla_miss_callback_name",
    "start_date",
    "tags",
    "task_groups",
    "tasks",
    "template_searchpath",
    "timetable",
    "timezone",
    "user_defined_macros",
];

/// The keys of a task that dag-factory 1.1.0 reads itself, and the arguments of Airflow's `BaseOperator`, which it
/// passes on.
const DAG_FACTORY_TASK: &[&str] = &[
    "allow_nested_operators",
    "decorator",
    "dependencies",
    "depends_on_past",
    "do_xcom_push",
    "doc",
    "doc_json",
    "doc_md",
    "doc_rst",
    "doc_yaml",
    "email",
    "email_on_failure",
    "email_on_retry",
    "end_date",
    "execution_timeout",
    "executor",
    "executor_config",
    "expand",
    "ignore_first_depends_on_past",
    "inlets",
    "logger_name",
    "map_index_template",
    "max_active_tis_per_dag",
    "max_active_tis_per_dagrun",
    "max_retry_delay",
    "on_execute_callback",
    "on_failure_callback",
    "on_retry_callback",
    "on_skipped_callback",
    "on_success_callback",
    "operator",
    "outlets",
    "owner",
    "params",
    "partial",
    "pool",
    "pool_slots",
    "post_execute",
    "pre_execute",
    "priority_weight",
    "queue",
    "render_template_as_native_obj",
    "resources",
    "retries",
    "retry_delay",
    "retry_exponential_backoff",
    "run_as_user",
    "sla",
    "start_date",
    "task_concurrency",
    "task_display_name",
    "task_group_name",
    "task_id",
    "trigger_rule",
    "variables_as_arguments",
    "wait_for_downstream",
    "weight_rule",
];

/// The keys of a task group that dag-factory 1.1.0 passes on to Airflow's `TaskGroup`.
const DAG_FACTORY_GROUP: &[&str] = &[
    "add_suffix_on_collision",
    "default_args",
    "dependencies",
    "doc_md",
    "group_display_name",
    "group_id",
    "group_name",
    "on_failure_callback",
    "parent_group_name",
    "prefix_group_id",
    "tooltip",
    "ui_color",
    "ui_fgcolor",
];

#[test]
fn the_page_of_keys_is_up_to_date() {
    let schema = schema();
    let of = |name: &str| &schema["$defs"][name];
    // Every task has what the one without parameters of its own has.
    let (dag, task, group) = (of("dag"), of("EmptyOperator"), of("group"));
    let mut page = ABOUT.to_owned();
    for (title, about, keys) in [
        ("DAGs", "", dag),
        ("Tasks", "Beside these a task has its [operator's parameters](operators.md).", task),
        ("Task groups", "", group),
        (
            "Alerts",
            "An entry of `alerts`. [Alerts](../alerts.md) tells how they are used.",
            &of("alerts")["items"],
        ),
    ] {
        let _ = write!(page, "\n## {title}\n\n{about}{}", if about.is_empty() { "" } else { "\n\n" });
        page.push_str(&table(keys, title == "Alerts"));
    }
    page.push_str("\n## What becomes of dag-factory's keys\n\n");
    page.push_str("Nothing is passed over in silence: a key that is refused is an error that says what to write in its\n\
                   place, and one without effect is a warning. An unknown key is an error.\n");
    for (title, known, schema, fate) in [
        ("Of DAGs", DAG_FACTORY, dag, keys::of_dag as fn(&str) -> Option<Fate>),
        ("Of tasks", DAG_FACTORY_TASK, task, keys::of_task),
        ("Of task groups", DAG_FACTORY_GROUP, group, keys::of_group),
    ] {
        let _ = write!(page, "\n### {title}\n\n| key | what becomes of it |\n|---|---|\n");
        for key in known {
            let is_read = schema["properties"].get(key).is_some();
            let _ = writeln!(page, "| `{key}` | {} |", becomes(key, is_read, fate(key)));
        }
    }
    keep("keys.md", &page);
}

/// What becomes of a key. One that is neither read nor has a fate is one that nobody has thought of.
fn becomes(key: &str, is_read: bool, fate: Option<Fate>) -> String {
    match fate {
        None if is_read => "supported".into(),
        None => panic!("dag-factory reads `{key}`, and nothing is said of it here"),
        Some(Fate::Harmless) => "accepted: it changes nothing about what runs and when".into(),
        Some(Fate::NoEffect(reason)) => format!("no effect, with a warning: {}", cell(reason)),
        Some(Fate::Refused(mend)) => format!("refused: {}", cell(mend)),
    }
}

fn table(keys: &Value, all_own: bool) -> String {
    let mut table = String::from("| key | meaning |\n|---|---|\n");
    let mut keys: Vec<_> = keys["properties"].as_object().expect("an object has properties").iter().collect();
    keys.sort_by_key(|(key, _)| *key);
    for (key, about) in keys {
        let doc = about["description"].as_str().unwrap_or_else(|| panic!("`{key}` says nothing"));
        let words = about["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
        let words = if words.is_empty() { String::new() } else { format!(" One of {}.", words.join(", ")) };
        let name =
            if !all_own && OWN.contains(&&**key) { format!("**`{key}`**") } else { format!("`{key}`") };
        let _ = writeln!(table, "| {name} | {}{words} |", cell(doc));
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Sees that a page is as it should be, or writes it.
fn keep(page: &str, text: &str) {
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this"));
    let path = package.join("../../docs/src/reference").join(page);
    if std::env::var_os("UPDRAFT_WRITE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/src/reference/{page} is out of date: write it with `cargo xtask docs`");
}
