//! What a connection of type `sms` says of its gateway.

use std::time::Duration;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json};
use updraft_core::protocol::Connection;

use crate::{
    Refused,
    catalog::argument::{BadArgument, Duration as Length, arguments},
    operators::http::{Request, address, expression, form, header_map, pairs},
    prepare::as_text,
};

arguments! {
    /// The extra fields of the connection.
    struct Extra {
        /// What comes behind the gateway's address.
        templated endpoint: String = String::new(),
        /// The method.
        plain method: String = "POST".to_owned(),
        /// Headers.
        templated headers: Map<String, Value>,
        /// What stands behind `?`.
        templated params: Map<String, Value>,
        /// The body.
        templated body: Option<Value>,
        /// How long an answer may take.
        plain timeout: Length = Length(PATIENCE),
        /// The header with what tells a message from others; none where it is empty.
        plain idempotency_header: String = "Idempotency-Key".to_owned(),
        /// Whether the gateway has taken the message, by its answer.
        plain response_check: Option<String>,
    }
}

const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// A gateway, and how it is asked.
pub(crate) struct Gateway {
    connection: Connection,
    extra: Extra,
    method: Method,
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) to: &'a str,
    pub(crate) text: &'a str,
    /// What tells it from others.
    pub(crate) message_id: &'a str,
}

impl Gateway {
    /// Reads the connection. The error goes on after its name.
    pub(crate) fn read(mut connection: Connection) -> Result<Self, String> {
        for name in connection.extra.keys() {
            let mut known = Extra::LIST.iter().map(|field| field.name);
            if !known.any(|known| known == name) {
                let names: Vec<_> = Extra::LIST.iter().map(|field| field.name).collect();
                return Err(format!("has `{name}` among its extra fields; they are {}", names.join(", ")));
            }
        }
        let extra = Extra::read(&connection.extra)
            .map_err(|(name, wrong)| format!("has `{}`, which {wrong}", name.unwrap_or_default()))?;
        if connection.host.as_ref().is_none_or(|host| host.is_empty()) {
            return Err("names no host: it is the gateway's address".into());
        }
        if let Some(check) = &extra.response_check {
            expression::read(check).map_err(|wrong| format!("has `response_check`, which {wrong}"))?;
        }
        let method = Method::from_bytes(extra.method.to_uppercase().as_bytes())
            .map_err(|_| format!("has the method {:?}, which there is not", extra.method))?;
        // What is sent names people: it goes in the clear only where somebody says so.
        connection.schema = connection.schema.filter(|schema| !schema.is_empty()).or(Some("https".into()));
        Ok(Self { connection, extra, method })
    }

    /// The expression over answers.
    pub(crate) fn into_check(self) -> Option<String> {
        self.extra.response_check
    }

    /// The request that sends this message.
    /// Its templates are rendered by `render`, which is given the names that they see.
    pub(crate) fn request(
        &self,
        message: &Message<'_>,
        render: impl FnOnce(Map<String, Value>, &Value) -> Result<Value, Refused>,
        bad: impl Fn(BadArgument) -> Refused,
    ) -> Result<Request, Refused> {
        let conn_id = &self.connection.conn_id;
        let bad = |why: String| {
            bad((Some("sms_conn_id"), format!("leads to the connection `{conn_id}`, whose {why}")))
        };
        let (names, fields) = self.templates(message);
        let rendered = render(names, &fields)?;
        let mut url = address(&self.connection, &as_text(&rendered["endpoint"]))
            .map_err(|_| bad("host and `endpoint` make no address of a web server".into()))?;
        if let Some(params) = rendered["params"].as_object().filter(|params| !params.is_empty()) {
            url.query_pairs_mut().extend_pairs(pairs(params));
        }
        let own = rendered["headers"].as_object().into_iter().flatten();
        let mut headers = header_map(own.map(|(name, value)| (&**name, as_text(value))))
            .map_err(|(_, why)| bad(format!("`headers` {why}")))?;
        if !self.extra.idempotency_header.is_empty() {
            let name = HeaderName::from_bytes(self.extra.idempotency_header.as_bytes());
            let name = name.map_err(|_| bad("`idempotency_header` is no name of a header".into()))?;
            let value = HeaderValue::from_str(message.message_id);
            headers.insert(name, value.map_err(|error| bad(format!("message has no id: {error}")))?);
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_form = kind.starts_with("application/x-www-form-urlencoded");
        let body = match &rendered["body"] {
            Value::Null => None,
            Value::Object(fields) if is_form => Some(form(fields).map_err(|(_, why)| bad(why))?),
            Value::String(text) => Some(text.clone()),
            other => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(other.to_string())
            }
        };
        let Connection { login, password, .. } = self.connection.clone();
        let login = login.filter(|login| !login.is_empty());
        Ok(Request {
            method: self.method.clone(),
            url,
            headers,
            account: login.map(|login| (login.into(), password.map(Into::into))),
            body: body.map(|body| body.into_bytes().into()),
            timeout: Duration::try_from(self.extra.timeout.0).unwrap_or_default(),
            // A redirection would turn a message into a mere look at a page.
            follow: false,
            shown: format!("the gateway of the connection `{conn_id}`").into(),
        })
    }

    /// What the templates of the extra fields see for this message, and the fields.
    fn templates(&self, message: &Message<'_>) -> (Map<String, Value>, Value) {
        let Connection { login, password, .. } = &self.connection;
        let names = [
            ("to", Value::from(message.to)),
            ("text", message.text.into()),
            ("message_id", message.message_id.into()),
            ("login", login.clone().into()),
            ("password", password.clone().into()),
        ];
        let Extra { endpoint, headers, params, body, .. } = &self.extra;
        let default = || json!({"to": "{{ to }}", "text": "{{ text }}"});
        let body = match body {
            Some(body) => body.clone(),
            None if params.is_empty() && self.method != Method::GET => default(),
            None => Value::Null,
        };
        let fields = json!({"endpoint": endpoint, "headers": headers, "params": params, "body": body});
        (names.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(), fields)
    }
}
