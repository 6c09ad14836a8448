//! What is done with every request, whatever it asks for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, HOST, HeaderName},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tracing::{Instrument as _, info_span};
use updraft_core::Namespace;

use super::{Error, Shared, access, error::Invalid};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What each answer says to browsers: take it for what it is called, show it in no frame, send nobody's
/// address on, keep nothing, load nothing from elsewhere.
const HEADERS: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("content-security-policy"), "default-src 'self'; frame-ancestors 'none'"),
];

/// Gives the request an id, or keeps the one it has, and the answer its headers.
pub(super) async fn mark(mut request: Request, next: Next) -> Response {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let plain = |id: &&HeaderValue| {
        id.len() <= 64 && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let id = request.headers().get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("{:x}-{:x}", since.as_micros(), COUNT.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
    });
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let span = info_span!("request", id = id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Refuses a request that was made under a name that is not this server's: a web page can have its own name
/// lead to this machine, and would then be taken for this server's own.
pub(super) async fn check_host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    match host.map(name_of) {
        Some(Some(name)) if is_own(&name, &shared.config.hosts) => next.run(request).await,
        Some(_) | None => {
            let host = host.unwrap_or_default();
            let detail = format!(
                "this server is not called `{host}`: ask it by an address of its machine, or add the name to \
                 the hosts in its configuration"
            );
            Error::Status(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
        }
    }
}

/// The name without the port, in lower case.
fn name_of(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    Some(authority.host().trim_end_matches('.').to_ascii_lowercase())
}

fn is_own(name: &str, hosts: &[String]) -> bool {
    // An address can't be made to lead elsewhere.
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    address
        || name == "localhost"
        || name.ends_with(".localhost")
        || hosts.iter().any(|host| host == "*" || host.eq_ignore_ascii_case(name))
}

/// Takes `/ns/{name}` off the path and remembers the name.
pub(super) fn take_namespace(mut request: Request) -> Request {
    let taken = split_namespace(request.uri());
    if let Some((namespace, rest)) = taken {
        request.extensions_mut().insert(namespace);
        *request.uri_mut() = rest;
    }
    request
}

/// A namespace that is named in this field of a body.
pub(super) fn namespace(field: &str, name: String) -> Result<Namespace, Invalid> {
    match is_namespace(&name) {
        true => Ok(name.into()),
        false => {
            let msg = "a namespace has 1 to 250 letters of A to Z, a to z, 0 to 9, `-`, `_` and `.`, the first no `.`";
            Err(Invalid::value(field, msg, name))
        }
    }
}

/// Whether a namespace may be called so: by what stands for itself in a path, and names a folder.
fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=250).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

fn split_namespace(uri: &Uri) -> Option<(Namespace, Uri)> {
    let all = uri.path_and_query()?.as_str();
    let (name, rest) = all.strip_prefix("/ns/")?.split_once('/')?;
    // Only the API is there for each namespace. Other names have no route.
    if !is_namespace(name) || !rest.starts_with("api/") {
        return None;
    }
    Some((name.into(), format!("/{rest}").parse().ok()?))
}

/// Answers with 503 when a request takes too long.
pub(super) async fn time_out(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    if route.is_some_and(|route| access::may_take_any_time(route.as_str())) {
        return next.run(request).await;
    }
    tokio::time::timeout(shared.config.timeout, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "it took too long; it may be done all the same: look, and try again".into();
        Error::Later(StatusCode::SERVICE_UNAVAILABLE, detail, 5).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_and_addresses_are_answered() {
        let hosts = ["Updraft.Example".to_owned()];
        let own = |host: &str| name_of(host).is_some_and(|name| is_own(&name, &hosts));
        for host in
            ["localhost:8080", "127.0.0.1", "[::1]:8080", "10.0.0.7:80", "updraft.example.", "a.localhost"]
        {
            assert!(own(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!own(host), "{host}");
        }
    }

    #[test]
    fn a_namespace_is_taken_off_the_path_and_the_query_stays() {
        let uri = "/ns/team-a/api/v2/dags?limit=1".parse().unwrap();
        let (namespace, rest) = split_namespace(&uri).unwrap();
        assert_eq!((&*namespace, rest.to_string()), ("team-a", "/api/v2/dags?limit=1".to_owned()));
        for path in [
            "/ns//api/v2/dags",
            "/ns/../api/v2/dags",
            "/ns/a%2Fb/api/v2/dags",
            "/ns/a/worker/v1/xcom",
            "/api/v2/dags",
        ] {
            assert_eq!(split_namespace(&path.parse().unwrap()), None, "{path}");
        }
    }
}
