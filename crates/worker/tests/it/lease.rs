//! A worker of another machine, and a test that plays its server and falls silent.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};
use updraft_core::{
    input::{AttemptEnd, Report, WorkerEvent},
    protocol::{FromServer, FromWorker},
};
use updraft_worker::worker::{Asked, Endpoint, Error, run};

use crate::conversation::{attempt, config, order};

/// A worker has so long to do what is waited for.
pub const WITHIN: Duration = Duration::from_secs(20);

pub async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    loop {
        let next = tokio::time::timeout(WITHIN, listener.accept());
        // What is no WebSocket is a log, for which nobody is there.
        if let Ok(socket) = accept_async(next.await.expect("the worker comes").unwrap().0).await {
            return socket;
        }
    }
}

pub async fn say(socket: &mut WebSocketStream<TcpStream>, message: FromServer) {
    let text = serde_json::to_string(&message).unwrap();
    socket.send(Message::Text(text.into())).await.unwrap();
}

/// What the worker says next.
pub async fn next(socket: &mut WebSocketStream<TcpStream>) -> FromWorker {
    loop {
        let next = tokio::time::timeout(WITHIN, socket.next()).await.expect("it says something");
        let Message::Text(text) = next.unwrap().unwrap() else { continue };
        return serde_json::from_str(&text).unwrap();
    }
}

/// Waits until the worker tells of this, and answers meanwhile that it is heard of.
async fn hears<T>(socket: &mut WebSocketStream<TcpStream>, wanted: impl Fn(&WorkerEvent) -> Option<T>) -> T {
    loop {
        let (FromWorker::Events(events) | FromWorker::Ended { events, .. }) = next(socket).await else {
            continue;
        };
        if let Some(found) = events.iter().find_map(&wanted) {
            return found;
        }
        if events.contains(&WorkerEvent::Heartbeat) {
            say(socket, FromServer::Heartbeat).await;
        }
    }
}

#[tokio::test]
async fn what_runs_is_ended_before_others_are_given_it_when_no_server_answers() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&home, "nowhere".into());
    let address = format!("http://{}", listener.local_addr().unwrap());
    config.endpoint = Endpoint::Network(vec![address.parse().unwrap()]);
    // A log that an earlier life had not sent when it was killed.
    let left = config.logs.join("1.0.-1.1.1.log");
    std::fs::create_dir_all(&config.logs).unwrap();
    std::fs::write(&left, "half").unwrap();
    let (ask, asked) = watch::channel(Asked::ToWork);
    let worker = tokio::spawn(run(config, asked));

    let mut socket = accept(&listener).await;
    assert!(!left.exists());
    let lease = Duration::from_secs(6);
    let welcome = || FromServer::Welcome { lease_ms: lease.as_millis() as u64, offer: None, pieces: true };
    say(&mut socket, welcome()).await;
    let joined = |event: &WorkerEvent| match event {
        WorkerEvent::Joined { join, .. } => Some(*join),
        _ => None,
    };
    let join = hears(&mut socket, joined).await;
    let granted = std::time::Instant::now();
    say(&mut socket, FromServer::Joined(join)).await;
    // Neither goes at SIGTERM, and one is to go on.
    let orders = [(1, false), (2, true)].map(|(number, outlives_lease)| {
        let mut order = order(&home, attempt(number));
        let pid = home.path().join(format!("pid{number}"));
        let command = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.1; done", pid.display());
        order.args = json!({"bash_command": command}).as_object().unwrap().clone();
        order.task.outlives_lease = outlives_lease;
        Arc::new(order)
    });
    say(&mut socket, FromServer::Assign(orders.to_vec())).await;
    let pids = [1, 2].map(|number| home.path().join(format!("pid{number}")));
    let begun = |pid: &PathBuf| std::fs::read_to_string(pid).is_ok_and(|pid| pid.ends_with('\n'));
    crate::process::eventually("the commands begin", || pids.iter().all(begun)).await;
    let process = |pid: &PathBuf| format!("/proc/{}", std::fs::read_to_string(pid).unwrap().trim());
    let processes = [process(&pids[0]), process(&pids[1])];
    let lives = |number: usize| Path::new(&processes[number]).exists();
    assert!(lives(0) && lives(1));
    // From now on nothing is answered. The worker can't know why.
    crate::process::eventually("it is ended", || !lives(0)).await;
    let ended = granted.elapsed();
    assert!(ended > lease / 3 && ended < lease, "{ended:?}");
    assert!(lives(1), "this one goes on");

    drop(socket);
    let mut socket = accept(&listener).await;
    say(&mut socket, welcome()).await;
    let over = |event: &WorkerEvent| match event {
        WorkerEvent::Report { attempt, report: Report::Ended(outcome), .. } => {
            Some((*attempt, outcome.end.clone()))
        }
        _ => None,
    };
    assert_eq!(hears(&mut socket, over).await, (attempt(1), AttemptEnd::Cancelled));
    say(&mut socket, FromServer::Acknowledge(vec![attempt(1)])).await;
    assert!(lives(1), "it still does");
    let pid = processes[1].rsplit('/').next().and_then(|pid| pid.parse().ok());
    let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(hears(&mut socket, over).await.0, attempt(2));
    ask.send_replace(Asked::ToStop);
    say(&mut socket, FromServer::Acknowledge(vec![attempt(2)])).await;
    tokio::time::timeout(WITHIN, worker).await.unwrap().unwrap().unwrap();
}

