//! What goes wrong while a template is read or rendered.

use std::error::Error;

/// An error in a template: what, and, as it rises, where.
#[derive(Debug)]
pub struct Fault {
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// What is wrong, and the mend.
    pub reason: String,
    /// Set where it is not the template's fault: what the world could not do.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// What a template comes to, or what is wrong with it.
pub type Result<T> = std::result::Result<T, Box<Fault>>;

/// An error in words.
pub(super) fn wrong(reason: impl Into<String>) -> Box<Fault> {
    Box::new(Fault { line: None, reason: reason.into(), cause: None })
}

/// Fails with an error in words.
pub fn fault<T>(reason: impl Into<String>) -> Result<T> {
    Err(wrong(reason))
}

/// Adds the line where none is known yet: the innermost counts.
pub fn at<T>(line: u32, result: Result<T>) -> Result<T> {
    result.map_err(|mut fault| {
        fault.line.get_or_insert(line);
        fault
    })
}
