//! The logs of attempts: `…/taskInstances/{task_id}/logs/{try_number}`.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Json,
    body::Body,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde::Serialize;
use tracing::warn;
use updraft_core::{
    MapIndex, TiKey,
    log::{Entry, Stream},
    protocol::log_path,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Path, Reads, Shared, call::Call, query::query, time::Time};
use crate::logs::{LogName, Page};

/// A page in JSON is about so long; what comes after has a token.
const PAGE_BYTES: usize = 1024 * 1024;
/// With `full_content` it may be so long.
const FULL_PAGE_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_log))
}

query! {
    /// Which part of which log.
    LogQuery {
        /// Pages of up to 16 MiB instead of one.
        full_content: Option<bool>,
        /// The copy of a mapped task; -1 for a task that is not mapped.
        map_index: Option<i32>,
        /// Where an earlier answer said that the log goes on.
        token: Option<String>,
        /// Whether `application/x-ndjson` and `text/plain` stay while the attempt runs, which is the default.
        follow: Option<bool>,
    }
}

/// A part of a log.
#[derive(Serialize, ToSchema)]
struct TaskInstancesLogResponse {
    content: Vec<StructuredLogMessage>,
    /// Asks for what follows; `null` where nothing will.
    continuation_token: Option<String>,
}

/// An entry of a log.
#[derive(Serialize, ToSchema)]
struct StructuredLogMessage {
    timestamp: Time,
    event: String,
    /// `error` for what was written to standard error, as Airflow has it.
    level: &'static str,
    /// `task.stdout`, `task.stderr`, or `updraft` for Updraft's own remarks.
    logger: &'static str,
    /// The line goes on in the next entry of the same logger.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    goes_on: bool,
}

impl From<Entry> for StructuredLogMessage {
    fn from(entry: Entry) -> Self {
        let (level, logger) = match entry.stream {
            Stream::Out => ("info", "task.stdout"),
            Stream::Err => ("error", "task.stderr"),
            Stream::Sys => ("info", "updraft"),
        };
        Self { timestamp: Time(entry.at), event: entry.text, level, logger, goes_on: entry.goes_on }
    }
}

/// The log of an attempt. In JSON (the default) a page with a token for what follows; as
/// `application/x-ndjson` or `text/plain` all of it, and while the attempt runs what it writes, as it does;
/// with `follow=false` what is there.
#[utoipa::path(
    get,
    path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}",
    tag = "Task Instance", params(LogQuery),
    responses(
        (status = 200, content(
            (TaskInstancesLogResponse = "application/json"), (String = "application/x-ndjson"),
            (String = "text/plain")
        )),
        Reads,
    ),
)]
async fn get_log(
    call: Call,
    Path((dag_id, dag_run_id, task_id, try_number)): Path<(String, String, String, u32)>,
    query: LogQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let map_index = MapIndex(query.map_index.unwrap_or(-1));
    let listing = call.ti((&dag_id, &dag_run_id, &task_id), map_index).await?;
    let tries = call.store().tries(listing.row.key).await?;
    if !tries.iter().any(|row| row.try_number == try_number) {
        let most = tries.iter().map(|row| row.try_number).max().unwrap_or(0);
        let there = match most {
            0 => "it has not begun".to_owned(),
            1 => "there is one".to_owned(),
            most => format!("there are {most}"),
        };
        return Err(Error::not_found(format!(
            "there is no try {try_number} of the task `{task_id}`: {there}"
        )));
    }
    let bad_token = || Error::bad_request("Bad Signature. Please use only the tokens provided by the API.");
    let token = query.token.as_deref().filter(|token| !token.is_empty());
    let offset = token.map(|token| token.parse().map_err(|_| bad_token())).transpose()?.unwrap_or(0);
    let names = (&call.namespace, &listing.dag.dag_id, &listing.run_id);
    let log = Log {
        name: LogName {
            run: listing.row.key.run,
            path: log_path(names, &listing.row.task_id, map_index, try_number),
        },
        of: Some((listing.row.key, try_number)),
        shared: call.shared.clone(),
    };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let stays = query.follow.unwrap_or(true);
    if accept.starts_with("application/x-ndjson") {
        return Ok(log.stream(offset, stays, Form::Ndjson));
    }
    if accept.starts_with("text/plain") {
        return Ok(log.stream(offset, stays, Form::Plain { open: None }));
    }
    let full = query.full_content.unwrap_or(false);
    // Asked before the page is read: what is written between the two is in the page.
    let over = log.is_over().await?;
    let page = log.read(offset, if full { FULL_PAGE_BYTES } else { PAGE_BYTES }).await?;
    let content = page.entries.into_iter().map(Into::into).collect();
    let continuation_token = (!(over && page.at_end)).then(|| page.next.to_string());
    Ok(Json(TaskInstancesLogResponse { content, continuation_token }).into_response())
}

