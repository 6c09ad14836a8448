//! The commands of the program, against a server that works.

mod backfill;
mod failures;
mod records;
mod retention;
mod runs;
mod said;
mod serverless;

use serde_json::Value;

use crate::system::System;

/// `etl` goes well, `slow` works until it is let go, `fails` fails until it is mended, and of
/// `told` somebody is told.
const DAGS: &str = r#"
etl:
  schedule: "0 0 1 1 *"
  tags: [nightly]
  default_args: {start_date: 2999-01-01, retries: 0}
  tasks:
    extract: {operator: bash, bash_command: "echo day {{ dag_run.conf.day }}"}
    load: {operator: bash, bash_command: "echo loaded", dependencies: [extract]}
slow:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    work:
      operator: bash
      bash_command: "echo began; until [ -e SHARED/go ]; do sleep 0.02; done; echo ended"
fails:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    check: {operator: bash, bash_command: "echo looking >&2; ls SHARED/mended"}
    after: {operator: bash, bash_command: "echo fine", dependencies: [check]}
told:
  default_args: {start_date: 2024-01-01, retries: 0, email: ada@example.com, email_on_failure: true}
  tasks:
    fail: {operator: bash, bash_command: "exit 1"}
"#;

/// A server that works, with these DAGs.
async fn started() -> System {
    let mut system = System::new(&[("wrong.yaml", "wrong: {tasks: {a: {operator: nothing}}}")]);
    let dags = DAGS.replace("SHARED", &system.shared().display().to_string());
    std::fs::write(system.home().join("dags/dags.yaml"), dags).unwrap();
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    system.until(&["dags", "show", "told"], |done| done.code == 0).await;
    system
}

/// The same as JSON and as YAML.
fn both(system: &System, arguments: &[&str]) -> Value {
    let json = system.run(&[arguments, &["-o", "json"]].concat()).json();
    let yaml = system.run(&[arguments, &["-o", "yaml"]].concat()).good();
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), json, "{yaml}");
    json
}

/// The first words of a table's lines, without those of its header.
fn first_column(table: &str) -> Vec<&str> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}
