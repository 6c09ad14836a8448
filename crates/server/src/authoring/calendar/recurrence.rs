//! Rules by which an event comes again (RFC 5545, 3.3.10), for whole days.

use std::collections::BTreeSet;

use jiff::{
    Span,
    civil::{Date, Weekday},
};

use super::{
    BadCalendar,
    event::{Moment, shorten},
    lines::Line,
};

/// How many more days may be looked at: a file can't keep its reader at work for long.
#[derive(Debug)]
pub(super) struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(2_000_000)
    }
}

impl Budget {
    /// What is wrong with a rule that takes more.
    pub fn spent(line: u32) -> BadCalendar {
        let message =
            "RRULE: to follow this file's rules takes more than two million days: end them by UNTIL";
        BadCalendar::new(line, message)
    }

    fn spend(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A rule. Each part that it has lets only some of a period's days through.
#[derive(Debug)]
pub(super) struct Rule {
    frequency: Frequency,
    /// In periods; 1 or more.
    interval: i32,
    count: Option<usize>,
    until: Option<Date>,
    months: Vec<i16>,
    month_days: Vec<i16>,
    year_days: Vec<i16>,
    /// With the how-many-th of the month or year it has to be; 0 for each.
    weekdays: Vec<(i16, Weekday)>,
    positions: Vec<i16>,
    week_start: Weekday,
}

impl Rule {
    /// Reads a rule of an event that begins on that day. `day` says on which its `UNTIL` lies.
    pub fn read(
        line: &Line,
        start: Date,
        mut day: impl FnMut(Moment) -> Result<Date, BadCalendar>,
    ) -> Result<Self, BadCalendar> {
        let mut rule = Self {
            frequency: frequency(line)?,
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            year_days: Vec::new(),
            weekdays: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
        };
        for part in line.value.split(';').filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(line.wrong(format!("`{}` is no part of a rule", shorten(part))));
            };
            let name = name.to_ascii_uppercase();
            let wrong = || line.wrong(format!("`{name}={}` can't be read", shorten(value)));
            let numbers = |most| numbers(value, most).ok_or_else(wrong);
            match &*name {
                "FREQ" => {}
                "INTERVAL" => rule.interval = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
                "COUNT" => rule.count = Some(value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?),
                "UNTIL" => rule.until = Some(day(Moment::read(line, value)?)?),
                "BYMONTH" => {
                    rule.months =
                        numbers(12).ok().filter(|all| all.iter().all(|n| *n > 0)).ok_or_else(wrong)?
                }
                "BYMONTHDAY" => rule.month_days = numbers(31)?,
                "BYYEARDAY" => rule.year_days = numbers(366)?,
                "BYSETPOS" => rule.positions = numbers(366)?,
                "BYDAY" => rule.weekdays = weekdays(value).ok_or_else(wrong)?,
                "WKST" => rule.week_start = weekday(value).ok_or_else(wrong)?,
                // Of a day there are none, and RFC 5545 has them passed over.
                "BYHOUR" | "BYMINUTE" | "BYSECOND" => {}
                _ => {
                    return Err(
                        line.wrong(format!("`{}` is not supported: write the days as RDATE", shorten(part)))
                    );
                }
            }
        }
        let has_place = rule.weekdays.iter().any(|(place, _)| *place != 0);
        if has_place && matches!(rule.frequency, Frequency::Daily | Frequency::Weekly) {
            return Err(line.wrong("BYDAY has a number, which only FREQ=MONTHLY and FREQ=YEARLY can have"));
        }
        rule.complete(start);
        Ok(rule)
    }

    /// What a rule does not say is as at its start.
    fn complete(&mut self, start: Date) {
        if !(self.month_days.is_empty() && self.year_days.is_empty() && self.weekdays.is_empty()) {
            return;
        }
        match self.frequency {
            Frequency::Daily => {}
            Frequency::Weekly => self.weekdays.push((0, start.weekday())),
            Frequency::Monthly => self.month_days.push(start.day().into()),
            Frequency::Yearly => {
                if self.months.is_empty() {
                    self.months.push(start.month().into());
                }
                self.month_days.push(start.day().into());
            }
        }
    }

    /// The days from a start on, which is the first of them, to a last day; `None` where it takes too long to
    /// find them.
    pub fn days(&self, start: Date, last: Date, budget: &mut Budget) -> Option<BTreeSet<Date>> {
        let last = self.until.map_or(last, |until| until.min(last));
        let count = self.count.unwrap_or(usize::MAX);
        let mut days = BTreeSet::from([start]);
        let mut period = Some(self.period_of(start));
        while let Some(first) = period.filter(|first| *first <= last && days.len() < count) {
            let mut found = self.found(first, budget)?;
            found.retain(|day| *day > start && *day <= last);
            days.extend(found.into_iter().take(count - days.len()));
            period = self.after(first);
        }
        Some(days)
    }

