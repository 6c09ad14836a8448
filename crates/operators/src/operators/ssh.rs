//! The operators that run commands and move files over SSH, as Airflow's SSH and SFTP providers document them.
//!
//! Other than there, a server that nobody has vouched for is refused: its key is in the connection's `host_key` or in
//! `known_hosts`, or the connection says `no_host_key_check`. And no key of the worker's own user is tried: what a task
//! may use is in its connection.

mod command;
mod fault;
mod known;
mod sensor;
mod server;
mod session;
mod sftp;
mod transfer;

pub(super) use self::{command::ENTRY as COMMAND, sensor::ENTRY as SENSOR, transfer::ENTRY as TRANSFER};
use super::connection::Trying;
use crate::{Refused, prepare::Job};

/// Logs in and says good-bye.
pub(super) fn tried(job: &Job<'_>, conn_id: &str) -> Result<Trying, Refused> {
    let server = server::Server::of(job, conn_id, None)?;
    Ok(Box::pin(async move {
        let session = session::Session::open(&server).await.map_err(|fault| fault.to_string())?;
        session.close().await;
        Ok(format!("logged in at {}", server.shown()))
    }))
}
