//! `HttpOperator` with files: an answer that is kept in one, and one that is sent.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread::JoinHandle,
};

use serde_json::{Value, json};
use updraft_core::{input::AttemptEnd, protocol::Connection};
use updraft_operators::prepare;

use crate::world::{Ended, World, order, run_native};

/// What was asked: its head, in lower case, and its body.
type Asked = (String, Vec<u8>);

/// A server that gives one answer as it is, and then holds the connection for as long as the other does, or closes it.
fn answers(answer: Vec<u8>, holds: bool) -> (World, JoinHandle<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let serve = move |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        // Who has seen enough may be gone.
        let _ = (&stream).write_all(&answer);
        if holds {
            let _ = reader.read(&mut [0]);
        }
        (head, body)
    };
    let asked = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let connection = Connection { host: Some(host), ..Connection::default() };
    (World { connections: [("http_default".to_owned(), connection)].into(), ..World::default() }, asked)
}

fn whole(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    [format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nX-Kind: data\r\n\r\n").as_bytes(), body].concat()
}

fn ask(world: &World, args: Value) -> Ended {
    run_native(prepare(&order("HttpOperator", args), world).unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let all = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// More than an answer may be that is kept as a result, and no text.
fn large() -> Vec<u8> {
    (0..20_u32 << 20).map(|at| (at % 251) as u8).collect()
}

#[test]
fn an_answer_of_any_size_is_kept_in_a_file_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    std::fs::write(&path, "old").unwrap();
    let (world, _) = answers(whole("200 OK", &large()), false);
    let check = "response.status_code == 200 and response.headers['x-kind'] == 'data'";
    let ended = ask(&world, json!({"method": "GET", "response_file": path, "response_check": check}));
    assert_eq!(ended.result(), json!(path), "{:?}", ended.outcome.message);
    assert!(std::fs::read(&path).unwrap() == large());
    assert_eq!(names(folder.path()), ["data.bin"]);
    assert!(ended.log.iter().any(|line| line.contains("20971520 bytes are in")), "{:?}", ended.log);
    // Of what is in the file an expression sees nothing.
    let (world, _) = answers(whole("200 OK", b"new"), false);
    let ended = ask(&world, json!({"response_file": path, "response_filter": "response.text"}));
    assert!(ended.failure().contains("has no attribute 'text'"), "{:?}", ended.outcome.message);
}

#[test]
fn what_is_no_answer_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    std::fs::write(&path, "old").unwrap();
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec();
    for (answer, holds, told) in [
        (half.clone(), false, "failed"),
        (half, true, "no answer within 200ms"),
        (whole("404 Not Found", b"no such thing"), false, "gave 404:Not Found"),
    ] {
        let (world, _) = answers(answer, holds);
        let args = json!({"method": "GET", "response_file": path, "extra_options": {"timeout": 0.2}});
        let ended = ask(&world, args);
        assert_eq!(ended.outcome.end, AttemptEnd::Failed);
        assert!(ended.failure().contains(told), "{:?}", ended.outcome.message);
        assert_eq!(names(folder.path()), ["data.bin"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}

#[test]
fn a_file_is_sent_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    std::fs::write(&path, large()).unwrap();
    let (world, asked) = answers(whole("201 Created", b"thanks"), false);
    let ended = ask(&world, json!({"method": "PUT", "endpoint": "in", "body_file": path}));
    assert_eq!(ended.result(), json!("thanks"), "{:?}", ended.outcome.message);
    let (head, body) = asked.join().unwrap();
    assert!(
        head.starts_with("put /in ") && head.contains("content-type: application/octet-stream"),
        "{head}"
    );
    assert!(body == large());
    // It is not sent where an answer leads to: it has been read.
    let (world, _) = answers(whole("307 Temporary Redirect\r\nLocation: /elsewhere", b""), false);
    let ended = ask(&world, json!({"body_file": path}));
    assert!(ended.failure().contains("a file is not sent on"), "{:?}", ended.outcome.message);
    let ended = ask(&world, json!({"body_file": folder.path().join("nowhere")}));
    assert!(ended.failure().contains("nowhere"), "{:?}", ended.outcome.message);
}

#[test]
fn what_is_no_text_is_said_to_be_none() {
    let (world, _) = answers(whole("200 OK\r\nContent-Type: image/png", b"\x89PNG"), false);
    let ended = ask(&world, json!({"method": "GET"}));
    assert_eq!(ended.result(), json!("\u{fffd}PNG"));
    let log = ended.log.join("\n");
    assert!(log.contains("the answer is no text in UTF-8") && log.contains("`response_file`"), "{log}");
}

#[test]
fn files_that_can_t_be_are_refused_before_anything_is_asked() {
    let refused = |args| {
        let (world, _) = answers(Vec::new(), false);
        prepare(&order("HttpOperator", args), &world).unwrap_err().to_string()
    };
    assert!(refused(json!({"body_file": "a", "data": "b"})).contains("so is another argument"));
    let pages = json!({"response_file": "a", "pagination_function": "none"});
    assert!(refused(pages).contains("takes one answer"));
}
