//! What an unquoted scalar means: YAML 1.1 as PyYAML reads it, since the files were written for that.
//! `yes` is true, `010` is eight, `1:30` is ninety, `1e5` is text, `2024-01-01` is a date.

use std::sync::Arc;

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use serde_json::Number;

use super::node::Value;

/// The value of an unquoted scalar.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.')) {
        return float(text)
            .or_else(|| integer(text))
            .or_else(|| time(text))
            .unwrap_or_else(|| Value::Text(text.into()));
    }
    Value::Text(text.into())
}

/// The value of a scalar under a tag, `None` where the tag is unknown.
pub(super) fn tagged(tag: &str, text: &str) -> Option<Value> {
    let bad = || Value::Bad(Arc::from(format!("`{text}`, which is no {tag}")));
    let value = match tag {
        "str" => Value::Text(text.into()),
        "null" => Value::Null,
        "bool" => match plain(&text.to_ascii_lowercase()) {
            value @ Value::Bool(_) => value,
            _ => bad(),
        },
        "int" => integer(text).unwrap_or_else(bad),
        "float" => float(text).or_else(|| integer(text)).unwrap_or_else(bad),
        "timestamp" => time(text).unwrap_or_else(bad),
        _ => return None,
    };
    Some(value)
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn digits(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || allowed(byte))
}

fn integer(text: &str) -> Option<Value> {
    let (negative, body) = unsigned(text);
    let decimal = |body: &str| {
        body == "0"
            || (matches!(body.as_bytes().first(), Some(b'1'..=b'9')) && digits(body, |b| b.is_ascii_digit()))
    };
    let (radix, body) = if let Some(binary) = body.strip_prefix("0b").filter(|b| digits(b, |b| b <= b'1')) {
        (2, binary)
    } else if let Some(hex) = body.strip_prefix("0x").filter(|b| digits(b, |b| b.is_ascii_hexdigit())) {
        (16, hex)
    } else if let Some(octal) = body.strip_prefix('0').filter(|b| digits(b, |b| matches!(b, b'0'..=b'7'))) {
        (8, octal)
    } else if decimal(body) {
        (10, body)
    } else {
        let parts = sexagesimal(body)?;
        if !decimal(parts[0]) || body.starts_with('0') {
            return None;
        }
        let value = parts.iter().try_fold(0i64, |all, part| {
            all.checked_mul(60)?.checked_add(part.replace('_', "").parse().ok()?)
        });
        return Some(number(value.map(|value| if negative { -value } else { value }), text));
    };
    let body = body.replace('_', "");
    // `0_` is zero: nothing is left of it, and that is what PyYAML makes of it.
    let value = if body.is_empty() && radix == 8 { Some(0) } else { u64::from_str_radix(&body, radix).ok() };
    Some(match value {
        Some(value) if !negative => Value::Number(value.into()),
        Some(value) => number(0i64.checked_sub_unsigned(value), text),
        None => number(None, text),
    })
}

fn number(value: Option<i64>, text: &str) -> Value {
    match value {
        Some(value) => Value::Number(value.into()),
        None => {
            Value::Bad(Arc::from(format!("the number {}, which is too large", super::node::shortened(text))))
        }
    }
}

/// The parts of `190:20:30`; more than one, each but the first below 60.
fn sexagesimal(body: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = body.split(':').collect();
    let rest_is_good = parts[1..].iter().all(|part| {
        matches!(part.len(), 1 | 2)
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && part.parse::<u8>().is_ok_and(|value| value < 60)
    });
    (parts.len() > 1 && rest_is_good).then_some(parts)
}

fn float(text: &str) -> Option<Value> {
    let (negative, body) = unsigned(text);
    match body {
        ".inf" | ".Inf" | ".INF" => {
            return Some(Value::Bad(Arc::from("the number infinity, which JSON does not have")));
        }
        ".nan" | ".NaN" | ".NAN" if body.len() == text.len() => {
            return Some(Value::Bad(Arc::from("`.nan`, which JSON does not have")));
        }
        _ => {}
    }
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let (_, power) = unsigned(exponent);
        power.len() + 1 == exponent.len() && !power.is_empty() && power.bytes().all(|b| b.is_ascii_digit())
    });
    let (whole, fraction) = mantissa.split_once('.')?;
    if !exponent_is_good || !fraction.bytes().all(|b| b == b'_' || b.is_ascii_digit()) {
        return None;
    }
    let begins_with_digit = |text: &str| text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let value = if whole.contains(':') {
        let parts = sexagesimal(whole)?;
        if exponent.is_some() || !begins_with_digit(parts[0]) || !digits(parts[0], |b| b.is_ascii_digit()) {
            return None;
        }
        let whole = parts
            .iter()
            .try_fold(0f64, |all, part| Some(all * 60.0 + part.replace('_', "").parse::<f64>().ok()?))?;
        whole + format!("0.{}", fraction.replace('_', "")).parse::<f64>().ok()?
    } else {
        let unsigned_fraction = whole.is_empty() && body.len() == text.len() && begins_with_digit(fraction);
        let with_whole = begins_with_digit(whole) && digits(whole, |b| b.is_ascii_digit());
        if !unsigned_fraction && !with_whole {
            return None;
        }
        body.replace('_', "").parse::<f64>().ok()?
    };
    let value = if negative { -value } else { value };
    Some(match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None => number(None, text),
    })
}

/// A date, or a date and a time of the day, maybe with an offset.
fn time(text: &str) -> Option<Value> {
    let bad = || Value::Bad(Arc::from(format!("`{text}`, which is no date of the calendar")));
    let (year, rest) = text.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let day_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (day, rest) = rest.split_at(day_end);
    let is = |part: &str, lengths: &[usize]| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is(year, &[4]) {
        return None;
    }
    let date = || Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok();
    if rest.is_empty() {
        let plain_date = is(month, &[2]) && is(day, &[2]);
        return plain_date.then(|| date().map_or_else(bad, Value::Date));
    }
    if !is(month, &[1, 2]) || !is(day, &[1, 2]) {
        return None;
    }
    let clock = match rest.strip_prefix(['T', 't']) {
        Some(clock) => clock,
        None => Some(rest.trim_start_matches([' ', '\t'])).filter(|clock| clock.len() < rest.len())?,
    };
    let clock_end = clock.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(clock_end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let shaped = parts.next().is_none() && is(hour, &[1, 2]) && is(minute, &[2]) && is(second, &[2]);
    if !shaped || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset = offset(zone.trim_start_matches([' ', '\t']))?;
    // Python keeps six digits of a second.
    let micros: i32 = format!("{fraction:0<6}")[..6].parse().ok()?;
    let clock =
        || Time::new(hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?, micros * 1000).ok();
    Some(match (date(), clock(), offset) {
        (Some(date), Some(clock), Ok(offset)) => Value::DateTime(DateTime::from_parts(date, clock), offset),
        _ => bad(),
    })
}

/// An offset from UTC: none, `Z`, `+2`, `+02:00`. `None` where it is nothing of the kind.
fn offset(text: &str) -> Option<Result<Option<Offset>, ()>> {
    if text.is_empty() {
        return Some(Ok(None));
    }
    if text == "Z" {
        return Some(Ok(Some(Offset::UTC)));
    }
    let (negative, body) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = body.split_once(':').unwrap_or((body, "00"));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(hours.len(), 1 | 2) || minutes.len() != 2 || !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let seconds: i32 = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Some(Offset::from_seconds(if negative { -seconds } else { seconds }).map(Some).map_err(|_| ()))
}
