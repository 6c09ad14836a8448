//! Connections and variables in the server's environment: `AIRFLOW_CONN_<ID>` and `AIRFLOW_VAR_<KEY>`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use updraft_core::protocol::Connection;

const CONNECTION: &str = "AIRFLOW_CONN_";
const VARIABLE: &str = "AIRFLOW_VAR_";
/// The parameter of a URI that holds all of `extra` as JSON.
const EXTRA_KEY: &str = "__extra__";

/// A text that is no connection. Never says what it contains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} in the server's environment is no connection: {fault}")]
pub struct BadConnection {
    variable: String,
    fault: Fault,
}

/// Why a text is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has no `://`.
    #[error("write it as JSON, or as a URI: `type://login:password@host:port/schema?key=value`")]
    NoUri,
    /// It has several.
    #[error("it has `://` more than twice; percent-encode what is in a password or a host")]
    TooManySchemes,
    /// Its port.
    #[error("its port is no number up to 65535")]
    Port,
    /// It begins like JSON.
    #[error("its JSON can't be read: line {0} column {1}")]
    Json(usize, usize),
    /// It has a field that there is not.
    #[error("it has no field `{0}`: there are {fields}", fields = FIELDS.join(", "))]
    Field(String),
    /// A field that should be a text.
    #[error("its field `{0}` is no text")]
    Type(&'static str),
    /// It has a URI, and a part of it besides.
    #[error("it has `uri` and `{0}`: write the one or the other")]
    UriAnd(String),
    /// Its `extra`.
    #[error("its extra is no JSON object")]
    Extra,
    /// An address of IPv6 has both.
    #[error("it has a `[` without a `]`")]
    Bracket,
}

/// Reads a connection as Airflow writes it in one text: a URI, or a JSON object.
pub fn parse_connection(conn_id: &str, text: &str) -> Result<Connection, Fault> {
    match text.starts_with('{') {
        true => from_json(conn_id, text),
        false => from_uri(conn_id, text),
    }
}

