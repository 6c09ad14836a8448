//! Starting: programs, scripts, folders, environment, standard input, and what is refused.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use updraft_core::log::Stream;
use updraft_worker::process::{Outcome, Program, Secret, SpawnError, Stdin, Streams};

use super::{Lab, alone, inline, lines};

#[tokio::test]
async fn a_program_runs_with_its_arguments_and_leads_its_session() {
    let lab = Lab::new();
    let running =
        lab.spawn(lab.argv(&["sh", "-c", "echo $0 $1; cut -d' ' -f1,5,6 /proc/$$/stat", "a b", "c"])).await;
    let pid = running.pid();
    let ended = running.wait().await.unwrap();
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(lines(&lab.log(), Stream::Out), ["a b c".to_owned(), format!("{pid} {pid} {pid}")]);
}

#[tokio::test]
async fn the_environment_starts_from_an_allow_list() {
    let lab = Lab::new();
    let mut spec = lab.argv(&["env"]);
    spec.env.insert("GREETING".into(), "hello = there".into());
    spec.env.insert("LANG".into(), "C.UTF-8".into());
    lab.run(spec).await;
    let seen = lines(&lab.log(), Stream::Out);
    assert!(seen.contains(&"GREETING=hello = there".to_owned()));
    assert!(seen.contains(&"LANG=C.UTF-8".to_owned()));
    assert_eq!(seen.last().unwrap(), &format!("UPDRAFT_ATTEMPT={}", lab.marker("1")));
    let allowed =
        ["GREETING", "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE"];
    assert!(seen.contains(&"PYTHONUNBUFFERED=1".to_owned()));
    let allowed_too = ["PYTHONUNBUFFERED", "TMPDIR", "TZ", "USER", "UPDRAFT_ATTEMPT"];
    for line in &seen {
        let name = line.split('=').next().unwrap();
        assert!(
            allowed.contains(&name) || allowed_too.contains(&name) || name.starts_with("LC_"),
            "{line} has passed"
        );
    }
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok(), "there was something to keep back");
}

#[tokio::test]
async fn a_variable_that_must_never_pass_is_refused_by_name() {
    let lab = Lab::new();
    for name in [
        "UPDRAFT__DATABASE__URL",
        "AIRFLOW_CONN_DB",
        "AIRFLOW_VAR_X",
        "UPDRAFT_ATTEMPT",
        "UPDRAFT_RESULT",
        "A=B",
        "",
    ] {
        let mut spec = lab.sh("true");
        spec.env.insert(name.into(), "x".into());
        let refusal = lab.refusal(spec).await;
        assert!(matches!(&refusal, SpawnError::Env { name: refused, .. } if refused == name), "{refusal}");
    }
}

#[tokio::test]
async fn a_fresh_folder_is_the_default_and_goes_with_the_task() {
    let lab = Lab::new();
    let ended = lab.run(lab.sh("touch a && mkdir b && touch b/c && pwd")).await;
    let folder = inline(&ended);
    assert!(folder.starts_with(lab.path("scratch").canonicalize().unwrap().to_str().unwrap()), "{folder}");
    assert!(!std::path::Path::new(&folder).exists());
    let ended = lab.run(lab.sh("ls -A && pwd")).await;
    assert_ne!(inline(&ended), folder);
    assert_eq!(lines(&lab.log(), Stream::Out).len(), 2, "the new folder is empty");
}

#[tokio::test]
async fn a_folder_left_as_it_was_serves_the_next_task_and_any_other_does_not() {
    // Another test's orphan would be reason enough not to give a folder on.
    if !alone("process::start::a_folder_left_as_it_was_serves_the_next_task_and_any_other_does_not") {
        return;
    }
    let lab = Lab::new();
    let first = inline(&lab.run(lab.sh("pwd")).await);
    assert_eq!(inline(&lab.run(lab.sh("pwd")).await), first);
    for change in ["touch x", "touch ../x", "chmod 755 .", "chmod 755 ..", "rm -r $PWD; ln -s /tmp $PWD"] {
        let folder = inline(&lab.run(lab.sh("pwd")).await);
        lab.run(lab.sh(change)).await;
        assert_ne!(inline(&lab.run(lab.sh("pwd")).await), folder, "after {change}");
        assert!(!std::path::Path::new(&folder).exists(), "after {change}");
    }
}

