//! One fault at a time, while a fleet is at work.

use std::time::{Duration, Instant};

use updraft_core::TiStateName;
use updraft_store::{Queries as _, TiQuery, Window};

use super::{fleet, members::Fleet, proxy::Proxy};

#[tokio::test]
async fn a_database_that_crashes_costs_no_attempt() {
    const COPIES: usize = 80;
    let mut fleet = fleet(2, 3, COPIES, 0.4).await;
    fleet.run(0, &["dags", "trigger", "load", "--run-id", "r"]);
    fleet.ends(COPIES / 4).await;
    fleet.postgres.crash();
    // tidy: sleep because an outage has a length, longer than the leader's lease here
    tokio::time::sleep(Duration::from_secs(4)).await;
    fleet.postgres.restart();
    let back = Instant::now();
    fleet.ends(COPIES / 2).await;
    println!("work went on {:?} after the database was back", back.elapsed());
    fleet.runs_over(1, Duration::from_secs(60)).await;
    fleet.each_once(COPIES);
}

#[tokio::test]
async fn what_a_machine_had_that_is_gone_is_done_elsewhere() {
    const COPIES: usize = 60;
    let mut fleet = fleet(2, 3, COPIES, 1.0).await;
    fleet.run(0, &["dags", "trigger", "load", "--run-id", "r"]);
    fleet.ends(8).await;
    fleet.kill_machine(2);
    let gone = Instant::now();
    fleet.runs_over(1, Duration::from_secs(90)).await;
    println!("all was done {:?} after a machine was gone, with leases of 15 s", gone.elapsed());
    let noted = fleet.noted();
    let ends = noted.iter().filter(|(line, _)| line.ends_with("end")).map(|(_, times)| times).sum::<usize>();
    assert!(!noted.keys().any(|line| line.contains("twice")), "{noted:?}");
    // What had ended, and was not told of, ended again.
    assert!((COPIES..=COPIES + 8).contains(&ends), "{noted:?}");
    lost_and_done_again(&fleet, 1).await;
}

/// Every task instance went well, and of at least so many an attempt was lost; of none, where that is none.
pub async fn lost_and_done_again(fleet: &Fleet, at_least: usize) {
    let store = fleet.store().await;
    let tis = store.tis(&TiQuery { window: Window::ALL, ..TiQuery::default() }).await.unwrap().rows;
    for ti in &tis {
        assert_eq!(ti.row.state.name(), TiStateName::Success, "{}\n{}", ti.row.task_id, fleet.said());
    }
    // With `retries: 0` nothing else raises it.
    let lost = tis.iter().filter(|ti| ti.row.try_number > 1).count();
    store.close().await;
    assert!(
        lost >= at_least && (at_least > 0 || lost == 0),
        "{lost} of {} were lost\n{}",
        tis.len(),
        fleet.said()
    );
}

/// The server gives away what it hears nothing of; the worker, which hears nothing of the server, ends it before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_cut_off_ends_its_tasks_before_others_have_them() {
    const COPIES: usize = 24;
    let mut fleet = fleet(1, 2, COPIES, 3.0).await;
    let target = fleet.addresses().trim_start_matches("http://").to_owned();
    let (proxy, address) = Proxy::to(target).await;
    fleet.start_worker(2, &format!("http://{address}"));
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let is_there = |fleet: &Fleet| {
        let workers = fleet.run(0, &["workers", "list"]);
        workers.lines().any(|line| line.starts_with("w2") && line.contains("active"))
    };
    while !is_there(&fleet) {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{}", fleet.said());
    }
    fleet.run(0, &["dags", "trigger", "load", "--run-id", "r"]);
    while fleet.noted().len() < COPIES {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{}", fleet.said());
    }
    proxy.cut();
    let cut = Instant::now();
    fleet.runs_over(1, Duration::from_secs(60)).await;
    println!("all was done {:?} after a worker was cut off, with leases of 15 s", cut.elapsed());
    // It comes back, and what it says late of what it had changes nothing.
    proxy.mend();
    while !is_there(&fleet) {
        tick.tick().await;
        assert!(cut.elapsed() < Duration::from_secs(90), "{}", fleet.said());
    }
    let noted = fleet.noted();
    assert!(!noted.keys().any(|line| line.contains("twice")), "{noted:?}\n{}", fleet.said());
    lost_and_done_again(&fleet, 1).await;
}

/// It can't know whether another leads by then: it lets go of its workers, and these find the other before their leases pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_from_the_database_lets_another_lead() {
    const COPIES: usize = 32;
    let mut fleet = fleet(2, 2, COPIES, 8.0).await;
    let (directory, real) =
        (fleet.folder.path().join("pg"), fleet.database.split("host=").nth(1).unwrap().to_owned());
    std::fs::create_dir(&directory).unwrap();
    let socket = ".s.PGSQL.5432";
    let proxy = Proxy::at(directory.join(socket), std::path::Path::new(&real).join(socket)).await;
    fleet.ways.insert(0, fleet.database.replace(&real, &directory.display().to_string()));
    // The other leads for a moment.
    fleet.servers[0].kill();
    fleet.leader_but(Some(0)).await;
    fleet.start_server(0).await;
    fleet.servers[1].kill();
    fleet.leader_but(Some(1)).await;
    fleet.start_server(1).await;

    fleet.run(0, &["dags", "trigger", "load", "--run-id", "r"]);
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while fleet.noted().len() < 16 {
        tick.tick().await;
        assert!(began.elapsed() < Duration::from_secs(60), "{}", fleet.said());
    }
    proxy.cut();
    let cut = Instant::now();
    assert_eq!(fleet.leader_but(Some(0)).await, 1);
    println!("a leader without a database was replaced within {:?}", cut.elapsed());
    fleet.runs_over(1, Duration::from_secs(90)).await;
    fleet.each_once(COPIES);
    lost_and_done_again(&fleet, 0).await;
    proxy.mend();
    // It finds out, and passes on what it is asked.
    while fleet.try_run(0, &["variables", "set", "colour", "blue"]).is_err() {
        tick.tick().await;
        assert!(cut.elapsed() < Duration::from_secs(120), "{}", fleet.said());
    }
    assert_eq!(fleet.leader_but(None).await, 1);
}
