//! What only the leader can answer, another server passes on to it, as it came: whoever asked need not know who leads.
//! A worker's socket is not passed on: the worker is told where the leader is.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{CONNECTION, CONTENT_LENGTH, HOST, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use reqwest::{Client, Url, redirect::Policy};
use tokio::sync::watch;
use updraft_core::Namespace;

use super::{Error, Shared, access};
use crate::leadership::Lead;

/// A leader that is gone is replaced within this time; so long a request waits for one.
const WAITS_FOR: Duration = Duration::from_secs(10);

/// A leader that is there takes a connection within this time.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);

/// Between two tries to reach a leader that can't be reached: either it comes back, or another leads.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// Says that a request was passed on: it is not passed on again.
const PASSED_ON: HeaderName = HeaderName::from_static("x-updraft-passed-on");

/// What belongs to one connection and not to a request (RFC 9110, section 7.6.1).
const OF_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The way to the leader.
#[derive(Clone)]
pub(super) struct PassOn {
    client: Client,
    lead: watch::Receiver<Lead>,
}

/// Why there is no answer of the leader's.
enum Unanswered {
    /// It does not have the request.
    Unreached,
    /// It may have it.
    Broken,
}

impl PassOn {
    pub fn new(lead: watch::Receiver<Lead>) -> Result<Self, reqwest::Error> {
        let client = Client::builder().no_proxy().redirect(Policy::none()).connect_timeout(CONNECTS_WITHIN);
        // What is passed on is passed on as it is.
        let client = client.no_gzip().no_deflate();
        Ok(Self { client: client.build()?, lead })
    }

    /// Who leads; waits for a while where nobody does.
    async fn leader(&self) -> Lead {
        let mut lead = self.lead.clone();
        let led = async { lead.wait_for(|lead| *lead != Lead::Nobody).await.map(|lead| lead.clone()) };
        // Without whoever says it, nobody will lead here.
        tokio::time::timeout(WAITS_FOR, led).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Waits until it is not the server at this address that leads.
    async fn replaced(&self, address: &str) {
        let leads = |lead: &Lead| matches!(lead, Lead::At(leader) if leader == address);
        if self.lead.clone().wait_for(|lead| !leads(lead)).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }

    /// What the server at this address answers. Where another comes to lead, no answer is waited for any longer, and what
    /// follows something ends.
    async fn ask(
        &self,
        address: &str,
        parts: &Parts,
        body: Bytes,
        follows: bool,
    ) -> Result<Response, Unanswered> {
        let path = path_of(parts);
        let url =
            Url::parse(address).ok().and_then(|url| url.join(&path).ok()).ok_or(Unanswered::Unreached)?;
        let mut headers = without_connection(&parts.headers);
        headers.remove(HOST);
        headers.remove(CONTENT_LENGTH);
        headers.insert(PASSED_ON, HeaderValue::from_static("1"));
        let request = self.client.request(parts.method.clone(), url).headers(headers).body(body);
        let answer = tokio::select! {
            answer = request.send() => answer.map_err(|error| match error.is_connect() {
                true => Unanswered::Unreached,
                false => Unanswered::Broken,
            })?,
            () = self.replaced(address) => return Err(Unanswered::Broken),
        };
        let (status, headers) = (answer.status(), without_connection(answer.headers()));
        let body = match follows {
            true => {
                let (this, address) = (self.clone(), address.to_owned());
                let replaced = async move { this.replaced(&address).await };
                Body::from_stream(answer.bytes_stream().take_until(Box::pin(replaced)))
            }
            false => Body::from_stream(answer.bytes_stream()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// The path and the query as they came, before the namespace was taken off.
fn path_of(parts: &Parts) -> String {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    match parts.extensions.get::<Namespace>() {
        Some(namespace) => format!("/ns/{namespace}{path}"),
        None => path.to_owned(),
    }
}

fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    OF_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

/// Answers where this server leads or anyone may answer, and else passes the request on.
pub(super) async fn pass_on(
    State(shared): State<Arc<Shared>>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    if !access::is_of_leader(request.method(), route.as_str()) {
        return Ok(next.run(request).await);
    }
    let mut lead = shared.pass_on.leader().await;
    if lead == Lead::Here {
        return Ok(next.run(request).await);
    }
    if request.headers().contains_key(PASSED_ON) {
        return Err(later("this server was taken for the leader, and is not: try again", 1));
    }
    if route.as_str() == access::CONNECT {
        return match lead {
            Lead::At(address) => Ok(elsewhere(&address, request.uri())),
            Lead::Here | Lead::Nobody => Err(nobody()),
        };
    }
    let (parts, body) = request.into_parts();
    let most = match route.as_str() == access::DEPLOY {
        true => usize::try_from(crate::deployments::MOST_ARCHIVE_BYTES).unwrap_or(usize::MAX),
        false => shared.config.most_body_bytes,
    };
    let too_long =
        |_| Error::Status(StatusCode::PAYLOAD_TOO_LARGE, format!("a body may have up to {most} bytes"));
    let body = to_bytes(body, most).await.map_err(too_long)?;
    let follows = access::may_take_any_time(route.as_str());
    let give_up = tokio::time::Instant::now() + WAITS_FOR;
    loop {
        match lead {
            // It has come to lead meanwhile.
            Lead::Here => return Ok(next.run(Request::from_parts(parts, body.into())).await),
            Lead::Nobody => return Err(nobody()),
            Lead::At(address) => match shared.pass_on.ask(&address, &parts, body.clone(), follows).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Broken) if parts.method != Method::GET && parts.method != Method::HEAD => {
                    let detail =
                        "the server that leads broke off; it may be done all the same: look, and try again";
                    return Err(later(detail, 2));
                }
                Err(Unanswered::Unreached | Unanswered::Broken) => {
                    if tokio::time::Instant::now() >= give_up {
                        let detail =
                            format!("the server that leads, {address}, can't be reached from this one");
                        return Err(later(detail, 5));
                    }
                }
            },
        }
        tokio::time::sleep(TRY_EVERY).await;
        lead = shared.pass_on.leader().await;
    }
}

fn later(detail: impl Into<String>, seconds: u64) -> Error {
    Error::Later(StatusCode::SERVICE_UNAVAILABLE, detail.into(), seconds)
}

fn nobody() -> Error {
    later("no server leads at the moment; try again in a few seconds", 5)
}

/// Where the leader has the same.
fn elsewhere(address: &str, uri: &Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = format!("{}{path}", address.trim_end_matches('/'));
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response()
}
