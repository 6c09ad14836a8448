//! The API as Airflow's own Python client sees it.

use std::path::Path;

use serde_json::json;
use tokio::process::Command;

use super::{runs::at_work, worker::Worker};

#[tokio::test]
async fn airflows_own_client_gets_what_it_expects() {
    let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
    assert!(Path::new(&python).exists(), "Airflow's client is not there: run `scripts/setup.sh test`");
    let server = at_work().await;
    let daily = "daily: {schedule: '@daily', start_date: 2999-01-01, tasks: {a: {operator: empty}}}\n\
                 maker: {tasks: {make: {operator: empty, outlets: ['s3://orders']}}}\n\
                 reader: {schedule: ['s3://orders'], tasks: {read: {operator: empty}}}\n\
                 waiter: {schedule: ['s3://orders', stock], tasks: {wait: {operator: empty}}}";
    server.put_dags(daily).await;
    let token = server.account("client", "admin", None).await;
    let mut worker = Worker::join(&server).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/http/with_airflow_client.py");
    let mut command = Command::new(python);
    command.arg(script).arg(format!("http://{}", server.address)).env("TOKEN", token).kill_on_drop(true);
    let client = command.output();
    let work = async {
        // The script triggers one run of two tasks.
        let order = worker.begin().await;
        let mut outcome = updraft_core::input::Outcome::new(updraft_core::input::AttemptEnd::Success);
        let value = updraft_core::XcomValue::Inline(json!({"rows": 3}).into());
        outcome.xcoms = vec![("return_value".into(), value)];
        worker.end(order.attempt, outcome).await;
        worker.run_one(updraft_core::input::AttemptEnd::Success).await;
        std::future::pending().await
    };
    let output = tokio::select! {
        output = client => output.unwrap(),
        () = work => return,
    };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}", String::from_utf8_lossy(&output.stdout));
}
