//! Dates and times written after a pattern: C's, and pendulum's.

use jiff::{civil, fmt::strtime};

use super::{At, DateTime};
use crate::jinja::{
    fault::{Result, fault, wrong},
    value::Value,
};

/// `value.strftime(format)`, in the C locale.
pub fn strftime(of: &Value, format: &str) -> Result<String> {
    let (civil, aware) = match of {
        Value::DateTime(time) => match &time.at {
            At::Aware(aware) => (time.civil(), Some(aware)),
            At::Naive(civil) => (*civil, None),
        },
        Value::Date(date) => (date.to_datetime(civil::Time::midnight()), None),
        Value::Time(time) => (civil::date(1900, 1, 1).to_datetime(*time), None),
        other => return fault(format!("'{}' object has no attribute 'strftime'", other.type_name())),
    };
    if civil.year() < 1000 {
        return fault("a year before 1000 is not supported in formats");
    }
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let flag = chars.next_if(|c| matches!(c, '-' | '_' | '0' | '^' | '#'));
        let directive = chars.next();
        match (flag, directive) {
            (None, Some('f')) => out.push_str(&format!("{:06}", civil.subsec_nanosecond() / 1000)),
            (None, Some('z')) => {
                let seconds = aware.map(|aware| aware.offset().seconds());
                out.push_str(&seconds.map(|seconds| offset(seconds, "")).unwrap_or_default());
            }
            (None, Some('Z')) => {
                let name = aware.map(|aware| strtime::format("%Z", aware));
                out.push_str(&name.transpose().or_else(unsupported)?.unwrap_or_default());
            }
            (None, Some('%')) => out.push('%'),
            (None, Some('c')) => out.push_str(&part("%a %b %e %H:%M:%S %Y", civil)?),
            (None, Some('x' | 'D')) => out.push_str(&part("%m/%d/%y", civil)?),
            (None, Some('X')) => out.push_str(&part("%H:%M:%S", civil)?),
            (None, Some('r')) => out.push_str(&part("%I:%M:%S %p", civil)?),
            (_, Some(known)) if "aAbBdeFGHIjmMnpRStTuUVwWyYh".contains(known) => {
                let flag = flag.map(String::from).unwrap_or_default();
                out.push_str(&part(&format!("%{flag}{known}"), civil)?);
            }
            (_, Some(other)) => return fault(format!("the directive %{other} is not supported")),
            (_, None) => return fault("a format ends in a single %"),
        }
    }
    Ok(out)
}

fn part(format: &str, time: civil::DateTime) -> Result<String> {
    strtime::format(format, time).or_else(unsupported)
}

fn unsupported<T>(error: jiff::Error) -> Result<T> {
    fault(format!("this format is not supported: {error}"))
}

fn offset(seconds: i32, separator: &str) -> String {
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    format!("{sign}{:02}{separator}{:02}", seconds / 3600, seconds / 60 % 60)
}

/// `datetime.strptime(text, format)`, for the directives that both Python and jiff read alike.
pub fn strptime(text: &str, format: &str) -> Result<DateTime> {
    let mut directives = format.chars();
    while let Some(c) = directives.next() {
        if c == '%' {
            match directives.next() {
                Some(
                    'Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'y' | 'b' | 'B' | 'I' | 'p' | 'j' | 'f' | 'z' | '%',
                ) => {}
                Some(other) => {
                    return fault(format!("the directive %{other} is not supported in a format to read by"));
                }
                None => return fault("stray % in format"),
            }
        }
    }
    let no_match = |_| wrong(format!("time data '{text}' does not match format '{format}'"));
    let parsed = strtime::parse(format, text).map_err(no_match)?;
    let date = match parsed.to_date() {
        Ok(date) => date,
        Err(_) => civil::Date::new(
            parsed.year().unwrap_or(1900),
            parsed.month().unwrap_or(1),
            parsed.day().unwrap_or(1),
        )
        .map_err(no_match)?,
    };
    let time = match (parsed.hour(), parsed.minute(), parsed.second()) {
        (None, None, None) => civil::Time::midnight(),
        (hour, minute, second) => civil::Time::new(
            hour.unwrap_or(0),
            minute.unwrap_or(0),
            second.unwrap_or(0),
            parsed.subsec_nanosecond().unwrap_or(0) / 1000 * 1000,
        )
        .map_err(no_match)?,
    };
    let civil = date.to_datetime(time);
    let at = match parsed.offset() {
        Some(offset) => At::Aware(civil.to_zoned(offset.to_time_zone()).map_err(no_match)?),
        None => At::Naive(civil),
    };
    Ok(DateTime { at, pendulum: false })
}

