//! A later version beside this one.

use std::time::Duration;

use super::{fleet, members::Member};

/// What a migration may be: it adds. See CONTRIBUTING.md.
const LATER: &str = "
    CREATE TABLE later (id BIGINT NOT NULL PRIMARY KEY, run BIGINT NOT NULL REFERENCES run);
    ALTER TABLE run ADD COLUMN later TEXT;
    ALTER TABLE ti ADD COLUMN later BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE xcom ADD COLUMN later TEXT;
    ALTER TABLE token ADD COLUMN later TEXT;
    CREATE INDEX ti_later ON ti (later);
    INSERT INTO schema_migration SELECT max(version) + 1, 'later', 'x' FROM schema_migration;";

#[tokio::test]
async fn servers_stay_at_work_when_a_later_version_has_brought_the_database_up_to_date() {
    const COPIES: usize = 60;
    let mut fleet = fleet(2, 2, COPIES, 0.5).await;
    let first = fleet.leader_but(None).await;
    let standby = 1 - first;
    fleet.run(first, &["dags", "trigger", "load", "--run-id", "r"]);
    fleet.ends(COPIES / 6).await;
    fleet.postgres.run(&fleet.database, LATER);
    fleet.ends(COPIES / 3).await;
    for server in [first, standby] {
        assert!(fleet.run(server, &["runs", "list", "load"]).contains("running"));
        assert!(fleet.run(server, &["tasks", "states", "load", "r"]).contains("success"));
    }

    fleet.servers[first].kill();
    assert_eq!(fleet.leader_but(Some(first)).await, standby);
    fleet.run(standby, &["variables", "set", "colour", "blue"]);
    // One of this version that starts now does not know what it would do.
    let blobs = format!("file://{}", fleet.folder.path().join("blobs").display());
    let environment = [("UPDRAFT__DATABASE__URL", &*fleet.database), ("UPDRAFT__BLOB__URL", &*blobs)];
    let home = fleet.folder.path().join("late");
    let mut late = Member::start(home, &["server", "--port", "0"], &environment);
    assert!(!late.process.wait().unwrap().success());
    assert!(late.said().contains("run the newer program"), "{}", late.said());
    fleet.runs_over(1, Duration::from_secs(60)).await;
    fleet.each_once(COPIES);
}
