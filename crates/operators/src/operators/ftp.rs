//! The operators that move files by FTP and FTPS, as Airflow's FTP provider documents them.
//!
//! Other than there, the certificate of an FTPS server is checked, and what is moved is never changed on the way:
//! always in binary, always in passive mode, and always to the machine that was called.

mod sensor;
mod server;
mod session;
mod transfer;

pub(super) use self::{
    sensor::{FTP as SENSOR, FTPS as SENSOR_TLS},
    transfer::{FTP as TRANSFER, FTPS as TRANSFER_TLS},
};
use super::connection::Trying;
use crate::{Refused, prepare::Job};

/// Logs in and says good-bye.
pub(super) fn tried(job: &Job<'_>, conn_id: &str) -> Result<Trying, Refused> {
    let server = server::Server::of(job, conn_id, false)?;
    Ok(Box::pin(async move {
        let session = session::Session::open(&server).await.map_err(|fault| fault.to_string())?;
        session.close().await;
        Ok(format!("logged in at {}", server.shown()))
    }))
}
