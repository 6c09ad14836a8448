//! What is over goes, and nothing else.

use jiff::Timestamp;
use serde_json::json;
use updraft_core::{
    DagKey,
    input::{Clear, Command},
};
use updraft_store::{Expired, TiQuery};

use super::Server;

const DAG: &str = "
d:
  tasks:
    a: {operator: empty}
    b: {operator: empty, dependencies: [a]}
";

#[tokio::test]
async fn a_run_that_begins_anew_while_others_go_stays_whole() {
    let server = Server::with_dags(DAG).await;
    for run in ["one", "two", "three"] {
        server.trigger("d", run).await;
        server.patch(&format!("/api/v2/dags/d/dagRuns/{run}"), json!({"state": "success"})).await.ok();
    }
    let key = async |run: &str| {
        let found = server.store.find_run(&DagKey::new("default", "d"), &run.into()).await.unwrap();
        found.unwrap()
    };
    let (one, two) = (key("one").await, key("two").await);
    let clear = Clear {
        run: one,
        tasks: vec![("b".into(), None)],
        upstream: false,
        downstream: false,
        only_failed: false,
        only_running: false,
        reset_run: true,
        latest: false,
        dry_run: false,
    };
    // Both reach the leader before it does anything about either.
    let cleared = server.leader.command("test", Command::Clear(clear));
    let cleaned = server.leader.clean(Timestamp::MAX, Expired::Runs, 100);
    let (cleared, cleaned) = tokio::join!(cleared, cleaned);
    cleared.unwrap();
    assert_eq!(cleaned.unwrap().unwrap().runs, 1);
    assert!(server.store.run(two).await.unwrap().is_none());
    let run = server.store.run(one).await.unwrap().unwrap();
    assert_eq!(run.row.clear_number, 1);
    let tis = server.store.tis(&TiQuery { runs: vec![one], ..TiQuery::default() }).await.unwrap();
    assert_eq!(tis.rows.len(), 2, "{:?}", tis.rows);
}
