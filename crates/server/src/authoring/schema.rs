//! The JSON Schema of DAG files, for editors that complete and check them.
//!
//! It says less than reading a file does: what is in defaults need not be in a task, and templates are not looked
//! into. What it refuses is wrong.

use serde_json::{Map, Value, json};
use updraft_operators::catalog::{self, Entry};

use super::{
    alert,
    settings::{ON_LEASE_LOSS, TRIGGER_RULES, WEIGHT_RULES},
};

/// A key: its name, what it may be, and what it means.
type Key = (&'static str, Kind, &'static str);

/// What a key's value may be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Count,
    /// A whole number from 1 on.
    Positive,
    Whole,
    Number,
    Duration,
    Time,
    TextOrTexts,
    Mapping,
    OneOf(&'static [&'static str]),
    /// One of the schema's own definitions.
    Defined(&'static str),
    Any,
}

use Kind::{
    Any, Count, Defined, Duration, Flag, Mapping, Number, OneOf, Positive, Text, TextOrTexts, Time, Whole,
};

/// The keys of a DAG.
const DAG: &[Key] = &[
    (
        "alerts",
        Defined("alerts"),
        "Who is told when a run fails, succeeds, or is late, and when ticks were missed.",
    ),
    (
        "catchup",
        Flag,
        "Whether runs are made for the times that have passed since `start_date`. No, by default.",
    ),
    ("concurrency", Positive, "An older name of `max_active_tasks`."),
    ("dag_display_name", Text, "A name for people, in place of the DAG's id."),
    ("dag_id", Text, "The DAG's id. It is the name of its entry, and another has no effect."),
    ("dagrun_timeout", Duration, "A run that takes longer fails."),
    ("dagrun_timeout_sec", Number, "An older form of `dagrun_timeout`, in seconds."),
    ("default_args", Defined("default_args"), "What all tasks have that do not say it themselves."),
    ("description", Text, "What it is for, in a line."),
    ("doc_md", Text, "What it is for, as Markdown."),
    (
        "doc_md_file_path",
        Text,
        "A file with the text of `doc_md`, which counts over that: in the folder of DAG files, its path from this file on.",
    ),
    ("end_date", Time, "No run is about a time after it."),
    ("fail_fast", Flag, "Whether the first task that fails ends the run."),
    ("fail_stop", Flag, "An older name of `fail_fast`."),
    (
        "holidays",
        Defined("holidays"),
        "The days on which its schedule makes no runs: dates, and calendar files (iCalendar) beside this file.",
    ),
    ("is_paused_upon_creation", Flag, "Whether it waits to be unpaused when it is new."),
    (
        "on_failure_callback",
        Any,
        "Python functions that are called when a run failed, by their dotted paths; with arguments, as \
         `{callback: module.function, name: value}`. Or Airflow's notifiers for mail and Slack.",
    ),
    (
        "on_success_callback",
        Any,
        "Python functions that are called when a run succeeded, or Airflow's notifiers for mail and Slack.",
    ),
    ("on_failure_callback_file", Text, "The Python file of the function `on_failure_callback_name`."),
    ("on_failure_callback_name", Text, "A function in `on_failure_callback_file` for `on_failure_callback`."),
    ("on_success_callback_file", Text, "The Python file of the function `on_success_callback_name`."),
    ("on_success_callback_name", Text, "A function in `on_success_callback_file` for `on_success_callback`."),
    ("max_active_runs", Positive, "How many of its runs are at work at once. 16, by default."),
    ("max_active_tasks", Positive, "How many of its tasks run at once, over all its runs. 16, by default."),
    (
        "max_consecutive_failed_dag_runs",
        Count,
        "It is paused when so many runs have failed one after the other.",
    ),
    ("params", Mapping, "What a run can be given, with the defaults."),
    ("render_template_as_native_obj", Flag, "Whether templates give values rather than text."),
    (
        "schedule",
        Defined("schedule"),
        "When it runs: cron, a preset, a timedelta, a timetable, several times, or what happens to assets.",
    ),
    ("schedule_interval", Defined("schedule"), "An older name of `schedule`."),
    ("start_date", Time, "No run is about a time before it. Its zone is that of the schedule."),
    ("tags", TextOrTexts, "Words by which it is found."),
    ("task_groups", Defined("groups"), "Groups of tasks, as a mapping or a list."),
    ("tasks", Defined("tasks"), "Its tasks, as a mapping or a list."),
    (
        "template_searchpath",
        TextOrTexts,
        "Where files of templates are looked for besides the file's folder.",
    ),
    ("timetable", Any, "Airflow's CronTriggerTimetable and its like, in place of `schedule`."),
    (
        "timezone",
        Text,
        "The zone of the `start_date` beside it, and so of the schedule, such as Europe/Berlin.",
    ),
    (
        "user_defined_macros",
        Mapping,
        "Names for templates: the dotted path to a function of Python, a value, or a mapping of these.",
    ),
    ("vars", Mapping, "Values for this file's YAML."),
];

