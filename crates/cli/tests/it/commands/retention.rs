//! What is over goes after a while.

use std::path::PathBuf;

use serde_json::json;

use crate::system::System;

/// `big` leaves a value that is too large for the database; `open` does not come to an end.
const DAGS: &str = r#"
big:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    value: {operator: bash, bash_command: "head -c 100000 /dev/zero | tr '\\0' x"}
open:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    wait: {operator: bash, bash_command: "until [ -e SHARED/go ]; do sleep 0.02; done"}
"#;

/// Two runs of `big` that are over, and two of `open` that are not.
async fn with_runs() -> System {
    let mut system = System::new(&[]);
    let dags = DAGS.replace("SHARED", &system.shared().display().to_string());
    std::fs::write(system.home().join("dags/dags.yaml"), dags).unwrap();
    system.start(4);
    system.until(&["dags", "show", "open"], |done| done.code == 0).await;
    for run in ["one", "two"] {
        system.run(&["dags", "trigger", "big", "--run-id", run, "--wait"]).good();
        system.run(&["dags", "trigger", "open", "--run-id", run]).good();
        assert!(log(&system, run).exists());
    }
    assert_eq!(blobs(&system), 2);
    system.stop_server();
    system
}

fn log(system: &System, run: &str) -> PathBuf {
    system.home().join(format!("logs/namespace=default/dag_id=big/run_id={run}"))
}

fn blobs(system: &System) -> usize {
    std::fs::read_dir(system.home().join("blobs/xcom")).unwrap().count()
}

#[tokio::test]
async fn a_server_removes_by_itself_what_is_over_for_long() {
    let mut system = with_runs().await;
    system.set("UPDRAFT__RETENTION__RUNS", "0s");
    system.start(4);
    let listed = ["runs", "list", "-o", "json"];
    let is_clean = |system: &System| !log(system, "one").exists() && blobs(system) == 1;
    let runs = system.until(&listed, |done| done.code == 0 && is_clean(&system)).await.json();
    let mut names: Vec<_> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["dag_id"].clone(), run["dag_run_id"].clone()))
        .collect();
    names.sort_by_key(|name| format!("{name:?}"));
    // A DAG's latest run stays, and one that is not over.
    assert_eq!(json!(names), json!([["big", "two"], ["open", "one"], ["open", "two"]]));
    assert!(log(&system, "two").exists());
    let lines = system.said();
    let lines: Vec<_> = lines.lines().filter(|line| line.contains("removed what is over")).collect();
    assert!(lines.len() == 1 && lines[0].contains("runs=1") && lines[0].contains("logs=1"), "{lines:?}");
}

#[tokio::test]
async fn an_administrator_cleans_while_no_server_is_at_work() {
    let mut system = with_runs().await;
    let clean = ["db", "clean", "--older-than", "0s"];
    let counted = system.run(&[&clean[..], &["--dry-run", "-o", "json"]].concat()).json();
    assert_eq!(counted[0], json!({"what": "runs", "count": 1}));
    // Of runs that stay nothing goes, unless it is named.
    assert!(
        !counted.to_string().contains("transitions") && !counted.to_string().contains("history"),
        "{counted}"
    );
    let named = [&clean[..], &["--tables", "transitions", "--dry-run", "-o", "json"]].concat();
    assert_ne!(system.run(&named).json()[0]["count"], 0);
    let asked = system.run(&clean);
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{asked:?}");
    let audit = system.run(&[&clean[..], &["--tables", "audit", "--yes"]].concat());
    assert!(log(&system, "one").exists() && audit.code == 0, "{audit:?}");
    let done = system.run(&["db", "clean", "--before", "2999-01-01", "--tables", "runs", "--yes"]);
    assert!(done.err.contains("of 1 run ") && done.err.contains("1 large value"), "{done:?}");
    assert!(!log(&system, "one").exists() && log(&system, "two").exists() && blobs(&system) == 1);
    assert_eq!(system.run(&["db", "clean"]).code, 2);
    assert_eq!(system.run(&["db", "clean", "--older-than", "soon"]).code, 2);

    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let refused = system.run(&[&clean[..], &["--yes"]].concat());
    assert!(refused.code == 1 && refused.err.contains("UPDRAFT__RETENTION__RUNS"), "{refused:?}");
    assert_eq!(system.run(&["runs", "show", "big", "two"]).code, 0);
}
