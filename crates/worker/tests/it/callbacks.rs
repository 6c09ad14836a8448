//! Callbacks, called by a real worker in real processes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use updraft_core::{
    AttemptId, CallbackOn, DeliveryId, MapIndex,
    input::AttemptEnd,
    log::{Entry, Stream},
    protocol::{Call, CallOutcome, FromServer, Order, call_log_path, log_path},
};
use updraft_worker::worker::Config;

use crate::conversation::{Conversation, attempt};

const FUNCTIONS: &str = r#"
import os, signal, sys

def tell(context, mark="-"):
    ti = context["ti"]
    print("told", ti.state, mark, context["task"].task_id, context["dag"].dag_id, context["run_id"], ti.try_number)
    print("because", context.get("exception"), "/", context.get("reason"))

def raises(context):
    raise ValueError("this callback is broken")

def hangs(context):
    signal.pause()

def says(context, path, text):
    print(open(path).read() if os.path.exists(path) else text)

def pulls(context):
    ti = context["ti"]
    print("pulled", ti.xcom_pull(task_ids=ti.task_id), ti.xcom_pull(), ti.duration >= 0, ti.end_date >= ti.start_date)
    ti.xcom_push("more", 1)

class Notifier:
    def __init__(self, to):
        self.to = to

    def notify(self, context):
        print("notified", self.to, context["ti"].state)

    def __call__(self, context):
        self.notify(context)

def about(context, mark="-"):
    run, ti = context["dag_run"], context["ti"]
    print("run", run.run_id, run.state, context["reason"], run.end_date, context["params"], "exception" in context)
    print("ti", ti.task_id, ti.state, ti.duration, mark, context["dag"].dag_id)

def waits(context, begun):
    open(begun, "w").write("begun")
    hangs(context)

def reads(context, path):
    print(open(path).read())

async def later(context):
    print("awaited", context["ti"].state)
"#;

/// A worker that has joined, and the functions beside the DAG's file.
async fn begin(change: impl FnOnce(&mut Config)) -> Conversation {
    let mut server = Conversation::begin_with(change).await;
    std::fs::write(server.home.path().join("functions.py"), FUNCTIONS).unwrap();
    server.joins().await;
    server.say(&FromServer::Joined(1)).await;
    server
}

/// One callback on each thing that there is.
fn on_all(function: &str) -> Value {
    CallbackOn::ALL.iter().map(|on| json!({"on": on, "function": function})).collect()
}

fn order(server: &Conversation, id: AttemptId, args: Value, callbacks: Value) -> Order {
    let mut order = server.order(id);
    order.args = args.as_object().unwrap().clone();
    order.task.callbacks = serde_json::from_value(callbacks).unwrap();
    order
}

/// How the attempt ended.
async fn run(server: &mut Conversation, order: Order) -> AttemptEnd {
    let id = order.attempt;
    server.say(&FromServer::Assign(vec![Arc::new(order)])).await;
    let (of, end) = server.ends().await;
    assert_eq!(of, id);
    server.say(&FromServer::Acknowledge(vec![id])).await;
    end
}

/// What one stream of the only log says.
fn log(server: &Conversation, stream: Stream) -> Vec<String> {
    let names = (&"default".into(), &"d".into(), &"r".into());
    log_at(server, log_path(names, &"t".into(), MapIndex::NONE, 1), stream)
}

/// What one stream of the log of a call says.
fn log_of_call(server: &Conversation, id: i64, stream: Stream) -> Vec<String> {
    let path = call_log_path(&"default".into(), &"d".into(), &"r".into(), DeliveryId(id));
    log_at(server, path, stream)
}

fn log_at(server: &Conversation, path: String, stream: Stream) -> Vec<String> {
    let text = std::fs::read_to_string(server.home.path().join("logs").join(path)).unwrap();
    let entries = text.lines().map(|line| Entry::parse(line).unwrap());
    entries.filter(|entry| entry.stream == stream).map(|entry| entry.text).collect()
}

fn has(lines: &[String], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

/// What the callbacks said of one attempt: how they were told that it stands.
async fn told(bash_command: &str, change: impl FnOnce(&mut Order)) -> (AttemptEnd, Vec<String>) {
    let mut server = begin(|_| ()).await;
    let callbacks = on_all("functions.tell");
    let mut order = order(&server, attempt(1), json!({"bash_command": bash_command}), callbacks);
    change(&mut order);
    let end = run(&mut server, order).await;
    let lines = log(&server, Stream::Out);
    server.finish().await;
    (end, lines)
}

fn states(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("told ")?.split(' ').next()).collect()
}