/// Answers whoever comes next with 403, in these words.
async fn forbid(listener: &TcpListener, content_type: &str, body: &str) {
    let next = tokio::time::timeout(WITHIN, listener.accept());
    let mut stream = next.await.expect("the worker comes").unwrap().0;
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.unwrap());
    }
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_is_refused_when_it_comes_again_ends_what_it_runs_and_goes() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&home, "nowhere".into());
    let address = format!("http://{}", listener.local_addr().unwrap());
    config.endpoint = Endpoint::Network(vec![address.parse().unwrap()]);
    let (_ask, asked) = watch::channel(Asked::ToWork);
    let worker = tokio::spawn(run(config, asked));
    let mut socket = accept(&listener).await;
    let welcome = || FromServer::Welcome { lease_ms: 600_000, offer: None, pieces: true };
    say(&mut socket, welcome()).await;
    let joined = |event: &WorkerEvent| match event {
        WorkerEvent::Joined { join, .. } => Some(*join),
        _ => None,
    };
    let join = hears(&mut socket, joined).await;
    say(&mut socket, FromServer::Joined(join)).await;
    let mut order = order(&home, attempt(1));
    let pid = home.path().join("pid");
    order.args["bash_command"] = format!("echo $$ > {}; while :; do sleep 0.1; done", pid.display()).into();
    say(&mut socket, FromServer::Assign(vec![Arc::new(order)])).await;
    let begun = || std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'));
    crate::process::eventually("the command begins", begun).await;
    let process = format!("/proc/{}", std::fs::read_to_string(&pid).unwrap().trim());
    drop(socket);
    // What is between them may say no for a moment.
    forbid(&listener, "text/html", "<h1>Forbidden</h1>").await;
    let mut socket = accept(&listener).await;
    say(&mut socket, welcome()).await;
    hears(&mut socket, joined).await;
    assert!(Path::new(&process).exists());
    drop(socket);
    forbid(&listener, "application/json", r#"{"status": 403, "detail": "none of ours: make another"}"#).await;
    let ended = tokio::time::timeout(WITHIN, worker).await.expect("it goes").unwrap();
    assert!(matches!(&ended, Err(Error::Refused(why)) if why == "none of ours: make another"), "{ended:?}");
    assert!(!Path::new(&process).exists());
}