/// What the environment says about connections and variables, as it was at the start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        // What is not UTF-8 can't be a connection.
        Self::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// These.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |(name, _): &(String, String)| name.starts_with(CONNECTION) || name.starts_with(VARIABLE);
        Self { values: values.into_iter().filter(ours).collect() }
    }

    /// The connection of this name, as Airflow's environment backend finds it.
    pub(super) fn connection(&self, conn_id: &str) -> Result<Option<Connection>, BadConnection> {
        let variable = format!("{CONNECTION}{}", conn_id.to_uppercase());
        let Some(text) = self.values.get(&variable).map(|text| text.trim()).filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        parse_connection(conn_id, text).map(Some).map_err(|fault| BadConnection { variable, fault })
    }

    /// The variable of this name.
    pub(super) fn variable(&self, key: &str) -> Option<String> {
        self.values.get(&format!("{VARIABLE}{}", key.to_uppercase())).cloned()
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Written {
    conn_type: Option<String>,
    description: Option<String>,
    host: Option<String>,
    login: Option<String>,
    password: Option<String>,
    schema: Option<String>,
    port: Value,
    extra: Value,
}

/// The fields of a connection in JSON.
const FIELDS: &[&str] =
    &["conn_type", "description", "extra", "host", "login", "password", "port", "schema", "uri"];

/// As `Connection.from_json` of Airflow reads it, and its constructor: in place of its parts it may have a `uri`.
fn from_json(conn_id: &str, text: &str) -> Result<Connection, Fault> {
    // An error of serde quotes a value where it has the wrong type; names of fields are no secrets.
    let broken = |error: serde_json::Error| Fault::Json(error.line(), error.column());
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(broken)?;
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(Fault::Field(unknown.clone()));
    }
    match fields.get("uri") {
        None | Some(Value::Null) => {}
        Some(Value::String(uri)) if uri.is_empty() => {}
        Some(Value::String(uri)) => {
            let is_part = |(name, value): &(&String, &Value)| {
                !matches!(name.as_str(), "uri" | "description") && !matches!(value, Value::Null)
            };
            if let Some((part, _)) = fields.iter().find(is_part) {
                return Err(Fault::UriAnd(part.clone()));
            }
            let description = fields.get("description").and_then(Value::as_str).map(str::to_owned);
            return Ok(Connection { description, ..from_uri(conn_id, uri)? });
        }
        Some(_) => return Err(Fault::Type("uri")),
    }
    let is_text = |name: &&&str| {
        matches!(**name, "port" | "extra")
            || fields.get(**name).is_none_or(|value| value.is_string() || value.is_null())
    };
    if let Some(wrong) = FIELDS.iter().find(|name| !is_text(name)) {
        return Err(Fault::Type(wrong));
    }
    let written: Written = serde_json::from_value(fields.into()).map_err(broken)?;
    let port = match &written.port {
        Value::Null => None,
        Value::Number(port) => Some(port.to_string()),
        Value::String(port) if port.is_empty() => None,
        Value::String(port) => Some(port.clone()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(Fault::Port),
    };
    let extra = match written.extra {
        Value::Null => Map::new(),
        Value::String(text) => extra_of(&text)?,
        Value::Object(extra) => extra,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Err(Fault::Extra),
    };
    Ok(Connection {
        conn_id: conn_id.to_owned(),
        conn_type: normal_type(&written.conn_type.unwrap_or_default()),
        host: written.host,
        port: port.map(|port| port.trim().parse().map_err(|_| Fault::Port)).transpose()?,
        schema: written.schema,
        login: written.login,
        password: written.password,
        extra,
        description: written.description,
    })
}

/// As `Connection.from_uri` of Airflow's Task SDK reads it.
fn from_uri(conn_id: &str, uri: &str) -> Result<Connection, Fault> {
    if uri.matches("://").count() > 2 {
        return Err(Fault::TooManySchemes);
    }
    let (conn_type, rest) = uri.split_once("://").ok_or(Fault::NoUri)?;
    let (protocol, rest) = match rest.split_once("://") {
        Some((protocol, _)) if protocol.contains(['@', ':']) => return Err(Fault::NoUri),
        Some((protocol, rest)) => (Some(protocol), rest),
        None => (None, rest),
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, schema) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let (user, address) = authority.rsplit_once('@').map_or((None, authority), |(u, a)| (Some(u), a));
    let (login, password) =
        match user.map(|user| user.split_once(':').map_or((user, None), |(l, p)| (l, Some(p)))) {
            Some((login, password)) => (Some(login), password),
            None => (None, None),
        };
    let (host, port) = host_and_port(address)?;
    let host = match protocol {
        Some(protocol) if !host.is_empty() => format!("{protocol}://{host}"),
        Some(_) | None => host,
    };
    Ok(Connection {
        conn_id: conn_id.to_owned(),
        conn_type: normal_type(&conn_type.to_lowercase()),
        host: Some(host),
        port,
        // What a URI can have and has not is empty there, so that templates write nothing for it.
        schema: Some(unquote(schema)),
        login: login.map(unquote),
        password: password.map(unquote),
        extra: query.map_or(Ok(Map::new()), extra_of_query)?,
        description: None,
    })
}

fn host_and_port(address: &str) -> Result<(String, Option<u16>), Fault> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(Fault::Bracket)?;
            (host, rest.strip_prefix(':'))
        }
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let port = port.filter(|port| !port.is_empty());
    let port = port.map(|port| port.parse().map_err(|_| Fault::Port)).transpose()?;
    let decoded = unquote(host);
    // Python's `hostname` is in lower case; a path in a host's place (a socket, a file) is left as it is.
    let host = if decoded.contains('/') { decoded } else { unquote(&host.to_lowercase()) };
    Ok((host, port))
}

fn extra_of_query(query: &str) -> Result<Map<String, Value>, Fault> {
    let mut pairs: Map<String, Value> = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == EXTRA_KEY {
            return extra_of(&value);
        }
        pairs.insert(name.into_owned(), value.into_owned().into());
    }
    Ok(pairs)
}

fn extra_of(text: &str) -> Result<Map<String, Value>, Fault> {
    match serde_json::from_str(text) {
        _ if text.is_empty() => Ok(Map::new()),
        Ok(Value::Object(extra)) => Ok(extra),
        Ok(_) | Err(_) => Err(Fault::Extra),
    }
}

fn normal_type(conn_type: &str) -> String {
    match conn_type {
        "postgresql" => "postgres".into(),
        other => other.replace('-', "_"),
    }
}

