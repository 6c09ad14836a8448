//! What is too much, and what is no document at all.

use std::{fmt::Write, time::Instant};

use proptest::prelude::*;
use updraft_server::authoring::Format;

use super::{errors, read, read_as};

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [&*before; 10].join(", ")).unwrap();
    }
    bomb.push_str("d: {tasks: {t: {operator: Anything, x: *a11}}}\n");
    assert_eq!(
        errors(&bomb),
        ["dags.yml:8:10: the aliases of this document unfold to more than 256 MiB: repeat less"]
    );
}

#[test]
fn defaults_that_come_to_too_much_are_refused() {
    let mut text = format!("default: {{vars: {}, tasks: {{t: {{operator: empty}}}}}}\n", "x".repeat(4 << 20));
    for dag in 0..80 {
        writeln!(text, "d{dag}: {{catchup: true}}").unwrap();
    }
    let reading = read(&text);
    assert_eq!(reading.dags.len(), 63);
    assert!(
        reading.errors[0]
            .message
            .starts_with("the defaults of this file, put into each of its DAGs, come to more")
    );
}

#[test]
fn what_nests_too_deep_is_refused() {
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(100_000)] {
        assert!(
            errors(&text)[0].contains("this is not YAML: recursion limit exceeded"),
            "{:?}",
            errors(&text)
        );
    }
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..200 {
        writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert_eq!(errors(&chain), ["dags.yml:101:13: this nests deeper than 100"]);
    let json = format!("{}{}", "[".repeat(110), "]".repeat(110));
    assert_eq!(read_as(&json, Format::Json).errors[0].message, "this nests deeper than 100");
}

#[test]
fn an_alias_within_itself_is_refused() {
    assert_eq!(
        errors("d: &d {tasks: *d}\n"),
        ["dags.yml:1:15: an alias within what it stands for has no end: take it out"]
    );
}

#[test]
fn a_document_that_is_too_large_is_refused() {
    let text = format!("d: {}", "x".repeat(33 << 20));
    assert!(errors(&text)[0].ends_with("are more than the 33554432 a DAG file may have: split it"));
}

#[test]
fn groups_that_multiply_their_tasks_are_refused() {
    let mut text = String::from("d:\n  task_groups: {a: {}, b: {dependencies: [a]}}\n  tasks:\n");
    for task in 0..2_100 {
        let group = if task % 2 == 0 { 'a' } else { 'b' };
        writeln!(text, "    t{task}: {{operator: empty, task_group_name: {group}}}").unwrap();
    }
    assert_eq!(
        errors(&text),
        [
            "dags.yml:2:43: d.task_groups.b.dependencies[0]: with this dependency the DAG has more than 1000000 edges: \
          put a task between the groups"
        ]
    );
}

#[test]
fn of_very_many_errors_a_hundred_are_told_and_the_rest_counted() {
    let mut text = String::from("d:\n  tasks:\n");
    for task in 0..5_000 {
        writeln!(text, "    t{task}: {{operator: empty, retries: x, dependencies: [nowhere{task}]}}")
            .unwrap();
    }
    let errors = errors(&text);
    assert_eq!(errors.len(), 100);
    assert!(errors[99].ends_with("(and 9900 more problems)"), "{}", errors[99]);
}

#[test]
fn a_dag_of_ten_thousand_tasks_is_read() {
    let mut text = String::from("d:\n  tasks:\n    t0: {operator: empty}\n");
    for task in 1..10_000 {
        writeln!(text, "    t{task}: {{operator: empty, dependencies: [t{}]}}", task - 1).unwrap();
    }
    let reading = read(&text);
    assert_eq!(reading.errors, []);
    assert_eq!(reading.dags[0].spec.tasks.len(), 10_000);
    assert_eq!(reading.dags[0].spec.edges.len(), 9_999);
}

