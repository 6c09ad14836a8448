//! `HttpOperator` and `HttpSensor`, and the one HTTP client of a worker, which others ask through too.

mod client;
pub(super) mod expression;
mod operator;
mod request;
mod sensor;

#[cfg(any(feature = "alerts", feature = "sms"))]
pub(crate) use self::client::Answer;
#[cfg(any(feature = "slack", feature = "sms"))]
pub(crate) use self::request::Request;
#[cfg(feature = "sms")]
pub(crate) use self::request::{address, form, header_map, pairs};
pub(crate) use self::{
    client::{Client, Longest},
    request::{Call, Site},
};
pub(super) use self::{operator::ENTRY as OPERATOR, sensor::ENTRY as SENSOR};
use super::connection::Trying;
use crate::{Refused, prepare::Job};

/// Asks for the page that it leads to. Whatever its status, somebody answers; that it knows who asks it may not say.
pub(super) fn tried(job: &Job<'_>, conn_id: &str) -> Result<Trying, Refused> {
    let call = Call {
        method: "GET".into(),
        endpoint: String::new(),
        data: None,
        headers: Default::default(),
        extra_options: Default::default(),
        request_kwargs: Default::default(),
    };
    let site = Site::of(job, conn_id, "")?;
    let request = site.request(&call).map_err(|bad| job.bad(bad))?;
    Ok(Box::pin(async move {
        let answer = Client::default().ask(&request, Longest::Cut(MOST_LOOKED_AT)).await;
        let answer = answer.map_err(|unanswered| unanswered.why)?;
        match answer.status.as_u16() {
            401 | 403 => {
                Err(format!("{} answers with {}: check the account", request.shown, answer.reason()))
            }
            _ => Ok(format!("{} answers with {}", request.shown, answer.reason())),
        }
    }))
}

/// So many bytes of an answer are read where nothing of it matters.
const MOST_LOOKED_AT: usize = 1024;
