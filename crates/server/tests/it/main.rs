//! What the server does, as seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has to end")]

mod authoring;
mod http;
