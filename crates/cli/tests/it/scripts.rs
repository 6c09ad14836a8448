//! What tasks are given and what they are kept from, in a whole installation.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::json;
use updraft_core::{RunState, TiStateName};
use updraft_store::TiListing;

use crate::system::{System, signal};

const PASSWORD: &str = "correct-horse";

const DAG: &str = r#"
given:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    alone:
      operator: bash
      env: {COLOUR: red}
      bash_command: /usr/bin/env | /usr/bin/sort | /usr/bin/cut -d= -f1 | /usr/bin/tr '\n' ' '
    handed:
      operator: bash
      secrets: {PASSWORD: "{{ conn.shop.password }}"}
      bash_command: env | grep -c correct-horse; cat <&$PASSWORD_FD; echo; cat /dev/fd/$PASSWORD_FD
    rows:
      operator: script
      script_file: scripts/rows.sh
      result: file
    asks:
      operator: python
      python_callable_name: main
      python_callable_file: scripts/asks.py
      dependencies: [rows]
"#;

/// What a thief looks for: the server's secrets and DAGs, other tasks' logs, what is in its
/// environment.
const THIEF: &str = r#"
thief:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    before: {operator: bash, bash_command: echo my diary}
    steals:
      operator: bash
      dependencies: [before]
      bash_command: |
        for file in "$HOME_OF_SERVER"/{key,updraft.db,admin-password,run/worker-token}; do
          cat "$file" >/dev/null && echo STOLEN $file
        done
        find "$HOME_OF_SERVER"/logs -type f -exec cat {} + | grep . && echo STOLEN a log
        echo >> "$HOME_OF_SERVER"/dags/thief.yaml && echo STOLEN a DAG
        env | grep -E 'UPDRAFT__|AIRFLOW_CONN|AIRFLOW_VAR' && echo STOLEN a variable
        echo done
      env: {HOME_OF_SERVER: "HOME_FOLDER"}
      append_env: true
"#;

const ASKS: &str = r#"
def main(ti, var, conn):
    print("the password is", conn.shop.password)
    print("no", var["value"].get("missing", "variable"))
    return {"rows": ti.xcom_pull(task_ids="rows"), "colour": var["value"].colour, "password": conn.shop.password}
"#;

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    set_mode(path, 0o755);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn ended(system: &System) -> Vec<TiListing> {
    let (state, tis) = over(system).await;
    let logs: String = tis.iter().map(|ti| system.log(ti)).collect();
    assert_eq!(state, RunState::Success, "{logs}\n{}", system.said());
    tis
}

/// What the only run came to.
async fn over(system: &System) -> (RunState, Vec<TiListing>) {
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    (runs[0].state, system.tis().await)
}

