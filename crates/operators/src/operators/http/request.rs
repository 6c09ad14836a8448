//! What is asked, put together from the connection and the arguments.

use std::time::Duration;

use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Map, Value};
use updraft_core::protocol::Connection;

use crate::{
    Refused,
    catalog::argument::{BadArgument, Strings},
    prepare::{Job, as_text, no_connection},
};

pub(super) const DEFAULT_CONNECTION: &str = "http_default";

/// Fields of a connection's extras, and keys of `extra_options`, that are options and no headers.
const OPTIONS: &[&str] = &[
    "timeout",
    "check_response",
    "allow_redirects",
    "verify",
    "verify_ssl",
    "srv_lookup",
    "stream",
    "cert",
    "proxies",
    "proxy",
    "max_redirects",
    "trust_env",
];

/// How long an answer may take where nothing is said.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Login and password.
    pub(crate) account: Option<(Box<str>, Option<Box<str>>)>,
    pub(crate) body: Option<Box<[u8]>>,
    pub(crate) timeout: Duration,
    /// Whether redirections are followed.
    pub(crate) follow: bool,
    /// What logs and errors call it: without what stands behind `?`, in which there may be secrets.
    pub(crate) shown: Box<str>,
}

impl Request {
    /// Whether the server comes to the same where it is asked twice: by the method (RFC 9110, 9.2.2), or since it is
    /// told by which key it knows what comes again.
    pub(super) fn may_be_asked_twice(&self) -> bool {
        self.method.is_idempotent() || self.headers.contains_key("idempotency-key")
    }
}

/// A server that is asked: the connection to it.
#[derive(Debug)]
pub(crate) struct Site(Connection);

/// What is asked of it, as arguments say it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) endpoint: String,
    /// With GET what stands behind `?`, otherwise the body: a map is sent as a form, or as JSON where the headers say
    /// so, as dag-factory has it.
    pub(crate) data: Option<Value>,
    pub(crate) headers: Strings,
    pub(crate) extra_options: Map<String, Value>,
    /// `json`: a value that is sent as the body.
    pub(crate) request_kwargs: Map<String, Value>,
}

impl Site {
    /// The server that this connection leads to; whoever asks for whole addresses needs none.
    #[cfg(feature = "alerts")]
    pub(crate) fn of_connection(connection: Connection) -> Self {
        Self(connection)
    }

    /// The server that this connection leads to.
    pub(super) fn of(job: &Job<'_>, conn_id: &str, endpoint: &str) -> Result<Self, Refused> {
        match job.connection_if_any(conn_id)? {
            // A whole address needs no connection; one that nobody has named is not meant.
            _ if conn_id == DEFAULT_CONNECTION && is_whole(endpoint) => Ok(Self(Connection::default())),
            Some(connection) => Ok(Self(connection)),
            None => Err(no_connection(conn_id)),
        }
    }

    /// The request for a call. The error names the argument that is wrong.
    pub(crate) fn request(&self, call: &Call) -> Result<Request, BadArgument> {
        let url = address(&self.0, &call.endpoint).map_err(|reason| (Some("endpoint"), reason))?;
        self.request_to(url, call)
    }

    /// The request for a call that an answer to the first one made: its endpoint may be a whole address, or one
    /// that is read from the first one's on. It leads to the same server, since the answer's author could
    /// otherwise send the connection's account anywhere.
    pub(super) fn next_request(&self, call: &Call, first: &Request) -> Result<Request, BadArgument> {
        let bad = |reason| (Some("endpoint"), reason);
        let own_host = self.0.host.as_ref().is_some_and(|host| !host.is_empty());
        let url = if own_host && !call.endpoint.contains("://") {
            address(&self.0, &call.endpoint).map_err(bad)?
        } else {
            let joined = first.url.join(&call.endpoint);
            joined.map_err(|error| bad(format!("is no address: {error}")))?
        };
        if url.origin() != first.url.origin() {
            let (there, here) = (without_secrets(&url), without_secrets(&first.url));
            return Err(bad(format!("leads to {there}, which is another server than that of {here}")));
        }
        self.request_to(url, call)
    }

    fn request_to(&self, mut url: Url, call: &Call) -> Result<Request, BadArgument> {
        let connection = &self.0;
        let options = Options::read(connection, &call.extra_options)
            .map_err(|reason| (Some("extra_options"), reason))?;
        let method = Method::from_bytes(call.method.to_uppercase().as_bytes())
            .map_err(|_| (Some("method"), format!("can't be {:?}", call.method)))?;
        let mut headers = headers(connection, &call.headers)?;
        let mut body = None;
        match &call.data {
            _ if method == Method::HEAD => {}
            None | Some(Value::Null) => {}
            Some(Value::Object(params)) if params.is_empty() => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::Object(params)) if method == Method::GET => {
                url.query_pairs_mut().extend_pairs(pairs(params));
            }
            Some(Value::String(query)) if method == Method::GET => {
                let before = url.query().map(|query| format!("{query}&")).unwrap_or_default();
                url.set_query(Some(&format!("{before}{query}")));
            }
            Some(Value::Object(params)) if !says_json(&headers) => {
                body = Some(form(params)?.into_bytes().into());
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.entry(CONTENT_TYPE).or_insert(kind);
            }
            Some(other) => body = Some(as_text(other).into_bytes().into()),
        }
        for (name, value) in &call.request_kwargs {
            if name != "json" {
                return Err((Some("request_kwargs"), format!("takes `json` only; found `{name}`")));
            }
            body = Some(value.to_string().into_bytes().into());
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        let account = connection.login.clone().filter(|login| !login.is_empty());
        let account = account.map(|login| (login.into(), connection.password.clone().map(Into::into)));
        let shown = format!("{method} {}", without_secrets(&url)).into();
        let Options { timeout, follow } = options;
        Ok(Request { method, url, headers, account, body, timeout, follow, shown })
    }
}

