//! The operators, one module each.

mod bash;
mod branch;
mod dag_run;
#[cfg(feature = "email")]
mod email;
mod empty;
#[cfg(any(feature = "http", feature = "sql"))]
mod expression;
mod file;
#[cfg(feature = "http")]
pub(crate) mod http;
mod python;
mod script;
#[cfg(feature = "slack")]
pub(crate) mod slack;
#[cfg(feature = "sms")]
pub(crate) mod sms;
#[cfg(feature = "sql")]
pub(crate) mod sql;
mod time;
mod weekday;

use crate::catalog::Entry;

/// All of them, those first that are used most.
pub(crate) const ALL: &[Entry] = &[
    bash::ENTRY,
    python::PYTHON,
    python::BRANCH,
    python::SHORT_CIRCUIT,
    branch::BRANCH,
    branch::SHORT_CIRCUIT,
    weekday::BRANCH,
    dag_run::LATEST_ONLY,
    dag_run::TRIGGER,
    script::ENTRY,
    #[cfg(feature = "email")]
    email::ENTRY,
    #[cfg(feature = "slack")]
    slack::ENTRY,
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
    sql::SENSOR,
    file::ENTRY,
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
