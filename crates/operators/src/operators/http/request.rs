//! What is asked, put together from the connection and the arguments.

use std::time::Duration;

use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use updraft_core::protocol::Connection;

use super::HttpArgs;
use crate::{
    Refused,
    prepare::{Job, as_text, no_connection},
};

pub(super) const DEFAULT_CONNECTION: &str = "http_default";

/// Fields of a connection's extras, and keys of `extra_options`, that are options and no headers.
const OPTIONS: &[&str] = &[
    "timeout",
    "check_response",
    "allow_redirects",
    "verify",
    "stream",
    "cert",
    "proxies",
    "proxy",
    "max_redirects",
    "trust_env",
];

/// How long an answer may take where nothing is said.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Login and password.
    pub(super) account: Option<(Box<str>, Option<Box<str>>)>,
    pub(super) body: Option<Box<[u8]>>,
    pub(super) timeout: Duration,
}

impl Request {
    pub(super) fn new(job: &Job<'_>, args: &HttpArgs) -> Result<Self, Refused> {
        let bad = |name, reason: String| job.bad((Some(name), reason));
        let connection = match job.connection_if_any(&args.http_conn_id)? {
            Some(connection) => connection,
            // A whole address needs no connection.
            None if args.http_conn_id == DEFAULT_CONNECTION && args.endpoint.contains("://") => {
                Connection::default()
            }
            None => return Err(no_connection(&args.http_conn_id)),
        };
        let mut options = connection.extra.clone();
        options.retain(|name, _| OPTIONS.contains(&&**name));
        options.extend(args.extra_options.clone());
        let timeout = timeout(&options).map_err(|reason| bad("extra_options", reason))?;
        let method = Method::from_bytes(args.method.to_uppercase().as_bytes())
            .map_err(|_| bad("method", format!("can't be {:?}", args.method)))?;
        let mut url = address(&connection, &args.endpoint).map_err(|reason| bad("endpoint", reason))?;
        let mut headers = headers(job, &connection, args)?;
        let mut body = None;
        match &args.request_params {
            Some(Value::Object(params)) if method == Method::GET => {
                let mut query = url.query_pairs_mut();
                params.iter().for_each(|(name, value)| _ = query.append_pair(name, &as_text(value)));
            }
            Some(Value::String(query)) if method == Method::GET => url.set_query(Some(query)),
            Some(Value::Object(params)) => {
                let mut form =
                    Url::parse("form:").map_err(|error| bad("request_params", error.to_string()))?;
                let mut query = form.query_pairs_mut();
                params.iter().for_each(|(name, value)| _ = query.append_pair(name, &as_text(value)));
                drop(query);
                body = form.query().map(|form| form.as_bytes().into());
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.entry(CONTENT_TYPE).or_insert(form);
            }
            Some(other) => body = Some(as_text(other).into_bytes().into()),
            None => {}
        }
        for (name, value) in &args.request_kwargs {
            if name != "json" {
                return Err(bad("request_kwargs", format!("takes `json` only; found `{name}`")));
            }
            body = Some(value.to_string().into_bytes().into());
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        let account = connection.login.map(|login| (login.into(), connection.password.map(Into::into)));
        Ok(Self { method, url, headers, account, body, timeout })
    }
}

/// The connection's address with the endpoint behind it, as Airflow's `HttpHook` puts them together.
fn address(connection: &Connection, endpoint: &str) -> Result<Url, String> {
    let host = connection.host.as_deref().unwrap_or_default();
    let base = if host.is_empty() && endpoint.contains("://") {
        String::new()
    } else if host.is_empty() {
        return Err(format!("leads to {endpoint}, and its connection names no host"));
    } else {
        let schema = connection.schema.as_deref().filter(|schema| !schema.is_empty()).unwrap_or("http");
        let base = if host.contains("://") { host.to_owned() } else { format!("{schema}://{host}") };
        connection.port.map_or(base.clone(), |port| format!("{base}:{port}"))
    };
    let slash =
        !base.is_empty() && !endpoint.is_empty() && !base.ends_with('/') && !endpoint.starts_with('/');
    let whole = format!("{base}{}{endpoint}", if slash { "/" } else { "" });
    match Url::parse(&whole) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) => Err(format!("leads to {whole}, and {} is not HTTP", url.scheme())),
        Err(error) => Err(format!("leads to {whole}, which is no address: {error}")),
    }
}

fn headers(job: &Job<'_>, connection: &Connection, args: &HttpArgs) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    let extra = connection.extra.iter().filter(|(name, _)| !OPTIONS.contains(&&***name));
    let extra = extra.map(|(name, value)| (name, as_text(value)));
    let own = args.headers.iter().map(|(name, value)| (name, value.clone()));
    for (name, value) in extra.chain(own) {
        let wrong = |what| job.bad((Some("headers"), format!("can't have {what} of `{name}`")));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("the name"))?;
        headers.insert(parsed, HeaderValue::from_str(&value).map_err(|_| wrong("the value"))?);
    }
    Ok(headers)
}

fn timeout(options: &serde_json::Map<String, Value>) -> Result<Duration, String> {
    let mut timeout = PATIENCE;
    for (name, value) in options {
        match (&**name, value) {
            ("timeout", Value::Number(seconds)) => {
                timeout = seconds
                    .as_f64()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .filter(|timeout| !timeout.is_zero())
                    .ok_or_else(|| format!("has the timeout {seconds}; it is a number of seconds above 0"))?;
            }
            ("timeout", Value::Null) | ("check_response", Value::Bool(_)) => {}
            ("verify" | "allow_redirects", Value::Bool(true)) | ("stream", _) => {}
            (name, value) => return Err(format!("can't have `{name}` as {value} here")),
        }
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_put_together_as_in_airflow() {
        let connection = |host: &str, schema: Option<&str>, port| Connection {
            host: Some(host.into()),
            schema: schema.map(Into::into),
            port,
            ..Connection::default()
        };
        let whole = |connection: &Connection, endpoint| address(connection, endpoint).map(String::from);
        assert_eq!(whole(&connection("a.org", None, None), "x/y").unwrap(), "http://a.org/x/y");
        assert_eq!(
            whole(&connection("a.org", Some("https"), Some(8443)), "/x").unwrap(),
            "https://a.org:8443/x"
        );
        assert_eq!(
            whole(&connection("https://a.org/api", None, None), "x?y=1").unwrap(),
            "https://a.org/api/x?y=1"
        );
        assert_eq!(whole(&Connection::default(), "http://b.org/z").unwrap(), "http://b.org/z");
        assert!(whole(&Connection::default(), "x").is_err());
        assert!(whole(&connection("ftp://a.org", None, None), "x").is_err());
    }
}
