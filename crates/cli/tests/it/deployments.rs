//! Bundles, from `updraft deploy` to the tasks that run from them, on this machine and on others.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use updraft_core::{RunState, TiStateName};

use crate::{remote::Remote, system::System};

/// What waits for a file, and then prints what its version has beside it.
const DAG: &str = r#"
job:
  default_args: {start_date: 2024-01-01, retries: 0}
  on_success_callback_name: tell
  on_success_callback_file: job.py
  tasks:
    wait: {operator: bash, bash_command: "while ! test -e {{ params.go }}; do sleep 0.05; done"}
    says:
      operator: python
      python_callable_name: main
      python_callable_file: job.py
      dependencies: [wait]
  params: {go: ""}
"#;

/// What is at the top of the bundle can be imported from everywhere in it.
const JOB: &str = r#"
from lib.words import WORDS

def main():
    return WORDS

def tell(context):
    with open(context["params"]["go"] + "." + context["run_id"], "w") as file:
        file.write(WORDS)
"#;

fn bundle(folder: &Path, says: &str) {
    fs::create_dir_all(folder.join("lib")).unwrap();
    fs::create_dir_all(folder.join("team")).unwrap();
    fs::write(folder.join("team/job.yml"), DAG).unwrap();
    fs::write(folder.join("team/job.py"), JOB).unwrap();
    fs::write(folder.join("lib/__init__.py"), "").unwrap();
    fs::write(folder.join("lib/words.py"), format!("WORDS = {says:?}\n")).unwrap();
}

fn deploy(system: &System, folder: &TempDir, namespace: &str) -> Value {
    let path = folder.path().to_str().unwrap();
    system.run(&["deploy", path, "--namespace", namespace, "-o", "json"]).json()
}

fn trigger(system: &System, namespace: &str, run_id: &str, go: &Path) {
    let conf = format!("{{\"go\": {:?}}}", go.to_str().unwrap());
    system
        .run(&["dags", "trigger", "job", "--namespace", namespace, "--run-id", run_id, "--conf", &conf])
        .good();
}

