//! The native operators and sensors, and the templates of their arguments.
//!
//! A DAG file's reader asks [`catalog`] whether an operator takes the arguments it is given. A worker
//! gives [`prepare()`] an order and a [`Host`] to look things up through, and gets the arguments as
//! rendered and the [`Work`] to do: a process to start, a future to drive, or a time to wait for.

#[cfg(feature = "alerts")]
pub mod alert;
pub mod catalog;
mod files;
mod host;
#[cfg(feature = "email")]
pub mod mail;
mod operators;
pub mod outcome;
mod prepare;
pub mod secrets;
mod sensor;
pub mod template;
#[cfg(any(feature = "ftp", feature = "http", feature = "s3"))]
mod tls;
pub mod work;

#[cfg(feature = "s3")]
pub use self::operators::s3::said_by_server as said_by_s3;
pub use self::{
    files::Files,
    host::{Host, HostError, PreviousSuccess, Smtp, Variable},
    operators::python::callback,
    prepare::{Prepared, Refused, is_literal, prepare},
    work::{Asked, NativeTask, ProcessPlan, Server, Work},
};
