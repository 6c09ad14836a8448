//! `HttpSensor`, as Airflow's HTTP provider documents it: asks until the answer is as wished.

use serde_json::{Map, Value, json};
use updraft_core::TaskKind;

use super::{
    client::{Answer, Longest},
    expression,
    request::{Call, DEFAULT_CONNECTION, Request, Site, checks_status},
};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{OneOrMore, Strings, arguments},
    },
    operators::python::check::{Check, Names},
    prepare::Job,
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// The arguments of `HttpSensor`.
    struct HttpArgs {
        /// What comes behind the connection's address; or a whole address.
        templated endpoint: String,
        /// The connection: its host, or a whole address as its host; its login and password; headers as its
        /// extra fields.
        templated http_conn_id: String = DEFAULT_CONNECTION.to_owned(),
        /// The method.
        plain method: String = "GET".to_owned(),
        /// With GET what stands behind `?`, otherwise the body: a map is sent as a form.
        templated request_params: Option<Value>,
        /// `json`: a value that is sent as the body.
        templated request_kwargs: Map<String, Value>,
        /// Headers.
        templated headers: Strings = Strings::new(),
        /// A Jinja expression that says whether the answer is as wished. It sees `response.status_code`,
        /// `response.text`, `response.json` and `response.headers`: `response.json.state == 'done'`.
        plain response_check: Option<String>,
        /// In its place, a function of Python that returns something true where the answer is as wished: this one of
        /// `response_check_file`. It gets the answer, much as one of `requests`, and what its signature names of
        /// Airflow's context; each call is a process of its own, with 60 seconds at most.
        plain response_check_name: Option<String>,
        /// The Python file; a relative path starts at the DAG file's folder.
        plain response_check_file: Option<String>,
        /// The same function as a text, where no file is named: `lambda response: response.json()['state'] == 'done'`.
        plain response_check_lambda: Option<String>,
        /// An answer whose status begins so is no failure: it is asked again.
        plain response_error_codes_allowlist: OneOrMore = OneOrMore(vec!["404".to_owned()]),
        /// `timeout`: how many seconds one answer may take (60). `check_response`: whether a status from 400 on
        /// is an error.
        plain extra_options: Map<String, Value>,
    } accepted {
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

/// Of an answer so much is read, in bytes; what a check looks at is shorter.
const LONGEST_ANSWER: usize = 1 << 20;

const RESPONSE_CHECK: Names = Names {
    expression: "response_check",
    name: "response_check_name",
    file: "response_check_file",
    lambda: "response_check_lambda",
};

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "HttpSensor",
    aliases: &[
        "http_sensor",
        "airflow.providers.http.sensors.http.HttpSensor",
        "airflow.sensors.http_sensor.HttpSensor",
    ],
    doc: "Asks a web server until its answer is as wished. Holds no slot.",
    takes_results: None,
    arguments: &[HttpArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |written| {
        RESPONSE_CHECK.check(written)?;
        if let Some(check) = written.literal("response_check").and_then(Value::as_str) {
            expression::read(check).map_err(|error| (Some("response_check"), error))?;
        }
        Ok(TaskKind::Watch)
    },
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(HttpArgs::read)?;
    let site = Site::of(job, &args.http_conn_id, &args.endpoint)?;
    let any_status = !checks_status(&site, &args.extra_options);
    let call = Call {
        method: args.method,
        endpoint: args.endpoint,
        data: args.request_params,
        headers: args.headers,
        extra_options: args.extra_options,
        request_kwargs: args.request_kwargs,
    };
    let function = [&args.response_check_name, &args.response_check_file, &args.response_check_lambda];
    let function = RESPONSE_CHECK.function(job, function)?.map(Box::new);
    let look = HttpLook {
        request: site.request(&call).map_err(|bad| job.bad(bad))?,
        check: args.response_check.map(Into::into),
        function,
        again: args.response_error_codes_allowlist.0.into(),
        any_status,
    };
    Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, Box::new(look)))))
}

#[derive(Debug)]
struct HttpLook {
    request: Request,
    check: Option<Box<str>>,
    function: Option<Box<Check>>,
    again: Box<[String]>,
    any_status: bool,
}

impl Look for HttpLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            let answer = context.shared.http.ask(&self.request, Longest::Cut(LONGEST_ANSWER)).await;
            let answer = answer.map_err(|unanswered| unanswered.why)?;
            let reason = answer.reason();
            if answer.status.as_u16() >= 400 && !self.any_status {
                if self.again.iter().any(|prefix| reason.starts_with(prefix)) {
                    context.log.line(&format!("{reason}: not yet"));
                    return Ok(Seen::NotYet);
                }
                return Err(format!("{} gave {reason}", self.request.shown));
            }
            if let Some(function) = &self.function {
                return function
                    .holds("response", as_response(&answer, &self.request), context)
                    .await
                    .map(Seen::from);
            }
            match &self.check {
                Some(check) => {
                    let holds = expression::holds(
                        "response_check",
                        check,
                        &expression::sees(expression::seen(&answer)),
                    );
                    holds.map(Seen::from)
                }
                None => Ok(Seen::There),
            }
        })
    }
}

/// An answer as the runner makes one for a function.
fn as_response(answer: &Answer, request: &Request) -> Value {
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    let text = answer.text();
    json!({
        "status_code": answer.status.as_u16(),
        "reason": answer.status.canonical_reason().unwrap_or_default(),
        "url": request.shown,
        "headers": answer.headers.iter().map(header).collect::<Vec<_>>(),
        "is_utf8": text.as_bytes() == &answer.body[..],
        "text": text,
    })
}
