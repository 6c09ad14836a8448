//! What holds for logs wherever they are.

use std::sync::Arc;

use updraft_core::{DagKey, MapIndex, RunId, RunKey, protocol::log_path};
use updraft_store::MemoryStore;

use super::*;
use crate::test_s3::TestS3;

const LINE: &str = "2026-11-21T03:48:10.123456Z\tout\thello\n";

/// Does this with each kind of place.
async fn each(check: impl AsyncFn(&dyn Logs)) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    check(&LogFolder::new(folder.path())).await;
    check(&TestS3::start().bucket("up/draft").logs()).await;
}

fn dag() -> DagKey {
    DagKey::new("team", "a/b")
}

fn name(run: i64, run_id: &str, attempt: u32) -> LogName {
    let dag = dag();
    let names = (&dag.namespace, &dag.dag_id, &RunId::from(run_id));
    LogName { run: RunKey(run), path: log_path(names, &"t".into(), MapIndex(3), attempt) }
}

fn part(log: &LogName, offset: Option<u64>, text: &str) -> Part {
    Part { log: log.clone(), offset, bytes: text.into() }
}

async fn add(logs: &dyn Logs, log: &LogName, offset: Option<u64>, text: &str) -> u64 {
    logs.append(vec![part(log, offset, text)]).await.remove(0).unwrap()
}

/// The texts of a log's entries.
pub(super) async fn texts(logs: &dyn Logs, log: &LogName) -> Vec<String> {
    let (mut texts, mut offset) = (Vec::new(), 0);
    loop {
        let page = logs.read(log, offset, 10).await.unwrap();
        texts.extend(page.entries.into_iter().map(|entry| entry.text));
        if page.at_end {
            return texts;
        }
        offset = page.next;
    }
}

pub(super) fn line(text: &str) -> String {
    LINE.replace("hello", text)
}

#[tokio::test]
async fn a_growing_log_is_read_on_from_where_the_last_page_ended() {
    each(async |logs| {
        let log = name(1, "r", 1);
        let missing = logs.read(&log, 0, 10).await.unwrap();
        assert_eq!(missing, Page { entries: Vec::new(), next: 0, at_end: true });
        let length = add(logs, &log, None, &format!("{LINE}torn\n{LINE}2026-11")).await;
        let page = logs.read(&log, 0, 10).await.unwrap();
        assert_eq!((page.entries.len(), page.at_end), (2, true));
        let length = add(logs, &log, Some(length), &LINE[7..]).await;
        let page = logs.read(&log, page.next, 10).await.unwrap();
        assert_eq!((&*page.entries[0].text, page.next), ("hello", length));
        let behind = logs.read(&log, length + 5, 10).await.unwrap();
        assert_eq!(behind, Page { entries: Vec::new(), next: length + 5, at_end: true });
    })
    .await;
}

