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

#[tokio::test]
async fn a_password_that_is_lost_is_made_anew_without_a_login() {
    let mut system = System::new(&[]);
    system.start(1);
    system.until(&["health"], |done| done.code == 0).await;
    system.run_with(&["users", "create", "ana", "--role", "user"], "correct horse\n").good();
    let token = system.run(&["tokens", "create", "ci"]).good();
    let with_token = ["dags", "list", "--token", token.trim()];
    system.run(&with_token).good();
    // As on another machine.
    let file = system.home().join("admin-password");
    std::fs::remove_file(&file).unwrap();
    let locked_out = system.run(&["dags", "list"]);
    assert!(locked_out.code == 4 && locked_out.err.contains("`updraft db password`"), "{locked_out:?}");
    let unknown = system.run(&["db", "password", "anna"]);
    assert!(unknown.code == 1, "{unknown:?}");
    assert!(unknown.err.contains("no account `anna`: there is `admin`, `ana`"), "{unknown:?}");

    let said = system.run(&["db", "password"]);
    assert!(said.err.contains("1 token of `admin` has ended"), "{said:?}");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(said.good().contains(kept.trim()));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    system.run(&["dags", "list"]).good();
    assert_eq!(system.run(&with_token).code, 4);

    let said = system.run(&["db", "password", "ana"]).good();
    system.log_in("ana", said.split_whitespace().last().unwrap()).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept, "it is not hers");
}

#[test]
fn where_no_database_is_none_is_made_by_a_look() {
    let system = System::new(&[]);
    let backup = system.shared().join("backup");
    std::fs::remove_dir_all(system.home()).unwrap();
    for command in [
        &["version"][..],
        &["clean", "--older-than", "1d", "--yes"],
        &["backup", backup.to_str().unwrap()],
        &["password"],
    ] {
        let refused = system.run(&[&["db"], command].concat());
        let path = system.home().join("updraft.db");
        let said = format!("there is no database at {}", path.display());
        assert!(refused.code == 1 && refused.err.contains(&said), "{refused:?}");
        assert!(!system.home().exists() && !backup.exists(), "{command:?}");
    }
}
