//! `HttpOperator`, as Airflow's HTTP provider documents it: asks a web server, page by page where it answers so.

mod file;
mod next;
mod retries;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use reqwest::StatusCode;
use serde_json::{Map, Value};
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use self::{file::ByFile, retries::Retries};
use super::{
    client::{Answer, Longest},
    expression,
    request::{Call, DEFAULT_CONNECTION, Request, Site, checks_status},
};
use crate::{
    Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, Strings, arguments},
    },
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `HttpOperator`.
    struct HttpArgs {
        /// What comes behind the connection's address; or a whole address.
        templated endpoint: Option<String>,
        /// The connection: its host, or a whole address as its host; its login and password; headers as its
        /// extra fields.
        templated http_conn_id: String = DEFAULT_CONNECTION.to_owned(),
        /// The method.
        plain method: String = "POST".to_owned(),
        /// With GET what stands behind `?`, otherwise the body: a text as it is, a map as a form, or as JSON under
        /// the header `Content-Type: application/json`.
        templated data: Option<Value>,
        /// Headers.
        templated headers: Strings = Strings::new(),
        /// A Jinja expression that says whether the answer is as wished; where it is not, the task fails. It sees
        /// `response.status_code`, `response.text`, `response.json` and `response.headers`:
        /// `response.json.state == 'done'`. With `pagination_function`, `response` is the list of all answers.
        plain response_check: Option<String>,
        /// A Jinja expression whose value is the result, in place of the answer's text: `response.json.id`. With
        /// `pagination_function`, `response` is the list of all answers:
        /// `response | sum(attribute='json.items', start=[])`.
        plain response_filter: Option<String>,
        /// A Jinja expression over each answer that says how the next page is asked for, or none where there is
        /// no more: `{'data': {'cursor': response.json.next}} if response.json.next else none`. Its value may
        /// have `endpoint`, `data`, `headers` and `extra_options`; maps are merged with the arguments, all else
        /// takes their place. The result is then the list of all answers' texts.
        plain pagination_function: Option<String>,
        /// `json`: a value that is sent as the body.
        templated request_kwargs: Map<String, Value>,
        /// `timeout`: how many seconds one answer may take (60). `check_response`: whether a status from 400 on
        /// is an error. `allow_redirects`: whether redirections are followed.
        plain extra_options: Map<String, Value>,
        /// A file for the answer, of any size: it is written beside its place and put there when it is whole, and its
        /// path is the result. A relative path starts at the folder for what tasks write (`UPDRAFT_FILES`).
        /// Expressions then see no text of it, and `timeout` is for each part that comes. Airflow has no such argument.
        templated response_file: Option<String>,
        /// A file that is sent as the body, in place of `data`. A relative path starts at the DAG file's folder or, where
        /// there is none, at the folder for what tasks write. Airflow has no such argument.
        templated body_file: Option<String>,
        /// How it is asked again within one try, where there is no answer: `attempts` (how often in all), `wait`
        /// (how long between two) and `statuses` (those that count as no answer). What is not safe to do twice
        /// may then be done twice: the server may have acted on what it did not answer.
        plain retry_args: Option<Retries>,
        /// Whether the answer is shown in the log.
        plain log_response: bool = false,
    } accepted {
        /// Only basic authentication, with the connection's login and password.
        auth_type: String,
        /// No difference here: it holds no process.
        deferrable: bool,
        /// No difference here.
        warn_on_non_idempotent: bool,
        /// No difference here: connections are short.
        tcp_keep_alive: bool,
        /// No difference here: connections are short.
        tcp_keep_alive_idle: Value,
        /// No difference here: connections are short.
        tcp_keep_alive_count: Value,
        /// No difference here: connections are short.
        tcp_keep_alive_interval: Value,
    }
}

/// All answers of a task together may be so long, in bytes.
const LONGEST_TOGETHER: usize = 16 << 20;

/// So many pages are asked for at most; more are likely an expression that never says none.
const MOST_PAGES: usize = 1000;