#[tokio::test]
async fn tasks_get_what_is_meant_for_them_and_nothing_else() {
    let mut system = System::new(&[]);
    let dags = system.home().join("dags");
    let dag = DAG.replace("HOME_FOLDER", &system.home().display().to_string());
    script(&dags.join("scripts/rows.sh"), "#!/bin/sh\necho '[1, 2]' > $UPDRAFT_RESULT\n");
    script(&dags.join("scripts/asks.py"), ASKS);
    std::fs::write(dags.join("given.yaml"), dag).unwrap();
    system.set("AIRFLOW_CONN_SHOP", format!("ftp://luffy:{PASSWORD}@example.com"));
    system.set("AIRFLOW_VAR_COLOUR", "blue");
    system.start(4);
    let tis = ended(&system).await;
    let of = |task: &str| tis.iter().find(|ti| &*ti.row.task_id == task).unwrap();

    let names = system.result(of("alone")).await;
    let names: Vec<&str> = names.as_str().unwrap().split_whitespace().collect();
    assert!(names.contains(&"COLOUR") && names.contains(&"AIRFLOW_CTX_DAG_ID"), "{names:?}");
    assert!(!names.contains(&"PATH") && !names.contains(&"HOME"), "{names:?}");

    assert_eq!(system.result(of("handed")).await, json!(PASSWORD));
    let log = system.log(of("handed"));
    assert!(log.contains("\tout\t0\n") && log.contains("\tout\t***\n") && !log.contains(PASSWORD), "{log}");

    let asked = system.result(of("asks")).await;
    assert_eq!(asked, json!({"rows": [1, 2], "colour": "blue", "password": PASSWORD}));
    let log = system.log(of("asks"));
    assert!(log.contains("the password is ***") && log.contains("no variable"), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
    assert!(tis.iter().all(|ti| ti.row.state.name() == TiStateName::Success));
}

#[tokio::test]
async fn a_thief_gets_nothing_and_without_the_guard_all_but_what_it_is_never_given() {
    for (guard, stolen) in [("on", 0), ("off", 6)] {
        let mut system = System::new(&[]);
        let dag = THIEF.replace("HOME_FOLDER", &system.home().display().to_string());
        std::fs::write(system.home().join("dags/thief.yaml"), dag).unwrap();
        system.set("AIRFLOW_CONN_SHOP", format!("ftp://luffy:{PASSWORD}@example.com"));
        system.set("UPDRAFT__WORKER__GUARD", guard);
        system.start(4);
        let tis = ended(&system).await;
        let thief = tis.iter().find(|ti| &*ti.row.task_id == "steals").unwrap();
        let log = system.log(thief);
        assert_eq!(log.matches("STOLEN").count(), stolen, "{guard}: {log}");
        assert!(log.contains("done"), "{log}");
    }
}

/// What tasks write stays, and others find it by the same name.
const KEEPS: &str = r#"
keeps:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    waits: {operator: file_sensor, filepath: made/*.txt, poke_interval: 0.2, timeout: 60}
    writes: {operator: bash, bash_command: mkdir -p $UPDRAFT_FILES/made && echo one > $UPDRAFT_FILES/made/it.txt}
    table: {operator: sql, conn_id: shop, sql: CREATE TABLE t AS SELECT 7 AS n}
    csv: {operator: sql_to_csv, sql_conn_id: shop, query: SELECT n FROM t, path: rows.csv, dependencies: [table]}
    reads:
      operator: bash
      bash_command: cat $UPDRAFT_FILES/made/it.txt $UPDRAFT_FILES/rows.csv | tr '\n' ' '
      dependencies: [waits, writes, csv]
"#;

#[tokio::test]
async fn what_tasks_write_stays_and_others_find_it() {
    let mut system = System::new(&[("keeps.yaml", KEEPS)]);
    system.set("AIRFLOW_CONN_SHOP", r#"{"conn_type": "sqlite", "host": "shop.db"}"#);
    system.start(4);
    let tis = ended(&system).await;
    let of = |task: &str| tis.iter().find(|ti| &*ti.row.task_id == task).unwrap();
    assert!(tis.iter().all(|ti| ti.row.state.name() == TiStateName::Success), "{tis:?}");
    assert_eq!(system.result(of("reads")).await, json!("one n 7"));
    let files = system.home().join("files");
    assert!(files.join("shop.db").is_file() && files.join("rows.csv").is_file());
}

/// What a task names and the keeper reads, which is under no guard.
const BY_THE_KEEPER: &str = r#"
thieves:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    by_template: {operator: bash, bash_command: "echo STOLEN {% include 'HOME_FOLDER/key' %}"}
    by_name: {operator: bash, bash_command: stolen.sh}
    by_link: {operator: bash, bash_command: "echo STOLEN {% include 'link' %}"}
    of_the_keeper: {operator: bash, bash_command: "echo STOLEN {% include '/proc/self/environ' %}"}
    by_mail: {operator: email, to: a@example.org, subject: s, html_content: h, files: [HOME_FOLDER/key]}
    by_mailed_link: {operator: email, to: a@example.org, subject: s, html_content: h, files: [link]}
    by_script: {operator: script, script_file: HOME_FOLDER/key}
    endless: {operator: email, to: a@example.org, subject: s, html_content: h, files: [/dev/zero]}
    never: {operator: script, script_file: pipe}
    caught:
      operator: empty
      trigger_rule: all_failed
      dependencies: [by_template, by_name, by_link, of_the_keeper, by_mail, by_mailed_link, by_script, endless, never]
"#;

#[tokio::test]
async fn the_keeper_steals_nothing_for_a_task() {
    let mut system = System::new(&[]);
    let dags = system.home().join("dags");
    for link in ["link", "stolen.sh"] {
        std::os::unix::fs::symlink("../key", dags.join(link)).unwrap();
    }
    rustix::fs::mknodat(rustix::fs::CWD, dags.join("pipe"), rustix::fs::FileType::Fifo, 0o666.into(), 0)
        .unwrap();
    let dag = BY_THE_KEEPER.replace("HOME_FOLDER", &system.home().display().to_string());
    std::fs::write(dags.join("thieves.yaml"), dag).unwrap();
    system.set("UPDRAFT__SMTP__URL", "smtp://127.0.0.1:1?tls=off");
    system.set("UPDRAFT__SMTP__FROM", "updraft@example.org");
    system.start(4);
    for ti in ended(&system).await.iter().filter(|ti| &*ti.row.task_id != "caught") {
        let log = system.log(ti);
        assert!(log.contains("is out of tasks' reach") || log.contains("it is no regular file"), "{log}");
    }
}

/// As root runs Updraft: in a home folder that only root can enter, with folders on its `PATH` that are no less so.
const ANOTHER: &str = r##"
another:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0, run_as_user: nobody}
  tasks:
    bash: {operator: bash, bash_command: "pwd | tee where && id -un"}
    script: {operator: script, script: "#!/bin/sh\nid -un > $UPDRAFT_RESULT", result: file}
    asks:
      operator: python
      python_callable_name: main
      python_callable_file: OPEN/asks.py
    barred:
      operator: script
      script: echo hello
      interpreter: [PRIVATE/only-root]
    closed: {operator: python, python_callable_name: main, python_callable_file: asks.py}
    caught: {operator: empty, run_as_user: null, trigger_rule: all_done, dependencies: [barred, closed]}
    spies:
      operator: bash
      dependencies: [bash]
      bash_command: |
        cat KEY && echo STOLEN
        cd ..; find .. -type f -not -path "../$(basename "$(pwd)")/*" -exec cat {} + && echo STOLEN
        id -un
"##;

const ASKS_AS_ANOTHER: &str = r#"
import getpass, os

def main(ti, var):
    ti.xcom_push("colour", var["value"].colour)
    return getpass.getuser()
"#;

/// Only root can make a process another user's.
#[tokio::test]
async fn a_task_runs_as_the_user_it_names_though_the_home_folder_is_closed_to_that_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut system = System::new(&[]);
    let (private, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for closed in [&system.home(), private.path()] {
        set_mode(closed, 0o700);
    }
    set_mode(open.path(), 0o755);
    for name in ["bash", "sh", "python3", "only-root"] {
        script(&private.path().join(name), "#!/bin/sh\necho it ran what its user cannot reach; exit 1\n");
    }
    for folder in [open.path(), &system.home().join("dags")] {
        std::fs::write(folder.join("asks.py"), ASKS_AS_ANOTHER).unwrap();
    }
    let dag = ANOTHER
        .replace("PRIVATE", &private.path().display().to_string())
        .replace("OPEN", &open.path().display().to_string())
        .replace("KEY", &system.home().join("key").display().to_string());
    std::fs::write(system.home().join("dags/another.yaml"), dag).unwrap();
    system.set("PATH", format!("{}:{}", private.path().display(), std::env::var("PATH").unwrap()));
    system.set("AIRFLOW_VAR_COLOUR", "blue");
    system.start(4);
    let tis = ended(&system).await;
    let of = |task: &str| tis.iter().find(|ti| &*ti.row.task_id == task).unwrap();
    for task in ["bash", "script", "asks", "spies"] {
        assert_eq!(system.result(of(task)).await, json!("nobody"), "{task}: {}", system.log(of(task)));
    }
    let log = system.log(of("barred"));
    assert!(log.contains("only-root cannot be executed by the user \"nobody\": Permission denied"), "{log}");
    let log = system.log(of("closed"));
    assert!(log.contains("PermissionError") && log.contains("dags.folder can name"), "{log}");
    let log = system.log(of("spies"));
    assert!(!log.contains("STOLEN") && log.contains("Permission denied"), "{log}");

    // What the keeper has made for these goes with it.
    let log = system.log(of("bash"));
    let folder = log.lines().find_map(|line| line.split_once("\tout\t")).unwrap().1;
    let made = Path::new(folder).parent().and_then(Path::parent).unwrap();
    assert!(made.starts_with("/var/cache") && made.is_dir(), "{folder}");
    for keeper in system.processes("keeper") {
        signal(keeper, "-TERM");
    }
    system.until(&["version"], |_| !made.exists()).await;
}

#[tokio::test]
async fn a_scratch_folder_that_another_user_cannot_enter_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dag = "
closed:
  schedule: '@once'
  default_args: {start_date: 2024-01-01, retries: 0, run_as_user: nobody}
  tasks:
    who: {operator: bash, bash_command: id -un}
";
    let mut system = System::new(&[("closed.yaml", dag)]);
    set_mode(&system.home(), 0o700);
    let scratch = system.home().join("scratch");
    system.set("UPDRAFT__WORKER__SCRATCH", scratch.display().to_string());
    system.start(4);
    let (_, tis) = over(&system).await;
    let log = system.log(&tis[0]);
    assert!(
        log.contains("cannot be entered by the user \"nobody\"") && log.contains("worker.scratch"),
        "{log}"
    );
}

/// Beside the home folder, where a guarded task can make nothing; and a list of what is there.
const BESIDE: &str = r#"
beside:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    list: {operator: bash, bash_command: "ls BESIDE / > /dev/null"}
    below: {operator: bash, bash_command: "echo x > BESIDE/shared/note"}
    make: {operator: bash, bash_command: "echo x > BESIDE/note"}
"#;

async fn beside(guard: &str) -> (System, Vec<TiListing>) {
    let mut system = System::new(&[]);
    let beside = system.shared().parent().unwrap().display().to_string();
    std::fs::write(system.home().join("dags/beside.yaml"), BESIDE.replace("BESIDE", &beside)).unwrap();
    system.set("UPDRAFT__WORKER__GUARD", guard);
    system.start(4);
    let (_, tis) = over(&system).await;
    (system, tis)
}

#[tokio::test]
async fn a_task_is_told_when_the_guard_may_have_refused_it_and_the_guard_can_be_turned_off() {
    let (system, tis) = beside("on").await;
    for ti in &tis {
        let log = system.log(ti);
        match &*ti.row.task_id {
            "make" => assert!(log.contains("UPDRAFT__WORKER__GUARD=off"), "{log}"),
            _ => assert_eq!(ti.row.state.name(), TiStateName::Success, "{log}"),
        }
    }
    let (system, tis) = beside("off").await;
    for ti in &tis {
        assert_eq!(ti.row.state.name(), TiStateName::Success, "{}", system.log(ti));
    }
}
