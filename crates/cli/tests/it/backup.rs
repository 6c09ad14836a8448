//! A backup that is taken while a server is at work, put in the place of what was lost.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use crate::system::System;

const DAG: &str = "
large:
  schedule: '@once'
  default_args: {start_date: 2024-01-01}
  tasks:
    leave: {operator: bash, bash_command: 'head -c 200000 /dev/zero | tr \"\\0\" x'}
";

#[tokio::test]
async fn a_backup_brings_back_secrets_and_large_values() {
    let mut system = System::new(&[("large.yaml", DAG)]);
    system.start(2);
    let runs = system.runs_over(1, Duration::from_secs(30)).await;
    let run_id = runs[0].run_id.to_string();
    system.run(&["variables", "set", "motto", "fire and ice"]).good();
    let backup = system.shared().join("backup");
    let backup = backup.to_str().unwrap();
    system.run(&["db", "backup", backup]).good();
    let mode = std::fs::metadata(backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it has the key");

    system.kill_server();
    system.kill_keeper();
    for lost in ["updraft.db", "updraft.db-wal", "updraft.db-shm", "key"] {
        let _ = std::fs::remove_file(system.home().join(lost));
    }
    std::fs::remove_dir_all(system.home().join("blobs")).unwrap();
    system.run(&["db", "restore", backup]).good();
    system.start(2);
    let variable = system.until(&["variables", "get", "motto"], |done| done.code == 0).await;
    assert_eq!(variable.out.trim(), "fire and ice");
    let value = system.run(&["xcoms", "get", "large", &run_id, "leave"]).good();
    assert_eq!(value.matches('x').count(), 200_000);
}