#[tokio::test]
async fn each_end_calls_its_own() {
    let (end, lines) = told("echo works", |_| ()).await;
    assert_eq!((end, states(&lines)), (AttemptEnd::Success, vec!["running", "success"]));
    let at_work = lines.iter().position(|line| line == "works").unwrap();
    assert!(lines[0].starts_with("told running") && at_work == 2, "{lines:?}");
    assert!(has(&lines, "told success - t d r 1"), "{lines:?}");
    let (end, lines) = told("exit 99", |_| ()).await;
    assert_eq!((end, states(&lines)), (AttemptEnd::Skipped, vec!["running", "skipped"]));
    assert!(has(&lines, "because None / exit code 99 means skip"), "{lines:?}");
}

#[tokio::test]
async fn a_failure_that_is_tried_again_calls_as_a_retry() {
    let (end, lines) = told("exit 7", |_| ()).await;
    assert_eq!((end, states(&lines)), (AttemptEnd::Failed, vec!["running", "failed"]));
    assert!(has(&lines, "because ended with exit code 7 / ended with exit code 7"), "{lines:?}");
    let (_, lines) = told("exit 7", |order| order.task.max_tries = 1).await;
    assert_eq!(states(&lines), ["running", "up_for_retry"]);
    let (_, lines) = told("exit 7", |order| {
        order.task.max_tries = 1;
        order.task.retry_on_exit_codes = vec![8];
    })
    .await;
    assert_eq!(states(&lines), ["running", "failed"]);
    // One that is refused before it begins has failed, and has not begun.
    let (_, lines) = told("{{ [].x.y }}", |_| ()).await;
    assert_eq!(states(&lines), ["failed"]);
    let (_, lines) = told("sleep 60", |order| {
        order.task.execution_timeout = Some(jiff::SignedDuration::from_millis(100));
    })
    .await;
    assert_eq!(states(&lines), ["running", "failed"]);
    assert!(has(&lines, "because it took longer than its execution_timeout"), "{lines:?}");
}

#[tokio::test]
async fn one_that_fails_or_hangs_changes_nothing() {
    let mut server = begin(|config| config.callback_timeout = Duration::from_millis(500)).await;
    let on = |function: &str| json!({"on": "success", "function": function});
    let callbacks = json!([
        on("functions.raises"), on("functions.missing"), on("nothing.at_all"), on("functions.hangs"),
        {"on": "success", "function": "tell", "file": "functions.py", "kwargs": {"mark": "last"}},
    ]);
    let order = order(&server, attempt(1), json!({"bash_command": "true"}), callbacks);
    assert_eq!(run(&mut server, order).await, AttemptEnd::Success);
    let (said, lines) = (log(&server, Stream::Err), log(&server, Stream::Sys));
    assert!(has(&said, "Traceback") && has(&said, "ValueError: this callback is broken"), "{said:?}");
    assert!(has(&said, "functions has no function 'missing'"), "{said:?}");
    for failed in ["functions.raises", "functions.missing", "nothing.at_all"] {
        let line = format!("on_success_callback {failed} failed with exit code 1. This changes nothing");
        assert!(has(&lines, &line), "{lines:?}");
    }
    assert!(has(&lines, "on_success_callback functions.hangs took longer than 500ms"), "{lines:?}");
    assert!(has(&log(&server, Stream::Out), "told success last"));
    server.finish().await;
}

#[tokio::test]
async fn no_more_is_called_of_an_attempt_that_is_to_end() {
    let mut server = begin(|_| ()).await;
    let begun = server.home.path().join("begun");
    rustix::fs::mknodat(rustix::fs::CWD, &begun, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    let says = json!({"path": begun, "text": "never"});
    let callbacks = json!([
        {"on": "success", "function": "functions.says", "kwargs": says},
        {"on": "success", "function": "functions.tell"},
    ]);
    let id = attempt(1);
    let order = order(&server, id, json!({"bash_command": "true"}), callbacks);
    server.say(&FromServer::Assign(vec![Arc::new(order)])).await;
    // Opened for writing as soon as it is for reading, and then nothing comes.
    let pipe = tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(begun).unwrap());
    let pipe = pipe.await.unwrap();
    server.say(&FromServer::Cancel(vec![id])).await;
    assert_eq!(server.ends().await, (id, AttemptEnd::Success));
    drop(pipe);
    server.say(&FromServer::Acknowledge(vec![id])).await;
    let lines = log(&server, Stream::Sys);
    assert!(has(&lines, "functions.says was ended, since the attempt is to end"), "{lines:?}");
    assert!(has(&lines, "functions.tell is not called: the attempt is to end"), "{lines:?}");
    server.finish().await;
}