/// Whether these headers say of the body that it is JSON.
fn says_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// An address as everybody may see it.
fn without_secrets(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // What can have no account has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// A map as Python's `requests` sends it: a list is sent item by item under one name, null not at all.
pub(crate) fn pairs(params: &Map<String, Value>) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    for (name, value) in params {
        match value {
            Value::Null => {}
            Value::Array(items) => pairs.extend(items.iter().map(|item| (&**name, as_text(item)))),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                pairs.push((name, as_text(value)));
            }
        }
    }
    pairs
}

/// The map as the body of a form.
pub(crate) fn form(params: &Map<String, Value>) -> Result<String, BadArgument> {
    let mut form = Url::parse("form:").map_err(|error| (None, error.to_string()))?;
    form.query_pairs_mut().extend_pairs(pairs(params));
    Ok(form.query().unwrap_or_default().to_owned())
}

/// Whether an endpoint is a whole address.
fn is_whole(endpoint: &str) -> bool {
    let is_scheme =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    endpoint.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// The connection's address with the endpoint behind it, as Airflow's `HttpHook` puts them together, but for the type
/// `https`, which is what it says.
pub(crate) fn address(connection: &Connection, endpoint: &str) -> Result<Url, String> {
    let host = connection.host.as_deref().unwrap_or_default();
    if !host.is_empty() && is_whole(endpoint) {
        return Err(format!(
            "is a whole address, {endpoint}, and its connection names a host too: leave one of them out"
        ));
    }
    let base = if host.is_empty() && endpoint.contains("://") {
        String::new()
    } else if host.is_empty() {
        return Err(format!("leads to {endpoint}, and its connection names no host"));
    } else {
        // Airflow's hook asks in the clear where only the type says `https`, as that of a URI does.
        let of_type = if connection.conn_type == "https" { "https" } else { "http" };
        let schema = connection.schema.as_deref().filter(|schema| !schema.is_empty()).unwrap_or(of_type);
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

fn headers(connection: &Connection, own: &Strings) -> Result<HeaderMap, BadArgument> {
    let extra = connection.extra.iter().filter(|(name, _)| !OPTIONS.contains(&&***name));
    let extra = extra.map(|(name, value)| (&**name, as_text(value)));
    header_map(extra.chain(own.iter().map(|(name, value)| (&**name, value.clone()))))
}

/// Headers; of two of the same name the later one counts.
pub(crate) fn header_map<'a>(all: impl Iterator<Item = (&'a str, String)>) -> Result<HeaderMap, BadArgument> {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let wrong = |what| (Some("headers"), format!("can't have {what} of `{name}`"));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("the name"))?;
        headers.insert(parsed, HeaderValue::from_str(&value).map_err(|_| wrong("the value"))?);
    }
    Ok(headers)
}

/// The options of the connection and of the arguments, those in place of these.
struct Options {
    timeout: Duration,
    follow: bool,
}

impl Options {
    fn read(connection: &Connection, own: &Map<String, Value>) -> Result<Self, String> {
        let mut options = Self { timeout: PATIENCE, follow: true };
        let of_connection = connection.extra.iter().filter(|(name, _)| OPTIONS.contains(&&***name));
        for (name, value) in of_connection.chain(own) {
            match (&**name, value) {
                ("timeout", Value::Number(seconds)) => {
                    options.timeout = seconds
                        .as_f64()
                        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                        .filter(|timeout| !timeout.is_zero())
                        .ok_or_else(|| {
                            format!("has the timeout {seconds}; it is a number of seconds above 0")
                        })?;
                }
                ("allow_redirects", Value::Bool(follow)) => options.follow = *follow,
                ("check_response", Value::Bool(_)) | (_, Value::Null) | ("stream", _) => {}
                ("verify" | "verify_ssl", Value::Bool(true)) | ("srv_lookup", Value::Bool(false)) => {}
                ("verify" | "verify_ssl", _) => {
                    return Err(format!(
                        "can't have `{name}` as {value}: add the server's certificate to those that this \
                         machine trusts"
                    ));
                }
                ("proxy" | "proxies", _) => {
                    return Err(format!(
                        "can't have `{name}`: start the worker with HTTPS_PROXY or HTTP_PROXY set"
                    ));
                }
                (name, value) => return Err(format!("can't have `{name}` as {value} here")),
            }
        }
        Ok(options)
    }
}

/// Whether a status from 400 on is an error: what the arguments say, or else the connection.
pub(super) fn checks_status(site: &Site, own: &Map<String, Value>) -> bool {
    let said = own.get("check_response").or_else(|| site.0.extra.get("check_response"));
    said != Some(&Value::Bool(false))
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
        let secure = |schema| Connection { conn_type: "https".into(), ..connection("a.org", schema, None) };
        assert_eq!(whole(&secure(None), "x").unwrap(), "https://a.org/x");
        assert_eq!(whole(&secure(Some("http")), "x").unwrap(), "http://a.org/x");
        assert_eq!(
            whole(&connection("https://a.org/api", None, None), "x?y=1").unwrap(),
            "https://a.org/api/x?y=1"
        );
        assert_eq!(whole(&Connection::default(), "http://b.org/z").unwrap(), "http://b.org/z");
        let both = whole(&connection("a.org", None, None), "https://b.org/z").unwrap_err();
        assert!(both.contains("leave one of them out"), "{both}");
        assert_eq!(
            whole(&connection("a.org", None, None), "to?u=http://b").unwrap(),
            "http://a.org/to?u=http://b"
        );
        assert!(whole(&Connection::default(), "x").is_err());
        assert!(whole(&connection("ftp://a.org", None, None), "x").is_err());
    }
}