/// So much of an answer is shown in the log, in bytes.
const MOST_SHOWN: usize = 64 * 1024;

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "HttpOperator",
    aliases: &[
        "http",
        "webhook",
        "SimpleHttpOperator",
        "airflow.providers.http.operators.http.HttpOperator",
        "airflow.providers.http.operators.http.SimpleHttpOperator",
        "airflow.operators.http_operator.SimpleHttpOperator",
    ],
    doc: "Asks a web server. The text of its answer is the result; or the path of the file that the answer is in, where \
          `response_file` names one.",
    takes_results: None,
    arguments: &[HttpArgs::LIST],
    template_ext: &[],
    kind,
    plan,
};

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    for name in ["response_check", "response_filter", "pagination_function"] {
        if let Some(text) = written.literal(name).and_then(Value::as_str) {
            expression::read(text).map_err(|error| (Some(name), error))?;
        }
    }
    match written.literal("auth_type").and_then(Value::as_str) {
        None | Some("requests.auth.HTTPBasicAuth" | "aiohttp.BasicAuth" | "basic") => Ok(TaskKind::Run),
        Some(other) => Err((
            Some("auth_type"),
            format!(
                "can only be basic; found {other:?}: put what the server wants to see into `headers`, such as \
                 `Authorization: Bearer {{{{ conn.api.password }}}}`"
            ),
        )),
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(HttpArgs::read)?;
    let endpoint = args.endpoint.unwrap_or_default();
    let site = Site::of(job, &args.http_conn_id, &endpoint)?;
    let checks_status = checks_status(&site, &args.extra_options);
    let call = Call {
        method: args.method,
        endpoint,
        data: args.data,
        headers: args.headers,
        extra_options: args.extra_options,
        request_kwargs: args.request_kwargs,
    };
    let first = site.request(&call).map_err(|bad| job.bad(bad))?;
    let expressions = Expressions {
        check: args.response_check,
        filter: args.response_filter,
        next: args.pagination_function,
    };
    let by_file = ByFile::of(job, args.body_file.as_deref(), args.response_file.as_deref())?;
    if args.body_file.is_some() && first.body.is_some() {
        return Err(job.bad((
            Some("body_file"),
            "is the body, and so is another argument: leave one of them out".into(),
        )));
    }
    if args.response_file.is_some() && expressions.next.is_some() {
        let why = "takes one answer: with `pagination_function` there may be several";
        return Err(job.bad((Some("response_file"), why.into())));
    }
    Ok(Work::Native(Box::new(Asking {
        site,
        call,
        first,
        expressions: Arc::new(expressions),
        by_file,
        retries: args.retry_args.unwrap_or_default(),
        checks_status,
        log_response: args.log_response,
        hold: job.order.task.hold_doubts,
        keep: job.order.task.do_xcom_push,
    })))
}

/// What stands in place of Airflow's callables.
#[derive(Debug)]
struct Expressions {
    check: Option<String>,
    filter: Option<String>,
    next: Option<String>,
}

impl Expressions {
    fn any(&self) -> bool {
        self.check.is_some() || self.filter.is_some() || self.next.is_some()
    }
}

/// What is left of an answer.
struct Page {
    text: String,
    /// As expressions see it, where there are any.
    seen: Value,
}

#[derive(Debug)]
struct Asking {
    site: Site,
    call: Call,
    first: Request,
    expressions: Arc<Expressions>,
    by_file: Option<ByFile>,
    retries: Retries,
    checks_status: bool,
    log_response: bool,
    /// What may have been done is not asked for again.
    hold: bool,
    keep: bool,
}

/// Why there is no result.
struct Failure {
    why: String,
    end: AttemptEnd,
}

impl From<String> for Failure {
    /// Airflow tries whatever failed again, as often as the task says; so is it here.
    fn from(why: String) -> Self {
        Self { why, end: AttemptEnd::Failed }
    }
}

impl NativeTask for Asking {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.asked(&context).await {
                Ok(result) => with_result(Outcome::new(AttemptEnd::Success), self.keep.then_some(result)),
                Err(Failure { why, end }) => Outcome { message: Some(why), ..Outcome::new(end) },
            }
        })
    }
}

impl Asking {
    /// The result.
    async fn asked(&self, context: &TaskContext) -> Result<Value, Failure> {
        let pages = self.pages(context).await?;
        if self.log_response && self.saved().is_none() {
            pages.iter().for_each(|page| show(&page.text, context));
        }
        let expressions = Arc::clone(&self.expressions);
        Ok(apart(move || result_of(pages, &expressions)).await??)
    }

    /// Where the answer is written to.
    fn saved(&self) -> Option<&Path> {
        self.by_file.as_ref()?.to.as_deref()
    }

    /// Whether an answer of this status is the last word, and as it should be.
    fn is_good(&self, status: StatusCode) -> bool {
        !self.retries.statuses.contains(&status.as_u16()) && self.may_be(status)
    }

    fn may_be(&self, status: StatusCode) -> bool {
        !self.checks_status || status.as_u16() < 400
    }