#[tokio::test]
async fn its_arguments_may_be_objects() {
    let mut server = begin(|_| ()).await;
    let delta = |class: &str| {
        let text = json!({"__type__": class, "minutes": 2});
        json!({"on": "success", "function": "functions.says", "kwargs": {"path": "/nowhere", "text": text}})
    };
    let callbacks = json!([delta("datetime.timedelta"), delta("timedelta")]);
    let order = order(&server, attempt(1), json!({"bash_command": "true"}), callbacks);
    assert_eq!(run(&mut server, order).await, AttemptEnd::Success);
    let (out, err) = (log(&server, Stream::Out), log(&server, Stream::Err));
    assert!(has(&out, "0:02:00"), "{out:?}");
    assert!(has(&err, "'timedelta' is no path to a class: write package.module.timedelta"), "{err:?}");
    server.finish().await;
}

#[tokio::test]
async fn one_sees_no_more_than_its_attempt() {
    let mut server = begin(|config| {
        let kept = config.logs.parent().unwrap().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("key"), "STOLEN").unwrap();
        config.denied = vec![kept.canonicalize().unwrap()];
    })
    .await;
    let says = |path: PathBuf| json!({"on": "success", "function": "functions.says", "kwargs": {"path": path, "text": "the word is correct-horse"}});
    let callbacks = json!([says(server.home.path().join("kept/key")), says("/nowhere".into())]);
    let args = json!({"bash_command": "true", "secrets": {"PASSWORD": "correct-horse"}});
    let order = order(&server, attempt(1), args, callbacks);
    assert_eq!(run(&mut server, order).await, AttemptEnd::Success);
    let all = [log(&server, Stream::Out), log(&server, Stream::Err), log(&server, Stream::Sys)].concat();
    assert!(has(&all, "PermissionError") && !has(&all, "STOLEN"), "{all:?}");
    assert!(has(&all, "the word is ***") && !has(&all, "correct-horse"), "{all:?}");
    server.finish().await;
}

#[tokio::test]
async fn one_knows_what_the_attempt_left() {
    let mut server = begin(|_| ()).await;
    let on = |function: &str| json!({"on": "success", "function": function});
    let notifier = json!({"on": "success", "function": "functions.Notifier", "kwargs": {"to": "crew"}});
    let callbacks = json!([on("functions.pulls"), notifier, on("functions.later")]);
    let mut order = order(&server, attempt(1), json!({"bash_command": "echo left"}), callbacks);
    order.task.do_xcom_push = true;
    assert_eq!(run(&mut server, order).await, AttemptEnd::Success);
    let lines = log(&server, Stream::Out);
    for line in ["pulled left left True True", "notified crew success", "awaited success"] {
        assert!(has(&lines, line), "{lines:?}");
    }
    assert!(has(&log(&server, Stream::Err), "a callback leaves no values"));
    server.finish().await;
}

#[tokio::test]
async fn what_does_nothing_or_waits_has_its_callbacks_called() {
    let mut server = begin(|_| ()).await;
    for (number, operator, args) in [
        (1, "EmptyOperator", json!({})),
        (2, "WaitOperator", json!({"seconds": 0.2})),
        (3, "DateTimeSensor", json!({"target_time": "2020-01-01T00:00:00Z"})),
    ] {
        let mut order = order(&server, attempt(number), args, on_all("functions.tell"));
        order.operator = operator.into();
        assert_eq!(run(&mut server, order).await, AttemptEnd::Success, "{operator}");
    }
    let lines = log(&server, Stream::Out);
    assert_eq!(states(&lines), ["running", "success"].repeat(3));
    server.finish().await;
}

