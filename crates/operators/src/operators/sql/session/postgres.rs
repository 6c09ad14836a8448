//! PostgreSQL: its values, and how values are written into its statements.
//!
//! A statement is sent as a text, since then its values come back as texts, of any type; in PostgreSQL's binary form
//! each type would have to be known. So parameters are literals, as they are in psycopg2, which is Airflow's driver.

use serde_json::Value;
use sqlx::{
    Column, PgConnection, Row, TypeInfo, ValueRef,
    postgres::{PgRow, PgTypeInfo, PgTypeKind},
};

use super::super::cell::{Cell, Kind};

/// The cells of a row. The error says what can't be read.
pub(super) fn cells(row: &PgRow) -> Result<Vec<Cell>, String> {
    let one = |column: &sqlx::postgres::PgColumn| {
        let unread = |error: &dyn std::fmt::Display| format!("column `{}`: {error}", column.name());
        let value = row.try_get_raw(column.ordinal()).map_err(|error| unread(&error))?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let text = value.as_str().map_err(|error| unread(&error))?;
        Ok(of_text(text, column.type_info()))
    };
    row.columns().iter().map(one).collect()
}

/// What the values of a column of this type are.
pub(super) fn kind(column: &PgTypeInfo) -> Option<Kind> {
    Some(match column.name() {
        "BOOL" => Kind::Bool,
        "INT2" | "INT4" | "INT8" | "OID" => Kind::Int,
        "FLOAT4" | "FLOAT8" => Kind::Float,
        "BYTEA" => Kind::Bytes,
        "DATE" => Kind::Date,
        "TIME" => Kind::Time,
        "TIMESTAMP" => Kind::DateTime,
        "TIMESTAMPTZ" => Kind::Instant,
        _ => Kind::Text,
    })
}

/// A value as PostgreSQL prints it; any type that is not known is text.
fn of_text(text: &str, kind: &PgTypeInfo) -> Cell {
    // Types that are not PostgreSQL's own are not looked up where a text comes back, and have no kind.
    let cell = if kind.name().ends_with("[]")
        && let PgTypeKind::Array(element) = kind.kind()
    {
        array_of_text(text, element)
    } else {
        match kind.name() {
            "BOOL" => Some(Cell::Bool(text == "t")),
            "INT2" | "INT4" | "INT8" | "OID" => text.parse().ok().map(Cell::Int),
            "FLOAT4" | "FLOAT8" => text.parse().ok().map(Cell::Float),
            "NUMERIC" => Some(Cell::Decimal(text.into())),
            "BYTEA" => text.strip_prefix("\\x").and_then(hex).map(Cell::Bytes),
            "JSON" | "JSONB" => serde_json::from_str(text).ok().map(Cell::Json),
            "DATE" => text.parse().ok().map(Cell::Date),
            "TIME" => text.parse().ok().map(Cell::Time),
            "TIMESTAMP" => text.parse().ok().map(Cell::DateTime),
            "TIMESTAMPTZ" => text.parse().ok().map(Cell::Instant),
            _ => None,
        }
    };
    // What has no end, or is before the year 1, is shown as it is.
    cell.unwrap_or_else(|| Cell::Text(text.into()))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    text.as_bytes().chunks(2).map(|two| Some(digit(two[0])? << 4 | digit(*two.get(1)?)?)).collect()
}

/// `{a,"b c",NULL,{…}}`. One whose indexes don't begin at 1 (`[0:1]={…}`) is none here.
fn array_of_text(text: &str, element: &PgTypeInfo) -> Option<Cell> {
    let mut letters = text.chars().peekable();
    let list = items(&mut letters, element, 0)?;
    letters.next().is_none().then_some(list)
}

