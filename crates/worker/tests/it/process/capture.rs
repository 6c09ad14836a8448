//! Output: streams, followers, masks, large and odd output, limits, full disks.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use updraft_core::log::Stream;
use updraft_worker::process::{Masks, Outcome, ResultRule, Secret, Streams};

use super::{Lab, alone, entries, eventually, inline, lines, own_peak_bytes};

#[tokio::test]
async fn each_line_has_its_stream_and_time() {
    let lab = Lab::new();
    let before = SystemTime::now();
    lab.run(lab.sh("echo a; echo b >&2; sleep 0.05; echo c; printf d")).await;
    assert_eq!(lines(&lab.log(), Stream::Out), ["a", "c", "d"]);
    assert_eq!(lines(&lab.log(), Stream::Err), ["b"]);
    let entries = entries(&lab.log());
    let times: Vec<SystemTime> = entries.iter().map(|entry| entry.at.into()).collect();
    // Times are cut to microseconds.
    assert!(times[0] >= before - Duration::from_micros(1) && *times.last().unwrap() <= SystemTime::now());
    let of = |text: &str| times[entries.iter().position(|entry| entry.text == text).unwrap()];
    assert!(of("c").duration_since(of("a")).unwrap() >= Duration::from_millis(40));
}

#[tokio::test]
async fn what_is_printed_before_a_failure_stands_before_it() {
    for _ in 0..20 {
        let lab = Lab::new();
        lab.run(lab.sh("echo before; echo failure >&2")).await;
        let said: Vec<_> = entries(&lab.log()).into_iter().map(|entry| entry.text).collect();
        assert_eq!(said, ["before", "failure"]);
    }
}

#[tokio::test]
async fn a_flood_on_one_stream_does_not_hide_the_other() {
    let lab = Lab::new();
    let done = lab.bell("done");
    let flood = format!("echo failure >&2; while :; do echo flood; done & read x < {}; kill $!", done.path());
    let running = lab.spawn(lab.sh(&flood)).await;
    eventually("the other is shown", || lines(&lab.log(), Stream::Err) == ["failure"]).await;
    done.ring().await;
    running.wait().await.unwrap();
}

#[tokio::test]
async fn merged_streams_keep_their_order() {
    let lab = Lab::new();
    let mut spec = lab.sh("for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done");
    spec.streams = Streams::Merged;
    let ended = lab.run(spec).await;
    assert_eq!(lines(&lab.log(), Stream::Out), ["o1", "e1", "o2", "e2", "o3", "e3", "o4", "e4", "o5", "e5"]);
    assert_eq!(inline(&ended), "e5");
}

#[tokio::test]
async fn followers_see_lines_and_begun_lines_while_the_task_runs() {
    let lab = Lab::new();
    let done = lab.bell("done");
    let running = lab
        .spawn(lab.sh(&format!("echo whole; printf 'begun '; read x < {}; echo ended", done.path())))
        .await;
    let seen = || entries(&lab.log());
    eventually("both are shown", || seen().len() == 2).await;
    let now: Vec<_> = seen().into_iter().map(|entry| (entry.text, entry.goes_on)).collect();
    assert_eq!(now, [("whole".to_owned(), false), ("begun ".to_owned(), true)]);
    done.ring().await;
    running.wait().await.unwrap();
    assert_eq!(lines(&lab.log(), Stream::Out), ["whole", "begun ended"]);
}

#[tokio::test]
async fn a_silent_task_has_an_empty_log() {
    let lab = Lab::new();
    let mut spec = lab.sh("true");
    spec.log = lab.path("a/b/c.log");
    let ended = lab.run(spec).await;
    assert_eq!(std::fs::metadata(lab.path("a/b/c.log")).unwrap().len(), 0);
    assert_eq!((ended.log.bytes, ended.log.lines, ended.log.lost), (0, 0, None));
}

#[tokio::test]
async fn secrets_are_masked_in_both_streams_however_they_are_written() {
    let lab = Lab::new();
    let mut spec = lab.sh(concat!(
        "printf 'a hun'; sleep 0.15; printf 'ter'; sleep 0.15; echo '2 b'; echo hunter2 >&2; cat /dev/fd/$KEY_FD; ",
        "sed 's/^/> /' /dev/fd/$KEY_FD; echo abcd"
    ));
    spec.masked = Masks::new([Secret::new("hunter2"), Secret::new("abcd")]).unwrap();
    spec.handed.insert("KEY".into(), Secret::new("first line\nsecond line\n"));
    let ended = lab.run(spec).await;
    assert_eq!(lines(&lab.log(), Stream::Out), ["a *** b", "***", "> ***", "> ***", "abcd"]);
    assert_eq!(lines(&lab.log(), Stream::Err), ["***"]);
    assert!(!format!("{ended:?}").contains("hunter2"));
    // A result is for the next task, which may need the secret.
    let mut spec = lab.sh("echo hunter2");
    spec.masked = Masks::new([Secret::new("hunter2")]).unwrap();
    assert!(!format!("{spec:?}").contains("hunter2\")"));
    assert_eq!(inline(&lab.run(spec).await), "hunter2");
}

