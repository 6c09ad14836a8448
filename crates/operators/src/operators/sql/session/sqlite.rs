//! SQLite: its values, what is bound to its statements, and what is not carried out for a task.

use serde_json::Value;
use sqlx::{
    Arguments as _, Column, Decode, Row, Sqlite, TypeInfo, ValueRef,
    error::BoxDynError,
    sqlite::{SqliteArguments, SqliteRow, SqliteTypeInfo},
};

use super::super::cell::{Cell, Kind};

/// The cells of a row. The error says what can't be read.
pub(super) fn cells(row: &SqliteRow) -> Result<Vec<Cell>, String> {
    row.columns()
        .iter()
        .map(|column| {
            cell(row, column.ordinal())
                .map_err(|error| format!("column `{}` can't be read: {error}", column.name()))
        })
        .collect()
}

/// What the values of a column of this type are, where they are that almost always. Of others, as of dates, only
/// the values tell.
pub(super) fn kind(column: &SqliteTypeInfo) -> Option<Kind> {
    match column.name() {
        "INTEGER" => Some(Kind::Int),
        "REAL" => Some(Kind::Float),
        "TEXT" => Some(Kind::Text),
        "BLOB" => Some(Kind::Bytes),
        _ => None,
    }
}

/// A value is what it is stored as, whatever its column says.
fn cell(row: &SqliteRow, place: usize) -> Result<Cell, BoxDynError> {
    let raw = || row.try_get_raw(place);
    let value = raw()?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info().name().to_owned();
    Ok(match &*kind {
        "INTEGER" => Cell::Int(<i64 as Decode<Sqlite>>::decode(raw()?)?),
        "REAL" => Cell::Float(<f64 as Decode<Sqlite>>::decode(raw()?)?),
        "BLOB" => Cell::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(raw()?)?),
        _ => Cell::Text(<String as Decode<Sqlite>>::decode(raw()?)?),
    })
}

/// Binds values.
pub(super) fn bind(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match &value {
            Value::Null => arguments.add(None::<String>),
            Value::Bool(value) => arguments.add(*value),
            Value::Number(number) => match number.as_i64() {
                Some(value) => arguments.add(value),
                None => arguments.add(number.as_f64()),
            },
            Value::String(text) => arguments.add(text.clone()),
            Value::Array(_) => Err("a list can't be bound: write a `?` for each of its items".into()),
            Value::Object(_) => arguments.add(value.to_string()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Binds the cells of rows that are to be inserted.
pub(in super::super) fn add(arguments: &mut SqliteArguments, cell: Cell) -> Result<(), BoxDynError> {
    match cell {
        Cell::Bool(value) => arguments.add(value),
        Cell::Int(value) => arguments.add(value),
        Cell::Float(value) => arguments.add(value),
        Cell::Bytes(bytes) => arguments.add(bytes),
        cell => arguments.add(cell.into_text()),
    }
}

/// Refuses what would reach beyond the one file, or change all of the worker's SQLite. The words are looked for
/// wherever they stand, also in quotes: a keyword has no other way to be written.
pub(super) fn check(text: &str) -> Result<(), String> {
    let text = text.to_lowercase();
    let of_a_word =
        |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$') || !letter.is_ascii();
    let words: Vec<&str> = text.split(|letter| !of_a_word(letter)).collect();
    let has = |word: &str| words.contains(&word);
    let found = |what: &str| {
        Err(format!(
            "has the word {what}, which is not carried out for a task: it would reach beyond the connection's \
             file. Where it is part of a value, give that as a parameter"
        ))
    };
    if has("attach") {
        return found("ATTACH");
    }
    if has("vacuum") && has("into") {
        return found("VACUUM with INTO");
    }
    for pragma in ["temp_store_directory", "data_store_directory", "hard_heap_limit", "soft_heap_limit"] {
        if has(pragma) {
            return found(pragma);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_beyond_the_file_is_refused_however_it_is_written() {
        for text in [
            "ATTACH 'x' AS y",
            "select 1;/**/aTTach/**/database 'x' as y",
            "explain attach 'x' as y",
            "select '; attach '",
            "VACUUM main INTO 'x'",
            "pragma temp_store_directory='x'",
            "PRAGMA main.hard_heap_limit(1)",
        ] {
            assert!(check(text).unwrap_err().contains("as a parameter"), "{text}");
        }
        for text in ["VACUUM", "insert into attachments values (1)", "select attach_date from t"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
