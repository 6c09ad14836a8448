//! PostgreSQL: its values, and what is bound to its statements.
//!
//! A text without parameters goes as it is and comes back as text, of any type. With parameters the answer is in
//! PostgreSQL's binary form, of which the types that people have are read.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp, civil};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column, Either, Encode, Executor, PgConnection, Postgres, Row, SqlSafeStr, Statement,
    Type, TypeInfo, ValueRef,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgTypeKind, PgValueFormat, PgValueRef, types::Oid,
    },
};

use super::super::cell::{Cell, Kind};

/// The cells of a row. The error says what can't be read.
pub(super) fn cells(row: &PgRow) -> Result<Vec<Cell>, String> {
    let one = |column: &sqlx::postgres::PgColumn| {
        let value = row.try_get_raw(column.ordinal()).map_err(|error| error.to_string())?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = column.type_info();
        let cell = match value.format() {
            PgValueFormat::Text => value.as_str().ok().and_then(|text| of_text(text, kind)),
            PgValueFormat::Binary => of_binary(value, kind),
        };
        cell.ok_or_else(|| {
            let (name, kind) = (column.name(), kind.name());
            format!(
                "column `{name}`: a value of type {kind} can't be read here; write `CAST({name} AS text)`"
            )
        })
    };
    row.columns().iter().map(one).collect()
}

/// What the values of a column of this type are.
pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
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
fn of_text(text: &str, kind: &PgTypeInfo) -> Option<Cell> {
    // Types that are not PostgreSQL's own are not looked up where a text comes back, and have no kind.
    if kind.name().ends_with("[]")
        && let PgTypeKind::Array(element) = kind.kind()
    {
        return Some(array_of_text(text, element).unwrap_or_else(|| Cell::Text(text.into())));
    }
    // What has no end, or is before the year 1, is shown as it is.
    let or_text = |cell: Option<Cell>| Some(cell.unwrap_or_else(|| Cell::Text(text.into())));
    match kind.name() {
        "BOOL" => Some(Cell::Bool(text == "t")),
        "INT2" | "INT4" | "INT8" | "OID" => or_text(text.parse().ok().map(Cell::Int)),
        "FLOAT4" | "FLOAT8" => or_text(text.parse().ok().map(Cell::Float)),
        "NUMERIC" => Some(Cell::Decimal(text.into())),
        "BYTEA" => or_text(text.strip_prefix("\\x").and_then(hex).map(Cell::Bytes)),
        "JSON" | "JSONB" => or_text(serde_json::from_str(text).ok().map(Cell::Json)),
        "DATE" => or_text(text.parse().ok().map(Cell::Date)),
        "TIME" => or_text(text.parse().ok().map(Cell::Time)),
        "TIMESTAMP" => or_text(text.parse().ok().map(Cell::DateTime)),
        "TIMESTAMPTZ" => or_text(text.parse().ok().map(Cell::Instant)),
        _ => Some(Cell::Text(text.into())),
    }
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
                list.push(of_text(&item, element)?);
            }
            _ => {
                let mut item = String::new();
                while let Some(letter) = letters.next_if(|letter| !matches!(letter, ',' | '}')) {
                    item.push(letter);
                }
                list.push(if item == "NULL" { Cell::Null } else { of_text(&item, element)? });
            }
        }
        match letters.next()? {
            ',' => {}
            '}' => return Some(Cell::List(list)),
            _ => return None,
        }
    }
}

/// A value as PostgreSQL sends it in its binary form.
fn of_binary(value: PgValueRef<'_>, kind: &PgTypeInfo) -> Option<Cell> {
    let bytes = value.as_bytes().ok()?;
    if let PgTypeKind::Array(element) = kind.kind() {
        return array_of_binary(bytes, element);
    }
    of_bytes(bytes, kind)
}

