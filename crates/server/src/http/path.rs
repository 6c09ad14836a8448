//! What a route takes from its path.

use axum::{
    extract::{FromRequestParts, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Error, Invalid};

/// The parts of the path, by place. A part that is no number where one belongs is answered with 422, as
/// FastAPI does.
pub(crate) struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(failed)) => {
                let input = match failed.kind() {
                    ErrorKind::ParseErrorAtIndex { value, .. } | ErrorKind::ParseErrorAtKey { value, .. } => {
                        value.as_str().into()
                    }
                    _ => Value::Null,
                };
                let msg = "Input should be a valid integer, unable to parse string as an integer".into();
                Err(Invalid { r#type: "int_parsing", loc: vec!["path".into()], msg, input: Box::new(input) }
                    .into())
            }
            Err(other) => Err(Error::Internal(other.to_string())),
        }
    }
}
