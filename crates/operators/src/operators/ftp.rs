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
