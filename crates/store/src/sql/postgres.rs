//! Opening a PostgreSQL database.

use std::{str::FromStr, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

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
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(|error| classify("connecting to PostgreSQL", error))?;
        Ok(Self::new(Db::Postgres(pool)))
    }
}
