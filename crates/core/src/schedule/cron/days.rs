//! Which days of a month match: the day of the month and the day of the week, taken together.

use jiff::civil::Date;

use super::field::{FieldSet, LAST_OF_MONTH};

/// How the two fields for days go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DayPlan {
    /// One of them or both are `*`: a day has to satisfy both.
    Both(DayRule),
    /// Neither is `*`: either is enough.
    Either(DayRule),
    /// Neither is `*`, and there is a `W` or a `#`. croniter then searches twice, each time leaving one of
    /// the fields out but never a `W` or a `#`. The nearer result counts, and where one of the searches
    /// comes to nothing, so does the whole.
    Twice(DayRule, DayRule),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DayRule {
    month_days: MonthDays,
    weekdays: Weekdays,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MonthDays {
    Every,
    Listed { days: u32, last: bool },
    NearestWeekday(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weekdays {
    Every,
    Listed(u8),
    Occurrences([u8; 7]),
}

/// A month, as far as the rules for days need to know it.
#[derive(Clone, Copy)]
pub(super) struct Month {
    length: i8,
    /// The weekday of the first, Sunday being 0.
    first: i8,
}

impl Month {
    pub fn new(year: i16, month: i8) -> Option<Self> {
        let first = Date::new(year, month, 1).ok()?;
        Some(Self { length: first.days_in_month(), first: first.weekday().to_sunday_zero_offset() })
    }

    fn all(self) -> u64 {
        (1 << (self.length + 1)) - 2
    }

    /// The first day of the month that falls on a weekday.
    fn first_on(self, weekday: i8) -> i8 {
        1 + (weekday - self.first).rem_euclid(7)
    }

    /// All days that fall on a weekday.
    fn all_on(self, weekday: i8) -> u64 {
        const EVERY_SEVENTH: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;
        EVERY_SEVENTH << self.first_on(weekday) & self.all()
    }
}

impl DayPlan {
    pub fn new(month_day: &FieldSet, weekday: &FieldSet, every_day: bool, every_weekday: bool) -> Self {
        let month_days = match month_day.nearest_weekday {
            Some(day) => MonthDays::NearestWeekday(day),
            None if every_day => MonthDays::Every,
            None => MonthDays::Listed {
                days: month_day.values.iter().fold(0, |bits, day| bits | 1 << day),
                last: month_day.last_day,
            },
        };
        let weekdays = if weekday.has_nth() {
            Weekdays::Occurrences(weekday.nth)
        } else if every_weekday {
            Weekdays::Every
        } else {
            Weekdays::Listed(weekday.values.iter().fold(0, |bits, day| bits | 1 << day))
        };
        let rule = DayRule { month_days, weekdays };
        let special_day = matches!(month_days, MonthDays::NearestWeekday(_));
        let special_weekday = matches!(weekdays, Weekdays::Occurrences(_));
        if every_day || every_weekday {
            Self::Both(rule)
        } else if special_day || special_weekday {
            let without_weekday = if special_weekday { weekdays } else { Weekdays::Every };
            let without_day = if special_day { month_days } else { MonthDays::Every };
            Self::Twice(
                DayRule { month_days, weekdays: without_weekday },
                DayRule { month_days: without_day, weekdays },
            )
        } else {
            Self::Either(rule)
        }
    }
}

impl DayRule {
    pub fn both(&self, month: Month) -> u64 {
        self.month_days.within(month) & self.weekdays.within(month)
    }

    pub fn either(&self, month: Month) -> u64 {
        self.month_days.within(month) | self.weekdays.within(month)
    }
}

impl MonthDays {
    fn within(self, month: Month) -> u64 {
        match self {
            Self::Every => month.all(),
            Self::Listed { days, last } => {
                u64::from(days) & month.all() | if last { 1 << month.length } else { 0 }
            }
            Self::NearestWeekday(day) => {
                let day = (day as i8).min(month.length);
                1 << match (month.first + day - 1) % 7 {
                    // Never over the edge of the month.
                    6 if day == 1 => 3,
                    6 => day - 1,
                    0 if day == month.length => day - 2,
                    0 => day + 1,
                    _ => day,
                }
            }
        }
    }
}

impl Weekdays {
    fn within(self, month: Month) -> u64 {
        let on = |days: u8| (0..7).filter(move |weekday| days >> weekday & 1 == 1);
        match self {
            Self::Every => month.all(),
            Self::Listed(days) => on(days).fold(0, |bits, weekday| bits | month.all_on(weekday)),
            Self::Occurrences(nth) => (0..7).zip(nth).fold(0, |bits, (weekday, nth)| {
                let all = month.all_on(weekday);
                let last = if nth & LAST_OF_MONTH == 0 { 0 } else { 1 << (63 - all.leading_zeros()) };
                let nth = (1..=5)
                    .filter(|n| nth >> n & 1 == 1)
                    .fold(0, |bits, n| bits | 1 << (month.first_on(weekday) + 7 * (n - 1)));
                bits | last | nth & all
            }),
        }
    }
}