fn of_bytes(bytes: &[u8], kind: &PgTypeInfo) -> Option<Cell> {
    let text = || std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(match kind.name() {
        "BOOL" => Cell::Bool(*bytes.first()? != 0),
        "INT2" => Cell::Int(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        "INT4" => Cell::Int(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        "INT8" => Cell::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        "OID" => Cell::Int(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        "FLOAT4" => Cell::Float(f32::from_be_bytes(bytes.try_into().ok()?).to_string().parse().ok()?),
        "FLOAT8" => Cell::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        "NUMERIC" => Cell::Decimal(numeric(bytes)?),
        "BYTEA" => Cell::Bytes(bytes.to_vec()),
        "JSON" => Cell::Json(serde_json::from_slice(bytes).ok()?),
        // Its first byte is the version of its form.
        "JSONB" => Cell::Json(serde_json::from_slice(bytes.get(1..)?).ok()?),
        "DATE" => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?);
            let begin = civil::date(2000, 1, 1);
            Cell::Date(begin.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).ok()?)
        }
        "TIME" => Cell::Time(civil::Time::midnight().checked_add(micros(bytes)?).ok()?),
        "TIMESTAMP" => {
            Cell::DateTime(civil::datetime(2000, 1, 1, 0, 0, 0, 0).checked_add(micros(bytes)?).ok()?)
        }
        "TIMESTAMPTZ" => {
            let begin = Timestamp::from_second(946_684_800).ok()?;
            Cell::Instant(begin.checked_add(micros(bytes)?).ok()?)
        }
        "UUID" => Cell::Text(uuid(bytes)?),
        "TEXT" | "VARCHAR" | "CHAR" | "\"CHAR\"" | "NAME" | "UNKNOWN" | "XML" | "CITEXT" | "citext" => {
            Cell::Text(text()?)
        }
        _ if matches!(kind.kind(), PgTypeKind::Enum(_)) => Cell::Text(text()?),
        _ => return None,
    })
}