    /// All answers.
    async fn pages(&self, context: &TaskContext) -> Result<Vec<Page>, Failure> {
        let mut pages = Vec::new();
        let mut left = LONGEST_TOGETHER;
        let mut next = None;
        loop {
            let request = next.as_ref().unwrap_or(&self.first);
            let answer = self.answer(request, left, context).await?;
            left -= answer.body.len();
            if !answer.is_text() {
                context.log.line(
                    "the answer is no text in UTF-8: the result has U+FFFD where it is none. `response_file` takes it as \
                     it is",
                );
            }
            let (expressions, saved) = (Arc::clone(&self.expressions), self.saved().map(Path::to_owned));
            let (page, params) = apart(move || page_of(&answer, saved, &expressions)).await??;
            pages.push(page);
            let Some(call) = next::call(&self.call, params)? else { return Ok(pages) };
            if pages.len() == MOST_PAGES {
                let why = format!(
                    "pagination_function asks for more than {MOST_PAGES} pages: it must come to none at the last one"
                );
                return Err(why.into());
            }
            let request = self.site.next_request(&call, &self.first).map_err(|(name, reason)| {
                let name = name.map(|name| format!("`{name}` ")).unwrap_or_default();
                format!("the next page, as pagination_function has it: {name}{reason}")
            })?;
            next = Some(request);
        }
    }

    /// One answer: asks again as often as the arguments allow.
    async fn answer(&self, request: &Request, left: usize, context: &TaskContext) -> Result<Answer, Failure> {
        let mut asked = 1;
        loop {
            let (http, longest) = (&context.shared.http, Longest::AtMost(left));
            let answered = match &self.by_file {
                None => http.ask(request, longest).await,
                Some(by_file) => {
                    by_file.ask(http, request, longest, |status| self.is_good(status), context).await
                }
            };
            let why = match answered {
                Ok(answer) => {
                    let gave = format!("{} gave {}", request.shown, answer.reason());
                    context.log.line(&format!("{gave}, {} bytes", answer.body.len()));
                    let again = self.retries.statuses.contains(&answer.status.as_u16());
                    if !(again && asked < self.retries.attempts) {
                        if self.may_be(answer.status) {
                            return Ok(answer);
                        }
                        show(&answer.text(), context);
                        return Err(gave.into());
                    }
                    gave
                }
                Err(unanswered) => {
                    let end = unanswered.end(request, self.hold);
                    let again = unanswered.passing && asked < self.retries.attempts;
                    if !again || end == AttemptEnd::FailedForGood {
                        return Err(Failure { why: unanswered.why, end });
                    }
                    unanswered.why
                }
            };
            let wait = self.retries.wait;
            context.log.line(&format!("{why}; asking again in {wait:?} (`retry_args`)"));
            tokio::time::sleep(wait).await;
            asked += 1;
        }
    }
}

/// Does what may take a while where it holds up nobody.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("the answer could not be read: {error}"))
}

/// The page that an answer is, and what the expression says of the next one.
fn page_of(
    answer: &Answer,
    saved: Option<PathBuf>,
    expressions: &Expressions,
) -> Result<(Page, Value), String> {
    let seen = match (expressions.any(), &saved) {
        (false, _) => Value::Null,
        (true, None) => expression::seen(answer),
        (true, Some(_)) => expression::seen_of_saved(answer),
    };
    let params = match &expressions.next {
        Some(next) => expression::value("pagination_function", next, &expression::sees(seen.clone()))?,
        None => Value::Null,
    };
    let text = saved.map_or_else(|| answer.text().into_owned(), |path| path.to_string_lossy().into_owned());
    Ok((Page { text, seen }, params))
}

fn result_of(mut pages: Vec<Page>, expressions: &Expressions) -> Result<Value, String> {
    let seen = pages.iter_mut().map(|page| std::mem::take(&mut page.seen));
    let response = match (&expressions.next, seen.len()) {
        (None, 1) => seen.collect::<Vec<_>>().remove(0),
        _ => seen.collect(),
    };
    let sees = expression::sees(response);
    if let Some(check) = &expressions.check
        && !expression::holds("response_check", check, &sees)?
    {
        return Err(format!("the answer is not as wished: response_check `{check}` does not hold"));
    }
    if let Some(filter) = &expressions.filter {
        return expression::value("response_filter", filter, &sees);
    }
    Ok(match (&expressions.next, pages.len()) {
        (None, 1) => pages.remove(0).text.into(),
        _ => pages.into_iter().map(|page| page.text).collect(),
    })
}

/// Shows an answer in the log.
fn show(text: &str, context: &TaskContext) {
    let end = text.floor_char_boundary(MOST_SHOWN);
    text[..end].lines().for_each(|line| context.log.line(line));
    if end < text.len() {
        context.log.line(&format!("… ({} bytes in all)", text.len()));
    }
}
