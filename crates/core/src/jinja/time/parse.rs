//! `dateutil.parser.parse`, for dates that say their year, month and day, whenever they are read.

use jiff::{
    civil,
    tz::{Offset, TimeZone},
};

use super::{At, DateTime, out_of_range};
use crate::jinja::fault::{Result, fault};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Reads a time as dateutil does: `2026-01-31T06:00:00Z`, `01/31/2026`, `31 January 2026 10:00`.
pub fn parse(text: &str) -> Result<DateTime> {
    match read(text) {
        Some((date, time, offset)) => {
            let time = date.to_datetime(time);
            let at = match offset {
                None => At::Naive(time),
                Some(offset) => {
                    let zone = if offset.is_zero() { TimeZone::UTC } else { TimeZone::fixed(offset) };
                    At::Aware(time.to_zoned(zone).or_else(out_of_range)?)
                }
            };
            Ok(DateTime { at, pendulum: false })
        }
        None => fault(format!(
            "the date {text:?} is not understood: write it as in 2026-01-31, 2026-01-31T06:00:00+00:00, 01/31/2026 or \
             31 January 2026"
        )),
    }
}

type Parts = (civil::Date, civil::Time, Option<Offset>);

fn read(text: &str) -> Option<Parts> {
    let text = text.trim();
    // `2026-01-31T06:00`, but not `Sat` or `Oct`.
    let split = text.char_indices().find(|(at, c)| {
        let around =
            (text[..*at].ends_with(|c: char| c.is_ascii_digit()), text[at + c.len_utf8()..].chars().next());
        *c == 'T' && around.0 && around.1.is_some_and(|c| c.is_ascii_digit())
    });
    let (date, time) = match split {
        Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
        None => match text.find(':').and_then(|colon| text[..colon].rfind(' ')) {
            Some(space) => (&text[..space], Some(&text[space + 1..])),
            None => (text, None),
        },
    };
    let date = read_date(date)?;
    match time {
        None => Some((date, civil::Time::midnight(), None)),
        Some(time) => read_time(time).map(|(time, offset)| (date, time, offset)),
    }
}

fn read_date(text: &str) -> Option<civil::Date> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i16>().ok()).flatten()
    };
    let new = |year: i16, month: i16, day: i16| {
        civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    };
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return new(number(&text[..4])?, number(&text[4..6])?, number(&text[6..])?);
    }
    for between in ['-', '/', '.'] {
        let parts: Vec<_> = text.split(between).collect();
        let [a, b, c] = parts[..] else { continue };
        return match (a.len(), number(a)?, number(b)?, c.len(), number(c)?) {
            (4, year, month, 1 | 2, day) => new(year, month, day),
            // Months come first, unless there is no such month.
            (1 | 2, day @ 13.., month, 4, year) | (1 | 2, month, day, 4, year) => new(year, month, day),
            _ => None,
        };
    }
    let is_word = |word: &str, of: &[&str]| {
        let word = word.to_ascii_lowercase();
        of.iter().position(|name| *name == word || (word.len() == 3 && name.starts_with(&word)))
    };
    let mut words: Vec<_> = text
        .split([' ', ','])
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty())
        .collect();
    if is_word(words.first()?, &DAYS).is_some() {
        words.remove(0);
    }
    let [a, b, year] = words[..] else { return None };
    let (month, day) = match (is_word(a, &MONTHS), is_word(b, &MONTHS)) {
        (Some(month), None) => (month, b),
        (None, Some(month)) => (month, a),
        _ => return None,
    };
    if year.len() != 4 || day.len() > 2 {
        return None;
    }
    new(number(year)?, month as i16 + 1, number(day)?)
}

fn read_time(text: &str) -> Option<(civil::Time, Option<Offset>)> {
    let (clock, zone) = match text.find([' ', 'Z', 'U', '+', '-']) {
        Some(at) => (&text[..at], text[at..].trim_start()),
        None => (text, ""),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let digits = |text: &str| (text.bytes().all(|byte| byte.is_ascii_digit())).then_some(());
    digits(fraction)?;
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<6.6}").parse::<i32>().ok()? * 1000 };
    let two = |text: &str, at: usize| text.get(at..at + 2).and_then(|part| part.parse::<i8>().ok());
    let clock =
        clock.split(':').map(|part| if part.len() == 1 { format!("0{part}") } else { part.to_owned() });
    let clock = clock.collect::<Vec<_>>().concat();
    digits(&clock)?;
    let (hour, minute, second) = match clock.len() {
        2 => (two(&clock, 0)?, 0, 0),
        4 => (two(&clock, 0)?, two(&clock, 2)?, 0),
        6 => (two(&clock, 0)?, two(&clock, 2)?, two(&clock, 4)?),
        _ => return None,
    };
    let time = civil::Time::new(hour, minute, second, nanos).ok()?;
    let offset = match zone {
        "" => None,
        "Z" | "UTC" => Some(Offset::UTC),
        zone => {
            let sign = match zone.chars().next()? {
                '+' => 1,
                '-' => -1,
                _ => return None,
            };
            let digits = zone[1..].replace(':', "");
            let (hours, minutes) = match digits.len() {
                2 => (two(&digits, 0)?, 0),
                4 => (two(&digits, 0)?, two(&digits, 2)?),
                _ => return None,
            };
            let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
            Some(Offset::from_seconds(seconds).ok()?)
        }
    };
    Some((time, offset))
}
