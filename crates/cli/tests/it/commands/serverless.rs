//! What needs no server: a run in the terminal, and the runs to come.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use super::started;
use crate::system::{System, signal, tasks_of};

const SHOP: &str = r#"
shop:
  schedule: "0 6 * * *"
  start_date: 2026-01-01
  default_args: {retries: 1, retry_delay: 1 hours, email: [ops@example.org], email_on_failure: true}
  tasks:
    sync: {operator: bash, bash_command: "echo about {{ ds }}; echo careful >&2; echo 42"}
    wait_long: {operator: time_delta_sensor, delta: 2 hours, dependencies: [sync]}
    tell: {operator: bash, bash_command: "echo got {{ ti.xcom_pull(task_ids='sync') }}", dependencies: [wait_long]}
    fails: {operator: bash, bash_command: "echo '{{ params.why }}'; exit 3", dependencies: [sync]}
  params: {why: nothing}
other: {tasks: {a: {operator: empty}}}
"#;

#[test]
fn the_runs_that_schedules_will_make_are_listed_without_a_server() {
    let dags = r#"
night: {schedule: "30 2 * * *", timezone: Europe/Berlin, start_date: 2020-01-01, catchup: true, tasks: {a: {operator: empty}}}
often: {schedule: {__type__: datetime.timedelta, hours: 12}, start_date: 2020-01-01, end_date: 2026-03-29T12:00:00, tasks: {a: {operator: empty}}}
always: {schedule: "@continuous", start_date: 2020-01-01, max_active_runs: 1, tasks: {a: {operator: empty}}}
by_hand: {tasks: {a: {operator: empty}}}
warm_up: {schedule: "@reboot", start_date: 2020-01-01, tasks: {a: {operator: empty}}}
reader: {schedule: [orders], start_date: 2020-01-01, tasks: {a: {operator: empty}}}
"#;
    let system = System::new(&[("dags.yaml", dags)]);
    let ask = ["dags", "simulate", "--from", "2026-03-28", "--to", "2026-03-30T01:00:00", "-o", "json"];
    let done = system.run(&ask);
    for said in [
        "`always` runs continuously",
        "`warm_up` runs after each start of the machine",
        "`reader` runs for what happens to assets",
        "7 runs\n",
    ] {
        assert!(done.err.contains(said), "{done:?}");
    }
    let runs = done.json();
    let runs: Vec<_> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["dag_id"].as_str().unwrap(), run["local"].as_str().unwrap()))
        .collect();
    let expected = [
        ("often", "2026-03-28 00:00:00 +00:00"),
        ("night", "2026-03-28 02:30:00 +01:00"),
        ("often", "2026-03-28 12:00:00 +00:00"),
        ("often", "2026-03-29 00:00:00 +00:00"),
        // Half past two did not come that night.
        ("night", "2026-03-29 03:30:00 +02:00"),
        ("often", "2026-03-29 12:00:00 +00:00"),
        ("night", "2026-03-30 02:30:00 +02:00"),
    ];
    assert_eq!(runs, expected);
    let cut = system.run(&["dags", "simulate", "often", "--from", "2026-03-01", "--limit", "2"]);
    assert!(cut.code == 0 && cut.err.contains("more with a higher --limit"), "{cut:?}");
    let one = system.run(&["dags", "simulate", "night", "--from", "2026-03-28", "--to", "2026-03-27"]);
    assert!(one.code == 1 && one.err.contains("--to is before --from"), "{one:?}");
}

