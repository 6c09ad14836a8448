//! Reading a row, column by column.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type, postgres::PgRow, sqlite::SqliteRow};

use super::classify;
use crate::Error;

/// A row of either database.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A row's columns, to be read in their order.
pub(crate) struct Fields {
    row: Row,
    at: usize,
}

/// What is in the database, or is to go there, makes no sense.
pub(crate) fn broken(doing: &'static str, message: impl fmt::Display) -> Error {
    Error::Broken { doing, message: message.to_string() }
}

impl Fields {
    pub fn new(row: Row) -> Self {
        Self { row, at: 0 }
    }

    /// The next column, as what it is.
    pub fn get<T>(&mut self) -> Result<T, Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let at = self.at;
        self.at += 1;
        match &self.row {
            Row::Sqlite(row) => row.try_get(at),
            Row::Postgres(row) => row.try_get(at),
        }
        .map_err(|error| classify("reading a row", error))
    }

    /// The next columns are passed over.
    pub fn skip(&mut self, columns: usize) {
        self.at += columns;
    }

    pub fn int(&mut self) -> Result<i64, Error> {
        self.get()
    }

    pub fn text(&mut self) -> Result<String, Error> {
        self.get()
    }

    pub fn opt_text(&mut self) -> Result<Option<String>, Error> {
        self.get()
    }

    /// A name.
    pub fn name<T: From<String>>(&mut self) -> Result<T, Error> {
        self.text().map(T::from)
    }

    /// A name, or none.
    pub fn opt_name<T: From<String>>(&mut self) -> Result<Option<T>, Error> {
        Ok(self.opt_text()?.map(T::from))
    }

    pub fn opt_arc(&mut self) -> Result<Option<Arc<str>>, Error> {
        Ok(self.opt_text()?.map(Arc::from))
    }

    pub fn flag(&mut self) -> Result<bool, Error> {
        self.get()
    }

    /// A number that is kept larger than it can be.
    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T, Error>
    where
        T::Error: fmt::Display,
    {
        T::try_from(self.int()?).map_err(|error| broken("reading a number", error))
    }

    pub fn opt_number<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, Error>
    where
        T::Error: fmt::Display,
    {
        let number: Option<i64> = self.get()?;
        number.map(T::try_from).transpose().map_err(|error| broken("reading a number", error))
    }

    pub fn time(&mut self) -> Result<Timestamp, Error> {
        Timestamp::from_microsecond(self.int()?).map_err(|error| broken("reading a time", error))
    }

    pub fn opt_time(&mut self) -> Result<Option<Timestamp>, Error> {
        let micros: Option<i64> = self.get()?;
        micros.map(Timestamp::from_microsecond).transpose().map_err(|error| broken("reading a time", error))
    }

    pub fn duration(&mut self) -> Result<SignedDuration, Error> {
        self.int().map(SignedDuration::from_micros)
    }

    /// Something that is kept by its name.
    pub fn parse<T: FromStr>(&mut self) -> Result<T, Error>
    where
        T::Err: fmt::Display,
    {
        self.text()?.parse().map_err(|error| broken("reading a state", error))
    }

    pub fn opt_parse<T: FromStr>(&mut self) -> Result<Option<T>, Error>
    where
        T::Err: fmt::Display,
    {
        let text = self.opt_text()?;
        text.map(|text| text.parse()).transpose().map_err(|error| broken("reading a state", error))
    }

    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        serde_json::from_str(&self.text()?).map_err(|error| broken("reading JSON", error))
    }

    pub fn opt_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let text = self.opt_text()?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| broken("reading JSON", error))
    }
}
