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

const POSTGRES: &str = "[database]\nurl = 'postgres://me:s3cret@127.0.0.1:1/updraft'\n";

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

#[tokio::test]
async fn a_restore_does_not_take_the_place_of_another_key() {
    let mut system = System::new(&[]);
    system.start(1);
    system.until(&["health"], |done| done.code == 0).await;
    system.stop_server();
    let backup = system.shared().join("backup");
    let backup = backup.to_str().unwrap();
    system.run(&["db", "backup", backup]).good();
    for file in ["updraft.db", "updraft.db-wal", "updraft.db-shm"] {
        let _ = std::fs::remove_file(system.home().join(file));
    }
    let key = system.home().join("key");
    let kept = std::fs::read_to_string(&key).unwrap();
    let another = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    std::fs::write(&key, another).unwrap();
    let refused = system.run(&["db", "restore", backup]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("move it away first"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), another);
    assert!(!system.home().join("updraft.db").exists(), "nothing was begun");
    // One that has the backup's keys too is the better one.
    let both = format!("{another}{kept}");
    std::fs::write(&key, &both).unwrap();
    system.run(&["db", "restore", backup]).good();
    assert_eq!(std::fs::read_to_string(&key).unwrap(), both);
}

#[tokio::test]
async fn of_an_installation_on_postgres_all_but_the_database_is_backed_up_and_it_is_said_how_to_do_the_rest()
{
    let system = System::new(&[]);
    std::fs::create_dir_all(system.home().join("blobs/xcom/1")).unwrap();
    for (file, text) in [("key", "one\n"), ("blobs/xcom/1/a", "large"), ("updraft.toml", POSTGRES)] {
        std::fs::write(system.home().join(file), text).unwrap();
    }
    let backup = system.shared().join("backup");
    let (to, dump) = (backup.to_str().unwrap(), format!("--file={}.dump", backup.display()));
    // Twice: the first try leaves nothing in the way.
    for _ in 0..2 {
        let refused = system.run(&["db", "backup", to]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains(&dump) && refused.err.contains("'postgres://me@127.0.0.1:1/updraft'"));
        assert!(!refused.err.contains("s3cret") && !backup.exists(), "{refused:?}");
    }
    system.run(&["db", "backup", "--beside", to]).good();
    assert_eq!(std::fs::read_to_string(backup.join("blobs/xcom/1/a")).unwrap(), "large");
    let refused = system.run(&["db", "restore", to]);
    assert!(refused.code == 1 && refused.err.contains("pg_restore"), "{refused:?}");
    assert!(!refused.err.contains("s3cret"), "{refused:?}");
    for lost in ["key", "blobs/xcom/1/a"] {
        std::fs::remove_file(system.home().join(lost)).unwrap();
    }
    system.run(&["db", "restore", "--beside", to]).good();
    assert_eq!(std::fs::read_to_string(system.home().join("key")).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(system.home().join("blobs/xcom/1/a")).unwrap(), "large");
}
