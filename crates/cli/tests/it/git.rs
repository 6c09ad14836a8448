//! DAGs from a Git repository: real repositories, made by `git`, and served by it.

mod repository;
mod served;
mod ssh;
mod webhook;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

use self::repository::Repository;
use crate::system::{Done, System};

/// A DAG whose task runs a script of the repository once the gate is open.
const GATED: &str = "
gated:
  default_args: {start_date: 2024-01-01, retries: 0}
  tasks:
    gate:
      operator: bash
      bash_command: until test -e GATE; do sleep 0.05; done
    say:
      operator: script
      script_file: scripts/say.sh
      dependencies: [gate]
";

/// A DAG that does nothing, with this name.
fn dag(name: &str, description: &str) -> String {
    format!(
        "{name}:\n  description: '{description}'\n  default_args: {{start_date: 2024-01-01}}\n  tasks:\n    \
         nothing: {{operator: empty}}\n"
    )
}

/// An installation that follows a repository, not yet started.
fn following(url: &str, every_s: u64) -> System {
    let mut system = System::new(&[("local.yaml", &dag("local", "of the folder"))]);
    system.set("UPDRAFT__DAGS__GIT__URL", url);
    system.set("UPDRAFT__DAGS__GIT__SUBDIR", "dags");
    system.set("UPDRAFT__DAGS__GIT__POLL_INTERVAL_S", every_s.to_string());
    system
}

/// The commit that each DAG is at, by its name; those of the folder have none.
fn commits(done: &Done) -> BTreeMap<String, Option<String>> {
    let dags: Value = serde_json::from_str(&done.out).unwrap_or_default();
    let commit = |dag: &Value| dag["bundle_version"].as_str().map(str::to_owned);
    let named = |dag: &Value| Some((dag["dag_id"].as_str()?.to_owned(), commit(dag)));
    dags.as_array().into_iter().flatten().filter_map(named).collect()
}

/// Waits until the DAGs are these, at these commits.
async fn until_at(system: &System, expected: &[(&str, &str)]) {
    let of = |(name, commit): &(&str, &str)| ((*name).to_owned(), Some((*commit).to_owned()));
    let mut expected: BTreeMap<_, _> = expected.iter().map(of).collect();
    expected.insert("local".into(), None);
    system.until(&["dags", "list", "-o", "json"], |done| commits(done) == expected).await;
}

/// Waits until an import error says this, or until none is left where nothing is to be said.
async fn until_error(system: &System, says: Option<&str>) -> String {
    let is_it = |done: &Done| {
        let errors: Option<Value> = serde_json::from_str(&done.out).ok();
        errors.is_some_and(|errors| match says {
            Some(says) => errors.to_string().contains(says),
            None => errors == Value::Array(Vec::new()),
        })
    };
    system.until(&["dags", "list-import-errors", "-o", "json"], is_it).await.out
}

fn health(system: &System) -> Value {
    system.run(&["health", "-o", "json"]).json()["dag_processor"]["status"].take()
}

#[tokio::test]
async fn what_was_wrong_with_another_branch_goes_when_this_one_is_followed() {
    let repository = Repository::new();
    let commit = repository.commit(&[("dags/one.yaml", &dag("one", "of the repository"))]);
    let mut system = following(&repository.url(), 1);
    system.set("UPDRAFT__DAGS__GIT__BRANCH", "gone");
    system.start(1);
    until_error(&system, Some("@gone")).await;
    system.stop_server();
    system.set("UPDRAFT__DAGS__GIT__BRANCH", "main");
    system.start(1);
    until_at(&system, &[("one", &commit)]).await;
    until_error(&system, None).await;
}

