//! A worker of another machine tells the end of a short log with the attempt's end, and again until it is acknowledged.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_tungstenite::accept_async;
use updraft_core::{
    input::{Report, WorkerEvent},
    protocol::{FromServer, FromWorker, LogEnd},
};
use updraft_worker::worker::{Asked, Endpoint, run};

use crate::{
    conversation::{attempt, config, order},
    lease::{WITHIN, accept, next, say},
};

#[tokio::test]
async fn the_end_of_a_short_log_is_told_with_that_of_its_attempt_until_it_is_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&home, "nowhere".into());
    let address = format!("http://{}", listener.local_addr().unwrap());
    config.endpoint = Endpoint::Network(vec![address.parse().unwrap()]);
    let spool = config.logs.clone();
    let (ask, asked) = watch::channel(Asked::ToWork);
    let worker = tokio::spawn(run(config, asked));

    let mut order = order(&home, attempt(1));
    order.args = json!({"bash_command": "echo short"}).as_object().unwrap().clone();
    let mut told = Vec::new();
    for life in 1..=2 {
        let mut socket = accept(&listener).await;
        say(&mut socket, FromServer::Welcome { lease_ms: 30_000, offer: None, pieces: true }).await;
        if life == 1 {
            say(&mut socket, FromServer::Joined(1)).await;
            say(&mut socket, FromServer::Assign(vec![Arc::new(order.clone())])).await;
        }
        // With the first message that tells of the end.
        told.push(loop {
            match next(&mut socket).await {
                FromWorker::Ended { logs, events } => break (logs, events),
                FromWorker::Events(events) => {
                    let ends = |event: &WorkerEvent| {
                        matches!(event, WorkerEvent::Report { report: Report::Ended(_), .. })
                    };
                    assert!(!events.iter().any(ends), "an end without its log: {events:?}");
                }
                FromWorker::Hello { .. } | FromWorker::Called { .. } | FromWorker::Piece(_) => {}
            }
        });
        if life == 2 {
            say(&mut socket, FromServer::Acknowledge(vec![attempt(1)])).await;
            ask.send_replace(Asked::ToStop);
            tokio::time::timeout(WITHIN, worker).await.unwrap().unwrap().unwrap();
            break;
        }
    }
    let [LogEnd { attempt: of, offset, text }] = &told[0].0[..] else { panic!("{told:?}") };
    assert_eq!((*of, *offset), (attempt(1), None));
    assert!(text.ends_with("\tout\tshort\n"), "{text}");
    assert_eq!(told[0].0, told[1].0, "the same again");
    assert_eq!(std::fs::read_dir(spool).map_or(0, Iterator::count), 0, "nothing is left of it here");
}

/// What a worker puts over one connection, each with the offset that it names: the first is answered late.
async fn take_puts(stream: TcpStream, late: Duration, taken: mpsc::UnboundedSender<(usize, Vec<u8>)>) {
    let mut stream = BufReader::new(stream);
    let mut stored = 0;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if stream.read_line(&mut head).await.unwrap() == 0 {
                return;
            }
            let line = head[begin..].to_lowercase();
            length = line.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
        }
        let offset = head.split_once("offset=").unwrap().1;
        let offset: usize = offset.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        if stored == 0 && length == 0 {
            // tidy: sleep because a server that answers late is what is played.
            tokio::time::sleep(late).await;
        }
        stored = offset + length;
        let answer = format!("{{\"bytes\":{stored}}}");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes()).await.unwrap();
        taken.send((offset, body)).unwrap();
    }
}

/// The attempt's end is told after ten seconds, and then nobody takes the end of the log with it.
#[tokio::test]
async fn a_long_log_is_whole_where_the_server_is_slow() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&home, "nowhere".into());
    let address = format!("http://{}", listener.local_addr().unwrap());
    config.endpoint = Endpoint::Network(vec![address.parse().unwrap()]);
    let (ask, asked) = watch::channel(Asked::ToWork);
    let worker = tokio::spawn(run(config, asked));
    let mut socket = accept(&listener).await;
    let (taken, mut puts) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut begin = [0; 3];
            stream.peek(&mut begin).await.unwrap();
            match &begin {
                b"PUT" => drop(tokio::spawn(take_puts(stream, Duration::from_secs(12), taken.clone()))),
                _ => drop(accept_async(stream).await),
            }
        }
    });
    say(&mut socket, FromServer::Welcome { lease_ms: 60_000, offer: None, pieces: true }).await;
    say(&mut socket, FromServer::Joined(1)).await;
    let mut order = order(&home, attempt(1));
    // More than is sent at once, by less than what goes with an attempt's end.
    let command = "head -c 525000 /dev/zero | tr '\\0' x";
    order.args = json!({"bash_command": command}).as_object().unwrap().clone();
    order.task.do_xcom_push = false;
    say(&mut socket, FromServer::Assign(vec![Arc::new(order)])).await;
    loop {
        match next(&mut socket).await {
            FromWorker::Ended { logs, .. } => panic!("{} bytes come late", logs[0].text.len()),
            FromWorker::Events(events) if events.contains(&WorkerEvent::Heartbeat) => {
                say(&mut socket, FromServer::Heartbeat).await;
            }
            FromWorker::Events(events) => {
                if events
                    .iter()
                    .any(|event| matches!(event, WorkerEvent::Report { report: Report::Ended(_), .. }))
                {
                    break;
                }
            }
            FromWorker::Hello { .. } | FromWorker::Called { .. } | FromWorker::Piece(_) => {}
        }
    }
    let mut log = Vec::new();
    while log.iter().filter(|byte| **byte == b'x').count() < 525_000 {
        let put = tokio::time::timeout(WITHIN, puts.recv()).await;
        let (offset, body) = put.expect("the rest of the log comes").unwrap();
        assert_eq!(offset, log.len());
        log.extend(body);
    }
    assert!(log.ends_with(b"x\n"), "to its end");
    say(&mut socket, FromServer::Acknowledge(vec![attempt(1)])).await;
    ask.send_replace(Asked::ToStop);
    tokio::time::timeout(WITHIN, worker).await.unwrap().unwrap().unwrap();
}
