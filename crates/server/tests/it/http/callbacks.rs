//! Functions that DAGs have called about their runs, by a worker that the test plays.

use serde_json::{Value, json};
use updraft_core::{
    AttemptId, DeliveryId, RunState, TiStateName,
    input::AttemptEnd,
    protocol::{Call, CallOutcome, FromServer, FromWorker, call_log_path},
};

use super::{Server, server::WORKER_TOKEN, worker::Worker};

const DAG: &str = "
called:
  params: {size: 3}
  on_failure_callback:
  - {callback: my.first, api_token: hush, to: crew}
  - my.second
  on_success_callback: my.done
  tasks:
    before: {operator: bash, bash_command: 'true', retries: 0, run_as_user: nobody}
    t: {operator: bash, bash_command: 'true', retries: 0, run_as_user: nobody, dependencies: [before]}
";

/// A server with a run that has ended so, and its worker.
async fn over(end: AttemptEnd) -> (Server, Worker) {
    let server = Server::with_dags(DAG).await;
    server.patch("/api/v2/dags/called", json!({"is_paused": false})).await.ok();
    let mut worker = Worker::join(&server).await;
    server.trigger("called", "r").await;
    worker.run_one(AttemptEnd::Success).await;
    worker.run_one(end).await;
    (server, worker)
}

impl Worker {
    async fn call(&mut self) -> Call {
        self.hear(|message| match message {
            FromServer::Call(call) => Some(*call),
            _ => None,
        })
        .await
    }

    async fn called(&mut self, id: DeliveryId, outcome: CallOutcome) {
        self.say(FromWorker::Called { id, outcome }).await;
    }

    async fn forgets(&mut self) -> DeliveryId {
        self.hear(|message| match message {
            FromServer::Forget(id) => Some(id),
            _ => None,
        })
        .await
    }
}

/// Waits until a delivery stands so.
async fn until(server: &Server, id: DeliveryId, state: &str) -> Value {
    server.until(&format!("/api/v1/deliveries/{id}"), |delivery| delivery["state"] == state).await
}

#[tokio::test]
async fn a_worker_is_told_what_to_call_about_a_run_one_after_the_other() {
    let (server, mut worker) = over(AttemptEnd::Failed).await;
    let call = worker.call().await;
    assert_eq!((&*call.callback.function, &call.callback.kwargs["to"]), ("my.first", &json!("crew")));
    assert_eq!((call.run_state, &*call.reason), (RunState::Failed, "task_failure"));
    let (order, run) = (&call.order, &call.order.run);
    assert_eq!((&*order.task.task_id, call.ti_state), ("t", TiStateName::Failed));
    assert_eq!((&*run.run_id, &run.params["size"], order.task.upstream.len()), ("r", &json!(3), 1));
    assert_eq!(order.task.run_as_user, None);
    assert!(call.ti_started_at <= call.ti_ended_at && call.ti_ended_at.is_some());
    // What it is given by a name that says so is not shown.
    let shown = until(&server, call.id, "sending").await;
    assert_eq!(shown["channel"]["callback"]["kwargs"], json!({"api_token": "***", "to": "crew"}));
    worker.called(call.id, CallOutcome::Failed("failed with exit code 1: ValueError: x".into())).await;
    assert_eq!(worker.forgets().await, call.id);
    let second = worker.call().await;
    assert_eq!(second.callback.function, "my.second");
    worker.called(second.id, CallOutcome::Done).await;
    // One that failed is not called again, but when somebody wants it.
    let failed = until(&server, call.id, "failed").await;
    assert_eq!(failed["last_error"], "failed with exit code 1: ValueError: x");
    until(&server, second.id, "sent").await;
    let resend = format!("/api/v1/deliveries/{}/resend", call.id);
    server.post(&resend, json!({})).await.ok();
    assert_eq!(worker.call().await.id, call.id);
}

#[tokio::test]
async fn what_was_not_called_or_not_to_its_end_is_called_another_time() {
    let (server, mut worker) = over(AttemptEnd::Success).await;
    let call = worker.call().await;
    assert_eq!((&*call.callback.function, &*call.reason), ("my.done", "success"));
    assert_eq!((&*call.order.task.task_id, call.run_state), ("t", RunState::Success));
    worker.called(call.id, CallOutcome::NotCalled("its worker is to stop".into())).await;
    let waits = until(&server, call.id, "pending").await;
    assert_eq!((&waits["attempts"], &waits["last_error"]), (&json!(1), &json!("its worker is to stop")));

    let (server, mut worker) = over(AttemptEnd::Success).await;
    let call = worker.call().await;
    // The worker goes in its midst.
    drop(worker);
    let doubt = until(&server, call.id, "pending").await;
    assert_eq!(doubt["last_error"], "nobody knows whether it was called: its worker went meanwhile");
}

#[tokio::test]
async fn a_function_waits_for_a_worker() {
    let server = Server::with_dags(DAG).await;
    server.patch("/api/v2/dags/called", json!({"is_paused": false})).await.ok();
    server.trigger("called", "r").await;
    server.patch("/api/v2/dags/called/dagRuns/r", json!({"state": "failed"})).await.ok();
    let listed = server.until("/api/v1/deliveries", |all| all["total_entries"] == 2).await;
    for delivery in listed["deliveries"].as_array().unwrap() {
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("pending"), &json!(0)));
    }
    let mut worker = Worker::join(&server).await;
    let call = worker.call().await;
    assert_eq!((&*call.callback.function, &*call.reason), ("my.first", "it was marked as failed"));
}

#[tokio::test]
async fn what_is_called_may_look_up_what_its_runs_tasks_could_and_only_meanwhile() {
    let (server, mut worker) = over(AttemptEnd::Success).await;
    let call = worker.call().await;
    let attempt = call.order.attempt;
    let ask = async |attempt: AttemptId| {
        server
            .ask("GET", &format!("/worker/v1/variables/from_env?attempt={attempt}"), WORKER_TOKEN, None)
            .await
    };
    assert_eq!(ask(attempt).await.ok()["value"], "env");
    worker.called(call.id, CallOutcome::Done).await;
    until(&server, call.id, "sent").await;
    ask(attempt).await.refused(403);
}

#[tokio::test]
async fn what_a_function_printed_is_shown() {
    let (server, mut worker) = over(AttemptEnd::Success).await;
    let call = worker.call().await;
    let run = &call.order.run;
    let path = server.home.path().join("logs").join(call_log_path(
        &run.namespace,
        &run.dag_id,
        &run.run_id,
        call.id,
    ));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "2026-01-31T12:00:00.000000Z\tout\tit is done\n").unwrap();
    let shown = server.get(&format!("/api/v1/deliveries/{}/logs", call.id)).await;
    assert_eq!((shown.status.as_u16(), &*shown.text), (200, "2026-01-31T12:00:00.000000Z it is done\n"));
    server.get("/api/v1/deliveries/99/logs").await.refused(404);
}