    fn period_of(&self, day: Date) -> Date {
        match self.frequency {
            Frequency::Daily => day,
            Frequency::Weekly => {
                let into = day.weekday().since(self.week_start);
                // Before the first day of the calendar there is no week.
                day.checked_sub(Span::new().days(into)).unwrap_or(day)
            }
            Frequency::Monthly => day.first_of_month(),
            Frequency::Yearly => day.first_of_year(),
        }
    }

    fn after(&self, period: Date) -> Option<Date> {
        let (one, n) = (Span::new(), self.interval);
        let step = match self.frequency {
            Frequency::Daily => one.try_days(n),
            Frequency::Weekly => one.try_weeks(n),
            Frequency::Monthly => one.try_months(n),
            Frequency::Yearly => one.try_years(n),
        };
        period.checked_add(step.ok()?).ok()
    }

    /// The days of a period that the rule lets through.
    fn found(&self, first: Date, budget: &mut Budget) -> Option<Vec<Date>> {
        let mut days = Vec::new();
        let mut next = Some(first);
        while let Some(day) = next.filter(|day| self.period_of(*day) == first) {
            budget.spend()?;
            let is_month = self.months.is_empty() || self.months.contains(&day.month().into());
            if is_month && self.has(day) {
                days.push(day);
            }
            // Not day by day through months in which there is nothing.
            next = if is_month { day.tomorrow().ok() } else { day.last_of_month().tomorrow().ok() };
        }
        if !self.positions.is_empty() {
            let count = days.len();
            let is_named = |at: usize| {
                let (from_start, from_end) = (at + 1, count - at);
                self.positions.iter().any(|position| {
                    let place = usize::from(position.unsigned_abs());
                    place == if *position > 0 { from_start } else { from_end }
                })
            };
            let named = days.iter().enumerate().filter(|(at, _)| is_named(*at)).map(|(_, day)| *day);
            days = named.collect();
        }
        Some(days)
    }

    /// Whether the parts of the rule but for its months and positions let a day through.
    fn has(&self, day: Date) -> bool {
        // Counted from the start, from 1, or from the end, from -1.
        let has = |list: &[i16], place: i16, of: i16| {
            list.is_empty() || list.contains(&place) || list.contains(&(place - of - 1))
        };
        has(&self.month_days, day.day().into(), day.days_in_month().into())
            && has(&self.year_days, day.day_of_year(), day.days_in_year())
            && (self.weekdays.is_empty() || self.weekdays.iter().any(|wanted| self.is_weekday(day, *wanted)))
    }

    fn is_weekday(&self, day: Date, (wanted, weekday): (i16, Weekday)) -> bool {
        if day.weekday() != weekday {
            return false;
        }
        // The how-many-th of a year, or of a month where the rule has months or goes by them.
        let of_year = self.frequency == Frequency::Yearly && self.months.is_empty();
        let (place, of) = if of_year {
            (day.day_of_year(), day.days_in_year())
        } else {
            (day.day().into(), day.days_in_month().into())
        };
        match wanted {
            0 => true,
            1.. => wanted == (place - 1) / 7 + 1,
            _ => -wanted == (of - place) / 7 + 1,
        }
    }
}

fn frequency(line: &Line) -> Result<Frequency, BadCalendar> {
    let parts = line.value.split(';').filter_map(|part| part.split_once('='));
    let frequency =
        parts.filter(|(name, _)| name.eq_ignore_ascii_case("FREQ")).map(|(_, value)| value).next();
    match frequency.map(str::to_ascii_uppercase).as_deref() {
        Some("DAILY") => Ok(Frequency::Daily),
        Some("WEEKLY") => Ok(Frequency::Weekly),
        Some("MONTHLY") => Ok(Frequency::Monthly),
        Some("YEARLY") => Ok(Frequency::Yearly),
        _ => Err(line.wrong("a rule for days has FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")),
    }
}

/// Numbers other than 0, from -`most` to `most`.
fn numbers(value: &str, most: i16) -> Option<Vec<i16>> {
    let number = |text: &str| {
        text.trim().parse::<i16>().ok().filter(|n| *n != 0 && n.unsigned_abs() <= most.unsigned_abs())
    };
    let mut all: Vec<i16> = value.split(',').map(number).collect::<Option<_>>()?;
    // A list is gone through for each day.
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// `MO`, `-1FR`.
fn weekdays(value: &str) -> Option<Vec<(i16, Weekday)>> {
    let one = |text: &str| {
        let text = text.trim();
        let at = text.len().checked_sub(2)?;
        let (place, name) = text.split_at_checked(at)?;
        let place = if place.is_empty() { 0 } else { *numbers(place, 53)?.first()? };
        Some((place, weekday(name)?))
    };
    let mut all: Vec<(i16, Weekday)> = value.split(',').map(one).collect::<Option<_>>()?;
    all.sort_unstable_by_key(|(place, day)| (*place, day.to_monday_zero_offset()));
    all.dedup();
    Some(all)
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match &*name.trim().to_ascii_uppercase() {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    })
}
