//! Schedules as DAG files write them: cron, presets, `timedelta`, and Airflow's timetables as objects.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use updraft_core::AssetCondition;

use super::{
    assets, date,
    field::{self, Noted},
    holidays::Beside,
    node::{Mapping, Node, Object, Place, Value},
    problem::Problems,
};

/// When a DAG runs, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Never by itself.
    Manual,
    /// cron's `@reboot`.
    AtBoot,
    Once,
    Continuous,
    /// `CronTriggerTimetable` and `MultipleCronTriggerTimetable`; also a plain cron.
    Crons {
        crons: Vec<String>,
        zone: String,
        interval: Option<Step>,
        immediately: Immediately,
    },
    /// `CronDataIntervalTimetable`.
    CronIntervals {
        cron: String,
        zone: String,
    },
    /// `DeltaTriggerTimetable`; also a plain `timedelta`.
    Every {
        step: Step,
        interval: Option<Step>,
    },
    /// `DeltaDataIntervalTimetable`.
    Intervals {
        step: Step,
    },
    /// `EventsTimetable`.
    Times {
        times: Vec<Timestamp>,
        restrict_to_events: bool,
    },
}

/// From one time to the next: calendar months and an exact length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub months: i32,
    pub exact: SignedDuration,
}

/// `run_immediately` of the cron triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Immediately {
    No,
    Yes,
    Within(SignedDuration),
}

/// A schedule and where it stands.
pub(super) struct Scheduled {
    pub when: When,
    /// Of what else runs are made.
    pub assets: Option<AssetCondition>,
    pub place: Place,
}

/// The schedule of a DAG; `None` where it has none or a problem was noted.
pub(super) fn read(
    dag: &Mapping,
    zone: &TimeZone,
    now: Timestamp,
    beside: &Beside<'_>,
    problems: &mut Problems,
) -> Option<Scheduled> {
    let written = ["schedule", "schedule_interval", "timetable"].map(|key| dag.entry(key));
    let mut written = written.into_iter().flatten().filter(|entry| !entry.node.is_null());
    let entry = written.next()?;
    if let Some(second) = written.next() {
        let message =
            format!("this DAG has `{}` as well as `{}`: keep one of the two", entry.key, second.key);
        problems.error(second.key_place, message);
        return None;
    }
    let (node, place) = (&entry.node, entry.node.place);
    let Some(by_assets) = assets::schedule(node, is_time, beside, problems).ok()? else {
        return Some(Scheduled { when: when(node, zone, now, problems).ok()?, assets: None, place });
    };
    let when = match by_assets.timetable {
        Some(timetable) => when(timetable, zone, now, problems).ok()?,
        None => When::Manual,
    };
    Some(Scheduled { when, assets: Some(by_assets.condition), place })
}

fn when(node: &Node, clock: &TimeZone, now: Timestamp, problems: &mut Problems) -> Result<When, Noted> {
    let zone = clock.iana_name().unwrap_or("UTC").to_owned();
    let crons = |crons, zone| When::Crons { crons, zone, interval: None, immediately: Immediately::No };
    match &node.value {
        Value::Text(text) => Ok(match text.trim() {
            none if none.eq_ignore_ascii_case("none") => When::Manual,
            "@reboot" => When::AtBoot,
            "@once" => When::Once,
            "@continuous" => When::Continuous,
            _ => crons(vec![text.to_string()], zone),
        }),
        Value::Duration(exact) => Ok(When::Every { step: Step { months: 0, exact: *exact }, interval: None }),
        Value::List(list) if !list.items.is_empty() && list.items.iter().all(date::is_written) => {
            let mut times = Vec::with_capacity(list.items.len());
            for item in &list.items {
                times.extend(date::instant(item, clock, now, problems)?);
            }
            Ok(When::Times { times, restrict_to_events: false })
        }
        Value::List(list) => {
            let mut all = Vec::with_capacity(list.items.len());
            for item in list.items.iter().filter(|item| !item.is_blank()) {
                all.push(text(item, problems)?);
            }
            if all.is_empty() { Ok(When::Manual) } else { Ok(crons(all, zone)) }
        }
        Value::Object(object) => timetable(object, node, &zone, now, problems),
        _ => {
            let message = format!(
                "expected a cron, a preset (`@daily`), a timedelta, or a list of crons, of dates or of assets, found {}",
                node.kind()
            );
            refuse(node, &message, problems)
        }
    }
}

