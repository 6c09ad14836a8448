//! Runs for times that are past.

use serde_json::{Value, json};

use super::{both, first_column};
use crate::system::System;

const DAG: &str = "
etl:
  schedule: '@daily'
  start_date: 2021-01-01
  catchup: false
  end_date: 2021-12-31
  tasks:
    load: {operator: bash, bash_command: 'echo {{ ds }} >> SHARED/days; test {{ ds }} != 2021-01-03 || ls SHARED/mended'}
";

async fn started() -> System {
    let mut system = System::new(&[]);
    let dag = DAG.replace("SHARED", &system.shared().display().to_string());
    std::fs::write(system.home().join("dags/etl.yaml"), dag).unwrap();
    system.start(4);
    system.until(&["dags", "show", "etl"], |done| done.code == 0).await;
    system
}

fn create<'a>(days: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["backfill", "create", "etl", "--from", "2021-01-01", "--to", days], more].concat()
}

#[tokio::test]
async fn a_backfill_is_previewed_made_and_what_failed_begins_anew() {
    let system = started().await;
    let preview = system.run(&create("2021-01-04", &["--dry-run"]));
    assert!(preview.err.contains("4 new runs, 0 runs that begin anew, 0 dates passed over"), "{preview:?}");
    assert_eq!(first_column(&preview.good())[0], "2021-01-01");
    let asked = system.run(&create("2021-01-04", &[]));
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{asked:?}");
    let failed = system.run(&create("2021-01-04", &["--yes", "--wait", "--backwards"]));
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("1 run of backfill 1 failed"), "{failed:?}");
    let listed = both(&system, &["backfill", "list", "--dag", "etl"]);
    assert_eq!((&listed[0]["success"], &listed[0]["failed"]), (&json!(3), &json!(1)));
    assert_eq!(both(&system, &["backfill", "list", "--open"]), json!([]));

    std::fs::write(system.shared().join("mended"), "").unwrap();
    let again =
        system.run(&create("2021-01-04", &["--yes", "--wait", "--reprocess", "failed", "-o", "json"]));
    assert_eq!(again.json()["id"], 2);
    let dates = both(&system, &["backfill", "show", "2"]);
    let states: Vec<&Value> = dates.as_array().unwrap().iter().map(|date| &date["state"]).collect();
    assert_eq!(states, ["passed_over", "passed_over", "success", "passed_over"]);
    let days = std::fs::read_to_string(system.shared().join("days")).unwrap();
    assert_eq!((days.lines().count(), days.lines().last()), (5, Some("2021-01-03")), "{days}");
    let nothing = system.run(&create("2021-01-04", &["--yes"]));
    assert!(nothing.code == 1 && nothing.err.contains("there is nothing to do"), "{nothing:?}");
}

#[tokio::test]
async fn no_run_is_planned_or_made_up_for_on_a_holiday() {
    let mut system = System::new(&[(
        "days.yaml",
        "
etl: {schedule: '@daily', start_date: 2021-01-01, holidays: [2021-01-02/2021-01-03], tasks: {a: {operator: empty}}}
later: {schedule: '@daily', start_date: 2999-01-01, holidays: 2999-01-01, tasks: {a: {operator: empty}}}
",
    )]);
    system.start(4);
    system.until(&["dags", "show", "later"], |done| done.code == 0).await;
    assert_eq!(system.run(&["dags", "next", "later"]).good().trim(), "2999-01-02T00:00:00Z");
    let shown = both(&system, &["dags", "show", "later"]);
    assert_eq!(
        (&shown["next_dagrun_run_after"], &shown["timetable_description"]),
        (
            &json!("2999-01-02T00:00:00Z"),
            &json!("0 0 * * *, on the clock of UTC, but not on its 1 holidays, the last on 2999-01-01")
        )
    );
    let preview = system.run(&create("2021-01-04", &["--dry-run"]));
    assert!(preview.err.contains("2 new runs"), "{preview:?}");
    assert_eq!(first_column(&preview.good()), ["2021-01-01", "2021-01-04"]);
}

#[tokio::test]
async fn a_backfill_goes_on_after_kill_9_and_each_day_runs_once() {
    let mut system = started().await;
    std::fs::write(system.shared().join("mended"), "").unwrap();
    system.run(&create("2021-02-28", &["--yes", "--max-active-runs", "3"])).good();
    let file = system.shared().join("days");
    let days = || std::fs::read_to_string(&file).unwrap_or_default();
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
    let mut kills = 0;
    for done in [3, 11, 25, 40] {
        while days().lines().count() < done {
            tick.tick().await;
        }
        system.kill_server();
        system.start(4);
        kills += 1;
        system.until(&["health"], |done| done.code == 0).await;
    }
    system.run(&["backfill", "wait", "1"]).good();
    assert_eq!(kills, 4);
    let days = days();
    let mut days: Vec<&str> = days.lines().collect();
    let all = days.len();
    days.sort_unstable();
    days.dedup();
    assert_eq!((all, days.len()), (59, 59), "a day ran twice, or never");
}

#[tokio::test]
async fn a_backfill_is_paused_and_cancelled() {
    let system = started().await;
    system.run(&["dags", "pause", "etl"]).good();
    let made = system.run(&create("2021-01-09", &["--yes", "--max-active-runs", "2"]));
    assert!(made.err.contains("updraft dags unpause etl"), "{made:?}");
    let paused = system.run(&["backfill", "pause", "1"]);
    assert!(paused.err.contains("is paused"), "{paused:?}");
    assert_eq!(both(&system, &["backfill", "list"])[0]["is_paused"], true);
    system.run(&["backfill", "unpause", "1"]).good();
    system.until(&["backfill", "list"], |done| done.out.contains(" 2 ")).await;
    assert_eq!(system.run(&["backfill", "cancel", "1"]).code, 2, "it asks");
    system.run(&["backfill", "cancel", "1", "--yes"]).good();
    let over = system.run(&["backfill", "pause", "1"]);
    assert!(over.err.contains("Backfill is already completed."), "{over:?}");
    let none = system.run(&["backfill", "show", "7"]);
    assert!(none.code != 0 && none.err.contains("Backfill not found"), "{none:?}");
}
