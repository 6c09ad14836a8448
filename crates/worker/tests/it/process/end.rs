//! Ending: kill, escalation, groups, escapees, pause, timeouts.

use std::time::{Duration, Instant};

use updraft_core::log::Stream;
use updraft_worker::process::{Exit, Masks, NotRunning, Outcome, Secret};

use super::{Lab, alone, entries, eventually, inline, is_alive, lines, state};

const LONG: Duration = Duration::from_secs(60);

fn pids(text: &str) -> Vec<u32> {
    text.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_kill_is_gentle_first() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let spec = lab.sh(&format!(
        "trap 'echo cleaned up; exit 3' TERM; echo ready > {}; while :; do sleep 0.01; done",
        bell.path()
    ));
    let running = lab.spawn(spec).await;
    bell.rung().await;
    running.control().kill(LONG);
    let ended = running.wait().await.unwrap();
    assert_eq!((ended.outcome, ended.exit), (Outcome::Killed, Exit::Code(3)));
    assert_eq!(inline(&ended), "cleaned up");
    assert_eq!(
        lines(&lab.log(), Stream::Sys),
        ["Ending the task, as asked: it is told to (SIGTERM), and has 60s for it."]
    );
}

#[tokio::test]
async fn who_does_not_listen_is_killed_with_the_whole_group_after_the_grace() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let spec = lab.sh(&format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $$ $! > {}; while :; do sleep 1; done",
        bell.path()
    ));
    let running = lab.spawn(spec).await;
    let pids = pids(&bell.rung().await);
    let asked = Instant::now();
    running.control().kill(Duration::from_millis(300));
    let ended = running.wait().await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!(
        (ended.outcome, ended.exit),
        (Outcome::Killed, Exit::Signal { signal: 9, core_dumped: false })
    );
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(
        lines(&lab.log(), Stream::Sys),
        [
            "Ending the task, as asked: it is told to (SIGTERM), and has 300ms for it.",
            "Its time to end is over: killing it and all it has started (SIGKILL)."
        ]
    );
}

#[tokio::test]
async fn a_second_kill_can_only_shorten_the_grace() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let spec = lab.sh(&format!("trap '' TERM; echo ready > {}; while :; do sleep 1; done", bell.path()));
    let running = lab.spawn(spec).await;
    bell.rung().await;
    let control = running.control();
    control.kill(LONG);
    control.kill(Duration::ZERO);
    control.kill(LONG);
    let ended = tokio::time::timeout(LONG / 6, running.wait()).await.unwrap().unwrap();
    assert_eq!(ended.exit, Exit::Signal { signal: 9, core_dumped: false });
    control.kill(LONG);
}

#[tokio::test]
async fn a_kill_reaches_who_left_the_group_but_not_its_parent() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    // `set -m` gives each job a group of its own; setsid even a session.
    let spec = lab.argv(&[
        "bash",
        "-c",
        &format!("set -m; sleep 1000 & a=$!; setsid sleep 1000 & echo $$ $a $! > {}; wait", bell.path()),
    ]);
    let running = lab.spawn(spec).await;
    let pids = pids(&bell.rung().await);
    running.control().kill(LONG);
    let ended = running.wait().await.unwrap();
    assert_eq!(ended.outcome, Outcome::Killed);
    assert!(ended.active < LONG / 2);
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}

#[tokio::test]
async fn what_a_normal_end_leaves_in_the_group_is_ended() {
    let lab = Lab::new();
    let ended = lab.run(lab.sh("sleep 1000 >/dev/null 2>&1 & echo $!")).await;
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert!(!is_alive(inline(&ended).parse().unwrap()));
    assert_eq!((ended.left_behind.ended, ended.left_behind.surviving.len()), (1, 0));
    assert!(ended.active < Duration::from_millis(900), "{:?} is the first process's own time", ended.active);
}