fn refuse<T>(node: &Node, message: &str, problems: &mut Problems) -> Result<T, Noted> {
    problems.error(node.place, message);
    Err(Noted)
}

/// Whether an item of a list is rather a cron or a date than an asset.
fn is_time(item: &Node) -> bool {
    let is_cron = |text: &str| text.starts_with('@') || text.split_ascii_whitespace().count() >= 5;
    date::is_written(item) || item.text().is_some_and(|text| is_cron(text))
}

/// The arguments of a timetable, by name.
struct Arguments<'a> {
    object: &'a Object,
    names: &'static [&'static str],
}

impl<'a> Arguments<'a> {
    /// `names` are those that it takes, in their order; the first takes all that stand by place where
    /// `many` says so.
    fn new(
        object: &'a Object,
        names: &'static [&'static str],
        many: bool,
        node: &Node,
        problems: &mut Problems,
    ) -> Result<Self, Noted> {
        if let Some(unknown) = object.keywords.entries.iter().find(|entry| !names.contains(&&*entry.key)) {
            let near = field::did_you_mean(&unknown.key, names.iter().copied());
            problems.error(
                unknown.key_place,
                format!("`{}` has no argument `{}`{near}", object.class, unknown.key),
            );
            return Err(Noted);
        }
        if !many && object.arguments.len() > names.len() {
            return refuse(node, &format!("`{}` has too many arguments", object.class), problems);
        }
        Ok(Self { object, names })
    }

    fn get(&self, name: &str) -> Option<&'a Node> {
        let by_place = self.names.iter().position(|known| *known == name);
        let by_place = by_place.and_then(|at| self.object.arguments.get(at));
        by_place.or_else(|| self.object.keywords.get(name)).filter(|node| !node.is_null())
    }

    fn need(&self, name: &str, node: &Node, problems: &mut Problems) -> Result<&'a Node, Noted> {
        match self.get(name) {
            Some(node) => Ok(node),
            None => refuse(node, &format!("`{}` needs its argument `{name}`", self.object.class), problems),
        }
    }
}

fn timetable(
    object: &Object,
    node: &Node,
    zone: &str,
    now: Timestamp,
    problems: &mut Problems,
) -> Result<When, Noted> {
    let arguments = |names, problems: &mut Problems| Arguments::new(object, names, false, node, problems);
    match object.class.rsplit('.').next().unwrap_or_default() {
        "CronTriggerTimetable" => {
            let given = arguments(&["cron", "timezone", "interval", "run_immediately"], problems)?;
            let cron = text(given.need("cron", node, problems)?, problems)?;
            triggers(vec![cron], &given, zone, problems)
        }
        "MultipleCronTriggerTimetable" => {
            let names = &["timezone", "interval", "run_immediately"];
            let given = Arguments::new(object, names, true, node, problems)?;
            let crons: Result<Vec<String>, Noted> =
                object.arguments.iter().map(|node| text(node, problems)).collect();
            // All that stands by place is a cron.
            let keywords = Object {
                class: object.class.clone(),
                arguments: Vec::new(),
                keywords: Mapping::new(object.keywords.entries.clone()),
            };
            triggers(crons?, &Arguments { object: &keywords, names: given.names }, zone, problems)
        }
        "CronDataIntervalTimetable" => {
            let given = arguments(&["cron", "timezone"], problems)?;
            let cron = text(given.need("cron", node, problems)?, problems)?;
            Ok(When::CronIntervals { cron, zone: zone_of(&given, zone, problems)? })
        }
        "DeltaTriggerTimetable" => {
            let given = arguments(&["delta", "interval"], problems)?;
            let step = step(given.need("delta", node, problems)?, problems)?;
            Ok(When::Every { step, interval: interval(&given, problems)? })
        }
        "DeltaDataIntervalTimetable" => {
            let given = arguments(&["delta"], problems)?;
            Ok(When::Intervals { step: step(given.need("delta", node, problems)?, problems)? })
        }
        "EventsTimetable" => {
            let names = &["event_dates", "restrict_to_events", "presorted", "description"];
            let given = arguments(names, problems)?;
            events(given.need("event_dates", node, problems)?, &given, now, problems)
        }
        "ContinuousTimetable" => Ok(When::Continuous),
        "OnceTimetable" => Ok(When::Once),
        "NullTimetable" => Ok(When::Manual),
        "relativedelta" => Ok(When::Every { step: step(node, problems)?, interval: None }),
        "CronPartitionTimetable" | "PartitionedAssetTimetable" => {
            let message =
                "assets have no partitions here: write a CronTriggerTimetable, or the assets by themselves";
            refuse(node, message, problems)
        }
        _ => {
            let message = format!(
                "the timetable `{}` is not known: write a cron, a timedelta or one of Airflow's timetables",
                object.class
            );
            refuse(node, &message, problems)
        }
    }
}

