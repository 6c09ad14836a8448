//! What goes wrong while a template is read or rendered.

use crate::HostError;

/// An error in a template: what, and, as it rises, where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: Option<u32>,
    pub(super) reason: String,
    pub(super) host: Option<HostError>,
}

pub(super) type Result<T> = std::result::Result<T, Box<Fault>>;

/// An error in words.
pub(super) fn wrong(reason: impl Into<String>) -> Box<Fault> {
    Box::new(Fault { line: None, reason: reason.into(), host: None })
}

/// Fails with an error in words.
pub(super) fn fault<T>(reason: impl Into<String>) -> Result<T> {
    Err(wrong(reason))
}

impl From<HostError> for Box<Fault> {
    fn from(error: HostError) -> Self {
        Self::new(Fault { line: None, reason: error.to_string(), host: Some(error) })
    }
}

/// Adds the line where none is known yet: the innermost counts.
pub(super) fn at<T>(line: u32, result: Result<T>) -> Result<T> {
    result.map_err(|mut fault| {
        fault.line.get_or_insert(line);
        fault
    })
}
