//! Assets, in all the forms that Airflow and dag-factory have for them.

use std::fs;

use serde_json::json;
use updraft_core::{Asset, AssetCondition, DagSpec, schedule::Schedule};
use updraft_server::authoring::read_file;

use super::{dag, errors, holidays::folder, messages, read, task};

fn scheduled(schedule: &str) -> DagSpec {
    dag(&format!("d:\n  schedule: {schedule}\n  tasks: {{t: {{operator: empty}}}}\n"))
}

/// A condition as text, `&` and `|` with parentheses around each.
fn shown(condition: &AssetCondition) -> String {
    let join = |parts: &[AssetCondition], sign: &str| {
        let parts: Vec<String> = parts.iter().map(shown).collect();
        format!("({})", parts.join(sign))
    };
    match condition {
        AssetCondition::Asset(asset) => asset.uri.to_string(),
        AssetCondition::All(parts) => join(parts, " & "),
        AssetCondition::Any(parts) => join(parts, " | "),
    }
}

#[test]
fn a_schedule_by_assets_has_many_forms() {
    for (written, expected) in [
        ("['s3://a/b.json', orders]", "(s3://a/b.json & orders)"),
        ("{__type__: airflow.sdk.Asset, uri: 's3://a'}", "s3://a"),
        (
            "{__type__: builtins.list, items: [{__type__: airflow.datasets.Dataset, uri: 's3://a'}]}",
            "(s3://a)",
        ),
        ("{__and__: [a, {__type__: airflow.sdk.Asset, name: b}]}", "(a & b)"),
        ("{__or__: [{__and__: [a, b]}, c]}", "((a & b) | c)"),
        ("{datasets: {__or__: [{__and__: [a, b]}, c]}}", "((a & b) | c)"),
        ("{datasets: [a, b]}", "(a & b)"),
        ("{assets: [a, b]}", "(a & b)"),
        ("{datasets: '((s3://a/x & s3://a/y) | s3://a/z)'}", "((s3://a/x & s3://a/y) | s3://a/z)"),
        ("{datasets: 'a | b & c | d'}", "(a | (b & c) | d)"),
        (
            "{__type__: airflow.sdk.AssetAny, __args__: [a, {__type__: airflow.sdk.AssetAll, __args__: [b, c]}]}",
            "(a | (b & c))",
        ),
    ] {
        let spec = scheduled(written);
        assert_eq!(spec.assets.as_ref().map(shown).as_deref(), Some(expected), "{written}");
        assert_eq!(spec.schedule, Schedule::Manual, "{written}");
    }
    // And what looked like one before still is none.
    assert_eq!(scheduled("['@daily', '0 6 * * *']").assets, None);
    assert_eq!(scheduled("[2026-12-01]").assets, None);
}

/// As dag-factory has it.
#[test]
fn what_says_nothing_in_a_list_is_passed_over() {
    let listed = scheduled("[a, ' ', null, ' b ']").assets.unwrap();
    assert_eq!(shown(&listed), "(a & b)");
    for none in ["[]", "[null, '']"] {
        let dag = scheduled(none);
        assert_eq!((dag.assets, dag.schedule), (None, Schedule::Manual), "{none}");
    }
}

#[test]
fn a_timetable_may_stand_beside_assets() {
    for written in [
        "{datasets: 'a | b', timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '0 1 * * 5', timezone: UTC}}",
        "{assets: {__or__: [a, b]}, timetable: '0 1 * * 5'}",
        "{__type__: airflow.timetables.assets.AssetOrTimeSchedule, assets: {__or__: [a, b]}, timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '0 1 * * 5', timezone: UTC}}",
    ] {
        let spec = scheduled(written);
        assert_eq!(spec.assets.as_ref().map(shown).as_deref(), Some("(a | b)"), "{written}");
        assert!(matches!(spec.schedule, Schedule::CronTrigger { .. }), "{written}: {:?}", spec.schedule);
    }
}

#[test]
fn tasks_say_what_they_read_and_make() {
    let dag = dag(
        "d:\n  default_args: {inlets: [source]}\n  tasks:\n    t:\n      operator: empty\n      outlets:\n      - s3://a\n      \
         - {__type__: airflow.sdk.Asset, name: orders, uri: 's3://b', group: shop, extra: {rows: 3}}\n      \
         - {__type__: airflow.sdk.Asset, __args__: [stock]}\n",
    );
    let task = task(&dag, "t");
    assert_eq!(task.inlets, [Asset::new("source")]);
    let extra = json!({"rows": 3}).as_object().unwrap().clone();
    let orders =
        Asset { uri: "s3://b".into(), name: Some("orders".into()), group: Some("shop".into()), extra };
    assert_eq!(task.outlets, [Asset::new("s3://a"), orders, Asset::new("stock")]);
}