#[test]
fn the_runs_to_come_are_without_those_on_holidays() {
    let dag = "
bills:
  schedule: '0 9 * * *'
  start_date: 2026-01-01
  timezone: Europe/Berlin
  holidays: [2026-12-24, calendars/company.ics]
  tasks: {a: {operator: empty}}
";
    let calendar = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20201225\r\n\
                    DTEND;VALUE=DATE:20201227\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let system = System::new(&[("bills.yaml", dag), ("calendars/company.ics", calendar)]);
    let done = system.run(&["dags", "simulate", "--from", "2026-12-23", "--to", "2026-12-29", "-o", "json"]);
    let runs = done.json();
    let runs: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["local"].as_str().unwrap()).collect();
    let expected = ["2026-12-23 09:00:00 +01:00", "2026-12-27 09:00:00 +01:00", "2026-12-28 09:00:00 +01:00"];
    assert_eq!(runs, expected);

    std::fs::remove_file(system.home().join("dags/calendars/company.ics")).unwrap();
    let dags = system.home().join("dags");
    let checked = system.run(&["dags", "check", dags.to_str().unwrap()]);
    assert_eq!(checked.code, 1, "{checked:?}");
    let told = format!("{}{}", checked.out, checked.err);
    assert!(told.contains("the calendar file `calendars/company.ics` is not there: put it into"), "{told}");
    let checked = system.run(&["dags", "check", dags.to_str().unwrap(), "-o", "json"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    let found: Value = serde_json::from_str(&checked.out).unwrap();
    let error = &found["errors"][0];
    assert!(error["message"].as_str().unwrap().contains("calendars/company.ics"), "{found}");
    assert!(error["line"].is_u64() && found["dags"].is_array() && found["warnings"].is_array(), "{found}");
}

#[test]
fn defaults_of_folders_above_count_for_a_part_of_the_dag_files() {
    let system = System::new(&[]);
    let root = system.shared().join("dags");
    std::fs::create_dir_all(root.join("team/sub")).unwrap();
    std::fs::write(root.join("defaults.yml"), "schedule: '@daily'\ndefault_args: {bash_command: ls}\n")
        .unwrap();
    let dag = "etl: {start_date: 2026-01-01, tasks: {a: {operator: bash}}}\n";
    std::fs::write(root.join("team/sub/etl.yaml"), dag).unwrap();
    let [team, sub, file] = ["team", "team/sub", "team/sub/etl.yaml"].map(|part| root.join(part));
    let of_root = ["--dags", root.to_str().unwrap()];
    for part in [&root, &team, &sub, &file] {
        let check = ["dags", "check", part.to_str().unwrap()];
        system.run(&[&check[..], &of_root].concat()).good();
        assert_eq!(system.run(&check).code, i32::from(*part != root), "{}", part.display());
        let simulate =
            ["dags", "simulate", part.to_str().unwrap(), "--from", "2026-02-01", "--to", "2026-02-03"];
        let told = system.run(&[&simulate[..], &of_root].concat());
        assert!(told.good().contains("2026-02-02"), "{}", part.display());
    }
    // In a repository it is the root, where nothing else is said.
    std::fs::create_dir(root.join(".git")).unwrap();
    for part in [&team, &sub, &file] {
        system.run(&["dags", "check", part.to_str().unwrap()]).good();
    }
}

#[test]
fn a_strict_check_fails_by_a_warning() {
    let dag = "odd: {tasks: {a: {operator: airflow.operators.bash.BashOperatr, bash_command: ls}}}\n";
    let system = System::new(&[("odd.yaml", dag)]);
    let dags = system.home().join("dags");
    let check = ["dags", "check", dags.to_str().unwrap()];
    let told = system.run(&check);
    assert!(told.code == 0 && told.err.contains("Did you mean"), "{told:?}");
    let strict = system.run(&[&check[..], &["--strict"]].concat());
    assert!(
        strict.code == 1 && strict.err.contains("1 warning in 1 file, and --strict allows none"),
        "{strict:?}"
    );
    std::fs::write(dags.join("odd.yaml"), "odd: {tasks: {a: {operator: empty}}}\n").unwrap();
    system.run(&[&check[..], &["--strict"]].concat()).good();
}

#[test]
fn a_length_of_time_is_counted_from_the_start_date_whenever_one_looks() {
    let dag = "
pulse:
  schedule: {__type__: datetime.timedelta, hours: 7}
  start_date: 2026-01-01
  timezone: Europe/Berlin
  holidays: 2026-12-24
  tasks: {a: {operator: empty}}
";
    let system = System::new(&[("pulse.yaml", dag)]);
    let runs = |from: &str| {
        let done =
            system.run(&["dags", "simulate", "--from", from, "--to", "2026-12-25T12:00:00", "-o", "json"]);
        assert!(
            done.err.contains("count from when a server first sees it, and here from its start"),
            "{done:?}"
        );
        let local = |run: &Value| run["local"].as_str().unwrap().to_owned();
        done.json().as_array().unwrap().iter().map(local).collect::<Vec<_>>()
    };
    // As the clocks in the zone of its holidays show it.
    let expected = ["2026-12-23 17:00:00 +01:00", "2026-12-25 04:00:00 +01:00", "2026-12-25 11:00:00 +01:00"];
    assert_eq!(runs("2026-12-23T15:30:00"), expected);
    assert_eq!(runs("2026-12-23T15:59:59"), expected);
    assert_eq!(runs("2026-12-24T11:11:11"), expected[1..]);
}

/// What is left in the home folder of runs in terminals.
fn left(system: &System) -> Vec<String> {
    let entries = std::fs::read_dir(system.home().join("run")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("trial")).collect()
}

#[test]
fn a_run_is_shown_as_it_goes_and_nothing_of_it_is_left() {
    let system = System::new(&[("shop.yaml", SHOP)]);
    let base = ["dags", "test", "shop", "-e", "2026-03-01", "--mark-success", "wait_*"];
    let done = system.run(&[&base[..], &["--mark-success", "fails"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    for line in ["sync      | about 2026-03-01\n", "sync      | careful\n", "tell      | got 42\n"] {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
    let table: Vec<Vec<&str>> = done.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(table.iter().any(|row| row.starts_with(&["wait_long", "success", "1"])), "{}", done.out);
    assert!(!system.home().join("updraft.db").exists());
    assert!(left(&system).is_empty());

    let conf = ["--no-retries", "-c", r#"{"why": "too bad"}"#, "-o", "json"];
    let done = system.run(&[&base[..], &conf].concat());
    assert_eq!(done.code, 1, "{done:?}");
    let run: Value = serde_json::from_str(&done.out).unwrap();
    let fails = run["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "fails").unwrap();
    assert_eq!(
        (&run["state"], &fails["state"], &fails["tries"]),
        (&"failed".into(), &"failed".into(), &1.into())
    );
    assert!(fails["took"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{fails}");
    assert!(done.err.contains("fails     | too bad\n"), "{}", done.err);
    assert!(done.err.contains("not sent, as this is a test: a mail to ops@example.org that fails failed"));
    assert!(done.err.contains("the run of shop failed"), "{}", done.err);

    let one = system.run(&["dags", "test", "shop", "--task", "sync"]).good();
    assert!(one.contains("about ") && !one.contains("tell"), "{one}");
}

#[test]
fn what_can_not_be_run_is_said() {
    let system = System::new(&[("shop.yaml", SHOP)]);
    let file = system.home().join("dags/shop.yaml");
    let file = file.to_str().unwrap();
    let cases = [
        (&["shopp"][..], 3, "has a DAG `shopp`; there are"),
        (&["nowhere.yaml"], 1, "nowhere.yaml: this file can't be read: No such file"),
        (&[file], 2, "has `shop`, `other`: say which by --dag"),
        (&[file, "--dag", "third"], 3, "has no DAG `third`"),
        (&["other", "--task", "b"], 3, "has no task `b`"),
        (&["other", "--mark-success", "b*"], 3, "has no task `b*`"),
        (&["other", "-e", "noon"], 2, "write a time like 2026-01-31"),
        (&["shop", "--timeout", "1"], 124, "the run of shop is not over after 1s; what runs is ended"),
    ];
    for (arguments, code, said) in cases {
        let done = system.run(&[&["dags", "test"][..], arguments].concat());
        assert!(done.code == code && done.err.contains(said), "{arguments:?}: {done:?}");
    }
    assert!(left(&system).is_empty());
    system.run(&["dags", "test", file, "--dag", "other"]).good();
}

#[tokio::test]
async fn it_knows_the_connections_of_its_home_also_beside_a_server_and_shows_no_secret() {
    let dag = r#"
reads:
  tasks:
    host: {operator: bash, bash_command: "echo at {{ conn.shop.host }} with {{ conn.shop.password }} and {{ var.value.colour }}"}
    steals: {operator: bash, bash_command: "cat HOME/key HOME/updraft.db HOME/run/*/run/worker-token"}
"#;
    let mut system = started().await;
    let dag = dag.replace("HOME", system.home().to_str().unwrap());
    std::fs::write(system.home().join("dags/reads.yaml"), dag).unwrap();
    system.run(&["connections", "add", "shop", "--uri", "http://me:hushhush@shop.example"]).good();
    for with_server in [true, false] {
        let mut command = system.command(&["dags", "test", "reads"]);
        let output = command.env("AIRFLOW_VAR_COLOUR", "blue").output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(out.contains("| at shop.example with *** and blue\n"), "{with_server} {out}");
        assert_eq!(out.matches("Permission denied").count(), 3, "{out}");
        assert_eq!(output.status.code(), Some(1));
        system.stop_server();
    }
    // A new key would open none of these, and hide from the server that the old one is gone.
    std::fs::remove_file(system.home().join("key")).unwrap();
    let refused = system.run(&["dags", "test", "reads"]);
    assert!(
        refused.code == 1 && refused.err.contains("is gone, and the database has secrets"),
        "{refused:?}"
    );
    assert!(!system.home().join("key").exists());
}

#[test]
fn who_is_interrupted_ends_its_tasks_and_who_is_killed_is_cleaned_up_after() {
    let dag = "slow: {tasks: {sleeps: {operator: bash, bash_command: \"echo asleep; sleep 600\"}}}\n";
    let system = System::new(&[("slow.yaml", dag)]);
    let asleep = || -> (Child, BufReader<ChildStdout>) {
        let mut command = system.command(&["dags", "test", "slow"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "sleeps | asleep\n");
        (child, out)
    };
    for which in ["-INT", "-TERM", "-HUP"] {
        let (mut child, _out) = asleep();
        assert!(!tasks_of(&system.home()).is_empty());
        signal(child.id(), which);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{which}");
        assert!(tasks_of(&system.home()).is_empty(), "{which}");
        assert!(left(&system).is_empty(), "{which}");
    }

    let (mut child, _out) = asleep();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(left(&system).len(), 2);
    tasks_of(&system.home()).into_iter().for_each(|pid| signal(pid, "-KILL"));
    let done = system.run(&["dags", "test", "slow", "--mark-success", "*"]);
    assert!(done.code == 0 && left(&system).is_empty(), "{done:?}");
}

#[test]
fn a_run_whose_terminal_is_gone_ends_its_tasks_and_one_with_nohup_goes_on() {
    let dag = "slow: {tasks: {sleeps: {operator: bash, \
               bash_command: \"echo asleep; until [ -e GO ]; do sleep 0.05; done; echo awake\"}}}\n";
    let system = System::new(&[]);
    let go = system.shared().join("go");
    let dag = dag.replace("GO", go.to_str().unwrap());
    std::fs::write(system.home().join("dags/slow.yaml"), dag).unwrap();
    let asleep = |program: &str| -> (Child, BufReader<ChildStdout>) {
        let updraft = system.command(&["dags", "test", "slow"]);
        let mut command = Command::new(program);
        command.arg(updraft.get_program()).args(updraft.get_args()).stdin(Stdio::null());
        for (name, _) in updraft.get_envs() {
            command.env_remove(name);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut line, mut out) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "sleeps | asleep\n");
        (child, out)
    };
    let (mut child, out) = asleep("env");
    // Nobody reads what it says any more.
    drop((out, child.stderr.take()));
    signal(child.id(), "-HUP");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(tasks_of(&system.home()).is_empty() && left(&system).is_empty());

    let (mut child, mut out) = asleep("nohup");
    let _said = child.stderr.take();
    signal(child.id(), "-HUP");
    std::fs::write(&go, "").unwrap();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "sleeps | awake\n");
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn shells_and_man_take_what_is_made_for_them() {
    let system = System::new(&[]);
    let script = system.shared().join("updraft.bash");
    std::fs::write(&script, system.run(&["completion", "bash"]).good()).unwrap();
    let ask = format!(
        ". {}; COMP_WORDS=(updraft dags tr); COMP_CWORD=2; _updraft updraft tr dags; echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let completed = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "trigger\n");
    for shell in ["zsh", "fish"] {
        assert!(system.run(&["completion", shell]).good().contains("trigger"));
    }
    let pages = system.shared().join("man1");
    system.run(&["man", pages.to_str().unwrap()]).good();
    let page = |name: &str| std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
    assert!(page("updraft").contains("standalone"));
    let trigger = page("updraft-dags-trigger");
    assert!(trigger.contains("updraft dags trigger") && trigger.contains("Examples"), "{trigger}");
    // A page escapes dashes.
    assert!(page("updraft-dags-list-import-errors").contains("updraft dags list\\-import\\-errors"));
    assert!(!pages.join("updraft-keeper.1").exists(), "nobody calls it");
}

#[test]
fn the_schema_takes_what_is_read_and_refuses_what_editors_should_mark() {
    let system = System::new(&[]);
    let schema: Value = system.run(&["schema"]).json();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let of = |yaml: &str| serde_saphyr::from_str::<Value>(yaml).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("examples/first/hello.yaml")];
    for folder in ["examples/eztable/dags", "crates/server/tests/fixtures/dags"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yml" || end == "yaml");
        files.extend(entries.filter(is_yaml));
    }
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // One that only YAML 1.1 reads says nothing here.
        let Ok(read) = serde_saphyr::from_str::<Value>(&text) else { continue };
        let wrong: Vec<String> =
            schema.iter_errors(&read).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
    }
    let wrong = [
        "d: {tasks: {a: {operator: bash, bash_comand: ls}}}",
        "d: {tasks: {a: {operator: bush, bash_command: ls}}}",
        "d: {tasks: {a: {operator: bash, bash_command: [ls]}}}",
        "d: {tasks: {a: {operator: bash, bash_command: ls, retrys: 1}}}",
        "d: {tasks: {a: {operator: bash, bash_command: ls, trigger_rule: all_good}}}",
        "d: {tasks: {a: {operator: empty, pool_slots: 0}}}",
        "d: {tasks: {a: {operator: empty, max_active_tis_per_dag: 0}}}",
        "d: {tasks: {a: {operator: empty, weight_rule: heavy}}}",
        "d: {max_active_runs: 0, tasks: {a: {operator: empty}}}",
        "d: {tasks: {a: {operator: empty, alerts: [{on: failure, email: x@y.z, bccc: x@y.z}]}}}",
        "d: {catch_up: true, tasks: {a: {operator: empty}}}",
        "d: {tasks: {a: {operator: empty, dependencies: [{task: b, if: c}]}}}",
        "d: {tasks: {a: {operator: empty, alerts: [{on: nonsense, email: x@y.z}]}}}",
        "d: {task_groups: {g: {tool_tip: x}}, tasks: {a: {operator: empty}}}",
    ];
    for yaml in wrong {
        assert!(!schema.is_valid(&of(yaml)), "{yaml}");
    }
    for yaml in [
        "settings: {just: yaml}",
        "d: {tasks: {a: {operator: empty, retries: 0, pool_slots: '2', alerts: [{on: failure, email: x@y.z, bcc: x@y.z}]}}}",
        "d: {tasks: [{task_id: a, operator: airflow.operators.bash.BashOperator}]}",
    ] {
        assert!(schema.is_valid(&of(yaml)), "{yaml}");
    }
}

#[test]
fn what_a_run_is_given_has_to_fit_the_params() {
    let dag = r#"
daily:
  params:
    day: {__type__: airflow.sdk.Param, default: 1, type: integer, minimum: 1}
  tasks:
    a: {operator: bash, bash_command: "echo day {{ params.day }}"}
    b: {operator: bash, bash_command: "echo {{ params.day }} of {{ params.month }}", params: {month: 1, day: 9}}
"#;
    let system = System::new(&[("daily.yaml", dag)]);
    let test = |conf: &str| system.run(&["dags", "test", "daily", "-c", conf]);
    let done = test(r#"{"day": 5}"#).good();
    assert!(done.contains("a | day 5\n") && done.contains("b | 5 of 1\n"), "{done}");
    assert!(test("{}").good().contains("b | 9 of 1\n"), "a task's own count over the DAG's");
    let bad = test(r#"{"day": "monday"}"#);
    let why = "Invalid input for param day: \"monday\" is not of type \"integer\"";
    assert!(bad.code == 2 && bad.err.contains(why), "{bad:?}");
    let check = |text: &str| {
        std::fs::write(system.home().join("dags/daily.yaml"), text).unwrap();
        system.run(&["dags", "check", system.home().join("dags").to_str().unwrap()])
    };
    let no_default = dag.replace("default: 1, ", "").replace("  params:", "  schedule: '@daily'\n  params:");
    let bad = check(&no_default);
    assert!(bad.code == 1 && bad.err.contains("param day: No value passed: give it a default"), "{bad:?}");
    let bad = check(&dag.replace("type: integer", "type: whole"));
    assert!(bad.code == 1 && bad.err.contains("its JSON Schema is wrong"), "{bad:?}");
}

#[test]
fn functions_take_what_others_returned_as_their_arguments() {
    let dag = r#"
flow:
  tasks:
    - {task_id: numbers, decorator: airflow.sdk.task, python_callable: sums.numbers}
    - {task_id: both, decorator: airflow.decorators.task, python_callable: sums.both, multiple_outputs: true}
    - {task_id: double, decorator: task, python_callable: sums.double, expand: {number: +numbers}, partial: {by: 2}}
    - task_id: total
      decorator: airflow.sdk.definitions.decorators.task
      python_callable: sums.total
      numbers: +double
      more: {low: "+both['low']", high: [+both]}
"#;
    let python = "
def numbers(): return [1, 2, 3]
def both(): return {'low': 10, 'high': '{{ ds }}'}
def double(number, by): return number * by
def total(numbers, more, ds): print('total', sum(numbers) + more['low'], more['high'][0]['high'], ds)
";
    // The file is in a folder below, and the module beside it is found all the same.
    let system = System::new(&[("team/flow.yaml", dag), ("sums.py", python)]);
    let out = system.run(&["dags", "test", "flow", "-e", "2026-01-31"]).good();
    assert!(out.contains("total     | total 22 {{ ds }} 2026-01-31\n"), "{out}");
}

#[test]
fn a_connection_is_tried_without_a_server() {
    let system = System::new(&[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut asked = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut asked);
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = std::io::Write::write_all(&mut stream, answer);
        }
    });
    let tried = |uri: &str| {
        let mut command = system.command(&["connections", "test", "one"]);
        let output = command.env("AIRFLOW_CONN_ONE", uri).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = tried(&format!("http://{address}"));
    assert!(code == Some(0) && said.contains("the connection `one` works: GET http://127"), "{said}");
    let (code, said) = tried("postgres://me:p4ssw0rd@127.0.0.1:1/shop");
    assert!(code == Some(1) && said.contains("no server answers") && !said.contains("p4ssw0rd"), "{said}");
    let (code, said) = tried("jira://x");
    assert!(code == Some(1) && said.contains("is of type `jira`"), "{said}");
}