#[tokio::test]
async fn the_log_names_what_was_left_behind_and_hides_what_may_not_show() {
    let lab = Lab::new();
    let mut spec = lab.sh("sleep 10030 >/dev/null 2>&1 & sleep 1002 >/dev/null 2>&1 & echo done");
    spec.masked = Masks::new([Secret::new("10030")]).unwrap();
    let log = spec.log.clone();
    let ended = lab.run(spec).await;
    assert_eq!(ended.left_behind.ended, 2);
    let text = std::fs::read_to_string(log).unwrap();
    let said = text.lines().find(|line| line.contains("It has left 2 processes running")).expect(&text);
    assert!(said.contains("\tsys\t") && said.contains(" (sleep 1002)"), "{said}");
    assert!(said.contains(" (sleep ***)"), "{said}");
    // What is ended with the task as somebody asks was not left by it.
    let lab = Lab::new();
    let bell = lab.bell("begun");
    let spec = lab.sh(&format!("sleep 1004 & echo > {}; wait", bell.path()));
    let log = spec.log.clone();
    let running = lab.spawn(spec).await;
    bell.rung().await;
    running.control().kill(Duration::from_secs(5));
    running.wait().await.unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    assert!(!text.contains("It has left"), "{text}");
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_open_does_not_hold_the_end_up() {
    let lab = Lab::new();
    let ended = tokio::time::timeout(LONG / 6, lab.run(lab.sh("sleep 1000 & echo $!"))).await.unwrap();
    assert!(!is_alive(inline(&ended).parse().unwrap()));
}

#[tokio::test]
async fn a_double_fork_into_another_session_is_found_and_ended() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let spec = lab.sh(&format!("(setsid sh -c 'echo $$ > {}; exec sleep 1000' &) ; exit 4", bell.path()));
    let running = lab.spawn(spec).await;
    let daemon = bell.rung().await.parse().unwrap();
    let ended = running.wait().await.unwrap();
    assert_eq!(ended.outcome, Outcome::Failed { code: 4 });
    assert!(!is_alive(daemon));
    assert_eq!(ended.left_behind.ended, 1);
}

/// What no environment, session, group, parent or descriptor leads to its task.
#[tokio::test]
async fn a_daemon_that_has_wiped_its_environment_is_found_and_ended() {
    let lab = Lab::new();
    // Of a length of its own, by which it is told from another test's.
    let seconds = format!("1000.{}", std::process::id());
    let nohup =
        "(env -i setsid nohup sleep 3334 </dev/null >/dev/null 2>&1 &); echo done".replace("3334", &seconds);
    let python = "
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 1024)
        os.execve('/bin/sleep', ['sleep', sys.argv[1]], {})
    os._exit(0)
os.wait()
print('done')";
    for spec in [lab.argv(&["bash", "-c", &nohup]), lab.argv(&["python3", "-c", python, &seconds])] {
        let ended = lab.run(spec).await;
        assert_eq!((inline(&ended).as_str(), ended.left_behind.ended), ("done", 1));
        assert_eq!(that_lasts(&seconds), [0; 0]);
    }
}

/// The processes that sleep so long.
fn that_lasts(seconds: &str) -> Vec<u32> {
    let wanted = format!("sleep\0{seconds}\0");
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted)
    })
    .collect()
}

#[tokio::test]
async fn an_orphan_of_which_nobody_can_tell_whose_it_is_is_ended_in_the_end() {
    // It would end other tests' orphans.
    if !alone("process::end::an_orphan_of_which_nobody_can_tell_whose_it_is_is_ended_in_the_end") {
        return;
    }
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let text = "(env -i setsid bash -c 'ulimit -S -x 7; echo $$ > BELL; trap \"\" TERM; while :; do sleep 1; done' \
        </dev/null >/dev/null 2>&1 &) ; exit 0";
    let ended = lab.spawn(lab.argv(&["bash", "-c", &text.replace("BELL", bell.path())])).await;
    let daemon = bell.rung().await.parse().unwrap();
    ended.wait().await.unwrap();
    assert!(is_alive(daemon));
    let left = lab.spawner.end_orphans(Duration::from_millis(100)).await.unwrap();
    assert!(left.ended >= 1 && left.surviving.is_empty(), "{left:?}");
    assert!(!is_alive(daemon));
}

