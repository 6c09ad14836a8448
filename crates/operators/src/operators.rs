//! The operators, one module each.

mod bash;
mod between;
mod branch;
mod connection;
mod dag_run;
#[cfg(feature = "email")]
mod email;
mod empty;
#[cfg(any(feature = "http", feature = "sql"))]
mod expression;
mod file;
#[cfg(feature = "ftp")]
mod ftp;
#[cfg(feature = "http")]
pub(crate) mod http;
mod local;
pub(crate) mod python;
#[cfg(feature = "s3")]
pub(crate) mod s3;
mod script;
#[cfg(feature = "slack")]
pub(crate) mod slack;
#[cfg(feature = "sms")]
pub(crate) mod sms;
#[cfg(feature = "sql")]
mod sql;
#[cfg(feature = "ssh")]
mod ssh;
mod time;
#[cfg(any(feature = "ftp", feature = "ssh"))]
mod transfer;
mod weekday;

use crate::catalog::Entry;

/// All of them, those first that are used most.
pub(crate) const ALL: &[Entry] = &[
    bash::ENTRY,
    python::PYTHON,
    python::BRANCH,
    python::SHORT_CIRCUIT,
    python::apart::ENVIRONMENT,
    python::apart::BRANCH_ENVIRONMENT,
    python::apart::EXTERNAL,
    python::apart::BRANCH_EXTERNAL,
    bash::function::ENTRY,
    branch::BRANCH,
    branch::SHORT_CIRCUIT,
    weekday::BRANCH,
    between::BRANCH,
    dag_run::LATEST_ONLY,
    dag_run::TRIGGER,
    script::ENTRY,
    connection::TEST,
    #[cfg(feature = "email")]
    email::ENTRY,
    #[cfg(feature = "slack")]
    slack::ENTRY,
    #[cfg(feature = "slack")]
    slack::post::ENTRY,
    #[cfg(feature = "sms")]
    sms::ENTRY,
    #[cfg(feature = "sql")]
    sql::EXECUTE,
    #[cfg(feature = "sql")]
    sql::POSTGRES,
    #[cfg(feature = "sql")]
    sql::MYSQL,
    #[cfg(feature = "sql")]
    sql::SQLITE,
    #[cfg(feature = "sql")]
    sql::TRANSFER,
    #[cfg(feature = "sql")]
    sql::EXPORT,
    #[cfg(feature = "sql")]
    sql::CHECK,
    #[cfg(feature = "sql")]
    sql::VALUE_CHECK,
    #[cfg(feature = "sql")]
    sql::THRESHOLD_CHECK,
    #[cfg(feature = "sql")]
    sql::INTERVAL_CHECK,
    #[cfg(feature = "sql")]
    sql::COLUMN_CHECK,
    #[cfg(feature = "sql")]
    sql::TABLE_CHECK,
    #[cfg(feature = "sql")]
    sql::BRANCH,
    #[cfg(feature = "sql")]
    sql::SENSOR,
    #[cfg(feature = "ssh")]
    ssh::COMMAND,
    #[cfg(feature = "ssh")]
    ssh::TRANSFER,
    #[cfg(feature = "ssh")]
    ssh::SENSOR,
    #[cfg(feature = "ftp")]
    ftp::TRANSFER,
    #[cfg(feature = "ftp")]
    ftp::TRANSFER_TLS,
    #[cfg(feature = "ftp")]
    ftp::SENSOR,
    #[cfg(feature = "ftp")]
    ftp::SENSOR_TLS,
    #[cfg(feature = "s3")]
    s3::UPLOAD,
    #[cfg(feature = "s3")]
    s3::DOWNLOAD,
    #[cfg(feature = "s3")]
    s3::CREATE,
    #[cfg(feature = "s3")]
    s3::COPY,
    #[cfg(feature = "s3")]
    s3::LIST,
    #[cfg(feature = "s3")]
    s3::DELETE,
    #[cfg(feature = "s3")]
    s3::CREATE_BUCKET,
    #[cfg(feature = "s3")]
    s3::DELETE_BUCKET,
    #[cfg(feature = "s3")]
    s3::SENSOR,
    file::write::ENTRY,
    file::read::ENTRY,
    file::delete::ENTRY,
    file::transfer::ENTRY,
    file::ENTRY,
    bash::sensor::ENTRY,
    python::sensor::ENTRY,
    #[cfg(feature = "http")]
    http::OPERATOR,
    #[cfg(feature = "http")]
    http::SENSOR,
    empty::ENTRY,
    time::TIME_DELTA_SENSOR,
    time::TIME_SENSOR,
    time::DATE_TIME_SENSOR,
    time::WAIT_SENSOR,
    weekday::SENSOR,
    dag_run::EXTERNAL,
    time::WAIT_OPERATOR,
];