/// A file of some ten megabytes, as one that a program writes: thirty DAGs with a thousand tasks each, each
/// after the one before.
fn ten_megabytes() -> String {
    let mut text =
        String::from("default:\n  default_args: {owner: data, retries: 2, start_date: 2026-01-01}\n");
    for dag in 0..30 {
        write!(text, "load_{dag}:\n  schedule: '@daily'\n  tasks:\n").unwrap();
        for task in 0..1_000 {
            write!(
                text,
                "    load_of_table_{task}:\n      operator: bash\n      bash_command: |\n        set -eu\n        \
                 echo 'table {task} of {{{{ ds }}}}, {{{{ params.get(\"bucket\", \"lake\") }}}}'\n        \
                 echo '{}'\n      env: {{TABLE: table_{task}, DAY: '{{{{ ds_nodash }}}}'}}\n      retries: 3\n",
                "x".repeat(64)
            )
            .unwrap();
            if task > 0 {
                writeln!(text, "      dependencies: [load_of_table_{}]", task - 1).unwrap();
            }
        }
    }
    assert!((9_500_000..10_500_000).contains(&text.len()), "{}", text.len());
    text
}

#[test]
fn a_file_of_ten_megabytes_is_read() {
    let text = ten_megabytes();
    let began = Instant::now();
    let reading = read(&text);
    println!("{} bytes were read in {:?}", text.len(), began.elapsed());
    assert_eq!(reading.errors, []);
    assert_eq!(reading.dags.len(), 30);
    for dag in &reading.dags {
        assert_eq!((dag.spec.tasks.len(), dag.spec.edges.len()), (1_000, 999));
    }
    let last = reading.dags[29].spec.tasks.iter().find(|task| &*task.task_id == "load_of_table_999").unwrap();
    assert!(last.args["bash_command"].as_str().unwrap().contains("table 999 of {{ ds }}"), "{last:?}");
}

#[test]
fn a_file_of_ten_megabytes_that_is_broken_at_its_end_is_told_by_the_line() {
    let mut text = ten_megabytes();
    let line = text.lines().count() + 1;
    text.push_str("    broken: {operator: bash, bash_command: [\n");
    let began = Instant::now();
    let errors = errors(&text);
    println!("{} bytes were read in {:?}", text.len(), began.elapsed());
    let [error] = &errors[..] else { panic!("{errors:?}") };
    let place = format!("dags.yml:{line}:");
    assert!(error.starts_with(&place) && error.contains("this is not YAML"), "{place} {error}");
}

/// Pieces of which a DAG file is made, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "default",
        "d",
        "tasks",
        "task_groups",
        "default_args",
        "operator",
        "empty",
        "bash",
        "Anything",
        "expand",
        "partial",
        "dependencies",
        "task_id",
        "group_name",
        "parent_group_name",
        "task_group_name",
        "schedule",
        "start_date",
        "2 days",
        "2026-01-01",
        "timezone",
        "UTC",
        "retries",
        "retry_delay",
        "__type__",
        "__args__",
        "__join__",
        "__and__",
        "datetime.timedelta",
        "datetime.datetime",
        "builtins.list",
        "items",
        "days",
        "email",
        "t.output",
        "XcomArg(t)",
        "+t",
        "params",
        "alerts",
        "when",
        "<<",
        "&a",
        "*a",
        "!x",
        "!!int",
        "~",
        "yes",
        "1:30",
        "010",
        "1e400",
        "-1",
        "99999999999999999999",
        ".inf",
        "x-y",
        "is_setup",
        "is_teardown",
        "trigger_rule",
        "{{ ds }}",
        "\u{feff}",
        "ß",
        "'",
        "\"",
        "|",
        ">",
        "- ",
        ": ",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        "#",
        "---",
        "\t",
        "\0",
        "$FIXTURE_WORD",
        "${",
        "t",
        "a",
    ];
    prop_oneof![9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// A tree of plausible keys over plausible values, as JSON, which is YAML too.
fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = piece().prop_map(serde_json::Value::String).boxed();
    let leaf = prop_oneof![
        leaf,
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(piece(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn no_mixture_of_the_dialect_makes_the_reader_panic(pieces in proptest::collection::vec(piece(), 0..60)) {
        read(&pieces.concat());
        read(&pieces.join(" "));
    }

    #[test]
    fn no_tree_of_the_dialect_makes_the_reader_panic(value in tree(), task in tree()) {
        let document = serde_json::json!({"default": value, "d": {"tasks": {"t": task.clone()}, "x": value}, "e": task});
        let text = document.to_string();
        let from_json = read_as(&text, Format::Json);
        prop_assert!(from_json.named.is_some());
        read(&text);
    }
}