/// What is there of a log that no attempt writes, as plain text.
pub(in crate::http) fn plain(shared: Arc<Shared>, name: LogName) -> Response {
    Log { name, of: None, shared }.stream(0, false, Form::Plain { open: None })
}

struct Log {
    name: LogName,
    /// Whose: a try of a task instance.
    of: Option<(TiKey, u32)>,
    shared: Arc<Shared>,
}

impl Log {
    async fn read(&self, offset: u64, most_bytes: usize) -> Result<Page, Error> {
        let page = self.shared.logs.read(&self.name, offset, most_bytes).await;
        page.map_err(|error| {
            let why = format!("the log {} can't be read: {error}", self.name.path);
            Error::Later(StatusCode::SERVICE_UNAVAILABLE, why, 5)
        })
    }

    /// Whether nothing more will be written.
    async fn is_over(&self) -> Result<bool, Error> {
        let Some((ti, try_number)) = self.of else { return Ok(true) };
        let Some(listing) = self.shared.store.ti(ti).await? else { return Ok(true) };
        let row = listing.row;
        Ok(row.try_number != try_number || row.state.is_finished() || row.ended_at.is_some())
    }

    /// All of the log from here on: until the attempt's end, or what is there.
    fn stream(self, offset: u64, stays: bool, form: Form) -> Response {
        let content_type = form.content_type();
        let lines = stream::unfold(Some((self, offset, form)), move |step| async move {
            let (log, mut offset, mut form) = step?;
            loop {
                let page = match log.next_page(offset, stays).await {
                    Ok(Some(page)) => page,
                    Ok(None) => return None,
                    Err(error) => {
                        warn!(?error, "a log that is followed can't be read");
                        // The connection is broken off, so that nobody takes this for the log's end.
                        return Some((Err("the log can't be read"), None));
                    }
                };
                offset = page.next;
                let mut text = String::new();
                page.entries.into_iter().for_each(|entry| form.write(entry, &mut text));
                if !text.is_empty() {
                    return Some((Ok(text), Some((log, offset, form))));
                }
            }
        });
        ([(CONTENT_TYPE, content_type)], Body::from_stream(lines)).into_response()
    }

    /// The next page, waited for where there is none yet and it `stays`; `None` where none will come.
    async fn next_page(&self, offset: u64, stays: bool) -> Result<Option<Page>, Error> {
        loop {
            let over = !stays || self.is_over().await?;
            let page = self.read(offset, PAGE_BYTES).await?;
            if page.next > offset {
                return Ok(Some(page));
            }
            if over {
                return Ok(None);
            }
            tokio::time::sleep(self.shared.logs.look_every()).await;
        }
    }
}

/// How a log is written out as it is read.
enum Form {
    /// A line of JSON for each entry.
    Ndjson,
    /// The lines as they were written, each with its time.
    Plain {
        /// The stream whose line is not at its end yet.
        open: Option<Stream>,
    },
}

impl Form {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Plain { .. } => "text/plain; charset=utf-8",
        }
    }

    fn write(&mut self, entry: Entry, text: &mut String) {
        match self {
            Self::Ndjson => {
                // Text and numbers can always be written.
                if let Ok(line) = serde_json::to_string(&StructuredLogMessage::from(entry)) {
                    text.push_str(&line);
                    text.push('\n');
                }
            }
            Self::Plain { open } => {
                if *open != Some(entry.stream) {
                    if open.is_some() {
                        text.push('\n');
                    }
                    // Writing to a text never fails.
                    let _ = write!(text, "{:.6} ", entry.at);
                }
                text.push_str(&entry.text);
                *open = entry.goes_on.then_some(entry.stream);
                if open.is_none() {
                    text.push('\n');
                }
            }
        }
    }
}
