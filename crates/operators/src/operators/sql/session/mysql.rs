//! MySQL and MariaDB: their values, and what is bound to their statements.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::Value;
use sqlx::mysql::{MySqlArguments, MySqlRow, MySqlTypeInfo};
use sqlx::{
    Arguments as _, Column, Decode, MySql, MySqlConnection, Row, Type, TypeInfo, ValueRef, error::BoxDynError,
};

use super::super::cell::{Cell, Kind};

/// The cells of a row that came as text, as it does where no parameters were bound. The error says what can't be
/// read.
pub(super) fn cells_of_text(row: &MySqlRow) -> Result<Vec<Cell>, String> {
    cells(row, false)
}

/// The same in the binary form.
pub(super) fn cells_of_binary(row: &MySqlRow) -> Result<Vec<Cell>, String> {
    cells(row, true)
}

fn cells(row: &MySqlRow, binary: bool) -> Result<Vec<Cell>, String> {
    row.columns()
        .iter()
        .map(|column| {
            let (name, kind) = (column.name(), type_of(column.type_info()));
            cell(row, column.ordinal(), kind, binary).map_err(|error| {
                format!("column `{name}`: a value of type {kind} can't be read here: {error}")
            })
        })
        .collect()
}

/// The type of a column. A text whose collation ends in `_bin` is flagged as a binary one is, as MariaDB's JSON and
/// what `concat` makes of it are: the collation alone tells that it is text.
fn type_of(column: &MySqlTypeInfo) -> &str {
    if <str as Type<MySql>>::compatible(column) { "TEXT" } else { column.name() }
}

/// What the values of a column of this type are.
pub(super) fn kind(column: &MySqlTypeInfo) -> Option<Kind> {
    Some(match type_of(column) {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "TINYINT UNSIGNED"
        | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "YEAR" => Kind::Int,
        "BIGINT UNSIGNED" | "BIT" => Kind::Unsigned,
        "FLOAT" | "DOUBLE" => Kind::Float,
        "DATE" => Kind::Date,
        "DATETIME" => Kind::DateTime,
        "TIMESTAMP" => Kind::Instant,
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => Kind::Bytes,
        _ => Kind::Text,
    })
}

fn cell(row: &MySqlRow, place: usize, kind: &str, binary: bool) -> Result<Cell, BoxDynError> {
    let raw = || row.try_get_raw(place);
    if raw()?.is_null() {
        return Ok(Cell::Null);
    }
    let bytes = || -> Result<&[u8], BoxDynError> { <&[u8] as Decode<MySql>>::decode(raw()?) };
    let text = || -> Result<String, BoxDynError> { Ok(String::from_utf8(bytes()?.to_vec())?) };
    Ok(match kind {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Cell::Int(<i64 as Decode<MySql>>::decode(raw()?)?)
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" | "YEAR" | "BIT" => {
            let number = <u64 as Decode<MySql>>::decode(raw()?)?;
            i64::try_from(number).map_or_else(|_| Cell::Decimal(number.to_string()), Cell::Int)
        }
        // By its text, so that 0.1 stays 0.1.
        "FLOAT" => Cell::Float(<f32 as Decode<MySql>>::decode(raw()?)?.to_string().parse()?),
        "DOUBLE" => Cell::Float(<f64 as Decode<MySql>>::decode(raw()?)?),
        "DECIMAL" => Cell::Decimal(text()?),
        "JSON" => Cell::Json(serde_json::from_slice(bytes()?)?),
        "DATE" | "DATETIME" | "TIMESTAMP" => {
            let time = if binary { moment(bytes()?)? } else { civil_of(&text()?)? };
            match time {
                // `0000-00-00`, as Airflow's driver has it.
                None => Cell::Null,
                Some(time) if kind == "DATE" => Cell::Date(time.date()),
                Some(time) if kind == "DATETIME" => Cell::DateTime(time),
                // The session's zone is UTC.
                Some(time) => Cell::Instant(Timestamp::from(time.to_zoned(TimeZone::UTC)?)),
            }
        }
        // Of any length and sign: no time of the day.
        "TIME" => Cell::Text(if binary { length(bytes()?)? } else { text()? }),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => {
            Cell::Bytes(bytes()?.to_vec())
        }
        _ => Cell::Text(text()?),
    })
}

fn civil_of(text: &str) -> Result<Option<civil::DateTime>, BoxDynError> {
    if text.starts_with("0000-00-00") {
        return Ok(None);
    }
    Ok(Some(match text.parse::<civil::DateTime>() {
        Ok(time) => time,
        Err(_) => text.parse::<civil::Date>()?.to_datetime(civil::Time::midnight()),
    }))
}

/// A date and time in the binary form: how many bytes follow, year, month, day, hour, minute, second and
/// microseconds, as far as they are not zero.
fn moment(bytes: &[u8]) -> Result<Option<civil::DateTime>, BoxDynError> {
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let number = |place: usize| i8::try_from(at(place));
    let year = i16::from_le_bytes([at(1), at(2)]);
    if (year, at(3), at(4)) == (0, 0, 0) {
        return Ok(None);
    }
    let micros = i32::from_le_bytes([at(8), at(9), at(10), at(11)]);
    let date = civil::Date::new(year, number(3)?, number(4)?)?;
    let time = civil::Time::new(number(5)?, number(6)?, number(7)?, micros.saturating_mul(1000))?;
    Ok(Some(date.to_datetime(time)))
}

/// A length of time in the binary form: how many bytes follow, sign, days, hours, minutes, seconds, microseconds.
fn length(bytes: &[u8]) -> Result<String, BoxDynError> {
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let days = u32::from_le_bytes([at(2), at(3), at(4), at(5)]);
    let hours = u64::from(days) * 24 + u64::from(at(6));
    let micros = u32::from_le_bytes([at(9), at(10), at(11), at(12)]);
    let sign = if at(1) == 1 { "-" } else { "" };
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    Ok(format!("{sign}{hours:02}:{:02}:{:02}{fraction}", at(7), at(8)))
}

/// Binds values. A list is none: `IN` takes a placeholder for each.
pub(super) fn bind(values: Vec<Value>) -> Result<MySqlArguments, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for value in values {
        match &value {
            Value::Null => arguments.add(None::<String>),
            Value::Bool(value) => arguments.add(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => arguments.add(value),
                (None, Some(value)) => arguments.add(value),
                (None, None) => arguments.add(number.as_f64()),
            },
            Value::String(text) => arguments.add(text.clone()),
            Value::Array(_) => Err("a list can't be bound: write a `%s` for each of its items".into()),
            Value::Object(_) => arguments.add(value.to_string()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Binds the cells of rows that are to be inserted.
pub(in super::super) fn add(arguments: &mut MySqlArguments, cell: Cell) -> Result<(), BoxDynError> {
    match cell {
        Cell::Bool(value) => arguments.add(value),
        Cell::Int(value) => arguments.add(value),
        Cell::Float(value) => arguments.add(value),
        Cell::Bytes(bytes) => arguments.add(bytes),
        // The session's zone is UTC.
        Cell::Instant(time) => arguments.add(time.strftime("%F %T%.f").to_string()),
        cell => arguments.add(cell.into_text()),
    }
}

/// The number of this connection at its server.
pub(super) async fn process(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
        .persistent(false)
        .fetch_one(connection)
        .await
}
