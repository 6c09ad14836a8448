//! Servers whose logs and large values are in a bucket.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use updraft_server::test_s3::{Passes, TestS3, Way};

use super::members::{Fleet, Member};

/// A task that speaks for a while and leaves a value that is uploaded in parts; what comes behind it takes the value.
const DAG: &str = r#"
load:
  schedule: null
  default_args: {retries: 0}
  tasks:
    say:
      operator: script
      interpreter: sh
      result: file
      script: |
        n=0
        while [ $n -lt 400 ]; do n=$((n + 1)); echo "line $n"; sleep 0.02; done
        head -c 6000000 /dev/zero | tr '\0' x > $UPDRAFT_RESULT
    hear:
      operator: bash
      bash_command: echo heard {{ ti.xcom_pull(task_ids="say") | length }}
      dependencies: [say]
short:
  schedule: null
  default_args: {retries: 0}
  tasks:
    say: {operator: bash, bash_command: "echo short"}
again:
  schedule: null
  default_args: {retries: 1, retry_delay: 0}
  tasks:
    say: {operator: bash, bash_command: "seq 2000; test {{ ti.try_number }} = 2"}
"#;

/// What a server has to know of the bucket.
fn environment(s3: &TestS3, endpoint: String, url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("UPDRAFT__BLOB__URL", url.into()),
        ("UPDRAFT__BLOB__ENDPOINT", endpoint),
        ("AWS_ACCESS_KEY_ID", s3.key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", s3.secret.clone()),
        ("AWS_REGION", "us-east-1".into()),
    ]
}

async fn fleet(servers: usize, workers: usize, s3: &TestS3, way: &Way) -> Fleet {
    let environment = environment(s3, way.endpoint(), "s3://lake/up/draft");
    let fleet = Fleet::start_with(servers, workers, DAG, environment).await;
    until(&fleet, |fleet| fleet.run(0, &["dags", "list"]).contains("short")).await;
    fleet
}

async fn until(fleet: &Fleet, is_it: impl Fn(&Fleet) -> bool) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while !is_it(fleet) {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{}", fleet.said());
    }
}

/// What a task said, without the times.
fn said(fleet: &Fleet, server: usize, run: &[&str]) -> Vec<String> {
    let log = fleet.try_run(server, &[&["tasks", "logs"], run].concat()).unwrap_or_default();
    log.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned())).collect()
}

fn lines(log: &[String]) -> Vec<&String> {
    log.iter().filter(|line| line.starts_with("line ")).collect()
}

#[tokio::test]
async fn logs_and_large_values_are_whole_when_the_leader_is_killed_and_are_read_from_every_server() {
    let s3 = TestS3::start();
    let way = s3.way();
    let mut fleet = fleet(2, 1, &s3, &way).await;
    let first = fleet.leader_but(None).await;
    let standby = 1 - first;
    let begun = way.asked();
    fleet.run(standby, &["dags", "trigger", "load", "--run-id", "r"]);
    // Read where nobody writes.
    until(&fleet, |fleet| lines(&said(fleet, standby, &["load", "r", "say"])).len() >= 60).await;
    fleet.servers[first].kill();
    assert_eq!(fleet.leader_but(Some(first)).await, standby);
    fleet.start_server(first).await;
    fleet.runs_over(1, Duration::from_secs(60)).await;
    let asked = way.asked();
    println!("the run took {begun:?} to {asked:?} requests: puts, gets and lists, deletions");
    let expected: Vec<_> = (1..=400).map(|n| format!("line {n}")).collect();
    for server in [first, standby] {
        let log = said(&fleet, server, &["load", "r", "say"]);
        assert_eq!(lines(&log), expected.iter().collect::<Vec<_>>(), "{}", fleet.said());
        assert!(said(&fleet, server, &["load", "r", "hear"]).contains(&"heard 6000000".into()));
        let value = fleet.run(server, &["xcoms", "get", "load", "r", "say"]);
        assert_eq!(value.matches('x').count(), 6_000_000);
    }
    assert!(!fleet.said().contains(&s3.secret));

    // A run that is deleted takes its logs with it, and one of its name has its own.
    let (_, _, deleted) = way.asked();
    fleet.run(first, &["runs", "delete", "load", "r", "--yes"]);
    until(&fleet, |_| way.asked().2 > deleted).await;
    fleet.run(first, &["dags", "trigger", "load", "--run-id", "r"]);
    fleet.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(lines(&said(&fleet, first, &["load", "r", "say"])), expected.iter().collect::<Vec<_>>());
    backup_and_clean(&fleet, &s3);
}