fn text(node: &Node, problems: &mut Problems) -> Result<String, Noted> {
    field::text(node, problems)?.ok_or(Noted)
}

fn zone_of(given: &Arguments<'_>, zone: &str, problems: &mut Problems) -> Result<String, Noted> {
    let Some(node) = given.get("timezone") else { return Ok(zone.to_owned()) };
    let zone = date::zone(node, problems)?.ok_or(Noted)?;
    Ok(zone.iana_name().unwrap_or("UTC").to_owned())
}

fn triggers(
    crons: Vec<String>,
    given: &Arguments<'_>,
    zone: &str,
    problems: &mut Problems,
) -> Result<When, Noted> {
    let immediately = match given.get("run_immediately").map(|node| (&node.value, node)) {
        None | Some((Value::Bool(false), _)) => Immediately::No,
        Some((Value::Bool(true), _)) => Immediately::Yes,
        Some((Value::Duration(within), _)) => Immediately::Within(*within),
        Some((_, node)) => {
            let message = format!("expected true, false or a timedelta, found {}", node.kind());
            return refuse(node, &message, problems);
        }
    };
    let zone = zone_of(given, zone, problems)?;
    Ok(When::Crons { crons, zone, interval: interval(given, problems)?, immediately })
}

/// How long before its time a run's data begin; Airflow's default, zero, is none.
fn interval(given: &Arguments<'_>, problems: &mut Problems) -> Result<Option<Step>, Noted> {
    match given.get("interval") {
        None => Ok(None),
        Some(node) if matches!(node.value, Value::Duration(length) if length.is_zero()) => Ok(None),
        Some(node) => step(node, problems).map(Some),
    }
}

/// A `timedelta` or a `relativedelta` of whole units.
fn step(node: &Node, problems: &mut Problems) -> Result<Step, Noted> {
    let object = match &node.value {
        Value::Duration(exact) => return Ok(Step { months: 0, exact: *exact }),
        Value::Object(object) if object.class.ends_with("relativedelta") => object,
        _ => {
            let message = format!("expected a timedelta, found {}", node.kind());
            return refuse(node, &message, problems);
        }
    };
    let mut step = Step { months: 0, exact: SignedDuration::ZERO };
    for entry in &object.keywords.entries {
        let seconds = match &*entry.key {
            "years" | "months" => {
                let number: Option<i32> = field::whole(&entry.node, "a whole number", problems)?;
                let months = number.unwrap_or(0).checked_mul(if &*entry.key == "years" { 12 } else { 1 });
                let Some(months) = months.and_then(|months| step.months.checked_add(months)) else {
                    return refuse(&entry.node, "this is too long for a schedule", problems);
                };
                step.months = months;
                continue;
            }
            "weeks" => 7 * 86_400,
            "days" => 86_400,
            "hours" => 3_600,
            "minutes" => 60,
            "seconds" => 1,
            key => {
                let message = format!(
                    "a schedule steps by years, months, weeks, days, hours, minutes and seconds, and not by \
                     `{key}`: write a cron for a certain time"
                );
                problems.error(entry.key_place, message);
                return Err(Noted);
            }
        };
        let number: Option<i32> = field::whole(&entry.node, "a whole number", problems)?;
        let length = SignedDuration::from_secs(i64::from(number.unwrap_or(0)) * seconds);
        step.exact = step.exact.saturating_add(length);
    }
    Ok(step)
}

fn events(
    dates: &Node,
    given: &Arguments<'_>,
    now: Timestamp,
    problems: &mut Problems,
) -> Result<When, Noted> {
    let Some(items) = dates.list() else {
        let message = format!("expected a list of dates, found {}", dates.kind());
        return refuse(dates, &message, problems);
    };
    let mut times = Vec::with_capacity(items.len());
    for item in items {
        times.extend(date::instant(item, &TimeZone::UTC, now, problems)?);
    }
    let restrict = given.get("restrict_to_events").map(|node| field::boolean(node, problems)).transpose()?;
    Ok(When::Times { times, restrict_to_events: restrict.flatten().unwrap_or(false) })
}