/// `format(value, spec)` and `'{:spec}'.format(value)`.
pub(in crate::jinja) fn format_spec(of: &Value, spec: &str) -> Result<String> {
    match of {
        Value::DateTime(time) if time.pendulum && !spec.contains('%') => pendulum(time, spec),
        _ => strftime(of, spec),
    }
}

/// The tokens of pendulum's `format`, the longer before those they begin with.
const TOKENS: &[&str] = &[
    "Mo", "MMMM", "MMM", "MM", "M", "DDDo", "Do", "DDDD", "DDD", "DD", "D", "dddd", "ddd", "do", "dd", "d",
    "eo", "e", "EEEE", "EEE", "EE", "E", "wo", "ww", "w", "Wo", "WW", "W", "Qo", "Q", "YYYY", "YY", "Y",
    "ggggg", "gggg", "gg", "GGGGG", "GGGG", "GG", "a", "A", "hh", "h", "HH", "H", "kk", "k", "mm", "m", "ss",
    "s", "SSSSSS", "SSSSS", "SSSS", "SSS", "SS", "S", "x", "X", "zz", "z", "ZZ", "Z", "LTS", "LT", "LLLL",
    "LLL", "LL", "L",
];

/// pendulum's `format`, in English.
pub(super) fn pendulum(time: &DateTime, format: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if let Some(end) = rest.strip_prefix('[').and_then(|inner| inner.find(']')) {
            out.push_str(&rest[1..=end]);
            rest = &rest[end + 2..];
        } else if let Some(escaped) = rest.strip_prefix('\\').and_then(|after| after.chars().next()) {
            out.push(escaped);
            rest = &rest[1 + escaped.len_utf8()..];
        } else if let Some(token) = TOKENS.iter().find(|token| rest.starts_with(**token)) {
            out.push_str(&token_of(time, token)?);
            rest = &rest[token.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(out)
}

fn token_of(time: &DateTime, token: &str) -> Result<String> {
    let civil = time.civil();
    let micros = civil.subsec_nanosecond() / 1000;
    let as_c = |format| part(format, civil);
    Ok(match token {
        "YYYY" | "Y" => civil.year().to_string(),
        "YY" => civil.year().to_string().get(2..).unwrap_or_default().to_owned(),
        "Q" => ((civil.month() + 2) / 3).to_string(),
        "MMMM" => as_c("%B")?,
        "MMM" => as_c("%b")?,
        "MM" => as_c("%m")?,
        "M" => civil.month().to_string(),
        "DDDD" => as_c("%j")?,
        "DDD" => civil.date().day_of_year().to_string(),
        "DD" => as_c("%d")?,
        "D" => civil.day().to_string(),
        "Do" => ordinal(civil.day()),
        "dddd" => as_c("%A")?,
        "ddd" => as_c("%a")?,
        "dd" => as_c("%a")?.chars().take(2).collect(),
        "d" => civil.weekday().to_sunday_zero_offset().to_string(),
        "E" => civil.weekday().to_monday_one_offset().to_string(),
        "HH" => as_c("%H")?,
        "H" => civil.hour().to_string(),
        "hh" => as_c("%I")?,
        "h" => as_c("%-I")?,
        "mm" => as_c("%M")?,
        "m" => civil.minute().to_string(),
        "ss" => as_c("%S")?,
        "s" => civil.second().to_string(),
        "SSSSSS" => format!("{micros:06}"),
        "SSS" => format!("{:03}", micros / 1000),
        "SS" => format!("{:02}", micros / 10_000),
        "S" => (micros / 100_000).to_string(),
        "A" => as_c("%p")?,
        // pendulum takes it for a token and leaves it as it is.
        "a" => "a".into(),
        "Z" | "ZZ" => {
            let separator = if token == "Z" { ":" } else { "" };
            time.offset().map(|seconds| offset(seconds, separator)).unwrap_or_default()
        }
        "zz" => strftime(&time.clone().into(), "%Z")?,
        "z" => time.zone_name().unwrap_or_default(),
        "X" | "x" => match &time.at {
            At::Aware(aware) if token == "X" => aware.timestamp().as_second().to_string(),
            At::Aware(aware) => aware.timestamp().as_millisecond().to_string(),
            At::Naive(_) => return fault("a time without a zone has no timestamp here"),
        },
        other => return fault(format!("the token {other} of format() is not supported")),
    })
}

fn ordinal(day: i8) -> String {
    let suffix = match (day % 10, day / 10) {
        (1, tens) if tens != 1 => "st",
        (2, tens) if tens != 1 => "nd",
        (3, tens) if tens != 1 => "rd",
        _ => "th",
    };
    format!("{day}{suffix}")
}