/// The keys of a task that its operator does not have, and that `default_args` take.
const TASK: &[Key] = &[
    ("alerts", Defined("alerts"), "Who is told when it fails, is tried again, or succeeds."),
    ("depends_on_past", Flag, "Whether it waits for its success in the run before."),
    ("do_xcom_push", Flag, "Whether its result is kept for others. Yes, by default."),
    ("doc_md", Text, "What it is for, as Markdown."),
    ("email", TextOrTexts, "Who gets mail about it."),
    ("email_on_failure", Flag, "Whether they get mail when it fails. Yes, by default."),
    ("email_on_retry", Flag, "Whether they get mail when it is tried again. Yes, by default."),
    ("execution_timeout", Duration, "It is ended when it takes longer."),
    ("execution_timeout_sec", Number, "An older form of `execution_timeout`, in seconds."),
    ("execution_timeout_secs", Number, "An older form of `execution_timeout`, in seconds."),
    ("expected_duration", Duration, "How long it should take: what is late is shown."),
    ("ignore_first_depends_on_past", Flag, "Whether the first run needs none before it. Yes, by default."),
    ("inlets", Any, "The assets that it reads: URIs, or `airflow.sdk.Asset`."),
    ("map_index_template", Text, "What a copy of a mapped task is called."),
    ("max_active_tis_per_dag", Positive, "How many of it run at once, over all runs."),
    ("max_active_tis_per_dagrun", Positive, "How many of its copies run at once in a run."),
    (
        "max_lost",
        Count,
        "Where its worker was lost more often in a row, that counts as a failure, and `retries` follow. 3, by default; with 0, one that may have done its work is not tried again.",
    ),
    ("max_retry_delay", Duration, "No wait for another try is longer."),
    (
        "on_lease_loss",
        OneOf(&ON_LEASE_LOSS),
        "What its worker does with it when no server has answered for `server.lease_s`, and others are given the task: \
         `end` it, by default, or let it `continue`, though it may then be at work twice.",
    ),
    ("on_failure_fail_dagrun", Flag, "Whether this teardown fails its run when it fails."),
    ("outlets", Any, "The assets that it makes: its success is an event of each, from which DAGs run."),
    (
        "on_execute_callback",
        Any,
        "Python functions that are called before it does anything, by their dotted paths; with arguments, as \
         `{callback: module.function, name: value}`.",
    ),
    (
        "on_failure_callback",
        Any,
        "Functions that are called when it failed and is not tried again, or Airflow's notifiers for mail and Slack.",
    ),
    ("on_retry_callback", Any, "Functions that are called when it failed and is tried again, or notifiers."),
    ("on_skipped_callback", Any, "Functions that are called when it said that it is to be skipped."),
    ("on_success_callback", Any, "Functions that are called when it succeeded, or notifiers."),
    ("on_execute_callback_file", Text, "The Python file of the function `on_execute_callback_name`."),
    ("on_execute_callback_name", Text, "A function in `on_execute_callback_file` for `on_execute_callback`."),
    ("on_failure_callback_file", Text, "The Python file of the function `on_failure_callback_name`."),
    ("on_failure_callback_name", Text, "A function in `on_failure_callback_file` for `on_failure_callback`."),
    ("on_retry_callback_file", Text, "The Python file of the function `on_retry_callback_name`."),
    ("on_retry_callback_name", Text, "A function in `on_retry_callback_file` for `on_retry_callback`."),
    ("on_skipped_callback_file", Text, "The Python file of the function `on_skipped_callback_name`."),
    ("on_skipped_callback_name", Text, "A function in `on_skipped_callback_file` for `on_skipped_callback`."),
    ("on_success_callback_file", Text, "The Python file of the function `on_success_callback_name`."),
    ("on_success_callback_name", Text, "A function in `on_success_callback_file` for `on_success_callback`."),
    ("owner", Text, "Who answers for it."),
    ("params", Mapping, "Parameters of its own, over those of the DAG."),
    ("pool", Text, "The pool whose slots it takes."),
    ("pool_slots", Positive, "How many slots of its pool it takes. 1, by default."),
    ("priority_weight", Whole, "Of two that could run, the one with more does."),
    ("queue", Text, "The queue, and so the workers, it goes to."),
    ("retries", Count, "How often it is tried again when it fails."),
    ("retry_delay", Duration, "How long it waits for another try. 5 minutes, by default."),
    (
        "retry_exponential_backoff",
        Any,
        "Whether each wait is twice the one before; a number says by how much.",
    ),
    ("retry_on_exit_codes", Any, "It is tried again only when it ends with one of these exit codes."),
    ("run_as_user", Text, "The user of the worker's machine that its process becomes."),
    ("task_concurrency", Positive, "An older name of `max_active_tis_per_dag`."),
    ("trigger_rule", OneOf(&TRIGGER_RULES), "What must have become of the tasks before it."),
    ("wait_for_downstream", Flag, "Whether it waits for what followed it in the run before."),
    ("weight_rule", OneOf(&WEIGHT_RULES), "Whose weights count besides its own."),
    ("worker_labels", Mapping, "Its worker must have each of these labels, with this value: `gpu: a100`."),
    ("worker_slots", Positive, "How many slots of its worker it takes. 1, by default."),
];