#[tokio::test]
async fn who_ignores_a_hangup_after_a_normal_end_is_killed_after_the_grace() {
    let lab = Lab::new();
    let mut spec = lab.sh("sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $!");
    spec.kill_grace = Duration::from_millis(200);
    let ended = lab.run(spec).await;
    assert!(!is_alive(inline(&ended).parse().unwrap()));
    assert!(ended.left_behind.surviving.is_empty());
}

#[tokio::test]
async fn a_kill_is_heard_while_what_was_left_behind_is_waited_for() {
    let lab = Lab::new();
    let (bell, go_on) = (lab.bell("bell"), lab.bell("go on"));
    let text = format!("trap '' TERM; exec >/dev/null; echo $$ > {}; while :; do sleep 1; done", bell.path());
    // Not before what is left behind has closed its ears: it would be ended at once.
    let first = format!("(setsid sh -c \"$1\" &); read x < '{}'; exit 6", go_on.path());
    let running = lab.spawn(lab.argv(&["sh", "-c", &first, "sh", &text])).await;
    let stubborn = bell.rung().await.parse().unwrap();
    go_on.ring().await;
    let control = running.control();
    eventually("the first process has ended", || state(running.pid()).is_none_or(|state| state == 'Z')).await;
    assert!(matches!(control.pause().await, Err(NotRunning)));
    control.kill(Duration::ZERO);
    let ended = tokio::time::timeout(LONG / 6, running.wait()).await.unwrap().unwrap();
    assert_eq!(ended.outcome, Outcome::Failed { code: 6 });
    assert!(!is_alive(stubborn));
}

#[tokio::test]
async fn what_finishes_by_itself_right_after_the_end_is_let_finish() {
    let lab = Lab::new();
    let spec = lab.argv(&["bash", "-c", "exec > >(sleep 0.2; tr a-z A-Z); echo the last words"]);
    let ended = lab.run(spec).await;
    assert_eq!(inline(&ended), "THE LAST WORDS");
    assert_eq!(ended.left_behind.ended, 0);
}

#[tokio::test]
async fn an_escapee_of_one_task_is_not_ended_with_another() {
    let lab = Lab::new();
    let (bell, done) = (lab.bell("bell"), lab.bell("done"));
    let spec = lab.sh(&format!(
        "(setsid sh -c 'echo $$ > {}; exec sleep 1000' &); read x < {}",
        bell.path(),
        done.path()
    ));
    let first = lab.spawn(spec).await;
    let daemon = bell.rung().await.parse().unwrap();
    let mut other = lab.sh("(setsid sleep 1000 &); echo other");
    other.marker = lab.marker("2");
    other.log = lab.path("other.log");
    let ended = lab.run(other).await;
    assert_eq!((inline(&ended).as_str(), ended.left_behind.ended), ("other", 1));
    assert!(is_alive(daemon));
    done.ring().await;
    first.wait().await.unwrap();
    assert!(!is_alive(daemon));
}