fn micros(bytes: &[u8]) -> Option<SignedDuration> {
    Some(SignedDuration::from_micros(i64::from_be_bytes(bytes.try_into().ok()?)))
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

/// A decimal: how many digits to the base of 10000, the weight of the first, its sign, how many digits are shown
/// behind the point, and the digits.
fn numeric(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let (count, weight, sign, scale) =
        (words.next()?, words.next()?.cast_signed(), words.next()?, usize::from(words.next()?));
    let mut text = match sign {
        0x0000 => String::new(),
        0x4000 => "-".to_owned(),
        0xD000 => return Some("Infinity".into()),
        0xF000 => return Some("-Infinity".into()),
        _ => return Some("NaN".into()),
    };
    let digits: Vec<u16> = words.take(usize::from(count)).collect();
    let digit =
        |place: i32| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    if weight < 0 {
        text.push('0');
    }
    for place in 0..=weight {
        let _ = if place == 0 { write!(text, "{}", digit(0)) } else { write!(text, "{:04}", digit(place)) };
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut place = weight + 1;
        while fraction.len() < scale {
            let _ = write!(fraction, "{:04}", digit(place));
            place += 1;
        }
        fraction.truncate(scale);
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

/// An array: how many dimensions it has, whether there are nulls, its element's type, each dimension's length and
/// first index, and the elements with their lengths.
fn array_of_binary(bytes: &[u8], element: &PgTypeInfo) -> Option<Cell> {
    let mut rest = bytes;
    let mut next = || {
        let (word, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        Some(i32::from_be_bytes(*word))
    };
    let dimensions = next()?;
    let (_, _) = (next()?, next()?);
    if dimensions == 0 {
        return Some(Cell::List(Vec::new()));
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions.clamp(0, 6) {
        lengths.push(usize::try_from(next()?).ok()?);
        next()?;
    }
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let (word, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*word)) else {
            cells.push(Cell::Null);
            continue;
        };
        cells.push(of_bytes(rest.get(..length)?, element)?);
        rest = &rest[length..];
    }
    // From the innermost dimension outwards.
    for length in lengths.into_iter().skip(1).rev().filter(|length| *length > 0) {
        cells = cells.chunks(length).map(|chunk| Cell::List(chunk.to_vec())).collect();
    }
    Some(Cell::List(cells))
}

/// A statement with what is bound to it.
pub(super) struct Bound {
    pub(super) text: String,
    pub(super) arguments: PgArguments,
}

/// Binds values to a statement. A text is what a literal in quotes is to PostgreSQL, which makes of it what stands
/// at its place: it is asked for the types first, and then converts the texts itself.
pub(super) async fn bind(
    connection: &mut PgConnection,
    text: String,
    values: Vec<Value>,
) -> Result<Bound, sqlx::Error> {
    let types: Vec<PgTypeInfo> = values.iter().map(type_of).collect();
    let statement = connection.prepare_with(AssertSqlSafe(text.clone()).into_sql_str(), &types).await?;
    let wanted: Vec<Option<String>> = match statement.parameters() {
        Some(Either::Left(found)) => found.iter().map(cast_to).collect(),
        Some(Either::Right(_)) | None => Vec::new(),
    };
    let mut arguments = PgArguments::default();
    let mut casts = Vec::new();
    for (place, value) in values.into_iter().enumerate() {
        use sqlx::Arguments as _;
        let as_text = match &value {
            Value::String(text) => Some(text.clone()),
            Value::Array(items) => Some(array_literal(items)),
            Value::Object(_) => Some(value.to_string()),
            Value::Number(number) if !number.is_i64() => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        };
        let added = match (as_text, &value) {
            (Some(text), _) => {
                let to = if value.is_number() {
                    Some("NUMERIC".to_owned())
                } else {
                    wanted.get(place).cloned().flatten()
                };
                casts.push(to.map(|to| format!("${}::text::{to}", place + 1)));
                arguments.add(text)
            }
            (None, value) => {
                casts.push(None);
                match (value.as_bool(), value.as_i64()) {
                    (Some(value), _) => arguments.add(value),
                    (None, Some(value)) => match i32::try_from(value) {
                        Ok(value) => arguments.add(value),
                        Err(_) => arguments.add(value),
                    },
                    (None, None) => arguments.add(Null),
                }
            }
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(Bound { text: with_casts(&text, &casts), arguments })
}

/// The text with what stands at the place of each parameter.
fn with_casts(text: &str, casts: &[Option<String>]) -> String {
    let dialect = super::super::text::Dialect::Postgres;
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(letter) = text[at..].chars().next() {
        if let Some(end) = dialect.skip(text, at) {
            out.push_str(&text[at..end]);
            at = end;
            continue;
        }
        let digits = text[at + letter.len_utf8()..].bytes().take_while(u8::is_ascii_digit).count();
        let number = text.get(at + 1..at + 1 + digits).and_then(|digits| digits.parse::<usize>().ok());
        match number.filter(|_| letter == '$').and_then(|number| casts.get(number.checked_sub(1)?)?.as_ref())
        {
            Some(cast) => {
                out.push_str(cast);
                at += 1 + digits;
            }
            None => {
                out.push(letter);
                at += letter.len_utf8();
            }
        }
    }
    out
}

fn type_of(value: &Value) -> PgTypeInfo {
    match value {
        Value::Bool(_) => <bool as Type<Postgres>>::type_info(),
        Value::Number(number) => match number.as_i64() {
            Some(value) if i32::try_from(value).is_ok() => <i32 as Type<Postgres>>::type_info(),
            Some(_) => <i64 as Type<Postgres>>::type_info(),
            None => PgTypeInfo::with_oid(NUMERIC),
        },
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => PgTypeInfo::with_oid(UNKNOWN),
    }
}

/// What PostgreSQL calls the type of a literal before it knows more.
const UNKNOWN: Oid = Oid(705);
const NUMERIC: Oid = Oid(1700);

/// The type that a text is to be converted to; none where it can stay text. A cast to the types of a set length
/// would cut it.
fn cast_to(kind: &PgTypeInfo) -> Option<String> {
    match kind.name() {
        "TEXT" | "VARCHAR" | "CHAR" | "\"CHAR\"" | "NAME" | "UNKNOWN" => None,
        "BIT" => Some("VARBIT".into()),
        "CHAR[]" => Some("TEXT[]".into()),
        name => Some(name.into()),
    }
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

/// Null, of whatever type stands at its place.
struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UNKNOWN)
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// The number of the server's process for this connection. Where the server can, it is told to look now and then
/// whether we are still there while it works.
pub(super) async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let text = "SELECT pg_backend_pid(), (SELECT set_config(name, '10s', false) FROM pg_settings \
                WHERE name = 'client_connection_check_interval')";
    let row = sqlx::query(text).persistent(false).fetch_one(connection).await?;
    row.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_with_all_their_digits() {
        let number =
            |words: &[u16]| numeric(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>());
        assert_eq!(number(&[0, 0, 0, 0]).as_deref(), Some("0"));
        assert_eq!(number(&[2, 0, 0x4000, 2, 12, 5000]).as_deref(), Some("-12.50"));
        assert_eq!(number(&[1, 1, 0, 0, 3]).as_deref(), Some("30000"));
        assert_eq!(number(&[1, 0xFFFE, 0, 7, 1230]).as_deref(), Some("0.0000123"));
        assert_eq!(number(&[0, 0, 0xC000, 0]).as_deref(), Some("NaN"));
        assert_eq!(number(&[1]), None);
    }

    #[test]
    fn arrays_are_read_as_they_are_printed() {
        let text = <String as Type<Postgres>>::type_info();
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
        let items = serde_json::json!(["a\"b\\", null, 1, [true], {"k": 1}]);
        let literal = array_literal(items.as_array().unwrap());
        assert_eq!(literal, r#"{"a\"b\\",NULL,1,{true},"{\"k\":1}"}"#);
    }
}