/// The keys that only a task itself can have.
const ONE_TASK: &[Key] = &[
    (
        "decorator",
        Text,
        "In place of `operator`: `airflow.sdk.task`, for a function whose arguments stand beside it, or one of its kinds: \
         `airflow.sdk.task.bash`, `.branch`, `.sensor`, `.short_circuit`, `.virtualenv`, `.external_python`.",
    ),
    ("dependencies", Defined("dependencies"), "The tasks and groups before it."),
    ("expand", Mapping, "There is a copy of it for each combination of these values."),
    ("expand_kwargs", Any, "There is a copy of it for each of these sets of arguments."),
    ("is_setup", Flag, "Whether it makes ready what others need."),
    ("is_teardown", Flag, "Whether it clears away what its setup made."),
    ("operator", Text, "What it does: an operator's class name, its path in Airflow, or a short name."),
    ("partial", Mapping, "The arguments that all copies share."),
    ("task_group_name", Text, "The group it is in."),
    ("task_id", Text, "Its id, where tasks are a list."),
    (
        "variables_as_arguments",
        Defined("variables"),
        "Arguments that variables have the values of, where there are such: `{variable: NAME, attribute: ARGUMENT}` each. \
         What is written beside is for where there is none.",
    ),
];

/// The keys of a task group.
const GROUP: &[Key] = &[
    ("default_args", Defined("default_args"), "What all tasks in it have that do not say it themselves."),
    ("dependencies", Defined("dependencies"), "The tasks and groups before it."),
    ("group_id", Text, "Its id."),
    ("group_name", Text, "Its name, where groups are a list."),
    ("parent_group_name", Text, "The group it is in."),
    ("prefix_group_id", Flag, "Whether its tasks are called after it. Yes, by default."),
    ("tooltip", Text, "What it is for, in a line."),
];