#[tokio::test]
async fn a_run_stays_on_the_commit_that_it_began_with() {
    let repository = Repository::new();
    let say = |word: &str| format!("#!/bin/sh\necho the script says {word}\n");
    let gate = repository.outside().join("gate");
    let gated = GATED.replace("GATE", &gate.display().to_string());
    let first = repository.commit(&[("dags/gated.yaml", &gated), ("dags/scripts/say.sh", &say("one"))]);
    let mut system = following(&repository.url(), 1);
    system.start(4);
    until_at(&system, &[("gated", &first)]).await;
    system.run(&["dags", "trigger", "gated"]).good();
    // Only the script changes: the DAG is another version all the same.
    let second = repository.commit(&[("dags/scripts/say.sh", &say("two"))]);
    until_at(&system, &[("gated", &second)]).await;
    let third = repository.commit(&[("dags/scripts/say.sh", &say("three"))]);
    until_at(&system, &[("gated", &third)]).await;
    let checkouts = system.home().join("git/checkouts");
    // What nothing runs from goes, and what something runs from stays.
    until_gone(&checkouts.join(&second)).await;
    assert!(checkouts.join(&first).is_dir() && checkouts.join(&third).is_dir());
    std::fs::write(&gate, "").unwrap();
    system.runs_over(1, Duration::from_secs(30)).await;
    system.run(&["dags", "trigger", "gated", "--wait"]).good();
    let tis = system.tis().await;
    let said: Vec<String> =
        tis.iter().filter(|ti| &*ti.row.task_id == "say").map(|ti| system.log(ti)).collect();
    assert!(said.len() == 2 && said[0].contains("says one") && said[1].contains("says three"), "{said:?}");
    let versions = system.get("/api/v2/dags/gated/dagVersions").await;
    let versions: Value = serde_json::from_str(&versions).unwrap();
    let of: Vec<_> = versions["dag_versions"].as_array().unwrap().iter().collect();
    let of: Vec<_> = of.iter().map(|version| version["bundle_version"].as_str().unwrap()).collect();
    assert_eq!(of, [&first, &second, &third]);
    let runs: Value = serde_json::from_str(&system.get("/api/v2/dags/gated/dagRuns").await).unwrap();
    assert_eq!(runs["dag_runs"][0]["bundle_version"], *first);
    let run = runs["dag_runs"][0]["dag_run_id"].as_str().unwrap();
    let shown = system.run(&["runs", "show", "gated", run]).good();
    assert!(shown.contains("Commit") && shown.contains(&first), "{shown}");
    let shown = system.run(&["runs", "show", "gated", run, "-o", "json"]).good();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["bundle_version"], *first);
    let shown = system.run(&["dags", "show", "gated"]).good();
    assert!(shown.contains(&third), "{shown}");
    // The run of the first commit is over.
    until_gone(&checkouts.join(&first)).await;
    // Cleared, it has its files again before anything of it begins.
    system.run(&["runs", "clear", "gated", run, "--yes"]).good();
    system.runs_over(2, Duration::from_secs(30)).await;
    let shown = system.run(&["tasks", "logs", "gated", run, "say"]).good();
    assert!(shown.contains("the script says one"), "{shown}");
}

/// A DAG that has two functions called about its runs, the first of which waits for the gate.
const CALLED: &str = "
called:
  default_args: {start_date: 2024-01-01, retries: 0}
  on_success_callback: [calls.waits, calls.says]
  tasks: {nothing: {operator: empty}}
";

const CALLS: &str = "
import os, time

def waits(context):
    while not os.path.exists('GATE'):
        time.sleep(0.05)

def says(context):
    print('the function says WORD')
";

#[tokio::test]
async fn what_a_run_has_called_is_that_of_its_commit() {
    let repository = Repository::new();
    let gate = repository.outside().join("gate");
    let calls = |word: &str| CALLS.replace("GATE", &gate.display().to_string()).replace("WORD", word);
    let first = repository.commit(&[("dags/called.yaml", CALLED), ("dags/calls.py", &calls("one"))]);
    let mut system = following(&repository.url(), 1);
    system.start(4);
    until_at(&system, &[("called", &first)]).await;
    system.run(&["dags", "trigger", "called", "--wait"]).good();
    let second = repository.commit(&[("dags/calls.py", &calls("two"))]);
    until_at(&system, &[("called", &second)]).await;
    let third = repository.commit(&[("dags/calls.py", &calls("three"))]);
    until_at(&system, &[("called", &third)]).await;
    let checkouts = system.home().join("git/checkouts");
    until_gone(&checkouts.join(&second)).await;
    assert!(checkouts.join(&first).is_dir());
    std::fs::write(&gate, "").unwrap();
    let sent = |done: &Done| {
        let rows: Value = serde_json::from_str(&done.out).unwrap_or_default();
        rows.as_array().is_some_and(|rows| rows.iter().all(|row| row["state"] == "sent"))
    };
    let rows = system.until(&["deliveries", "list", "-o", "json"], sent).await.json();
    let log = system.run(&["deliveries", "logs", &rows[0]["id"].to_string()]).good();
    assert!(log.contains("the function says one"), "{log}");
    until_gone(&checkouts.join(&first)).await;
}

async fn until_gone(path: &Path) {
    let began = std::time::Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while path.exists() {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{} stays", path.display());
    }
}

