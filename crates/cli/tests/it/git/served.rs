//! Repositories over HTTP, by Git's own server program.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Response, StatusCode, header::AUTHORIZATION},
};
use tokio::task::JoinHandle;

use super::{Repository, dag, following, health, until_at, until_error};

/// `Basic` of the name and the token.
const GOOD: &str = "Basic bWU6dDBrZW4tb2YtdGhlLXRlc3Q=";

async fn serve(root: &Path, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().fallback(by_git).with_state(root.to_owned());
    (address, tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }))
}

async fn by_git(State(root): State<PathBuf>, request: Request) -> Response<Body> {
    let plain = |status: StatusCode| Response::builder().status(status);
    if request.headers().get(AUTHORIZATION).is_none_or(|given| given != GOOD) {
        let asked = plain(StatusCode::UNAUTHORIZED).header("WWW-Authenticate", "Basic realm=\"git\"");
        return asked.body(Body::empty()).unwrap();
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    tokio::task::spawn_blocking(move || backend(&root, &parts, &body)).await.unwrap()
}

/// Git's program for web servers, as git-http-backend(1) says.
fn backend(root: &Path, parts: &axum::http::request::Parts, body: &Bytes) -> Response<Body> {
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..end].to_vec()).unwrap();
    let mut response = Response::builder();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_refuses_leaves_the_last_good_commit() {
    let repository = Repository::new();
    let first = repository.commit(&[("dags/a.yaml", &dag("a", "1"))]);
    let (address, serving) = serve(repository.root(), "127.0.0.1:0".parse().unwrap()).await;
    let url = format!("http://{address}/dags.git");
    let mut system = following(&url, 1);
    system.set("UPDRAFT__DAGS__GIT__USERNAME", "me");
    system.set("UPDRAFT__DAGS__GIT__TOKEN", "t0ken-of-the-test");
    system.start(1);
    until_at(&system, &[("a", &first)]).await;

    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    until_error(&system, Some("can't fetch the repository")).await;
    assert_eq!(health(&system), "unhealthy");
    let second = repository.commit(&[("dags/a.yaml", &dag("a", "2"))]);
    // A server of DAG files that is away at the start is no reason to forget them.
    system.stop_server();
    system.start(1);
    until_error(&system, Some("can't fetch the repository")).await;
    until_at(&system, &[("a", &first)]).await;

    let (_, _serving) = serve(repository.root(), address).await;
    until_at(&system, &[("a", &second)]).await;
    until_error(&system, None).await;

    system.stop_server();
    system.set("UPDRAFT__DAGS__GIT__TOKEN", "wr0ng-token");
    system.start(1);
    let error = until_error(&system, Some("Set `dags.git.token`")).await;
    until_at(&system, &[("a", &second)]).await;
    for secret in ["t0ken-of-the-test", "wr0ng-token", "bWU6"] {
        assert!(!error.contains(secret) && !system.said().contains(secret), "{secret}");
    }
}
