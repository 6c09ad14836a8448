//! The operators against real counterparts: bash, python3, HTTP and SMTP servers, databases, and Airflow's own answers.
#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

mod alert;
mod branch;
mod dag_run;
mod email;
mod files;
mod http;
mod http_operator;
mod oracle;
mod process;
mod server;
mod slack;
mod sms;
mod sql;
mod template;
mod wait;
mod world;