#[tokio::test]
async fn dead_orphans_do_not_pile_up_while_a_task_runs() {
    let lab = Lab::new();
    let (bell, done) = (lab.bell("bell"), lab.bell("done"));
    let spec = lab.sh(&format!("(setsid sh -c 'echo $$ > {}' &); read x < {}", bell.path(), done.path()));
    let running = lab.spawn(spec).await;
    let daemon = bell.rung().await.parse().unwrap();
    eventually("the dead orphan is buried", || state(daemon).is_none()).await;
    done.ring().await;
    assert_eq!(running.wait().await.unwrap().outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn another_parts_child_keeps_its_status() {
    let lab = Lab::new();
    // Both this program's own child, and what this child leaves behind.
    let mut child = std::process::Command::new("sh").args(["-c", "exit 5"]).spawn().unwrap();
    lab.run(lab.sh("(setsid sleep 1000 &); true")).await;
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[tokio::test]
async fn a_timeout_ends_the_task_and_says_so() {
    let lab = Lab::new();
    let mut spec = lab.sh("trap 'exit 0' TERM; while :; do sleep 0.01; done");
    spec.timeout = Some(Duration::from_millis(100));
    let ended = lab.run(spec).await;
    assert_eq!((ended.outcome, ended.exit), (Outcome::TimedOut, Exit::Code(0)));
    assert!(ended.active >= Duration::from_millis(100));
    assert_eq!(
        lines(&lab.log(), Stream::Sys),
        ["Timed out after 100ms, and ending the task: it is told to (SIGTERM), and has 60s for it."]
    );
    let mut spec = lab.sh("trap '' TERM; while :; do sleep 1; done");
    spec.timeout = Some(Duration::from_millis(100));
    spec.kill_grace = Duration::from_millis(100);
    let ended = lab.run(spec).await;
    assert_eq!(ended.outcome, Outcome::TimedOut);
    assert!(ended.active >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_paused_task_stands_still_and_its_timeout_with_it() {
    let lab = Lab::new();
    let (bell, done) = (lab.bell("bell"), lab.bell("done"));
    let mut spec = lab.argv(&[
        "bash",
        "-c",
        &format!(
            "sh -c 'read x < {}' & waits=$!; setsid sleep 1000 & echo $$ $waits $! > {}; wait $waits; kill $!; echo done",
            done.path(),
            bell.path()
        ),
    ]);
    spec.timeout = Some(Duration::from_secs(2));
    let running = lab.spawn(spec).await;
    let pids = pids(&bell.rung().await);
    let control = running.control();
    control.pause().await.unwrap();
    control.pause().await.unwrap();
    let stopped = |pid: &u32| state(*pid) == Some('T');
    eventually("all are stopped", || pids.iter().all(stopped)).await;
    // The pause is the thing under test: it must outlast the timeout.
    // tidy: sleep because the passing of time is what is tested
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(pids.iter().all(stopped));
    control.resume().await.unwrap();
    control.resume().await.unwrap();
    done.ring().await;
    let ended = running.wait().await.unwrap();
    assert_eq!((ended.outcome, inline(&ended).as_str()), (Outcome::Succeeded, "done"));
    assert!(ended.paused >= Duration::from_millis(2100), "{:?}", ended.paused);
    assert!(ended.active < Duration::from_secs(2), "{:?}", ended.active);
    assert!(matches!(control.pause().await, Err(NotRunning)));
}

#[tokio::test]
async fn times_that_no_clock_can_hold_are_far_away() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let mut spec = lab.sh(&format!("echo ready > {}; sleep 1000", bell.path()));
    spec.timeout = Some(Duration::MAX);
    spec.kill_grace = Duration::MAX;
    let running = lab.spawn(spec).await;
    bell.rung().await;
    running.control().kill(Duration::MAX);
    assert_eq!(running.wait().await.unwrap().outcome, Outcome::Killed);
}

#[tokio::test]
async fn a_paused_task_can_be_killed_gently() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let spec = lab.sh(&format!(
        "trap 'echo bye; exit' TERM; echo ready > {}; while :; do sleep 0.01; done",
        bell.path()
    ));
    let running = lab.spawn(spec).await;
    bell.rung().await;
    let control = running.control();
    control.pause().await.unwrap();
    control.kill(LONG);
    assert!(matches!(control.resume().await, Err(NotRunning)));
    let ended = running.wait().await.unwrap();
    assert_eq!((ended.outcome, inline(&ended).as_str()), (Outcome::Killed, "bye"));
    assert!(ended.paused > Duration::ZERO);
}

#[tokio::test]
async fn a_task_is_watched_to_its_end_even_if_nobody_waits() {
    let lab = Lab::new();
    let bell = lab.bell("bell");
    let running = lab.spawn(lab.sh(&format!("echo $$ > {}; sleep 0.1; echo over", bell.path()))).await;
    drop(running);
    let pid = bell.rung().await.parse().unwrap();
    eventually("it has been buried", || state(pid).is_none()).await;
    eventually("its log is complete", || entries(&lab.log()).len() == 1).await;
}
