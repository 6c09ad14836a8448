//! The worker's side of a task's API: a Unix socket that answers what a function asks for.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
};

use serde_json::{Value, json};

const TOKEN: &str = "t0ken";

/// Answers whoever shows the token.
pub struct Api {
    folder: tempfile::TempDir,
}

impl Api {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
        Self { folder }
    }

    /// What a worker sets.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let socket = self.folder.path().join("socket").to_string_lossy().into_owned();
        vec![("UPDRAFT_TASK_API", socket), ("UPDRAFT_TASK_TOKEN_FD", "9".into())]
    }

    /// The same program with the token to be read from descriptor 9.
    pub fn with_token(&self, argv: &[String]) -> Vec<String> {
        let token = self.folder.path().join("token").to_string_lossy().into_owned();
        let shell = ["bash", "-c", r#"exec 9<"$1"; shift; exec "$@""#, "bash", &token];
        shell.into_iter().map(str::to_owned).chain(argv.iter().cloned()).collect()
    }
}

fn answer(mut stream: UnixStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let (status, content) = if !head.contains(&format!("Authorization: Bearer {TOKEN}")) {
        ("401 Unauthorized", "who are you?".to_owned())
    } else {
        match find(head[0].split(' ').nth(1).unwrap(), &body) {
            Some(value) => ("200 OK", value.to_string()),
            None => ("404 Not Found", String::new()),
        }
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(format!("{head}{content}").as_bytes()).unwrap();
}

fn find(route: &str, body: &[u8]) -> Option<Value> {
    match route {
        "/worker/v1/xcom" => {
            let query: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(query["attempt"]["try_number"], 1);
            let values = match query["task_id"].as_str().unwrap() {
                "load" => json!([{"map_index": -1, "value": {"rows": 2}}]),
                "copies" => json!([{"map_index": 0, "value": "x"}, {"map_index": 1, "value": "y"}]),
                _ => json!([]),
            };
            Some(json!({"values": values}))
        }
        "/worker/v1/variables/bucket" => Some(json!({"value": "s3://lake"})),
        "/worker/v1/variables/settings" => Some(json!({"value": "{\"a\": 1}"})),
        "/worker/v1/connections/lake" => Some(
            json!({"conn_id": "lake", "conn_type": "x", "host": "lake.example.org", "extra": {"path": "/x"}}),
        ),
        "/worker/v1/connections/web" => Some(json!({
            "conn_id": "web", "conn_type": "google_cloud", "host": "https://h", "port": 80, "schema": "a/b", "login": "m@e",
            "password": "p:w", "extra": {"a": 1},
        })),
        "/worker/v1/connections/odd" => Some(json!({"conn_id": "odd", "conn_type": "http", "port": 8080})),
        "/worker/v1/previous-success" => Some(json!({
            "data_interval": null, "start_date": "2026-01-30T06:00:01Z", "end_date": "2026-01-30T06:00:09Z",
        })),
        "/worker/v1/runs/feed/r%201"
        | "/worker/v1/runs/reports/scheduled__2026-01-31T06%3A00%3A00%2B00%3A00" => Some(json!({
            "dag_id": "feed", "run_id": "r 1", "run_type": "scheduled", "state": "success", "logical_date": null,
            "data_interval": ["2026-01-30T00:00:00Z", "2026-01-31T00:00:00Z"], "run_after": "2026-01-31T00:00:00Z",
            "started_at": null, "ended_at": null, "clear_number": 0, "triggering_user": null, "conf": {},
            "note": "for the audit",
        })),
        // As Python would: what a template is, and what it comes to, has tests of its own.
        "/worker/v1/render" => {
            let asked: Value = serde_json::from_slice(body).unwrap();
            let text = asked["text"].as_str().unwrap();
            let is_file =
                asked["files"].as_array().unwrap().iter().any(|end| text.ends_with(end.as_str().unwrap()));
            let text = if is_file { "select {{ ds }}" } else { text };
            Some(json!({"value": text.replace("{{ ds }}", "2026-01-31")}))
        }
        _ => None,
    }
}