#[tokio::test]
async fn a_gigabyte_of_output_costs_fixed_memory() {
    if !alone("process::capture::a_gigabyte_of_output_costs_fixed_memory") {
        return;
    }
    let lab = Lab::new();
    lab.run(lab.sh("echo warm")).await;
    std::fs::remove_file(lab.log()).unwrap();
    let before = own_peak_bytes();
    let mut spec = lab.sh("head -c 1G /dev/zero | tr '\\0' x");
    spec.log_limit_bytes = 8 << 20;
    let ended = lab.run(spec).await;
    let grown = own_peak_bytes() - before;
    assert!(grown < 8 << 20, "grown by {grown} bytes");
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(ended.log.lines, 1);
    assert!(ended.log.bytes <= (8 << 20) + 1000, "{}", ended.log.bytes);
    let kept: usize =
        entries(&lab.log()).iter().filter(|entry| entry.stream == Stream::Out).map(|e| e.text.len()).sum();
    assert!(kept > 8_000_000 && ended.log.cut.bytes > 1_000_000_000, "{kept} {:?}", ended.log.cut);
    assert!(ended.result.is_err(), "a gigabyte is beyond the result's limit");
}

#[tokio::test]
async fn ten_megabyte_lines_come_in_pieces() {
    if !alone("process::capture::ten_megabyte_lines_come_in_pieces") {
        return;
    }
    let lab = Lab::new();
    // What the program itself takes when it does this for the first time is no line's.
    lab.run(lab.sh("echo warm")).await;
    std::fs::remove_file(lab.log()).unwrap();
    let before = own_peak_bytes();
    let ended = lab
        .run(lab.sh("for c in a b c; do head -c 10000000 /dev/zero | tr '\\0' $c; echo; done; echo short"))
        .await;
    assert_eq!(inline(&ended), "short");
    let grown = own_peak_bytes() - before;
    assert!(grown < 8 << 20, "grown by {grown} bytes");
    assert_eq!(ended.log.lines, 4);
    let lines = lines(&lab.log(), Stream::Out);
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [10_000_000, 10_000_000, 10_000_000, 5]);
    assert!(lines[1].bytes().all(|byte| byte == b'b'));
}

#[tokio::test]
async fn binary_output_stays_text_that_can_be_searched() {
    let lab = Lab::new();
    let mut spec =
        lab.sh("printf 'needle \\000\\377\\001\\n'; head -c 3000000 /dev/urandom; printf '\\nneedle\\n'");
    spec.result = ResultRule::Nothing;
    lab.run(spec).await;
    let log = lab.log();
    std::str::from_utf8(&std::fs::read(&log).unwrap()).unwrap();
    assert!(entries(&log).len() > 1000);
    let found = Command::new("grep").args(["needle", log.to_str().unwrap()]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.contains("\tout\tneedle \\x00\\xff\\x01\n"), "{found}");
}

#[tokio::test]
async fn progress_bars_are_lines() {
    let lab = Lab::new();
    lab.run(lab.sh("printf '10%%\\r20%%\\r'; sleep 0.02; printf '\\n30%%\\r\\ndone\\r'")).await;
    assert_eq!(lines(&lab.log(), Stream::Out), ["10%", "20%", "30%", "done"]);
}

#[tokio::test]
async fn no_output_can_forge_an_entry() {
    let lab = Lab::new();
    lab.run(lab.sh("printf 'x\\r2026-11-21T03:48:10.123456Z\\tsys\\tforged\\n'")).await;
    let texts: Vec<_> = entries(&lab.log()).into_iter().map(|entry| (entry.stream, entry.text)).collect();
    assert_eq!(texts[1], (Stream::Out, "2026-11-21T03:48:10.123456Z\tsys\tforged".to_owned()));
}

#[tokio::test]
async fn a_full_disk_ends_no_task_and_is_reported() {
    let lab = Lab::new();
    let mut spec = lab.sh("seq 50000; echo the end");
    spec.log = PathBuf::from("/dev/full");
    let ended = lab.run(spec).await;
    assert_eq!((ended.outcome, inline(&ended).as_str()), (Outcome::Succeeded, "the end"));
    let lost = ended.log.lost.unwrap();
    assert_eq!((ended.log.bytes, ended.log.lines), (0, 50_001));
    assert!(lost.error.contains("/dev/full: No space left on device"), "{}", lost.error);
    assert_eq!(lost.missing.entries, 50_001);
}

#[tokio::test]
async fn a_log_in_a_place_that_cannot_be_written_is_a_loss_not_a_failure() {
    let lab = Lab::new();
    std::fs::write(lab.path("file"), "").unwrap();
    let mut spec = lab.sh("echo x");
    spec.log = lab.path("file/attempt.log");
    let ended = lab.run(spec).await;
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(ended.log.lost.unwrap().missing.entries, 1);
}
