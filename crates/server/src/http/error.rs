//! What is answered when a request can't be obeyed, in the shape that FastAPI gives it for Airflow:
//! `{"detail": …}`.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::error;
use updraft_core::input::CommandError;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{RefOr, Response as Described, ResponseBuilder, content::ContentBuilder, schema::Ref},
};

use crate::{accounts::Denied, blobs, leader::Refusal, secrets};

/// Why a request is not obeyed.
#[derive(Debug)]
pub(crate) enum Error {
    /// This status, and why.
    Status(StatusCode, String),
    /// What was sent does not have the right form (422).
    Invalid(Vec<Invalid>),
    /// Not now; again after so many seconds (503, or 429).
    Later(StatusCode, String, u64),
    /// A bug, or something broken outside (500). Logged; not told.
    Internal(String),
}

/// Something in a request that does not have the right form, as FastAPI reports it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Invalid {
    /// The kind of fault, in Pydantic's words.
    pub r#type: &'static str,
    /// Where: `query`, `path` or `body`, then the names that lead there.
    #[schema(value_type = Vec<Object>)]
    pub loc: Vec<Value>,
    /// What is wrong.
    pub msg: String,
    /// What was there.
    #[schema(value_type = Object)]
    pub input: Box<Value>,
}

impl Invalid {
    /// A fault of a value in a body.
    pub fn body(field: &str, r#type: &'static str, msg: impl Into<String>, input: Value) -> Self {
        Self { r#type, loc: vec!["body".into(), field.into()], msg: msg.into(), input: input.into() }
    }

    /// A fault of a parameter in the query.
    pub fn query(name: &str, r#type: &'static str, msg: impl Into<String>, input: &str) -> Self {
        let input = Box::new(input.into());
        Self { r#type, loc: vec!["query".into(), name.into()], msg: msg.into(), input }
    }

    /// A value that its own rule refuses, in Pydantic's words.
    pub fn value(field: &str, msg: impl std::fmt::Display, input: impl Into<Value>) -> Self {
        Self::body(field, "value_error", format!("Value error, {msg}"), input.into())
    }
}

/// The body of an error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `into_response` writes by hand")]
pub(crate) struct Problem {
    /// What is wrong: a sentence, or a list of faults where the form is wrong.
    #[schema(value_type = Object)]
    detail: Value,
}

impl Error {
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::NOT_FOUND, detail.into())
    }

    /// The same in all answers, so that whoever reads them can tell what is missing.
    pub fn no_dag(dag_id: &str) -> Self {
        Self::not_found(format!("there is no DAG `{dag_id}`"))
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::CONFLICT, detail.into())
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::BAD_REQUEST, detail.into())
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::FORBIDDEN, detail.into())
    }

    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::Status(StatusCode::UNPROCESSABLE_ENTITY, detail.into())
    }

    /// The same error of one of several things, which it names.
    pub fn of(self, thing: &impl std::fmt::Display) -> Self {
        match self {
            Self::Status(status, detail) => Self::Status(status, format!("{thing}: {detail}")),
            Self::Later(status, detail, seconds) => {
                Self::Later(status, format!("{thing}: {detail}"), seconds)
            }
            other => other,
        }
    }

    /// The sentence of an error, for lists of what became of several things.
    pub fn parts(&self) -> (StatusCode, Value) {
        match self {
            Self::Status(status, detail) => (*status, detail.as_str().into()),
            Self::Invalid(faults) => (StatusCode::UNPROCESSABLE_ENTITY, json!(faults)),
            Self::Later(status, detail, _) => (*status, detail.as_str().into()),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server failed at this; its log says why under the id in the X-Request-Id header".into(),
            ),
        }
    }
}

impl From<Invalid> for Error {
    fn from(fault: Invalid) -> Self {
        Self::Invalid(vec![fault])
    }
}

impl From<updraft_store::Error> for Error {
    fn from(error: updraft_store::Error) -> Self {
        match error.is_retryable() {
            true => Self::Later(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), 2),
            false => Self::Internal(error.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Command(CommandError::NotFound(detail)) => Self::not_found(detail),
            Refusal::Command(CommandError::Conflict(detail)) => Self::conflict(detail),
            Refusal::Command(CommandError::Invalid(detail)) => Self::bad_request(detail),
            Refusal::TryAgain => Self::Later(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), 1),
            Refusal::NoLeader => Self::Later(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), 5),
        }
    }
}

impl From<secrets::KeyError> for Error {
    fn from(error: secrets::KeyError) -> Self {
        // It says what to mend, and nothing of the secret.
        Self::Status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<secrets::Error> for Error {
    fn from(error: secrets::Error) -> Self {
        match error {
            secrets::Error::Store(error) => error.into(),
            secrets::Error::Key(error) => error.into(),
            // It says what to mend, and nothing of the secret.
            secrets::Error::Environment(error) => {
                Self::Status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            // Not the server's own absence, for whose end a worker waits: the attempt fails, and says why.
            secrets::Error::Backend(error) => Self::Status(StatusCode::FAILED_DEPENDENCY, error.to_string()),
        }
    }
}

impl From<blobs::Error> for Error {
    fn from(error: blobs::Error) -> Self {
        match error {
            blobs::Error::NotFound(_) => Self::not_found(error.to_string()),
            blobs::Error::NoName | blobs::Error::Upload(_) => Self::bad_request(error.to_string()),
            blobs::Error::TooLarge(_) => Self::Status(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            blobs::Error::Store(_) => Self::Later(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), 5),
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        let detail = denied.to_string();
        match denied {
            Denied::Credentials | Denied::Expired | Denied::Disabled => {
                Self::Status(StatusCode::UNAUTHORIZED, detail)
            }
            // Airflow's answer to a token that is none.
            Denied::Token => Self::forbidden(detail),
            Denied::Throttled(wait) => {
                Self::Later(StatusCode::TOO_MANY_REQUESTS, detail, wait.as_secs().max(1))
            }
            Denied::Store(error) => error.into(),
            Denied::System(_) => Self::Internal(detail),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal(why) = &self {
            error!(why, "a request failed");
        }
        let (status, detail) = self.parts();
        let mut response = (status, Json(json!({ "detail": detail }))).into_response();
        if let Self::Later(_, _, seconds) = self {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

pub(super) async fn no_route() -> Error {
    Error::not_found("Not Found")
}

pub(super) fn method_not_allowed() -> Error {
    Error::Status(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".into())
}

/// The errors that a route which reads can answer with.
pub(crate) struct Reads;
/// The errors that a route which changes something can answer with.
pub(crate) struct Writes;

fn described(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Described>> {
    let describe = |(status, text): &(&str, &str)| {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(*text).content("application/json", content);
        ((*status).to_owned(), RefOr::T(response.build()))
    };
    list.iter().map(describe).collect()
}

const OF_READS: [(&str, &str); 5] = [
    ("401", "Not authenticated, or the token has expired"),
    ("403", "Not allowed"),
    ("404", "Not found"),
    ("422", "A parameter has the wrong form"),
    ("503", "The database is away, or nobody leads; Retry-After says when to ask again"),
];
const OF_WRITES: [(&str, &str); 2] =
    [("400", "It makes no sense"), ("409", "It does not fit with what is there")];

impl IntoResponses for Reads {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&OF_READS)
    }
}

impl IntoResponses for Writes {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = described(&OF_READS);
        all.append(&mut described(&OF_WRITES));
        all
    }
}