/// Values go from the bucket into a backup, and from that into another bucket; and what is over goes.
fn backup_and_clean(fleet: &Fleet, s3: &TestS3) {
    let run = |url: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        command.arg("--home").arg(fleet.folder.path().join("server0")).args(arguments).stdin(Stdio::null());
        command.envs(environment(s3, s3.endpoint(), url)).env("UPDRAFT__DATABASE__URL", &fleet.database);
        let output = command.output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{arguments:?}: {err}");
        out + &err
    };
    let folders = ["one", "two"].map(|name| fleet.folder.path().join(name));
    let values = |folder: &Path| {
        let mut sizes = Vec::new();
        let mut folders = vec![folder.join("blobs/xcom")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.metadata().unwrap() {
                    entry_is if entry_is.is_dir() => folders.push(entry.path()),
                    entry_is => sizes.push(entry_is.len()),
                }
            }
        }
        sizes
    };
    let [one, two] = [0, 1].map(|at| folders[at].to_str().unwrap());
    run("s3://lake/up/draft", &["db", "backup", "--beside", one]);
    // The first run's value goes with the next cleaning.
    assert_eq!(values(&folders[0]), [6_000_002, 6_000_002]);
    let shown = run("s3://lake/up/draft", &["config"]);
    assert!(shown.contains("s3://lake/up/draft") && !shown.contains(&s3.secret), "{shown}");
    let kept = fleet.folder.path().join("elsewhere");
    let environment = environment(s3, s3.endpoint(), "s3://attic");
    for arguments in [["db", "restore", "--beside", one], ["db", "backup", "--beside", two]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        let command = command.arg("--home").arg(&kept).args(arguments).envs(environment.clone());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(values(&folders[1]), [6_000_002, 6_000_002]);
}

#[tokio::test]
async fn what_ends_while_the_bucket_is_away_has_its_log_and_its_value_when_it_is_back() {
    let s3 = TestS3::start();
    let way = s3.way();
    let fleet = fleet(1, 1, &s3, &way).await;
    fleet.run(0, &["dags", "trigger", "load", "--run-id", "r"]);
    until(&fleet, |fleet| lines(&said(fleet, 0, &["load", "r", "say"])).len() >= 20).await;
    way.lets(Passes::Nothing);
    // Small tasks go on, and are tried again; what they said waits for the bucket.
    for dag in ["short", "again"] {
        fleet.run(0, &["dags", "trigger", dag, "--run-id", "s"]);
    }
    fleet.runs_over(2, Duration::from_secs(60)).await;
    assert!(fleet.try_run(0, &["health"]).is_ok(), "{}", fleet.said());
    // Whoever works on the long one has it in his own file, and then has a value to leave.
    until(&fleet, |fleet| fleet.said().contains("can't be written")).await;
    way.lets(Passes::All);
    fleet.runs_over(3, Duration::from_secs(60)).await;
    until(&fleet, |fleet| said(fleet, 0, &["short", "s", "say"]).contains(&"short".into())).await;
    for number in ["1", "2"] {
        let log = |fleet: &Fleet| said(fleet, 0, &["again", "s", "say", "--try", number]);
        until(&fleet, |fleet| log(fleet).contains(&"2000".into())).await;
        let numbers: Vec<u32> = log(&fleet).iter().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(numbers, (1..=2000).collect::<Vec<_>>(), "try {number}");
    }
    let expected: Vec<_> = (1..=400).map(|n| format!("line {n}")).collect();
    until(&fleet, |fleet| lines(&said(fleet, 0, &["load", "r", "say"])).len() >= 400).await;
    assert_eq!(lines(&said(&fleet, 0, &["load", "r", "say"])), expected.iter().collect::<Vec<_>>());
    assert!(said(&fleet, 0, &["load", "r", "hear"]).contains(&"heard 6000000".into()));
}

#[tokio::test]
async fn a_server_that_can_not_use_its_bucket_says_why_and_what_to_do() {
    let s3 = TestS3::start();
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str, change: (&'static str, &str)| {
        let mut environment = environment(&s3, s3.endpoint(), "s3://lake");
        environment.retain(|(key, _)| *key != change.0);
        environment.push((change.0, change.1.to_owned()));
        let environment: Vec<_> = environment.iter().map(|(key, value)| (*key, &**value)).collect();
        let home = folder.path().join(name);
        let mut member = Member::start(home, &["server", "--port", "0"], &environment);
        assert_eq!(member.process.wait().unwrap().code(), Some(1));
        let said = member.said();
        assert!(!said.contains(&s3.secret), "{said}");
        said
    };
    let said = start("bucket", ("UPDRAFT__BLOB__URL", "s3://none"));
    assert!(said.contains("s3://none") && said.contains("make the bucket"), "{said}");
    let said = start("key", ("AWS_SECRET_ACCESS_KEY", "another"));
    assert!(said.contains("blob.secret_access_key"), "{said}");
    let said = start("place", ("UPDRAFT__BLOB__ENDPOINT", "http://127.0.0.1:1"));
    assert!(said.contains("blob.endpoint") && said.contains("efused"), "{said}");
    let said = start("words", ("UPDRAFT__BLOB__ENDPOINT", "127.0.0.1:1"));
    assert!(said.contains("https://s3.example.com"), "{said}");
}