/// The JSON Schema (draft 2020-12) of DAG files.
pub fn schema() -> Value {
    let mut definitions = definitions();
    definitions.insert("dag".into(), object(properties(&[DAG]), true));
    definitions.insert("group".into(), object(properties(&[GROUP]), true));
    let mut defaults = properties(&[TASK]);
    for argument in catalog::all().iter().flat_map(Entry::arguments) {
        // Several operators may have an argument of this name, each of another type.
        defaults.entry(argument.name).or_insert_with(|| json!({}));
    }
    for (key, ..) in DAG {
        // Airflow reads some of these there, and passes over the others.
        defaults.entry(*key).or_insert_with(|| json!({}));
    }
    definitions.insert("default_args".into(), object(defaults, false));
    let mut choices = Vec::new();
    for entry in catalog::all() {
        let mut task = properties(&[TASK, ONE_TASK]);
        task.extend(entry.arguments().map(|argument| (argument.name.to_owned(), of_argument(argument))));
        let names: Vec<&str> = [entry.name].into_iter().chain(entry.aliases.iter().copied()).collect();
        let condition = json!({"properties": {"operator": {"enum": names}}, "required": ["operator"]});
        choices.push(json!({"if": condition, "then": {"$ref": format!("#/$defs/{}", entry.name)}}));
        let mut of_it = object(task, true);
        of_it["description"] = entry.doc.into();
        definitions.insert(entry.name.into(), of_it);
    }
    let names =
        catalog::all().iter().flat_map(|entry| [entry.name].into_iter().chain(entry.aliases.iter().copied()));
    let operator = json!({
        "anyOf": [{"enum": names.collect::<Vec<_>>()}, {"pattern": catalog::CLASS}],
        "description": "What the task does. A dotted path that is none of these names a Python class of your own, or of an Airflow that is installed.",
    });
    let task = json!({"type": "object", "properties": {"operator": operator}, "allOf": choices});
    definitions.insert("task".into(), task);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Updraft DAG file",
        "description": "DAGs by their ids, and `default` with what they share. An entry without `tasks` is no DAG.",
        "type": "object",
        "properties": {"default": {"type": "object"}},
        "additionalProperties": {
            "if": {"type": "object", "required": ["tasks"]},
            "then": {"$ref": "#/$defs/dag"},
        },
        "$defs": definitions,
    })
}

/// An object with these keys, and with others where it may have some: what begins with `on_` or `doc` and the like is
/// read by name, and told where it has no effect.
fn object(properties: Map<String, Value>, only_these: bool) -> Value {
    let mut object = json!({"type": "object", "properties": properties});
    if only_these {
        object["additionalProperties"] = json!(false);
        object["patternProperties"] = json!({NOT_READ: {}});
    }
    object
}

/// Keys that are known and not read, of which reading a file tells what becomes of them.
const NOT_READ: &str = "^(__|doc|ui_|owner_links$|default_view$|orientation$|auto_register$|sla|executor_config$|\
                        logger_name$|allow_nested_operators$|task_display_name$|group_display_name$|\
                        disable_bundle_versioning$|wait_for_past_depends_before_skipping$|retry_delay_secs?$|\
                        max_retry_delay_secs?$|on_(execute|retry|skipped)_callback(_name|_file)?$)";

fn properties(lists: &[&[Key]]) -> Map<String, Value> {
    let all = lists.iter().copied().flatten();
    all.map(|(name, kind, doc)| {
        let mut schema = of_kind(*kind);
        schema["description"] = (*doc).into();
        ((*name).to_owned(), schema)
    })
    .collect()
}

fn of_kind(kind: Kind) -> Value {
    // Null is like not given.
    match kind {
        Text => json!({"type": ["string", "number", "boolean", "null"]}),
        Flag => json!({"type": ["boolean", "string", "null"]}),
        Count => json!({"type": ["integer", "string", "null"], "minimum": 0}),
        Positive => json!({"type": ["integer", "string", "null"], "minimum": 1}),
        Whole => json!({"type": ["integer", "string", "null"]}),
        Number => json!({"type": ["number", "string", "null"]}),
        Duration => json!({"type": ["number", "string", "object", "null"]}),
        Time => json!({"type": ["string", "integer", "object", "null"]}),
        TextOrTexts => json!({"type": ["string", "array", "null"]}),
        Mapping => json!({"type": ["object", "null"]}),
        OneOf(words) => {
            json!({"enum": words.iter().copied().map(Value::from).chain([Value::Null]).collect::<Vec<_>>()})
        }
        Defined(name) => json!({"$ref": format!("#/$defs/{name}")}),
        Any => json!({}),
    }
}

