//! What `kill -9` leaves of a SQLite file.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use updraft_core::{RunKey, RunState, TiState, TiStateName};
use updraft_store::{Expired, Ledger, Queries, SCHEMA_VERSION, SqlStore, Upkeep, Window};

use crate::{
    fixture::{self, HOUR},
    rows::{self, Put, at, key, ti_key},
};

/// Where the child finds its database. Without it there is nothing for the child to do.
const PATH: &str = "UPDRAFT_TEST_CRASH_DB";

/// The child: commits one run after the other, each with a hundred task instances, and says so after each.
#[test]
fn a_child_that_commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH) else { return };
    fixture::run(async {
        let store = SqlStore::sqlite(Path::new(&path)).await.unwrap();
        let fence = store.acquire_leadership("child", "", HOUR).await.unwrap().unwrap();
        let mut last = store.load().await.unwrap().last_run;
        loop {
            last += 1;
            let mut put = Put::default().run(rows::run(last, &key("sales"), RunState::Success));
            for copy in 0..100 {
                let ti = ti_key(last, 0, copy);
                put = put.ti(rows::ti(ti, TiState::Success));
                let row = rows::transition(ti, TiStateName::None, TiStateName::Success, last);
                put = put.with(|batch| batch.transitions.push(row));
            }
            store.commit(&put.0, fence).await.unwrap();
            println!("\ncommitted {last}");
        }
    });
}

#[test]
fn after_a_kill_the_last_acknowledged_commit_is_there_and_the_file_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("updraft.db");
    fixture::run(async {
        let store = SqlStore::sqlite(&path).await.unwrap();
        store.migrate().await.unwrap();
        let fence = store.acquire_leadership("child", "", HOUR).await.unwrap().unwrap();
        store.commit(&Put::default().dag(&key("sales")).0, fence).await.unwrap();
        store.close().await;
    });
    for kill_after in [1, 4, 9, 3] {
        let acknowledged = commit_and_kill(&path, kill_after);
        fixture::run(async {
            let store = SqlStore::sqlite(&path).await.unwrap();
            let last = RunKey(store.load().await.unwrap().last_run);
            // One more may have been written, whose acknowledgement was cut off.
            assert!([acknowledged, acknowledged + 1].contains(&last.0), "{acknowledged} {last}");
            let (_, run) = store.load_run(last).await.unwrap().unwrap();
            assert_eq!(run.tis.len(), 100);
            assert_eq!(store.transitions(last, None, Window::default()).await.unwrap().total, 100);
            store.clean(at(0), Expired::Runs, 10).await.unwrap();
            store.close().await;
        });
        let copy = folder.path().join(format!("copy-{acknowledged}.db"));
        // Restoring checks the file's integrity first.
        fixture::run(async {
            assert_eq!(updraft_store::restore(&path, &copy).await.unwrap(), SCHEMA_VERSION)
        });
    }
}

/// Has a child commit, and kills it after so many acknowledgements. Returns the last of them.
fn commit_and_kill(path: &Path, kill_after: usize) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_child_that_commits_until_it_is_killed", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut acknowledged: Vec<i64> = Vec::new();
    let read = |line: String| line.strip_prefix("committed ").map(|number| number.parse::<i64>().unwrap());
    while acknowledged.len() < kill_after {
        acknowledged.extend(lines.next().map(read).expect("the child goes on until it is killed"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.extend(lines.filter_map(read));
    *acknowledged.last().unwrap()
}
