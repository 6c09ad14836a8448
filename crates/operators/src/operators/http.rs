//! `HttpOperator` and `HttpSensor`, and the one HTTP client of a worker, which others ask through too.

mod client;
pub(super) mod expression;
mod operator;
mod request;
mod sensor;

pub(crate) use self::client::Client;
#[cfg(feature = "alerts")]
pub(crate) use self::request::{Call, Site};
#[cfg(feature = "sms")]
pub(crate) use self::request::{address, form, header_map, pairs};
#[cfg(any(feature = "slack", feature = "sms"))]
pub(crate) use self::{
    client::{Answer, Longest},
    request::Request,
};
pub(super) use self::{operator::ENTRY as OPERATOR, sensor::ENTRY as SENSOR};