fn of_argument(argument: &catalog::Argument) -> Value {
    let doc = format!("{}\n\nIt is {}.", argument.doc.trim(), argument.expects);
    let mut schema = json!({"description": doc.trim()});
    if !argument.types.is_empty() {
        let mut types = argument.types.to_vec();
        // Null is like not given, a template is text, and `__type__` makes an object of any.
        types.extend(["null", "object"]);
        types.extend(argument.templated.then_some("string"));
        types.sort_unstable();
        types.dedup();
        schema["type"] = json!(types);
    }
    schema
}

fn definitions() -> Map<String, Value> {
    let dependency = json!({
        "type": "object",
        "properties": {
            "task": {"type": "string", "description": "The task or group before it."},
            "when": {"type": ["string", "null"], "description": "A Jinja expression over its `result` or `text`: it runs where that is true."},
            "pass_result": {"type": ["boolean", "null"], "description": "Whether its result becomes an argument."},
            "label": {"type": ["string", "null"], "description": "What stands at the edge."},
        },
        "required": ["task"],
        "additionalProperties": false,
    });
    // As a mapping by their names, or as a list in which each says its own.
    let many = |what: &str| {
        let one = json!({"anyOf": [{"$ref": format!("#/$defs/{what}")}, {"type": "null"}]});
        json!({"anyOf": [{"type": "object", "additionalProperties": one}, {"type": "array", "items": one}, {"type": "null"}]})
    };
    let mut all = Map::new();
    all.insert("alerts".into(), json!({"type": ["array", "null"], "items": alert()}));
    let one = json!({"anyOf": [{"type": "string"}, dependency]});
    let dependencies =
        json!({"anyOf": [{"type": "string"}, {"type": "array", "items": one}, {"type": "null"}]});
    all.insert("dependencies".into(), dependencies);
    all.insert("schedule".into(), json!({"type": ["string", "number", "array", "object", "null"]}));
    let day = json!({"type": "string", "description": "2026-12-25, 2026-12-24/2026-12-26 or holidays.ics."});
    let days = json!({"anyOf": [day, {"type": "array", "items": day}, {"type": "null"}]});
    all.insert("holidays".into(), days);
    let variable = json!({
        "type": "object",
        "properties": {"variable": {"type": "string"}, "attribute": {"type": "string"}},
        "required": ["variable", "attribute"],
        "additionalProperties": false,
    });
    all.insert("variables".into(), json!({"type": ["array", "null"], "items": variable}));
    all.insert("tasks".into(), many("task"));
    all.insert("groups".into(), many("group"));
    all
}

