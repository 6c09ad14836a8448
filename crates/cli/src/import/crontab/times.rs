//! The five time fields of a line, read as cron reads them and written as a cron that means the same here.
//!
//! The two differ where a day of the month and a day of the week are both given. Cron asks for both of them
//! where one of the fields begins with `*` (`*/2`), and for either where none does. Airflow's cron, which is
//! Updraft's, asks for both only where one of the fields is a bare `*`. What can't be said in it is refused.

/// One of the five fields.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const DAY_OF_MONTH: usize = 2;
const DAY_OF_WEEK: usize = 4;
const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of month", low: 1, high: 31, names: &[] },
    Field {
        name: "month",
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // Both 0 and 7 are Sunday.
    Field { name: "day of week", low: 0, high: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// A schedule, and what was settled once for all in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Times {
    /// The cron.
    pub cron: String,
    /// What was chosen at random, in words.
    pub chosen: Option<String>,
}

/// Reads five fields. What is to be chosen at random (`0~59`) is chosen by `seed`: the same for the same line.
///
/// # Errors
///
/// What is wrong with a field, in words, with the mend.
pub fn read(fields: &[&str; 5], seed: &str) -> Result<Times, String> {
    let mut values = [0_u64; 5];
    let mut chosen = Vec::new();
    for ((field, text), values) in FIELDS.iter().zip(fields).zip(&mut values) {
        *values = field.values(text, seed)?;
        if text.contains('~') {
            chosen.push(format!("the {} of `{text}` is {} from now on", field.name, field.listed(*values)));
        }
    }
    // Sunday is bit 0 from here on.
    values[DAY_OF_WEEK] = (values[DAY_OF_WEEK] | values[DAY_OF_WEEK] >> 7) & 0x7f;
    let mut written: Vec<String> = FIELDS
        .iter()
        .zip(fields)
        .zip(values)
        .map(|((field, text), values)| field.text(text, values))
        .collect();
    let days = [DAY_OF_MONTH, DAY_OF_WEEK];
    let needs_both = days.iter().any(|day| fields[*day].starts_with('*'));
    let is_any = days.iter().any(|day| written[*day] == "*");
    if !is_any && needs_both {
        let [month_day, weekday] = days.map(|day| fields[day]);
        let Some(occurrences) = occurrences(values[DAY_OF_MONTH], values[DAY_OF_WEEK]) else {
            return Err(format!(
                "the day of month `{month_day}` beside the day of week `{weekday}`: cron runs this on days that \
                 are both, since one of the two begins with `*`, and a schedule here on days that are either; \
                 write `*` for one of them, and ask for the other in the command: [ $(date +\\%u) = 1 ] && …"
            ));
        };
        written[DAY_OF_MONTH] = "*".into();
        written[DAY_OF_WEEK] = occurrences;
    } else if is_any && !needs_both {
        // All days are named one by one, or either is enough and one is always there.
        days.iter().for_each(|day| written[*day] = "*".into());
    }
    Ok(Times { cron: written.join(" "), chosen: (!chosen.is_empty()).then(|| chosen.join("; ")) })
}

/// Weekdays on these days of a month, where these are whole weeks of it: the first Monday is `1#1`.
fn occurrences(days: u64, weekdays: u64) -> Option<String> {
    let weeks = [0xfe, 0xfe << 7, 0xfe << 14, 0xfe << 21, 0b111 << 29];
    let is_whole = |week: &u64| days & week == *week;
    let all = weeks.iter().filter(|week| is_whole(week)).fold(0, |all, week| all | week);
    let of_week = |at: usize| {
        (0..7).filter(move |day| weekdays & 1 << day != 0).map(move |day| format!("{day}#{}", at + 1))
    };
    let named = weeks.iter().enumerate().filter(|(_, week)| is_whole(week)).flat_map(|(at, _)| of_week(at));
    (all == days).then(|| named.collect::<Vec<_>>().join(","))
}

impl Field {
    /// The values that a text names, a bit for each.
    fn values(&self, text: &str, seed: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |bits, token| Ok(bits | self.token(token, text, seed)?))
    }

    fn token(&self, token: &str, text: &str, seed: &str) -> Result<u64, String> {
        let bad = |mend: &str| Err(format!("`{text}` is no {}: {mend}", self.name));
        let (range, step) = match token.split_once('/') {
            None => (token, 1),
            Some((range, step)) => match step.parse::<u32>() {
                Ok(step) if step > 0 && !range.contains('~') => (range, step),
                _ => return bad(&format!("`/{step}` has to be a number from 1 up, behind `*` or a range")),
            },
        };
        let (low, high) = if range == "*" {
            (self.low, self.high)
        } else if let Some((low, high)) = range.split_once('~') {
            let low = if low.is_empty() { self.low } else { self.number(low, text)? };
            let high = if high.is_empty() { self.high } else { self.number(high, text)? };
            let Some(width) = (high + 1).checked_sub(low).filter(|width| *width > 0) else {
                return bad(&format!("`{range}` has to go up"));
            };
            let value = low + hash(seed) % width;
            (value, value)
        } else if let Some((low, high)) = range.split_once('-') {
            let (low, mut high) = (self.number(low, text)?, self.number(high, text)?);
            if self.high == 7 && high == 0 && low > 0 {
                // `fri-sun`
                high = 7;
            }
            if low > high {
                return bad(&format!(
                    "cron never runs what goes from {low} down to {high}; write {low}-{},{}-{high}",
                    self.high, self.low
                ));
            }
            (low, high)
        } else if range == token {
            let value = self.number(range, text)?;
            (value, value)
        } else {
            return bad(&format!("a step is read behind `*` or a range; write {range}-{}/{step}", self.high));
        };
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        Ok((low..=high).step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn number(&self, text: &str, whole: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { text.parse().ok() } else { named.map(|at| at as u32 + self.low) };
        number.filter(|number| (self.low..=self.high).contains(number)).ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            let part = if text == whole { String::new() } else { format!(" in `{whole}`") };
            format!("`{text}`{part} is no {}: {} to {}{names}", self.name, self.low, self.high)
        })
    }

    /// The values, `*` for all: as they were written, where that means the same to both.
    fn text(&self, text: &str, values: u64) -> String {
        let last = if self.high == 7 { 6 } else { self.high };
        if (self.low..=last).all(|value| values & 1 << value != 0) {
            "*".into()
        } else if text.split(',').all(|token| self.is_common(token, text)) {
            text.to_owned()
        } else {
            self.listed(values)
        }
    }

    /// Whether a token means the same to cron and here: a number, a range that goes up, and a step behind a
    /// range, or behind a `*` that stands alone.
    fn is_common(&self, token: &str, text: &str) -> bool {
        let (range, step) = token.split_once('/').unwrap_or((token, ""));
        if range == "*" {
            return !step.is_empty() && token == text;
        }
        let (low, high) = range.split_once('-').unwrap_or((range, ""));
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| !(self.high == 7 && *number == 7));
        match (number(low), number(high)) {
            (Some(low), Some(high)) => low < high,
            (Some(_), None) => high.is_empty() && step.is_empty(),
            (None, _) => false,
        }
    }

    /// The values one by one, runs of three and more as ranges.
    fn listed(&self, values: u64) -> String {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for value in (self.low..=self.high).filter(|value| values & 1 << value != 0) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == value => *last = value,
                _ => runs.push((value, value)),
            }
        }
        let run = |(low, high): &(u32, u32)| match high - low {
            0 => low.to_string(),
            1 => format!("{low},{high}"),
            _ => format!("{low}-{high}"),
        };
        runs.iter().map(run).collect::<Vec<_>>().join(",")
    }
}