/// Percent-decoding that leaves `+` alone, unlike that of a form.
fn unquote(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Option<Connection>, BadConnection> {
        Environment::new([("AIRFLOW_CONN_MY_DB".into(), text.into())]).connection("my_db")
    }

    fn found(text: &str) -> Connection {
        read(text).unwrap().unwrap()
    }

    #[test]
    fn a_uri_is_taken_apart_as_airflow_does_it() {
        let connection = found("postgresql://me%40x:p%2Fw+1@Db.Example:5433/my%20base?sslmode=require&a=");
        assert_eq!(connection.conn_type, "postgres");
        assert_eq!(connection.login.as_deref(), Some("me@x"));
        assert_eq!(connection.password.as_deref(), Some("p/w+1"));
        assert_eq!(connection.host.as_deref(), Some("db.example"));
        assert_eq!(connection.port, Some(5433));
        assert_eq!(connection.schema.as_deref(), Some("my base"));
        assert_eq!(Value::Object(connection.extra), json!({"sslmode": "require", "a": ""}));
    }

    #[test]
    fn a_second_scheme_is_part_of_the_host() {
        let connection = found("http://https://example.com:8443/path");
        assert_eq!(connection.conn_type, "http");
        assert_eq!(connection.host.as_deref(), Some("https://example.com"));
        assert_eq!(connection.port, Some(8443));
    }

    #[test]
    fn extra_in_one_parameter_is_json_and_types_lose_their_dashes() {
        let connection = found("google-cloud-platform://?__extra__=%7B%22project%22%3A%20%22p%22%7D");
        assert_eq!(connection.conn_type, "google_cloud_platform");
        assert_eq!(Value::Object(connection.extra), json!({"project": "p"}));
        assert_eq!(connection.host.as_deref(), Some(""));
    }

    #[test]
    fn what_a_uri_has_not_is_empty_as_in_airflow() {
        let parts = |text: &str| {
            let Connection { host, schema, login, password, .. } = found(text);
            [host, schema, login, password].map(|part| part.unwrap_or_else(|| "none".into()))
        };
        for (uri, expected) in [
            ("http://h", ["h", "", "none", "none"]),
            ("http://u@h/", ["h", "", "u", "none"]),
            ("http://u:@h", ["h", "", "u", ""]),
            ("http://:p@h", ["h", "", "", "p"]),
            ("http://@:80", ["", "", "", "none"]),
            ("sqlite:///x.db", ["", "x.db", "none", "none"]),
        ] {
            assert_eq!(parts(uri), expected, "{uri}");
        }
    }

    #[test]
    fn json_is_read_with_extra_as_an_object_or_as_text() {
        let text = r#"{"conn_type": "http", "port": "80", "password": "p", "extra": "{\"a\": 1}"}"#;
        let connection = found(text);
        assert_eq!((connection.port, connection.password.as_deref()), (Some(80), Some("p")));
        assert_eq!(Value::Object(connection.extra), json!({"a": 1}));
    }

    #[test]
    fn json_may_have_a_uri_in_place_of_its_parts() {
        let connection = found(r#"{"uri": "http://me:p@h:80?a=1", "description": "the shop", "host": null}"#);
        assert_eq!((connection.host.as_deref(), connection.login.as_deref()), (Some("h"), Some("me")));
        assert_eq!((connection.port, connection.description.as_deref()), (Some(80), Some("the shop")));
        let error = |text: &str| read(text).unwrap_err().to_string();
        let both = error(r#"{"uri": "http://h", "password": "s3cret"}"#);
        assert!(both.ends_with("it has `uri` and `password`: write the one or the other"), "{both}");
        assert!(error(r#"{"uri": 1}"#).ends_with("its field `uri` is no text"));
    }

    #[test]
    fn an_unknown_field_is_named_with_those_that_there_are() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        let unknown = error(r#"{"conn_type": "http", "pass": "s3cret"}"#);
        let fields = "conn_type, description, extra, host, login, password, port, schema, uri";
        assert!(unknown.ends_with(&format!("it has no field `pass`: there are {fields}")), "{unknown}");
        assert!(error(r#"{"host": 5}"#).ends_with("its field `host` is no text"));
        assert!(error("{\"host\":\n 5 6}").ends_with("its JSON can't be read: line 2 column 4"));
    }

    #[test]
    fn what_is_no_connection_is_refused_without_saying_what_it_is() {
        for text in ["s3cret", "http://h:99999", r#"{"passwort": "s3cret"}"#, "a://b://c://d", "http://[::1"]
        {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("AIRFLOW_CONN_MY_DB in the server's environment"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn variables_are_found_in_upper_case_and_nothing_else_is_kept() {
        let all = [("AIRFLOW_VAR_ENV", "prod"), ("PATH", "/bin")];
        let environment = Environment::new(all.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(environment.variable("env").as_deref(), Some("prod"));
        assert_eq!(environment.values.len(), 1);
        assert_eq!(read("").unwrap(), None);
    }
}