fn alert() -> Value {
    let doc = |kind: Value, doc: &str| json!({"type": kind, "description": doc});
    let texts = || json!(["string", "array"]);
    json!({
        "type": "object",
        "properties": {
            "on": {
                "anyOf": [{"enum": alert::ON}, {"type": "array", "items": {"enum": alert::ON}}],
                "description": "What it tells of.",
            },
            "after": doc(json!(["number", "string", "object"]), "Of a deadline: the time that a run has."),
            "from": {"enum": alert::FROM, "description": "What a deadline is counted from. `queued_at`, by default."},
            "email": doc(texts(), "Goes as mail to these addresses."),
            "cc": doc(texts(), "Who gets a copy of the mail."),
            "bcc": doc(texts(), "Who gets a copy of the mail that the others don't see."),
            "slack": doc("string".into(), "Goes to a chat by the webhook of this connection, of type `slackwebhook`."),
            "webhook": doc("string".into(), "Goes as JSON to this address, or where this connection of type `http` leads."),
            "sms": doc(texts(), "Goes as a short message to these numbers."),
            "conn_id": doc("string".into(), "The connection with the gateway for `sms`. `sms_default`, by default."),
            "channel": doc("string".into(), "Where `slack` shows it; a connection of type `slack` has to be told."),
            "html": doc("boolean".into(), "Whether the text of a mail is HTML."),
            "subject": doc(json!(["string", "null"]), "A mail's subject, a template over what happened."),
            "text": doc(json!(["string", "null"]), "What it says, a template over what happened."),
            "on_doubt": {
                "enum": ["resend", "hold", null],
                "description": "Whether it is sent again, as by default, or held for a person to decide, where nobody knows whether it went out.",
            },
        },
        "required": ["on"],
        "oneOf": [{"required": ["email"]}, {"required": ["slack"]}, {"required": ["webhook"]}, {"required": ["sms"]}],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authoring::keys;

    fn names(lists: &[&[Key]]) -> Vec<&'static str> {
        lists.iter().copied().flatten().map(|(name, ..)| *name).collect()
    }

    #[test]
    fn every_key_that_is_read_is_in_the_schema() {
        let missing = |read: &[&'static str], lists: &[&[Key]]| -> Vec<&'static str> {
            let known = names(lists);
            read.iter().copied().filter(|key| !known.contains(key)).collect()
        };
        // One that is always refused has its place only among the keys that are named when it is.
        assert_eq!(missing(&keys::DAG, &[DAG]), ["template_undefined"]);
        assert_eq!(missing(&keys::TASK, &[TASK, ONE_TASK]), [""; 0]);
        assert_eq!(missing(&keys::GROUP, &[GROUP]), [""; 0]);
    }

    /// Python's `jsonschema` reads patterns by `re`, which knows no `\p{L}`.
    #[test]
    fn patterns_are_such_as_python_reads_too() {
        fn patterns(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("pattern").and_then(Value::as_str).map(str::to_owned));
                    let keys = map.get("patternProperties").and_then(Value::as_object);
                    found.extend(keys.into_iter().flat_map(|keys| keys.keys().cloned()));
                    map.values().for_each(|value| patterns(value, found));
                }
                Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        patterns(&schema(), &mut found);
        found.sort();
        found.dedup();
        assert!(found.iter().any(|pattern| pattern == catalog::CLASS), "{found:?}");
        // The same names for both, and for what reads a DAG file.
        let names = [
            "my.Operator",
            "m\u{43e}\u{439}.\u{41e}p\u{e9}rateur",
            "a_1.b2.C",
            "Operator",
            "my.1st",
            "my.op erator",
            "my..C",
            "a-b.C",
            "my.C ",
        ];
        let ours = regex(catalog::CLASS);
        let program = "import json, re, sys\n\
                       patterns, names = json.loads(sys.argv[1])\n\
                       print(json.dumps([[bool(re.search(p, n)) for n in names] for p in patterns]))";
        let given = json!([found, names]).to_string();
        let ran = std::process::Command::new("python3").args(["-c", program, &given]).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let said: Vec<Vec<bool>> = serde_json::from_slice(&ran.stdout).unwrap();
        let of_class = found.iter().position(|pattern| pattern == catalog::CLASS).unwrap();
        let read = names.map(catalog::is_class);
        assert_eq!(said[of_class], read);
        assert_eq!(names.map(ours), read);
    }

    /// What a pattern says to a validator of ECMA's kind.
    fn regex(pattern: &str) -> impl Fn(&str) -> bool + use<> {
        let validator = jsonschema::validator_for(&json!({"pattern": pattern})).unwrap();
        move |text| validator.is_valid(&text.into())
    }

    #[test]
    fn no_operators_argument_has_the_name_of_a_key_of_every_task() {
        let known = names(&[TASK, ONE_TASK]);
        for entry in catalog::all() {
            for argument in entry.arguments() {
                assert!(!known.contains(&argument.name), "{}: {}", entry.name, argument.name);
            }
        }
    }
}