fn items(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    element: &PgTypeInfo,
    depth: usize,
) -> Option<Cell> {
    // PostgreSQL itself has no more than six.
    (depth < 8 && letters.next()? == '{').then_some(())?;
    let mut list = Vec::new();
    if letters.next_if_eq(&'}').is_some() {
        return Some(Cell::List(list));
    }
    loop {
        match letters.peek()? {
            '{' => list.push(items(letters, element, depth + 1)?),
            '"' => {
                letters.next();
                let mut item = String::new();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => item.push(letters.next()?),
                        letter => item.push(letter),
                    }
                }
                list.push(of_text(&item, element));
            }
            _ => {
                let mut item = String::new();
                while let Some(letter) = letters.next_if(|letter| !matches!(letter, ',' | '}')) {
                    item.push(letter);
                }
                list.push(if item == "NULL" { Cell::Null } else { of_text(&item, element) });
            }
        }
        match letters.next()? {
            ',' => {}
            '}' => return Some(Cell::List(list)),
            _ => return None,
        }
    }
}

/// A value as it is written in a statement. In quotes it has no type of its own: it becomes what its place wants. The
/// error says what can't be written.
pub(in super::super) fn literal(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Null => "NULL".into(),
        Value::Bool(value) => value.to_string(),
        // Behind a minus, a second one would begin a comment.
        Value::Number(number) if number.as_f64().is_some_and(|number| number < 0.0) => format!("({number})"),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text)?,
        Value::Array(items) => quoted(&array_literal(items))?,
        Value::Object(_) => quoted(&value.to_string())?,
    })
}

/// A text in quotes that mean the same whatever the server's settings are.
fn quoted(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("has a parameter with the character 0 in it, which PostgreSQL's texts can't have".into());
    }
    Ok(format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
}

/// A list as PostgreSQL writes an array.
fn array_literal(items: &[Value]) -> String {
    let item = |item: &Value| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) => array_literal(items),
        Value::Bool(_) | Value::Number(_) => item.to_string(),
        Value::String(_) | Value::Object(_) => {
            let text = crate::prepare::as_text(item);
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(","))
}

/// The number of the server's process for this connection. Where the server can, it is told to look now and then
/// whether we are still there while it works. And quotes mean to it what they mean to whom finds the placeholders.
pub(super) async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let text = "SELECT pg_backend_pid(), set_config('standard_conforming_strings', 'on', false), \
                (SELECT set_config(name, '10s', false) FROM pg_settings \
                WHERE name = 'client_connection_check_interval')";
    let row = sqlx::query(text).persistent(false).fetch_one(connection).await?;
    row.try_get(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arrays_are_read_as_they_are_printed() {
        let text = <String as sqlx::Type<sqlx::Postgres>>::type_info();
        let word = |word: &str| Cell::Text(word.into());
        let read = |literal: &str| array_of_text(literal, &text);
        assert_eq!(read("{}"), Some(Cell::List(Vec::new())));
        let nested =
            Cell::List(vec![Cell::List(vec![word("a,\"b"), Cell::Null]), Cell::List(vec![word("NULL")])]);
        assert_eq!(read(r#"{{"a,\"b",NULL},{"NULL"}}"#), Some(nested));
        for broken in ["", "{", "{a", "{\"a", "{a}b", "[0:0]={a}", &"{".repeat(100_000)] {
            assert_eq!(read(broken), None);
        }
    }

    #[test]
    fn a_list_is_written_as_postgresql_reads_it() {
        let items = json!(["a\"b\\", null, 1, [true], {"k": 1}]);
        let literal = array_literal(items.as_array().unwrap());
        assert_eq!(literal, r#"{"a\"b\\",NULL,1,{true},"{\"k\":1}"}"#);
    }

    #[test]
    fn a_value_never_ends_its_own_quotes() {
        let literal = |value: Value| literal(&value).unwrap();
        assert_eq!(literal(json!("a'; drop table t; --")), " E'a''; drop table t; --'");
        assert_eq!(literal(json!("\\' or 1 = 1 --")), r" E'\\'' or 1 = 1 --'");
        assert_eq!(literal(json!(["a'b"])), r#" E'{"a''b"}'"#);
        assert_eq!(literal(json!({"k": "'"})), r#" E'{"k":"''"}'"#);
        assert_eq!((literal(json!(-1)), literal(json!(-0.5))), ("(-1)".into(), "(-0.5)".into()));
        assert_eq!((literal(json!(null)), literal(json!(true))), ("NULL".into(), "true".into()));
        assert!(super::literal(&json!("a\0b")).unwrap_err().contains("character 0"));
    }
}
