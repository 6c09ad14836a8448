//! What a route takes from its body.

use axum::{
    extract::{FromRequest, OptionalFromRequest, Request, rejection::BytesRejection},
    http::StatusCode,
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;
use updraft_core::numbers;

use super::error::{Error, Invalid};

/// A body in JSON. What does not have the right form is answered with 422 and the place of the fault.
pub(crate) struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        parse(&bytes(request, state).await?).map(Self)
    }
}

/// A body in JSON, or none at all.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Error> {
        match bytes(request, state).await? {
            bytes if bytes.is_empty() => Ok(None),
            bytes => parse(&bytes).map(|body| Some(Self(body))),
        }
    }
}

/// All of a body, up to the limit.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(failed) if failed.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Error::Status(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large".into())
        }
        other => Error::bad_request(other.to_string()),
    })
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    numbers::fit_64_bits(bytes).map_err(|large| {
        let loc = vec!["body".into()];
        Invalid { r#type: "int_parsing_size", loc, msg: large.to_string(), input: Box::default() }
    })?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let segments = error.path().iter().map(|segment| match segment {
            Segment::Seq { index } => (*index).into(),
            Segment::Map { key } => key.as_str().into(),
            Segment::Enum { variant } => variant.as_str().into(),
            Segment::Unknown => Value::Null,
        });
        let loc: Vec<Value> =
            [Value::from("body")].into_iter().chain(segments.filter(|segment| !segment.is_null())).collect();
        let r#type = match error.inner().classify() {
            serde_json::error::Category::Data => kind_of(&error.inner().to_string()),
            _ => "json_invalid",
        };
        Error::from(Invalid { r#type, loc, msg: error.inner().to_string(), input: Box::default() })
    })?;
    reader.end().map_err(|error| {
        let (loc, msg) = (vec!["body".into()], error.to_string());
        Invalid { r#type: "json_invalid", loc, msg, input: Box::default() }
    })?;
    Ok(read)
}

/// Pydantic's word for what serde says.
fn kind_of(message: &str) -> &'static str {
    match message {
        message if message.starts_with("missing field") => "missing",
        message if message.starts_with("unknown field") => "extra_forbidden",
        message if message.starts_with("unknown variant") => "enum",
        _ => "value_error",
    }
}

/// For `Option<Option<T>>`: `None` where the field was not sent, `Some(None)` where `null` was.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its reading is looked at")]
        slots: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only its reading is looked at")]
        pools: Vec<Inner>,
    }

    fn fault(text: &str) -> Invalid {
        match parse::<Outer>(text.as_bytes()) {
            Err(Error::Invalid(mut faults)) => faults.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fault_says_where_it_is_and_of_what_kind() {
        assert_eq!(
            fault(r#"{"pools": [{"slots": "x"}]}"#).loc,
            [json!("body"), json!("pools"), json!(0), json!("slots")]
        );
        assert_eq!(fault(r#"{"pools": [{}]}"#).r#type, "missing");
        assert_eq!(fault(r#"{"pools": [{"slots": 1, "slot": 1}]}"#).r#type, "extra_forbidden");
        assert_eq!(fault("{").r#type, "json_invalid");
        assert_eq!(fault(r#"{"pools": []} x"#).r#type, "json_invalid");
        assert_eq!(fault(r#"{"pools": [18446744073709551616]}"#).r#type, "int_parsing_size");
    }
}