#[test]
fn a_file_of_assets_gives_them_names() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = dir.path().join("dags");
    fs::create_dir_all(root.join("datasets")).unwrap();
    let named = |name: &str| format!("- {{name: {name}, uri: 's3://shop/{name}'}}\n");
    let assets = ["one", "two", "three"].map(named).concat();
    fs::write(root.join("datasets/all.yml"), format!("datasets:\n{assets}")).unwrap();
    let file = root.join("d.yml");
    let read = |text: &str| {
        fs::write(&file, text).unwrap();
        read_file(&folder(&root), &file)
    };
    let reading = read(&format!(
        "d:\n  schedule: {{file: '{}/datasets/all.yml', datasets: '(one & two) | three'}}\n  tasks:\n    \
         t: {{operator: empty, outlets: {{file: datasets/all.yml, datasets: [two, one]}}}}\n",
        root.display()
    ));
    assert_eq!(messages(&reading.errors), [""; 0]);
    let spec = &reading.dags[0].spec;
    assert_eq!(shown(spec.assets.as_ref().unwrap()), "((s3://shop/one & s3://shop/two) | s3://shop/three)");
    let outlets = &spec.tasks[0].outlets;
    let outlets: Vec<_> = outlets.iter().map(|asset| (&*asset.uri, asset.name.as_deref())).collect();
    assert_eq!(outlets, [("s3://shop/two", Some("two")), ("s3://shop/one", Some("one"))]);
    for (text, expected) in [
        (
            "d: {tasks: {t: {operator: empty, inlets: {file: datasets/all.yml, datasets: [twoo]}}}}",
            "the file of assets has no `twoo`",
        ),
        (
            "d: {schedule: {file: ../x.yml, datasets: [one]}, tasks: {t: {operator: empty}}}",
            "the file of assets `../x.yml`",
        ),
        (
            "d: {schedule: {file: /etc/hostname, datasets: [one]}, tasks: {t: {operator: empty}}}",
            "lies outside of the folder of DAG files",
        ),
        (
            "d: {schedule: {file: d.yml, datasets: [one]}, tasks: {t: {operator: empty}}}",
            "has no list `datasets`",
        ),
    ] {
        let found = messages(&read(text).errors);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn what_can_be_no_asset_is_told() {
    for (schedule, expected) in [
        ("{__type__: airflow.sdk.Asset}", "an asset needs its `uri`, or a `name`"),
        ("{__type__: airflow.sdk.Asset, uri: a, watchers: [x]}", "assets are not watched"),
        ("{__type__: airflow.sdk.AssetAlias, name: a}", "only Python says what an alias stands for"),
        ("{datasets: '(a & b'}", "this is no condition at its end: write such as `(a & b) | c`"),
        ("{datasets: 'a & & b'}", "this is no condition at `&`"),
        ("{datasets: 'a b'}", "this is no condition at `b`"),
        ("{datasets: ''}", "this is no condition"),
        ("{datasets: [a], file: x.yml}", "the file of assets `x.yml` can't be had"),
        (
            "{assets: [a], cron: '@daily'}",
            "a schedule by assets has `assets`, `timetable` and `file`, and no `cron`",
        ),
        ("['@daily', 's3://a']", "times and assets are mixed in this list"),
        ("{__or__: []}", "a condition on no assets is never fulfilled"),
        ("[5, a]", "expected the URI of an asset, or an `airflow.sdk.Asset`, found the number 5"),
    ] {
        let found = errors(&format!("d:\n  schedule: {schedule}\n  tasks: {{t: {{operator: empty}}}}\n"));
        assert!(found.len() == 1 && found[0].contains(expected), "{schedule}: {found:?}");
    }
    let deep = format!("'{}a{}'", "(".repeat(100_000), ")".repeat(100_000));
    let found =
        errors(&format!("d:\n  schedule: {{datasets: {deep}}}\n  tasks: {{t: {{operator: empty}}}}\n"));
    assert!(found[0].contains("this is no condition at `(`"), "{:.200}", found[0]);
    let reading = read(
        "d: {tasks: {t: {operator: empty, outlets: [{__type__: airflow.datasets.DatasetAlias, name: x}]}}}",
    );
    let warnings = messages(&reading.dags[0].warnings);
    assert!(warnings[0].contains("an alias has no effect here"), "{warnings:?}");
    let unfit = errors(
        "d:\n  schedule: [a]\n  params: {day: {__type__: airflow.sdk.Param, type: string}}\n  tasks: {t: {operator: empty}}\n",
    );
    assert!(unfit[0].contains("a scheduled run is given nothing"), "{unfit:?}");
}
