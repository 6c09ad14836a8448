//! The operators against real counterparts: bash, python3, HTTP, SMTP, SSH, FTP and S3 servers, databases, and Airflow's own answers.
#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

mod alert;
mod branch;
mod cut;
mod dag_run;
mod email;
mod files;
mod ftp;
mod http;
mod http_file;
mod http_operator;
mod local_files;
mod mapped;
mod memory;
mod oracle;
mod owner;
mod process;
mod s3;
mod server;
mod slack;
mod sms;
mod sql;
mod ssh;
mod template;
mod wait;
mod world;