async fn says(system: &System, namespace: &str, run_id: &str) -> String {
    let states = ["runs", "show", "job", run_id, "--namespace", namespace, "-o", "json"];
    let over = |done: &crate::system::Done| {
        let state =
            serde_json::from_str::<Value>(&done.out).map(|run| run["state"].clone()).unwrap_or_default();
        state == "success" || state == "failed"
    };
    let run = system.until(&states, over).await.json();
    let log = system.run(&["tasks", "logs", "job", run_id, "says", "--namespace", namespace]);
    assert_eq!(run["state"], "success", "{}{}", log.out, log.err);
    let value = ["xcoms", "get", "job", run_id, "says", "--namespace", namespace];
    system.run(&value).json().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_keeps_its_version_whatever_is_deployed_and_whoever_is_killed() {
    let mut system = System::new(&[]);
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let (folder, go) = (tempfile::tempdir().unwrap(), system.shared().join("go"));
    bundle(folder.path(), "one");
    assert_eq!(deploy(&system, &folder, "prod")["number"], 1);
    trigger(&system, "prod", "before", &go);
    bundle(folder.path(), "two");
    assert_eq!(deploy(&system, &folder, "prod")["number"], 2);
    trigger(&system, "prod", "after", &go);
    // A server that comes anew has nothing unpacked, and has it from the archive.
    system.kill_server();
    fs::remove_dir_all(system.home().join("deployed")).unwrap();
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    fs::write(&go, "").unwrap();
    assert_eq!(says(&system, "prod", "before").await, "one");
    assert_eq!(says(&system, "prod", "after").await, "two");
    // So do the functions that are called about the runs.
    for (run, words) in [("before", "one"), ("after", "two")] {
        let told = go.with_extension(run);
        system.until(&["health"], |_| fs::read_to_string(&told).is_ok_and(|told| told == words)).await;
    }
    let back = system.run(&["deployments", "rollback", "--namespace", "prod"]).good();
    assert_eq!(back.trim(), "deployment 3 of `prod` counts, which is what 1 was: job");
    trigger(&system, "prod", "back", &go);
    assert_eq!(says(&system, "prod", "back").await, "one");
}

#[tokio::test]
async fn a_worker_elsewhere_of_one_namespace_fetches_what_it_runs() {
    let mut system = System::new(&[]);
    system.start(4);
    system.until(&["health"], |done| done.code == 0).await;
    let token = system.run(&["tokens", "create", "far", "--join", "--of-namespace", "prod"]).good();
    let remote = Remote::start(&system, token.trim());
    let (folder, go) = (tempfile::tempdir().unwrap(), system.shared().join("go"));
    fs::write(&go, "").unwrap();
    for (namespace, queue) in [("prod", "far"), ("test", "default")] {
        bundle(folder.path(), namespace);
        let file = folder.path().join("team/job.yml");
        fs::write(file, DAG.replace("retries: 0", &format!("retries: 0, queue: {queue}"))).unwrap();
        deploy(&system, &folder, namespace);
        trigger(&system, namespace, "r", &go);
        assert_eq!(says(&system, namespace, "r").await, namespace, "{}", remote.said());
    }
    let fetched = |home: &Path| fs::read_dir(home.join("bundles/deployed/checkouts")).unwrap().count();
    assert_eq!(fetched(&remote.folder.path().join("home/workers/far")), 1);
    assert_eq!(fetched(&system.home()), 1);
    // What another namespace has for this queue, nobody runs.
    bundle(folder.path(), "none");
    let file = folder.path().join("team/job.yml");
    fs::write(file, DAG.replace("retries: 0", "retries: 0, queue: far")).unwrap();
    deploy(&system, &folder, "test");
    trigger(&system, "test", "stays", &go);
    let why = ["tasks", "explain", "job", "stays", "wait", "--namespace", "test"];
    system.until(&why, |done| done.out.contains("serves queue `far` for namespace `test`")).await;
}

/// A wheel with a module that has a word, made without an index of packages.
const WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("spoken.py", "WORD = 'packaged'\n")
    info = "spoken-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: spoken\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "")
"#;

#[tokio::test]
async fn what_requirements_ask_for_is_installed_once_and_there_for_scripts_and_python() {
    let mut system = System::new(&[]);
    system.start(8);
    system.until(&["health"], |done| done.code == 0).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("wheels")).unwrap();
    let wheel = folder.path().join("wheels/spoken-1.0-py3-none-any.whl");
    let made = std::process::Command::new("python3").args(["-c", WHEEL]).arg(&wheel).status().unwrap();
    assert!(made.success());
    fs::write(folder.path().join("requirements.txt"), "./wheels/spoken-1.0-py3-none-any.whl\n").unwrap();
    fs::write(folder.path().join("job.py"), "import spoken\n\n\ndef main():\n    return spoken.WORD\n")
        .unwrap();
    let dag = "
job:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    says: {operator: python, python_callable_name: main, python_callable_file: job.py}
    shell: {operator: bash, env: {ONLY: this}, bash_command: \"python3 -c 'import spoken; print(spoken.WORD)'\"}
    script: {operator: script, script: \"#!/usr/bin/env python3\\nimport spoken\\nprint(spoken.WORD)\\n\"}
";
    fs::write(folder.path().join("job.yml"), dag).unwrap();
    deploy(&system, &folder, "default");
    for run in ["first", "second"] {
        system.run(&["dags", "trigger", "job", "--run-id", run]).good();
        assert_eq!(says(&system, "default", run).await, "packaged");
    }
    let tis = system.tis().await;
    assert_eq!(tis.len(), 6);
    let logs: Vec<String> = tis.iter().map(|ti| system.log(ti)).collect();
    assert!(tis.iter().all(|ti| ti.row.state.name() == TiStateName::Success), "{logs:?}");
    let installed = logs.iter().filter(|log| log.contains("Installing what requirements.txt asks for"));
    assert_eq!(installed.count(), 1, "{logs:?}");

    // Another wheel of the same name is another.
    let other = WHEEL.replace("packaged", "rebuilt");
    fs::remove_file(&wheel).unwrap();
    assert!(
        std::process::Command::new("python3").args(["-c", &other]).arg(&wheel).status().unwrap().success()
    );
    deploy(&system, &folder, "default");
    system.run(&["dags", "trigger", "job", "--run-id", "rebuilt"]).good();
    assert_eq!(says(&system, "default", "rebuilt").await, "rebuilt");

    // What can't be had fails the task, and says so.
    fs::write(folder.path().join("requirements.txt"), "./wheels/none-1.0-py3-none-any.whl\n").unwrap();
    deploy(&system, &folder, "default");
    system.run(&["dags", "trigger", "job", "--run-id", "third"]).good();
    let runs = system.runs_over(4, Duration::from_secs(60)).await;
    let third = runs.iter().find(|run| &*run.run_id == "third").unwrap();
    assert_eq!(third.state, RunState::Failed);
    let said = system.run(&["tasks", "logs", "job", "third", "says"]).good();
    assert!(said.contains("requirements.txt asks for can't be installed"), "{said}");
}

#[tokio::test]
async fn a_function_has_an_environment_that_is_made_once_for_all_who_ask_for_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = folder.path().join("spoken-1.0-py3-none-any.whl");
    assert!(
        std::process::Command::new("python3").args(["-c", WHEEL]).arg(&wheel).status().unwrap().success()
    );
    let job = "import sys\n\n\ndef word():\n    import spoken\n    return [spoken.WORD, sys.prefix]\n\n\n\
               def prefix():\n    return [\"spoken\" in sys.modules, sys.prefix]\n";
    let dag = format!(
        "
job:
  default_args:
    start_date: 2024-01-01
    retries: 0
    python_callable_file: job.py
  tasks:
    asks: {{operator: python_virtualenv, python_callable_name: word, requirements: [\"{wheel}\"], index_urls: []}}
    same:
      decorator: airflow.sdk.task.virtualenv
      python_callable_name: word
      requirements: [\"{wheel}\"]
      index_urls: []
      dependencies: [asks]
    bare: {{operator: python_virtualenv, python_callable_name: prefix, system_site_packages: false}}
    none: {{operator: python_virtualenv, python_callable_name: prefix, requirements: [no-such], index_urls: []}}
    old: {{operator: python_virtualenv, python_callable_name: prefix, python_version: \"2.1\"}}
",
        wheel = wheel.display()
    );
    let mut system = System::new(&[("job.py", job), ("job.yml", &dag)]);
    system.start(8);
    system.until(&["health"], |done| done.code == 0).await;
    system.run(&["dags", "trigger", "job", "--run-id", "r"]).good();
    system.runs_over(1, Duration::from_secs(120)).await;
    let tis = system.tis().await;
    let ti = |task: &str| tis.iter().find(|ti| &*ti.row.task_id == task).unwrap();
    let asked = system.result(ti("asks")).await;
    assert_eq!(asked[0], "packaged", "{}", system.log(ti("asks")));
    assert_eq!(system.result(ti("same")).await, asked, "{}", system.log(ti("same")));
    let installed =
        ["asks", "same"].map(|task| system.log(ti(task)).contains("Installing what the task asks for"));
    assert_eq!(installed, [true, false]);
    let bare = system.result(ti("bare")).await;
    assert_eq!(bare[0], false);
    assert_ne!(bare[1], asked[1]);
    for (task, why) in
        [("none", "what the task asks for can't be installed"), ("old", "it needs `python2.1`")]
    {
        assert_eq!(ti(task).row.state.name(), TiStateName::Failed);
        assert!(system.log(ti(task)).contains(why), "{}", system.log(ti(task)));
    }
}

#[tokio::test]
async fn a_deployment_that_is_killed_in_its_midst_counts_whole_or_not_at_all() {
    let mut system = System::new(&[]);
    let folder = tempfile::tempdir().unwrap();
    bundle(folder.path(), "one");
    // So that there is a midst.
    for n in 0..300 {
        fs::write(folder.path().join(format!("data{n}.csv")), "0123456789\n".repeat(500)).unwrap();
    }
    for delay in [0, 20, 40, 80, 160, 320] {
        system.start(2);
        system.until(&["health"], |done| done.code == 0).await;
        fs::write(folder.path().join("lib/words.py"), format!("WORDS = '{delay}'\n")).unwrap();
        let path = folder.path().to_str().unwrap();
        let mut deploying = system.command(&["deploy", path, "--namespace", "prod"]).spawn().unwrap();
        // tidy: sleep because the server is to be killed while it deploys
        tokio::time::sleep(Duration::from_millis(delay)).await;
        system.kill_server();
        deploying.wait().unwrap();
    }
    system.start(2);
    system.until(&["health"], |done| done.code == 0).await;
    assert_eq!(deploy(&system, &folder, "prod")["in_place"], true);
    let list = ["deployments", "list", "--namespace", "prod", "-o", "json"];
    let listed = system.run(&list).json();
    let go = system.shared().join("go");
    fs::write(&go, "").unwrap();
    // Each that counted is whole: its files come back.
    for row in listed.as_array().unwrap() {
        let number = row["number"].to_string();
        system.run(&["deployments", "rollback", "--namespace", "prod", "--to", &number]).good();
        trigger(&system, "prod", &number, &go);
        assert!(says(&system, "prod", &number).await.parse::<u32>().is_ok());
    }
    let unfinished = fs::read_dir(system.home().join("deployed/prod/unfinished")).unwrap();
    assert_eq!(unfinished.count(), 0);
}
