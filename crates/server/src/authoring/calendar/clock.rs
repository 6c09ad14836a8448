//! What the clocks of a zone show at a time of UTC: on which day an event's `UNTIL` or `EXDATE` lies.

use std::collections::BTreeMap;

use jiff::{
    SignedDuration,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::{
    BadCalendar, LAST,
    event::{Moment, shorten},
    lines::Line,
    recurrence::{Budget, Rule},
};

/// The zones of a file.
#[derive(Debug)]
pub(super) struct Clocks {
    /// The lines of each of their observances.
    own: BTreeMap<String, Vec<Vec<Line>>>,
    /// Those that were asked for.
    known: BTreeMap<String, Clock>,
    budget: Budget,
}

#[derive(Clone, Debug)]
enum Clock {
    Zone(TimeZone),
    /// When it is set, in order.
    Own(Vec<Onset>),
}

/// When a clock is set.
#[derive(Clone, Debug)]
struct Onset {
    /// In UTC.
    at: DateTime,
    /// How far east of UTC it has been before and is from then on.
    from: SignedDuration,
    to: SignedDuration,
}

impl Clocks {
    /// Those of a file, by their names: the lines of each of their observances.
    pub fn new(own: BTreeMap<String, Vec<Vec<Line>>>) -> Self {
        Self { own, known: BTreeMap::new(), budget: Budget::default() }
    }

    /// The day on which a moment lies, on the clock of a zone. Without a zone, and for what is not said in UTC, it
    /// is as it is written.
    pub fn day(&mut self, line: &Line, moment: Moment, zone: Option<&str>) -> Result<Date, BadCalendar> {
        Ok(self.local(line, moment, zone)?.date())
    }

    /// A moment as the clock of a zone shows it; see [`Self::day`].
    pub fn local(&mut self, line: &Line, moment: Moment, zone: Option<&str>) -> Result<Moment, BadCalendar> {
        let (Moment::Utc(utc), Some(zone)) = (moment, zone) else { return Ok(moment) };
        if !self.known.contains_key(zone) {
            let clock = self.find(line, zone)?;
            self.known.insert(zone.to_owned(), clock);
        }
        Ok(Moment::Local(self.known[zone].shown(utc)))
    }

    /// Names of IANA's mean what they mean everywhere, as `icalendar` has it; for others the file says itself
    /// when their clocks are set.
    fn find(&mut self, line: &Line, zone: &str) -> Result<Clock, BadCalendar> {
        if let Ok(zone) = TimeZone::get(zone) {
            return Ok(Clock::Zone(zone));
        }
        let Some(observances) = self.own.get(zone).filter(|observances| !observances.is_empty()) else {
            let zone = shorten(zone);
            return Err(line.wrong(format!(
                "to know on which day `{}` lies, the zone `{zone}` has to be known: add its VTIMEZONE, or name it as \
                 IANA does (Europe/Berlin)",
                shorten(&line.value)
            )));
        };
        let mut onsets = Vec::new();
        for observance in observances {
            onsets.extend(self::onsets(observance, &mut self.budget)?);
        }
        onsets.sort_by_key(|onset| onset.at);
        Ok(Clock::Own(onsets))
    }
}

impl Clock {
    fn shown(&self, utc: DateTime) -> DateTime {
        match self {
            // At the ends of the calendar, where `99991231T235959Z` is, no zone matters.
            Self::Zone(zone) => TimeZone::UTC.to_timestamp(utc).map_or(utc, |at| zone.to_datetime(at)),
            Self::Own(onsets) => {
                let passed = onsets.partition_point(|onset| onset.at <= utc).checked_sub(1);
                let offset = match passed {
                    Some(last) => onsets[last].to,
                    None => onsets.first().map_or(SignedDuration::ZERO, |first| first.from),
                };
                utc.saturating_add(offset)
            }
        }
    }
}

/// When an observance of a zone begins: each time that it does (RFC 5545, 3.6.5).
fn onsets(lines: &[Line], budget: &mut Budget) -> Result<Vec<Onset>, BadCalendar> {
    let find = |name: &str| {
        lines.iter().find(|line| line.name == name).ok_or_else(|| {
            let at = lines.last().map_or(1, |end| end.number);
            BadCalendar::new(at, format!("this part of a VTIMEZONE has no {name}: add it"))
        })
    };
    let (from, to) = (offset(find("TZOFFSETFROM")?)?, offset(find("TZOFFSETTO")?)?);
    let local = |moment| match moment {
        Moment::Day(date) => date.at(0, 0, 0, 0),
        Moment::Local(time) => time,
        Moment::Utc(time) => time.saturating_add(from),
    };
    let start_line = find("DTSTART")?;
    let start = local(Moment::read(start_line, &start_line.value)?);
    let mut starts = vec![start];
    for line in lines.iter().filter(|line| line.name == "RRULE") {
        let rule = Rule::read(line, start.date(), |moment| Ok(local(moment).date()))?;
        let days = rule.days(start.date(), LAST, budget).ok_or_else(|| Budget::spent(line.number))?;
        starts.extend(days.into_iter().map(|day| day.to_datetime(start.time())));
    }
    for line in lines.iter().filter(|line| line.name == "RDATE") {
        for value in line.value.split(',') {
            starts.push(local(Moment::read(line, value)?));
        }
    }
    Ok(starts.into_iter().map(|at| Onset { at: at.saturating_sub(from), from, to }).collect())
}

/// `+0100`, `-053020` (RFC 5545, 3.3.14).
fn offset(line: &Line) -> Result<SignedDuration, BadCalendar> {
    let read = || {
        let (sign, digits) = line.value.split_at_checked(1)?;
        let sign = match sign {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let two = |at: usize| digits.get(at..at + 2)?.parse::<i64>().ok();
        let seconds = match digits.len() {
            4 if is_number => two(0)? * 3600 + two(2)? * 60,
            6 if is_number => two(0)? * 3600 + two(2)? * 60 + two(4)?,
            _ => return None,
        };
        (seconds < 86_400).then(|| SignedDuration::from_secs(sign * seconds))
    };
    read().ok_or_else(|| line.wrong(format!("`{}` is no offset: write it as +0100", shorten(&line.value))))
}
