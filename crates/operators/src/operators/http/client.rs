//! The one HTTP client of a worker: its connections, and how many ask one server at a time.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use reqwest::{
    Body, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect::Policy,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
};
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
        match self.is_latin() {
            true => self.body.iter().copied().map(char::from).collect(),
            false => String::from_utf8_lossy(&self.body),
        }
    }

    fn is_latin(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_lowercase().replace(['"', ' '], "");
        let charset =
            kind.split_once("charset=").map(|(_, charset)| charset.split(';').next().unwrap_or_default());
        matches!(charset, Some("iso-8859-1" | "latin-1" | "latin1"))
    }

    /// Whether its text is all of it, and has nothing put in the place of what is no text.
    pub(super) fn is_text(&self) -> bool {
        self.is_latin() || std::str::from_utf8(&self.body).is_ok()
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
    /// It will not pass, and the server was told nothing.
    pub(super) fn lasting(why: String) -> Self {
        Self { why, passing: false, in_doubt: false }
    }

    fn late(request: &Request) -> Self {
        let why = format!("{} failed: no answer within {:?}", request.shown, request.timeout);
        Self { why, passing: true, in_doubt: true }
    }

    fn of(request: &Request, error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::late(request);
        }
        let passing = !error.is_builder() && !error.is_redirect();
        let in_doubt = passing && !error.is_connect();
        Self { why: format!("{} failed: {}", request.shown, causes(&error.without_url())), passing, in_doubt }
    }

    /// The end of an attempt whose request this was. Where `hold` says that what may have been done is not to be done
    /// again (`max_lost: 0`), no other follows one that was not safe to be asked twice.
    pub(crate) fn end(&self, request: &Request, hold: bool) -> AttemptEnd {
        match hold && self.in_doubt && !request.may_be_asked_twice() {
            true => AttemptEnd::FailedForGood,
            false => AttemptEnd::Failed,
        }
    }
}

/// What a request may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Patience {
    /// Its time-out, in all.
    Whole,
    /// So long for each part that goes or comes, since nobody knows how long it is.
    EachPart,
}

/// A file that is sent as the body, and how long it is.
pub(super) type Upload = (tokio::fs::File, u64);

/// An answer that begins to come. While it does, it has one of its server's turns.
pub(super) struct Coming<'a> {
    request: &'a Request,
    response: Response,
    _turn: OwnedSemaphorePermit,
}

impl Client {
    /// Asks.
    pub(crate) async fn ask(&self, request: &Request, longest: Longest) -> Result<Answer, Unanswered> {
        self.begin(request, None, Patience::Whole).await?.read(longest).await
    }

    /// Asks, until the answer begins to come.
    pub(super) async fn begin<'a>(
        &self,
        request: &'a Request,
        upload: Option<Upload>,
        patience: Patience,
    ) -> Result<Coming<'a>, Unanswered> {
        let lasting = Unanswered::lasting;
        let turn =
            self.turns_of(request).acquire_owned().await.map_err(|error| lasting(error.to_string()))?;
        let follow = request.follow;
        let client =
            self.clients[usize::from(follow)].get_or_init(|| build(follow)).clone().map_err(lasting)?;
        let mut builder =
            client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if patience == Patience::Whole {
            builder = builder.timeout(request.timeout);
        }
        if let Some((login, password)) = &request.account {
            builder = builder.basic_auth(login, password.as_ref());
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.to_vec());
        }
        let progress = Arc::new(Notify::new());
        if let Some(upload) = upload {
            if !request.headers.contains_key(CONTENT_TYPE) {
                builder = builder.header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            }
            builder = builder.header(CONTENT_LENGTH, upload.1).body(streamed(upload, Arc::clone(&progress)));
        }
        let mut sending = std::pin::pin!(builder.send());
        let response = loop {
            tokio::select! {
                sent = &mut sending => break sent.map_err(|error| Unanswered::of(request, error))?,
                () = progress.notified() => {}
                () = tokio::time::sleep(request.timeout), if patience == Patience::EachPart => {
                    return Err(Unanswered::late(request));
                }
            }
        };
        Ok(Coming { request, response, _turn: turn })
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

impl Coming<'_> {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// All of it.
    pub(super) async fn read(self, longest: Longest) -> Result<Answer, Unanswered> {
        let (status, headers) = (self.response.status(), self.response.headers().clone());
        match read(self.response, longest).await.map_err(|error| Unanswered::of(self.request, error))? {
            Some(body) => Ok(Answer { status, headers, body }),
            None => Err(Unanswered::lasting(format!(
                "{} failed: its answer is too long to be kept; take it into a file with `response_file`",
                self.request.shown
            ))),
        }
    }

    /// Writes all of it to a file, and gives what there is of it besides, and how many bytes it was.
    pub(super) async fn write(mut self, file: &mut tokio::fs::File) -> Result<(Answer, u64), Unanswered> {
        let (status, headers) = (self.response.status(), self.response.headers().clone());
        let mut bytes = 0;
        loop {
            let chunk = tokio::time::timeout(self.request.timeout, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| Unanswered::late(self.request))?;
            let Some(chunk) = chunk.map_err(|error| Unanswered::of(self.request, error))? else {
                return Ok((Answer { status, headers, body: Vec::new() }, bytes));
            };
            let written = file.write_all(&chunk).await;
            written.map_err(|error| Unanswered::lasting(format!("the answer can't be written: {error}")))?;
            bytes += chunk.len() as u64;
        }
    }
}

/// A file as a body; each part of it that goes is told of.
fn streamed((file, length): Upload, progress: Arc<Notify>) -> Body {
    let parts =
        futures_util::stream::try_unfold((file.take(length), progress), |(mut file, progress)| async {
            let mut part = vec![0; 64 * 1024];
            let read = file.read(&mut part).await?;
            part.truncate(read);
            progress.notify_one();
            Ok::<_, std::io::Error>((read > 0).then_some((part, (file, progress))))
        });
    Body::wrap_stream(parts)
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