#[tokio::test]
async fn an_offset_in_the_middle_of_an_entry_is_that_of_the_next() {
    each(async |logs| {
        let log = name(1, "r", 1);
        add(logs, &log, None, LINE).await;
        add(logs, &log, Some(LINE.len() as u64), &LINE.repeat(2)).await;
        for offset in 0..=3 * LINE.len() {
            let page = logs.read(&log, offset as u64, 10).await.unwrap();
            let whole = (3 * LINE.len() - offset) / LINE.len();
            assert_eq!((page.entries.len(), page.at_end), (whole, true), "offset {offset}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_comes_twice_is_there_once() {
    each(async |logs| {
        let log = name(1, "r", 1);
        let add = async |offset, texts: &[&str]| {
            let text: String = texts.iter().map(|text| line(text)).collect();
            let length = add(logs, &log, offset, &text).await;
            assert_eq!(length % line("one").len() as u64, 0);
            length / line("one").len() as u64
        };
        let at = |lines: u64| Some(lines * line("one").len() as u64);
        assert_eq!(add(Some(0), &[]).await, 0);
        // An attempt that was lost has written to it before; and one may write twice the same.
        for _ in 0..2 {
            assert_eq!(add(None, &["one"]).await, 1);
        }
        for _ in 0..2 {
            assert_eq!(add(None, &["two", "two"]).await, 3);
            assert_eq!(texts(logs, &log).await, ["one", "two", "two"]);
        }
        assert_eq!(add(at(2), &["two", "3rd"]).await, 4, "what is new of it");
        assert_eq!(add(at(2), &["two"]).await, 4, "nothing of it is new");
        assert_eq!(add(at(5), &["5th"]).await, 4, "something between is missing");
        assert_eq!(add(Some(0), &[]).await, 4);
        assert_eq!(texts(logs, &log).await, ["one", "two", "two", "3rd"]);
        assert_eq!(add(None, &["one", "two"]).await, 6, "it is not the end");
        assert_eq!(texts(logs, &log).await, ["one", "two", "two", "3rd", "one", "two"]);
    })
    .await;
}

#[tokio::test]
async fn many_logs_grow_at_once_each_in_its_order() {
    each(async |logs| {
        let names: Vec<_> = (1..=40).map(|attempt| name(1, "r", attempt)).collect();
        let parts = names.iter().flat_map(|log| {
            let texts = ["one", "two"].map(line);
            [part(log, Some(0), &texts[0]), part(log, Some(texts[0].len() as u64), &texts[1])]
        });
        let ends = logs.append(parts.collect()).await;
        let length = line("one").len() as u64;
        let expected: Vec<_> = (0..40).flat_map(|_| [length, 2 * length]).collect();
        assert_eq!(ends.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
        for log in &names {
            assert_eq!(texts(logs, log).await, ["one", "two"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_line_without_end_does_not_hold_a_reader_up() {
    each(async |logs| {
        let log = name(1, "r", 1);
        add(logs, &log, None, &"x".repeat(3 * LONGEST_LINE)).await;
        let page = logs.read(&log, 0, 10).await.unwrap();
        assert_eq!((page.next, page.at_end), (LONGEST_LINE as u64, false));
    })
    .await;
}

#[tokio::test]
async fn names_may_be_long() {
    each(async |logs| {
        let long: RunId = "я".repeat(180).into();
        let names = (&"team".into(), &"ю".repeat(180).into(), &long);
        let path = log_path(names, &"ш".repeat(180).into(), MapIndex::NONE, 1);
        let log = LogName { run: RunKey(1), path };
        add(logs, &log, None, LINE).await;
        assert_eq!(texts(logs, &log).await, ["hello"]);
        let dag = DagKey::new("team", "ю".repeat(180));
        assert!(logs.remove(&[Logged { dag, run_id: None, run: Some(RunKey(1)) }]).await.unwrap());
        logs.purge().await.unwrap();
        assert_eq!(texts(logs, &log).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn logs_go_with_their_runs_and_a_run_of_the_same_name_has_its_own() {
    each(async |logs| {
        for (run, run_id) in [(1, "a"), (2, ".x+00:00"), (3, "c")] {
            add(logs, &name(run, run_id, 1), None, &line("hello")).await;
            add(logs, &name(run, run_id, 2), None, &line("again")).await;
        }
        let logged = |run_id: Option<&str>, run: Option<i64>| Logged {
            dag: dag(),
            run_id: run_id.map(RunId::from),
            run: run.map(RunKey),
        };
        assert!(logs.remove(&[logged(Some(".x+00:00"), Some(2))]).await.unwrap());
        logs.purge().await.unwrap();
        assert_eq!(texts(logs, &name(2, ".x+00:00", 1)).await, Vec::<String>::new());
        assert_eq!(texts(logs, &name(3, "c", 2)).await, ["again"]);
        // One of the name that the server did not get to remove.
        logs.remove(&[logged(Some("c"), None)]).await.unwrap();
        add(logs, &name(4, "c", 1), None, &line("fresh")).await;
        assert_eq!(texts(logs, &name(4, "c", 1)).await, ["fresh"]);
        assert!(logs.remove(&[logged(None, Some(4))]).await.unwrap());
        // It is made again before its room is free.
        add(logs, &name(5, "a", 1), None, &line("anew")).await;
        logs.purge().await.unwrap();
        logs.purge().await.unwrap();
        assert_eq!(texts(logs, &name(1, "a", 2)).await, Vec::<String>::new());
        assert_eq!(texts(logs, &name(4, "c", 1)).await, Vec::<String>::new());
        assert_eq!(texts(logs, &name(5, "a", 1)).await, ["anew"]);
        assert!(!logs.remove(&[]).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn logs_whose_runs_are_gone_are_found() {
    each(async |logs| {
        let store = MemoryStore::default();
        for (run, run_id) in [(1, "a"), (2, "b")] {
            add(logs, &name(run, run_id, 1), None, LINE).await;
        }
        assert_eq!(logs.remove_gone(&store, Timestamp::UNIX_EPOCH).await.unwrap(), 0);
        assert_eq!(texts(logs, &name(2, "b", 1)).await, ["hello"]);
        assert_eq!(logs.remove_gone(&store, Timestamp::MAX).await.unwrap(), 2);
        logs.purge().await.unwrap();
        assert_eq!(texts(logs, &name(2, "b", 1)).await, Vec::<String>::new());
        assert_eq!(logs.remove_gone(&store, Timestamp::MAX).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn one_log_that_can_not_be_written_holds_no_other_up() {
    let folder = tempfile::tempdir().unwrap();
    let logs = LogFolder::new(folder.path());
    let parts = ["b.log", "b.log/c.log", "d.log"];
    let parts =
        parts.map(|path| part(&LogName { run: RunKey(1), path: format!("run_id=r/{path}") }, None, "x\n"));
    let added = logs.append(parts.into()).await;
    assert!(added[1].is_err(), "a file is no folder");
    assert_eq!((added[0].as_ref().unwrap(), added[2].as_ref().unwrap()), (&2, &2));
}

#[tokio::test]
async fn what_looks_like_logs_and_is_something_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lost+found")).unwrap();
    let logs: Arc<dyn Logs> = Arc::new(LogFolder::new(folder.path()));
    add(&*logs, &name(1, "r", 1), None, LINE).await;
    assert_eq!(logs.remove_gone(&MemoryStore::default(), Timestamp::MAX).await.unwrap(), 1);
    logs.purge().await.unwrap();
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["lost+found"]);
}