#[tokio::test]
async fn the_branch_is_followed_wherever_it_goes_and_errors_leave_what_was_good() {
    let repository = Repository::new();
    let first = repository.commit(&[("dags/a.yaml", &dag("a", "1")), ("dags/b.yaml", &dag("b", "1"))]);
    let mut system = following(&repository.url(), 1);
    system.start(1);
    until_at(&system, &[("a", &first), ("b", &first)]).await;
    assert_eq!(health(&system), "healthy");

    // A file that can't be read keeps its DAGs at the commit in which it could.
    let second = repository.commit(&[("dags/a.yaml", "a: {tasks: [\n")]);
    until_at(&system, &[("a", &first), ("b", &second)]).await;
    let error = until_error(&system, Some("git/current/dags/a.yaml")).await;
    assert!(!error.contains(&second), "{error}");

    // History is written anew.
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let third = repository.commit(&[("dags/b.yaml", &dag("b", "3"))]);
    until_at(&system, &[("a", &third), ("b", &third)]).await;
    until_error(&system, None).await;

    // The folder goes with all that is in it, by mistake: that is told, and changes nothing.
    repository.git(&["mv", "dags", "elsewhere"]);
    let fourth = repository.commit(&[]);
    until_error(&system, Some(&format!("{fourth} has no folder `dags`"))).await;
    repository.git(&["mv", "elsewhere", "dags"]);
    repository.commit(&[]);
    until_error(&system, None).await;
    // What came back is as it was: no other version.
    until_at(&system, &[("a", &third), ("b", &third)]).await;

    repository.git(&["push", "--quiet", "origin", "--delete", "main"]);
    until_error(&system, Some("Set `dags.git.branch` to a branch")).await;
    assert_eq!(health(&system), "unhealthy");
    let fifth = repository.commit(&[("dags/a.yaml", &dag("a", "5"))]);
    until_at(&system, &[("a", &fifth), ("b", &fifth)]).await;
    until_error(&system, None).await;

    // A DAG that is gone from the repository, and one that the folder has as well.
    repository.git(&["rm", "--quiet", "dags/b.yaml"]);
    let sixth = repository.commit(&[("dags/local.yaml", &dag("local", "of the repository"))]);
    until_at(&system, &[("a", &sixth)]).await;
    until_error(&system, Some("the DAG `local` is in")).await;
    assert!(system.integrity().starts_with("ok"));
}

/// How many files of data a checkout has.
fn files(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder.join("data")).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().count()).sum()
}

#[tokio::test]
async fn a_commit_is_there_whole_or_not_at_all_whenever_the_server_is_killed() {
    const FILES: usize = 600;
    let repository = Repository::new();
    for n in 0..FILES {
        let file = repository.work().join(format!("data/{}/{n}", n % 20));
        if n < 20 {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        std::fs::write(file, n.to_string()).unwrap();
    }
    let commit = repository.commit(&[("dags/a.yaml", &dag("a", "1"))]);
    let mut system = following(&repository.url(), 1);
    let (unfinished, checkout) =
        (system.home().join("git/unfinished"), system.home().join("git/checkouts").join(&commit));
    // What was left by the server before may still be written by its `git`.
    let mut seen = std::collections::BTreeSet::new();
    for killed_after in [1, FILES / 2] {
        system.start(1);
        let began = std::time::Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let begun = |seen: &std::collections::BTreeSet<_>| {
            let folders = std::fs::read_dir(&unfinished).into_iter().flatten().flatten();
            let mut new = folders.map(|folder| folder.path()).filter(|folder| !seen.contains(folder));
            new.find(|folder| files(folder) >= killed_after)
        };
        let new = loop {
            if let Some(new) = begun(&seen) {
                break new;
            }
            tick.tick().await;
            assert!(!checkout.exists() && began.elapsed() < Duration::from_secs(30), "{}", system.said());
        };
        seen.insert(new);
        system.kill_server();
        assert!(!checkout.exists());
        assert!(!system.home().join("git/current").exists());
    }
    // As `git` leaves them when it is killed as well.
    for lock in ["shallow.lock", "refs/updraft/tip.lock"] {
        std::fs::write(system.home().join("git/repository").join(lock), "").unwrap();
    }
    system.start(1);
    until_at(&system, &[("a", &commit)]).await;
    assert_eq!(files(&checkout), FILES);
    // And what was made anew goes on.
    let next = repository.commit(&[("dags/a.yaml", &dag("a", "2"))]);
    until_at(&system, &[("a", &next)]).await;
}

#[tokio::test]
async fn what_can_be_done_without_a_server_knows_the_repository() {
    let repository = Repository::new();
    let say = "#!/bin/sh\necho from $0\n";
    let commit =
        repository.commit(&[("dags/gated.yaml", &GATED.replace("GATE", "/")), ("dags/scripts/say.sh", say)]);
    let mut system = following(&repository.url(), 1);
    system.start(1);
    until_at(&system, &[("gated", &commit)]).await;
    system.stop_server();
    let mut command = system.command(&["dags", "test", "gated"]);
    command.env("UPDRAFT__DAGS__GIT__URL", repository.url()).env("UPDRAFT__DAGS__GIT__SUBDIR", "dags");
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(&commit), "{said}");
}
