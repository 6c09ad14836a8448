//! A disk that is full.

use serde_json::json;
use updraft_core::{RunKey, RunState, TiState};
use updraft_store::{CommitError, Error, Ledger, Outage, SqlStore, Upkeep};

use crate::{
    fixture::{self, HOUR},
    rows::{self, Put, key, ti_key},
};

#[test]
fn a_full_disk_is_told_as_such_and_loses_nothing() {
    fixture::run(async {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::sqlite(&folder.path().join("updraft.db")).await.unwrap();
        store.migrate().await.unwrap();
        let fence = store.acquire_leadership("test", "", HOUR).await.unwrap().unwrap();
        store.commit(&rows::everything(), fence).await.unwrap();
        let before = store.load().await.unwrap();

        let mut put = Put::default().run(rows::run(3, &key("sales"), RunState::Running));
        for copy in 0..300 {
            put = put.ti(rows::ti(ti_key(3, 0, copy), TiState::Success));
            let value = rows::xcom(ti_key(3, 0, copy), "return_value", json!("x".repeat(4000)));
            put = put.with(|batch| batch.xcoms.push(value));
        }
        store.limit_growth(Some(20)).await.unwrap();
        for _ in 0..3 {
            let error = store.commit(&put.0, fence).await.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            let full = matches!(&error, CommitError::Store(Error::Unavailable { outage: Outage::Full, .. }));
            assert!(full, "{error}");
            assert_eq!(store.load().await.unwrap(), before);
        }
        assert!(store.renew(fence, HOUR).await.unwrap());

        store.limit_growth(None).await.unwrap();
        store.commit(&put.0, fence).await.unwrap();
        let (_, run) = store.load_run(RunKey(3)).await.unwrap().unwrap();
        assert_eq!(run.tis.len(), 300);
    });
}

/// A disk of its own that is really full, where the test may make one.
#[test]
fn a_real_full_disk_is_told_as_such_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path()) else {
        // Only root can mount; the test above has the same with a limit that SQLite keeps.
        return;
    };
    fixture::run(async {
        let store = SqlStore::sqlite(&folder.path().join("updraft.db")).await.unwrap();
        store.migrate().await.unwrap();
        let fence = store.acquire_leadership("test", "", HOUR).await.unwrap().unwrap();
        store.commit(&rows::everything(), fence).await.unwrap();
        let ballast = folder.path().join("ballast");
        std::fs::write(&ballast, vec![1; 2 << 20]).unwrap();
        let mut batch = rows::everything();
        let mut refused = 0;
        for number in 3..400 {
            batch.runs = [(RunKey(number), rows::run(number, &key("sales"), RunState::Success))].into();
            batch.tis = [(ti_key(number, 0, 0), rows::ti(ti_key(number, 0, 0), TiState::Success))].into();
            batch.xcoms = vec![rows::xcom(ti_key(number, 0, 0), "v", json!("x".repeat(60_000)))];
            batch.history.clear();
            batch.transitions.clear();
            batch.rendered.clear();
            if let Err(error) = store.commit(&batch, fence).await {
                assert!(error.is_retryable(), "{error}");
                refused = number;
                break;
            }
        }
        assert!(refused > 3, "the disk was never full");
        for _ in 0..3 {
            let error = store.commit(&batch, fence).await.unwrap_err();
            assert!(error.is_retryable(), "{error}");
        }
        let loaded = store.load().await.unwrap();
        assert_eq!(loaded.last_run, refused - 1);
        std::fs::remove_file(ballast).unwrap();
        store.commit(&batch, fence).await.unwrap();
        assert_eq!(store.load().await.unwrap().last_run, refused);
        store.close().await;
    });
}

struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<Self> {
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at).stderr(std::process::Stdio::null());
        command.status().ok()?.success().then(|| Self(at.into()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
