//! The one HTTP client of a worker: its connections, and how many ask one server at a time.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
    redirect::Policy,
};
use tokio::sync::Semaphore;
use updraft_core::input::AttemptEnd;

use super::request::Request;
use crate::tls;

/// So many ask one server at a time; the others wait their turn. Ten thousand sensors that begin together
/// are neither ten thousand connections nor a burst.
const AT_ONCE: usize = 64;

/// Asks servers.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Made when they are first needed, since the system's certificates are read for them: the one that follows
    /// redirections, and the one that does not.
    clients: [OnceLock<Result<reqwest::Client, String>>; 2],
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Its body as text: what it says itself to be in ISO 8859-1 is read so, all else as UTF-8.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_lowercase().replace(['"', ' '], "");
        match kind.split_once("charset=").map(|(_, charset)| charset.split(';').next().unwrap_or_default()) {
            Some("iso-8859-1" | "latin-1" | "latin1") => self.body.iter().copied().map(char::from).collect(),
            _ => String::from_utf8_lossy(&self.body),
        }
    }

    /// Its status as Airflow tells it: `404:Not Found`.
    pub(crate) fn reason(&self) -> String {
        format!("{}:{}", self.status.as_u16(), self.status.canonical_reason().unwrap_or_default())
    }
}

/// How much is read of an answer, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Longest {
    /// So much; what comes behind is not looked at.
    Cut(usize),
    /// A longer one is none.
    AtMost(usize),
}

/// Why there is no answer. The error says what was asked of whom.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) why: String,
    /// Whether it may pass: the server was not there, or broke off, or took too long.
    pub(crate) passing: bool,
    /// Whether the server may have been told all the same.
    pub(crate) in_doubt: bool,
}

impl Unanswered {
    /// The end of an attempt whose request this was. Where `hold` says that what may have been done is not to be done
    /// again (`max_lost: 0`), no other follows one that was not safe to be asked twice.
    pub(crate) fn end(&self, request: &Request, hold: bool) -> AttemptEnd {
        match hold && self.in_doubt && !request.may_be_asked_twice() {
            true => AttemptEnd::FailedForGood,
            false => AttemptEnd::Failed,
        }
    }
}

impl Client {
    /// Asks.
    pub(crate) async fn ask(&self, request: &Request, longest: Longest) -> Result<Answer, Unanswered> {
        let lasting = |why: String| Unanswered { why, passing: false, in_doubt: false };
        let turns = self.turns_of(request);
        let _turn = turns.acquire().await.map_err(|error| lasting(error.to_string()))?;
        let follow = request.follow;
        let client =
            self.clients[usize::from(follow)].get_or_init(|| build(follow)).clone().map_err(lasting)?;
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .timeout(request.timeout);
        if let Some((login, password)) = &request.account {
            builder = builder.basic_auth(login, password.as_ref());
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.to_vec());
        }
        let told = |error: reqwest::Error| {
            let passing = !error.is_builder() && !error.is_redirect();
            let in_doubt = passing && !error.is_connect();
            let why = if error.is_timeout() {
                format!("no answer within {:?}", request.timeout)
            } else {
                causes(&error.without_url())
            };
            Unanswered { why: format!("{} failed: {why}", request.shown), passing, in_doubt }
        };
        let response = builder.send().await.map_err(told)?;
        let (status, headers) = (response.status(), response.headers().clone());
        match read(response, longest).await.map_err(told)? {
            Some(body) => Ok(Answer { status, headers, body }),
            None => Err(lasting(format!(
                "{} failed: its answer is too long to be kept; have a script write it to a file",
                request.shown
            ))),
        }
    }

    fn turns_of(&self, request: &Request) -> Arc<Semaphore> {
        let server = request.url.host_str().unwrap_or_default();
        let server = format!("{server}:{}", request.url.port_or_known_default().unwrap_or(0));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() > 1000 {
            turns.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        Arc::clone(turns.entry(server).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
    }
}

/// The body; `None` where it is too long.
async fn read(mut response: Response, longest: Longest) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let (Longest::Cut(most) | Longest::AtMost(most)) = longest;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let left = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(left)]);
        match longest {
            Longest::AtMost(_) if chunk.len() > left => return Ok(None),
            Longest::Cut(_) if chunk.len() >= left => break,
            Longest::AtMost(_) | Longest::Cut(_) => {}
        }
    }
    Ok(Some(body))
}

/// The innermost cause says most: "connection refused".
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn build(follow: bool) -> Result<reqwest::Client, String> {
    // On a machine without certificates plain HTTP works all the same, and HTTPS says that it trusts nobody.
    let tls = tls::trusting_the_system()?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("updraft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(8)
        // As many as Python's `requests` follows.
        .redirect(if follow { Policy::limited(30) } else { Policy::none() })
        .build()
        .map_err(|error| causes(&error))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_is_read_in_the_letters_that_it_says_it_is_in() {
        let text = |kind: &'static str| {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
            Answer { status: StatusCode::OK, headers, body: b"f\xfcnf".to_vec() }.text().into_owned()
        };
        assert_eq!(text("text/html; Charset=\"ISO-8859-1\"; x=y"), "fünf");
        assert_eq!(text("application/json"), "f\u{fffd}nf");
    }
}
