//! Opening a PostgreSQL database.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    SqlStore,
    db::{Db, classify},
};
use crate::Error;

/// Connections of one server. The leader's commits take one at a time.
const CONNECTIONS: u32 = 10;

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(3);

impl SqlStore {
    /// Connects to a PostgreSQL database, 15 or later. TLS as `sslmode` in the URL says.
    pub async fn postgres(url: &str) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| Error::Invalid(format!("the database's URL can't be read: {error}")))?
            .application_name("updraft")
            // Times of waiting for a row, not for a person: a transaction that hangs is ended.
            .options([("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "60s")])
            .statement_cache_capacity(256);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        match pool.connect_with(options.clone()).await {
            Ok(pool) => Ok(Self::new(Db::Postgres(pool))),
            Err(error) => Err(why(&options, error).await),
        }
    }
}

/// Why there is no connection, and where there was to be one. A pool says only that it has waited.
async fn why(options: &PgConnectOptions, error: sqlx::Error) -> Error {
    let error = match error {
        sqlx::Error::PoolTimedOut => match tokio::time::timeout(PATIENCE, options.connect()).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => error,
        },
        other => other,
    };
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    match classify("connecting to PostgreSQL", error) {
        Error::Unavailable { outage, message } => {
            let mend = "is PostgreSQL at work there, and is that the address (UPDRAFT__DATABASE__URL)?";
            Error::Unavailable { outage, message: format!("{place}: {message}; {mend}") }
        }
        Error::Broken { doing, message } => Error::Broken { doing, message: format!("{place}: {message}") },
        other => other,
    }
}