#[tokio::test]
async fn a_spawner_takes_its_folders_with_it() {
    let lab = Lab::new();
    lab.run(lab.sh("true")).await;
    let scratch = lab.path("scratch");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 1);
    drop(lab.spawner);
    super::eventually("the launching thread lets go", || std::fs::read_dir(&scratch).unwrap().count() == 0)
        .await;
}

#[tokio::test]
async fn a_given_folder_is_used_and_kept() {
    let lab = Lab::new();
    let mut spec = lab.sh("touch here; pwd");
    spec.cwd = Some(lab.home.path().to_owned());
    lab.run(spec).await;
    assert!(lab.path("here").exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_entered_is_named() {
    let lab = Lab::new();
    for (cwd, said) in [(lab.path("nowhere"), "No such file"), (lab.log(), "Not a directory")] {
        std::fs::write(lab.log(), "").unwrap();
        let mut spec = lab.sh("true");
        spec.cwd = Some(cwd.clone());
        let text = lab.refusal(spec).await.to_string();
        assert!(
            text.contains(cwd.to_str().unwrap()) && text.contains(said) && text.contains("create it"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn standard_input_is_empty_or_bytes() {
    let lab = Lab::new();
    assert_eq!(inline(&lab.run(lab.sh("wc -c")).await), "0");
    let mut spec = lab.sh("wc -c");
    spec.stdin = Stdin::Bytes(vec![b'x'; 1_000_000]);
    assert_eq!(inline(&lab.run(spec).await), "1000000");
}

#[tokio::test]
async fn a_script_runs_as_its_first_line_says() {
    let lab = Lab::new();
    for (body, out) in [
        ("#!/bin/sh\necho $#", "0"),
        ("#! /bin/sh -e\nfalse\necho unreachable", ""),
        ("#!/usr/bin/env python3\nimport sys; print(sys.orig_argv[1:-1])", "[]"),
        ("#!/usr/bin/env -S python3 -u\nimport sys; print(sys.orig_argv[1:-1])", "['-u']"),
        ("echo no first line", "no first line"),
        ("#!/bin/sh\r\nif true; then\r\n  echo windows\r\nfi\r\n", "windows"),
        ("\u{feff}#!/bin/sh\r\necho marked\r\n", "marked"),
        ("\u{feff}echo 'plain\r'", "plain"),
        ("#!/bin/sh\nps -o args= -p $$ >/dev/null 2>&1; basename $0", "script"),
        ("", ""),
    ] {
        let mut spec = lab.script(body);
        spec.streams = Streams::Apart;
        assert_eq!(inline(&lab.run(spec).await), out, "{body:?}: {:?}", super::entries(&lab.log()));
    }
}

#[tokio::test]
async fn a_script_gets_its_arguments_and_may_be_given_its_interpreter() {
    let lab = Lab::new();
    let mut spec = lab.script("");
    spec.program = Program::Script {
        body: "#!/no/such/thing\nimport sys; print(sys.argv[1:])".into(),
        interpreter: Some(vec!["python3".into(), "-u".into()]),
        args: vec!["a b".into(), "c".into()],
    };
    assert_eq!(inline(&lab.run(spec).await), "['a b', 'c']");
}

#[tokio::test]
async fn a_missing_interpreter_is_named_with_its_line_and_the_mend() {
    let lab = Lab::new();
    for (body, named) in [
        ("#!/opt/no/such/ruby -w\n", "/opt/no/such/ruby"),
        ("#!/usr/bin/env nosuchpython\n", "nosuchpython"),
        ("#!/usr/bin/env -S nosuchpython -u\n", "nosuchpython"),
        ("#!/usr/bin/env -S LANG=C nosuchpython -u\r\n", "nosuchpython"),
    ] {
        let refusal = lab.refusal(lab.script(body)).await;
        let line = body.trim_end();
        assert!(
            matches!(&refusal, SpawnError::InterpreterMissing { interpreter, line: of, .. } if interpreter == named && of == line),
            "{refusal:?}"
        );
        assert!(refusal.to_string().contains("install it on this worker or correct the line"), "{refusal}");
    }
    for body in ["#!\n", "#!/usr/bin/env python3 -u\nprint()"] {
        assert!(matches!(lab.refusal(lab.script(body)).await, SpawnError::BadShebang { .. }), "{body:?}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_run_says_why() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let file = |name: &str, text: &str, mode| {
        std::fs::write(lab.path(name), text).unwrap();
        std::fs::set_permissions(lab.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        lab.path(name).to_str().unwrap().to_owned()
    };
    assert!(matches!(lab.refusal(lab.argv(&[])).await, SpawnError::NoProgram));
    assert!(matches!(lab.refusal(lab.argv(&[""])).await, SpawnError::NoProgram));
    assert!(matches!(lab.refusal(lab.argv(&["nosuchprogram"])).await, SpawnError::ProgramMissing { .. }));
    assert!(matches!(lab.refusal(lab.argv(&["/no/such/program"])).await, SpawnError::ProgramMissing { .. }));
    assert!(matches!(lab.refusal(lab.argv(&["./relative"])).await, SpawnError::ProgramMissing { .. }));
    assert!(matches!(lab.refusal(lab.argv(&["/tmp"])).await, SpawnError::NotExecutable { .. }));
    let plain = file("plain", "echo\n", 0o644);
    assert!(matches!(lab.refusal(lab.argv(&[&plain])).await, SpawnError::NotExecutable { .. }));
    let headless = file("headless", "echo\n", 0o755);
    assert!(lab.refusal(lab.argv(&[&headless])).await.to_string().contains("begin it with a #! line"));
    let windows = file("windows", "#!/bin/sh\r\necho\r\n", 0o755);
    assert!(lab.refusal(lab.argv(&[&windows])).await.to_string().contains("Unix line ends"));
    assert!(matches!(lab.refusal(lab.argv(&["sh", "a\0b"])).await, SpawnError::Nul { .. }));
    let huge = "x".repeat(3_000_000);
    assert!(matches!(lab.refusal(lab.argv(&["sh", "-c", &huge])).await, SpawnError::TooLong));
    assert!(matches!(lab.refusal(with_path(&lab, "/nowhere")).await, SpawnError::ProgramMissing { .. }));
    assert_eq!(std::fs::read_dir(lab.path("scratch")).unwrap().count(), 0, "a refusal leaves nothing behind");
}

fn with_path(lab: &Lab, path: &str) -> updraft_worker::process::ProcessSpec {
    let mut spec = lab.argv(&["sh", "-c", "true"]);
    spec.env.insert("PATH".into(), path.into());
    spec
}

#[tokio::test]
async fn secrets_come_by_descriptor_and_can_be_read_again_but_not_changed() {
    let lab = Lab::new();
    let mut spec = lab.sh(concat!(
        "cat /dev/fd/$FIRST_FD | md5sum; cat <&$SECOND_FD | md5sum; cat /dev/fd/$FIRST_FD | md5sum; ",
        "echo changed 2>/dev/null >&$FIRST_FD || echo sealed; env | grep -c secret"
    ));
    spec.handed.insert("FIRST".into(), Secret::new("first secret"));
    spec.handed.insert("SECOND".into(), Secret::new("second secret"));
    lab.run(spec).await;
    let lines = lines(&lab.log(), Stream::Out);
    assert_eq!(lines[0], lines[2]);
    assert_ne!(lines[0], lines[1]);
    assert_eq!(&lines[3..], ["sealed", "0"]);
}

#[tokio::test]
async fn more_secrets_than_places_are_refused() {
    let lab = Lab::new();
    let mut spec = lab.sh("cat /dev/fd/$S27_FD");
    for number in 0..28 {
        spec.handed.insert(format!("S{number:02}"), Secret::new(format!("{number}")));
    }
    assert_eq!(inline(&lab.run(spec.clone()).await), "27");
    spec.handed.insert("S28".into(), Secret::new("x"));
    assert!(matches!(lab.refusal(spec).await, SpawnError::TooManySecrets { count: 29 }));
}

#[tokio::test]
async fn a_child_has_no_descriptor_but_its_own() {
    let lab = Lab::new();
    // One that is inherited by whoever does nothing against it.
    let leak = std::fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let mut spec = lab.sh("for fd in /proc/$$/fd/*; do readlink $fd; done");
    spec.handed.insert("S".into(), Secret::new("secret"));
    lab.run(spec).await;
    let fds = lines(&lab.log(), Stream::Out);
    assert_eq!(fds.len(), 4, "{fds:?}");
    assert_eq!(fds[0], "/dev/null");
    assert!(fds[1].starts_with("pipe:") && fds[2].starts_with("pipe:") && fds[1] != fds[2], "{fds:?}");
    assert!(fds[3].starts_with("/memfd:"), "{fds:?}");
}

#[tokio::test]
async fn signals_are_as_a_fresh_login_has_them() {
    let lab = Lab::new();
    lab.run(lab.sh("grep -E 'Sig(Blk|Ign)' /proc/self/status")).await;
    let masks = lines(&lab.log(), Stream::Out);
    assert_eq!(masks.len(), 2);
    assert!(masks.iter().all(|mask| mask.ends_with("0000000000000000")), "{masks:?}");
}

#[tokio::test]
async fn our_own_limit_of_open_files_is_raised_and_the_tasks_is_not() {
    if !alone("process::start::our_own_limit_of_open_files_is_raised_and_the_tasks_is_not") {
        return;
    }
    let before = getrlimit(Resource::Nofile);
    let low = Rlimit { current: Some(300), maximum: before.maximum };
    setrlimit(Resource::Nofile, low).unwrap();
    let lab = Lab::new();
    assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    assert_eq!(inline(&lab.run(lab.sh("ulimit -Sn")).await), "300");
}

#[tokio::test]
async fn a_thousand_starts_at_once_all_end() {
    let lab = Lab::new();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let mut spec = lab.sh(&format!("echo {number}"));
        spec.log = lab.path(&format!("logs/{number}"));
        let spawner = lab.spawner.clone();
        running.spawn(async move { (number, spawner.spawn(spec).await.unwrap().wait().await.unwrap()) });
    }
    for (number, ended) in running.join_all().await {
        assert_eq!(inline(&ended), number.to_string());
    }
}

#[tokio::test]
async fn another_user_is_refused_unless_root_asks() {
    let lab = Lab::new();
    let mut spec =
        lab.sh("id -un; id -Gn; echo $HOME $USER; echo to-stderr >/dev/stderr; touch file; stat -c %U file");
    spec.run_as_user = Some("nosuchuser".into());
    assert!(matches!(lab.refusal(spec.clone()).await, SpawnError::User { .. }));
    spec.run_as_user = Some("nobody".into());
    if !rustix::process::geteuid().is_root() {
        assert!(lab.refusal(spec).await.to_string().contains("does not run as root"));
        return;
    }
    rustix::fs::chmod(lab.home.path(), 0o700.into()).unwrap();
    let refusal = lab.refusal(spec.clone()).await;
    assert!(matches!(&refusal, SpawnError::OutOfReach { user, .. } if user == "nobody"), "{refusal}");
    rustix::fs::chmod(lab.home.path(), 0o711.into()).unwrap();
    lab.run(spec).await;
    assert_eq!(lines(&lab.log(), Stream::Out), ["nobody", "nogroup", "/nonexistent nobody", "nobody"]);
    assert_eq!(lines(&lab.log(), Stream::Err), ["to-stderr"]);
}