/// A function to be called about a run whose only task failed.
fn call(server: &Conversation, id: i64, function: &str, kwargs: Value) -> FromServer {
    let mut order = server.order(AttemptId::of_call(attempt(1).ti, 1));
    Arc::make_mut(&mut order.run).params.insert("size".into(), json!(3));
    let call = json!({
        "id": id,
        "callback": {"on": "failure", "function": function, "kwargs": kwargs},
        "order": order,
        "ti_state": "failed",
        "ti_started_at": "2026-01-01T00:00:00Z",
        "ti_ended_at": "2026-01-01T00:00:02Z",
        "run_state": "failed",
        "run_ended_at": "2026-01-01T00:00:03Z",
        "reason": "task_failure",
    });
    FromServer::Call(Box::new(serde_json::from_value::<Call>(call).unwrap()))
}

#[tokio::test]
async fn a_function_is_called_about_a_run_and_told_how_it_ended() {
    let mut server = begin(|_| ()).await;
    server.say(&call(&server, 7, "functions.about", json!({"mark": "crew"}))).await;
    assert_eq!(server.called().await, (DeliveryId(7), CallOutcome::Done));
    let lines = log_of_call(&server, 7, Stream::Out);
    let run = "run r failed task_failure 2026-01-01 00:00:03+00:00 {'size': 3} False";
    assert_eq!(lines, [run, "ti t failed 2.0 crew d"]);
    assert_eq!(log_of_call(&server, 7, Stream::Sys), ["Calling on_failure_callback functions.about."]);
    server.finish().await;
}

#[tokio::test]
async fn one_that_raises_or_hangs_has_failed_with_its_reason() {
    let mut server = begin(|config| config.callback_timeout = Duration::from_secs(3)).await;
    server.say(&call(&server, 1, "functions.raises", json!({}))).await;
    let why = "failed with exit code 1: ValueError: this callback is broken";
    assert_eq!(server.called().await, (DeliveryId(1), CallOutcome::Failed(why.into())));
    assert!(has(&log_of_call(&server, 1, Stream::Err), "Traceback"));
    assert!(has(&log_of_call(&server, 1, Stream::Sys), "This changes nothing about the run"));
    server.say(&call(&server, 2, "functions.hangs", json!({}))).await;
    let (id, CallOutcome::Failed(why)) = server.called().await else { panic!("it hangs") };
    assert!(id == DeliveryId(2) && why.starts_with("took longer than 3s"), "{why}");
    server.finish().await;
}

#[tokio::test]
async fn one_is_called_once_however_often_it_is_asked_for_until_it_is_to_be_forgotten() {
    let mut server = begin(|_| ()).await;
    let about = call(&server, 1, "functions.about", json!({}));
    server.say(&about).await;
    server.say(&about).await;
    assert_eq!(server.called().await, (DeliveryId(1), CallOutcome::Done));
    // The server that asked has gone; the next asks again.
    server.reconnect().await;
    server.say(&about).await;
    assert_eq!(server.called().await, (DeliveryId(1), CallOutcome::Done));
    assert_eq!(log_of_call(&server, 1, Stream::Sys).len(), 1);
    server.say(&FromServer::Forget(DeliveryId(1))).await;
    server.say(&about).await;
    assert_eq!(server.called().await, (DeliveryId(1), CallOutcome::Done));
    assert_eq!(log_of_call(&server, 1, Stream::Sys).len(), 2);
    server.finish().await;
}

#[tokio::test]
async fn one_is_ended_with_its_worker_and_is_to_be_called_another_time() {
    let mut server = begin(|_| ()).await;
    let begun = server.home.path().join("begun");
    rustix::fs::mknodat(rustix::fs::CWD, &begun, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    server.say(&call(&server, 1, "functions.waits", json!({"begun": begun}))).await;
    let has_begun = tokio::task::spawn_blocking(move || std::fs::read_to_string(begun).unwrap());
    assert_eq!(has_begun.await.unwrap(), "begun");
    server.stop();
    assert_eq!(server.called().await, (DeliveryId(1), CallOutcome::Broken("was ended".into())));
    server.finish().await;
}

#[tokio::test]
async fn one_about_a_run_is_guarded_as_its_tasks_are() {
    let mut server = begin(|config| {
        let kept = config.logs.parent().unwrap().join("kept");
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("key"), "STOLEN").unwrap();
        config.denied = vec![kept.canonicalize().unwrap()];
    })
    .await;
    let path = server.home.path().join("kept/key");
    server.say(&call(&server, 1, "functions.reads", json!({"path": path}))).await;
    let (_, CallOutcome::Failed(why)) = server.called().await else { panic!("it could read the key") };
    assert!(why.contains("PermissionError"), "{why}");
    assert!(!has(&log_of_call(&server, 1, Stream::Out), "STOLEN"));
    server.finish().await;
}