/// FNV-1a, which is the same everywhere and always.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, ToSpan as _, Unit, tz::TimeZone};
    use proptest::prelude::*;
    use updraft_core::schedule::{Schedule, Zone};

    use super::*;

    fn cron(line: &str) -> String {
        let fields: Vec<&str> = line.split(' ').collect();
        match read(&fields.try_into().unwrap(), "seed") {
            Ok(times) => times.cron,
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn what_both_read_alike_stays_as_it_was_written() {
        for line in [
            "* * * * *",
            "*/5 0-6 1,15 * *",
            "0 9-17/2 * * 1-5",
            "30 4 1,15 * 5",
            "0 0 31 2 *",
            "59 23 31 12 6",
        ] {
            assert_eq!(cron(line), line);
        }
    }

    #[test]
    fn what_cron_writes_otherwise_is_written_anew() {
        for (line, meant) in [
            ("0 0 * JAN,jul Mon-FRI", "0 0 * 1,7 1-5"),
            ("0 0 * * 7", "0 0 * * 0"),
            ("0 0 * * 5-7", "0 0 * * 0,5,6"),
            ("0 0 * * fri-sun", "0 0 * * 0,5,6"),
            ("0 0 * * 0-7", "0 0 * * *"),
            ("0,5-5,*/30 0 * * *", "0,5,30 0 * * *"),
            ("*,3 */1 * 1-12 *", "* * * * *"),
            // Neither begins with `*`: a day that is either is any.
            ("0 0 1-31 * 1", "0 0 * * *"),
            ("0 0 5,* * 1", "0 0 * * *"),
            // One does: a day has to be both.
            ("0 0 */1 * 1", "0 0 * * 1"),
            ("0 0 */100,1-7 * mon", "0 0 * * 1#1"),
            ("0 0 */100,1-14,29-31 * 0,6", "0 0 * * 0#1,6#1,0#2,6#2,0#5,6#5"),
        ] {
            assert_eq!(cron(line), meant, "{line}");
        }
        assert!(cron("0 0 */2 * 1").contains("begins with `*`"));
        assert!(cron("0 0 1 * */2").contains("begins with `*`"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_a_mend() {
        for (line, says) in [
            ("60 * * * *", "`60` is no minute: 0 to 59"),
            ("1,x * * * *", "`x` in `1,x` is no minute"),
            ("* 24 * * *", "0 to 23"),
            ("* * 0 * *", "1 to 31"),
            ("* * * 13 *", "1 to 12, or jan to dec"),
            ("* * * * january", "`january` is no day of week: 0 to 7, or sun to sat"),
            ("* * * * 8", "0 to 7"),
            ("*/0 * * * *", "from 1 up"),
            ("*/x * * * *", "from 1 up"),
            ("5/15 * * * *", "write 5-59/15"),
            ("* 22-2 * * *", "write 22-23,0-2"),
            ("1, * * * *", "`` in `1,`"),
            ("*-5 * * * *", "is no minute"),
            ("L * * * *", "is no minute"),
            ("1#2 * * * *", "is no minute"),
            ("40~30 * * * *", "has to go up"),
            ("99999999999999999999 * * * *", "is no minute"),
        ] {
            assert!(cron(line).contains(says), "{line}: {}", cron(line));
        }
    }

    #[test]
    fn what_is_chosen_at_random_is_chosen_once_for_all_within_its_range() {
        let fields = ["10~20", "~3", "*", "*", "5~"];
        let chosen = read(&fields, "a line").unwrap();
        assert_eq!(chosen, read(&fields, "a line").unwrap());
        for seed in 0..200 {
            let times = read(&fields, &seed.to_string()).unwrap();
            let numbers: Vec<u32> = times.cron.split(' ').filter_map(|field| field.parse().ok()).collect();
            assert!((10..=20).contains(&numbers[0]) && numbers[1] <= 3, "{times:?}");
            assert!([0, 5, 6].contains(&numbers[2]), "{times:?}");
            assert!(times.chosen.unwrap().contains("the minute of `10~20` is "));
        }
    }

    /// Whether cron runs a line on a day, as the source of cron says it.
    fn is_day_of_cron(fields: &[&str; 5], date: jiff::civil::Date) -> bool {
        let has =
            |field: usize, value: u64| FIELDS[field].values(fields[field], "").unwrap() & 1 << value != 0;
        let weekday = date.weekday().to_sunday_zero_offset() as u64;
        let weekday = has(4, weekday) || weekday == 0 && has(4, 7);
        let month_day = has(2, date.day() as u64);
        let is_day = match fields[2].starts_with('*') || fields[4].starts_with('*') {
            true => month_day && weekday,
            false => month_day || weekday,
        };
        is_day && has(3, date.month() as u64)
    }

    fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
        let range = move |(a, b): (u32, u32)| (a.min(b), a.max(b));
        let token = prop_oneof![
            3 => Just("*".to_owned()),
            2 => (1..=high + 3).prop_map(|step| format!("*/{step}")),
            3 => (low..=high).prop_map(|value| value.to_string()),
            2 => (low..=high, low..=high).prop_map(range).prop_map(|(low, high)| format!("{low}-{high}")),
            2 => (low..=high, low..=high, 1..9_u32)
                .prop_map(move |(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
        ];
        prop::collection::vec(token, 1..4).prop_map(|tokens| tokens.join(","))
    }

    proptest! {
        #[test]
        fn a_schedule_has_the_days_and_times_of_cron(
            hour in field(0, 23), day in field(1, 31), month in field(1, 12), weekday in field(0, 7),
        ) {
            let fields = ["7", &*hour, &*day, &*month, &*weekday];
            let Ok(times) = read(&fields, "") else { return Ok(()) };
            let schedule = Schedule::from_text(&times.cron, Zone::new("UTC").unwrap()).unwrap();
            let from: Timestamp = "2024-01-01T00:00Z".parse().unwrap();
            let first = from.to_zoned(TimeZone::UTC).date();
            let is_hour = |hour: u64| FIELDS[1].values(fields[1], "").unwrap() & 1 << hour != 0;
            let expected: Vec<String> = (0..430)
                .map(|days| first + days.days())
                .filter(|date| is_day_of_cron(&fields, *date))
                .flat_map(|date| (0..24).filter(|hour| is_hour(*hour)).map(move |hour| format!("{date}T{hour:02}:07")))
                .collect();
            let to = (first + 430.days()).to_zoned(TimeZone::UTC).unwrap().round(Unit::Minute).unwrap().timestamp();
            let ticks = schedule.ticks_between(from, to);
            let found: Vec<String> = ticks.map(|tick| tick.run_after.strftime("%FT%H:%M").to_string()).collect();
            prop_assert_eq!(found, expected, "{:?} became {}", fields, times.cron);
        }
    }
}
