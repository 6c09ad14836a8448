//! The switch that lets nothing new begin.

use crate::system::System;

const DAG: &str = "often:\n  schedule: '* * * * * *'\n  default_args: {start_date: 2024-01-01, retries: 0}\n  \
                   tasks:\n    a: {operator: empty}\n";

#[tokio::test]
async fn everything_is_paused_for_the_next_server_too_until_somebody_resumes() {
    let mut system = System::new(&[("often.yaml", DAG)]);
    system.start(2);
    system.until(&["runs", "list", "often", "-o", "json"], |done| done.out.contains("success")).await;
    system.run(&["pause"]).good();
    system.kill_server();
    system.start(2);
    let shown = system.until(&["pause", "--show", "-o", "json"], |done| !done.out.is_empty()).await;
    assert_eq!(shown.json()["is_paused"], true);
    system.run(&["dags", "trigger", "often", "--run-id", "mine"]).good();
    let count = || system.run(&["runs", "list", "often", "-o", "json"]).json().as_array().unwrap().len();
    let before = count();
    // tidy: sleep because that nothing begins can only be waited for; there is a tick each second.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mine = |system: &System| system.run(&["runs", "show", "often", "mine", "-o", "json"]).json();
    assert_eq!(mine(&system)["state"], "queued");
    assert_eq!(count(), before, "a tick made a run");
    system.run(&["resume"]).good();
    system.until(&["runs", "show", "often", "mine", "-o", "json"], |done| done.out.contains("success")).await;
    let more =
        |out: &str| serde_json::from_str::<Vec<serde_json::Value>>(out).is_ok_and(|runs| runs.len() > before);
    system.until(&["runs", "list", "often", "-o", "json"], |done| more(&done.out)).await;
}
