//! Survivors of a program that is gone.

use std::process::Command;
use std::time::Duration;

use updraft_worker::process::{MARKER_VARIABLE, Spawner, survivors};

use super::{Lab, is_alive};

/// What a former program has started: here, a plain child with a marker, in a session of its own as tasks
/// are.
fn leave(marker: &str, text: &str) -> std::process::Child {
    Command::new("setsid").args(["sh", "-c", text]).env(MARKER_VARIABLE, marker).spawn().unwrap()
}

#[tokio::test]
async fn survivors_are_found_by_the_beginning_of_their_marker_and_ended() {
    let lab = Lab::new();
    let prefix = lab.marker("").to_string();
    let (bell, other_bell) = (lab.bell("bell"), lab.bell("other"));
    // One process of the session has wiped its environment.
    let text = format!("env -i sleep 1000 & echo $$ $! > {}; wait", bell.path());
    let mut child = leave(&format!("{prefix}7"), &text);
    let mut other = leave(&format!("x{prefix}7"), &format!("echo > {}; exec sleep 1000", other_bell.path()));
    let pids = bell.rung().await;
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    other_bell.rung().await;

    let found = survivors(&prefix).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].attempt.clone(), found[0].has_leader), (Some(format!("{prefix}7")), true));
    assert!(pids.iter().all(|pid| found[0].pids.contains(pid)), "{found:?} has {pids:?}");

    let waited = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let left = found[0].end(Duration::from_secs(20)).await.unwrap();
    assert!(left.ended >= 2 && left.surviving.is_empty(), "{left:?}");
    waited.await.unwrap();
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(survivors(&prefix).unwrap().is_empty());
    assert!(is_alive(other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_survivor_that_does_not_listen_is_killed() {
    let lab = Lab::new();
    let marker = lab.marker("7").to_string();
    let bell = lab.bell("bell");
    let mut child =
        leave(&marker, &format!("trap '' TERM; echo > {}; while :; do sleep 1; done", bell.path()));
    bell.rung().await;
    let waited = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let found = survivors(&marker).unwrap();
    found[0].end(Duration::from_millis(100)).await.unwrap();
    assert!(survivors(&marker).unwrap().is_empty());
    waited.await.unwrap();
}

#[tokio::test]
async fn a_running_tasks_processes_carry_its_marker() {
    let lab = Lab::new();
    let (bell, done) = (lab.bell("bell"), lab.bell("done"));
    let running = lab.spawn(lab.sh(&format!("echo > {}; read x < {}", bell.path(), done.path()))).await;
    bell.rung().await;
    let found = survivors(lab.marker("1").as_str()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].pids.as_slice(), found[0].has_leader), ([running.pid()].as_slice(), true));
    done.ring().await;
    running.wait().await.unwrap();
}

#[tokio::test]
async fn a_survivor_that_has_wiped_its_name_is_found_and_ended() {
    let lab = Lab::new();
    let (bell, done) = (lab.bell("bell"), lab.bell("done"));
    let text =
        "(env -i setsid sh -c 'echo $$ > BELL; exec sleep 1000' </dev/null >/dev/null 2>&1 &); read x < DONE";
    let text = text.replace("BELL", bell.path()).replace("DONE", done.path());
    let running = lab.spawn(lab.sh(&text)).await;
    let daemon: u32 = bell.rung().await.parse().unwrap();
    let found = survivors(lab.marker("").as_str()).unwrap();
    assert_eq!((found.len(), found[0].pids.contains(&daemon)), (1, true), "of the attempt: {found:?}");
    // As if this program were gone, and another in its place: nobody waits for the attempt.
    rustix::process::kill_process(pid_of(running.pid()), rustix::process::Signal::KILL).unwrap();
    super::eventually("the first process has ended", || !is_alive(running.pid())).await;
    let found = survivors(lab.marker("").as_str()).unwrap();
    assert!(found.len() <= 1 && found.iter().all(|survivor| survivor.attempt.is_none()), "{found:?}");
    for survivor in found {
        survivor.end(Duration::from_secs(20)).await.unwrap();
    }
    assert!(!is_alive(daemon));
}

fn pid_of(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.cast_signed()).unwrap()
}

#[tokio::test]
async fn what_a_former_program_left_in_the_scratch_folder_can_be_removed() {
    let lab = Lab::new();
    let scratch = lab.path("scratch");
    std::fs::create_dir_all(scratch.join("1-1-0/work/tree")).unwrap();
    std::fs::write(scratch.join("1-1-7.result"), "").unwrap();
    lab.run(lab.sh("true")).await;
    assert_eq!(lab.spawner.clear_former().unwrap(), 2);
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 1, "what is ours has stayed");
}

#[tokio::test]
async fn the_folder_for_other_users_is_made_when_one_comes_and_goes_at_the_end() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::new();
    let others = lab.path("others");
    let spawner = || Spawner::new(&lab.path("scratch"), Some(others.clone())).unwrap();
    let mut spec = lab.sh("pwd; id -un");
    spec.run_as_user = Some("nobody".into());
    rustix::fs::chmod(lab.home.path(), 0o711.into()).unwrap();

    let former = spawner();
    lab.run(lab.sh("true")).await;
    former.leave();
    assert!(!others.exists(), "nobody has come");
    former.spawn(spec.clone()).await.unwrap().wait().await.unwrap();
    let said = std::fs::read_to_string(lab.log()).unwrap();
    assert!(said.contains(others.to_str().unwrap()) && said.contains("nobody"), "{said}");
    // As if it had been killed amid an attempt.
    std::fs::create_dir_all(others.join("1-1-0/work/tree")).unwrap();
    std::os::unix::net::UnixListener::bind(former.api_socket_of_others().unwrap()).unwrap();

    let next = spawner();
    next.clear_former().unwrap();
    assert!(!others.join("1-1-0").exists());
    next.leave();
    assert!(!others.exists(), "{:?}", std::fs::read_dir(&others).map(Iterator::count));

    // In the place of a folder may be what another user has made.
    std::os::unix::fs::symlink(lab.home.path(), &others).unwrap();
    let refusal = spawner().spawn(spec).await.unwrap_err();
    assert!(refusal.to_string().contains("somebody else has made it"), "{refusal}");
}

/// As in a sandbox whose first process has not opened a session: ours is then one that has no number here.
#[test]
fn a_session_that_began_outside_of_the_namespace_of_process_ids_is_no_hindrance() {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(std::env::current_exe().unwrap());
    unshare.args(["--exact", "process::survive::a_running_tasks_processes_carry_its_marker"]);
    let inside = unshare.output().unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success() && said.contains("1 passed"), "{inside:?}");
}
