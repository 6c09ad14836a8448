//! What holds for every schedule.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use updraft_core::schedule::{Cron, DataInterval, Delta, Schedule, TimeRestriction, Zone};

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "-03:30",
];

/// A cron as lists of values, so that a test can tell without a parser what it means.
#[derive(Debug, Clone)]
struct Lists {
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    month_days: Option<BTreeSet<i8>>,
    months: BTreeSet<i8>,
    weekdays: Option<BTreeSet<i8>>,
}

impl Lists {
    fn expression(&self) -> String {
        let list =
            |values: &BTreeSet<i8>| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let or_star = |values: &Option<BTreeSet<i8>>| values.as_ref().map_or("*".to_owned(), list);
        let (days, weekdays) = (or_star(&self.month_days), or_star(&self.weekdays));
        format!("{} {} {days} {} {weekdays}", list(&self.minutes), list(&self.hours), list(&self.months))
    }

    fn matches(&self, time: DateTime) -> bool {
        let on_month_day = self.month_days.as_ref().map(|days| days.contains(&time.day()));
        let on_weekday =
            self.weekdays.as_ref().map(|days| days.contains(&time.weekday().to_sunday_zero_offset()));
        let on_day = match (on_month_day, on_weekday) {
            (Some(one), Some(other)) => one || other,
            (one, other) => one.or(other).unwrap_or(true),
        };
        on_day
            && self.months.contains(&time.month())
            && self.hours.contains(&time.hour())
            && self.minutes.contains(&time.minute())
            && time.second() == 0
            && time.subsec_nanosecond() == 0
    }
}

fn some_of(values: std::ops::RangeInclusive<i8>, most: usize) -> impl Strategy<Value = BTreeSet<i8>> {
    prop::collection::btree_set(values, 1..=most)
}

fn lists() -> impl Strategy<Value = Lists> {
    (
        some_of(0..=59, 3),
        some_of(0..=22, 4),
        prop::option::of(some_of(1..=28, 4)),
        some_of(1..=12, 12),
        prop::option::of(some_of(0..=6, 3)),
    )
        .prop_map(|(minutes, hours, month_days, months, weekdays)| Lists {
            minutes,
            hours,
            month_days,
            months,
            weekdays,
        })
}

/// Texts that come near to a cron.
fn almost_cron() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "*",
        "0",
        "7",
        "23",
        "59",
        "31",
        "1970",
        "99",
        "mon",
        "sun",
        "jan",
        "dec",
        "l",
        "w",
        "h",
        "r",
        "?",
        "#",
        "-",
        "/",
        ",",
        "(",
        ")",
        "1#2",
        "l5",
        "15w",
        "é",
        "\u{a0}",
        "@daily",
        "4294967296",
    ]);
    let field = prop::collection::vec(token, 1..4).prop_map(|tokens| tokens.concat());
    prop::collection::vec(field, 1..9).prop_map(|fields| fields.join(" "))
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..2_100_000_000, prop::sample::select(vec![0, 1, 999_999_999]))
        .prop_map(|(second, nanos)| Timestamp::new(second, nanos).unwrap())
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        moment(),
        (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second())
            .prop_map(|second| Timestamp::from_second(second).unwrap()),
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
    ]
}

fn zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(ZONES.to_vec()).prop_map(|name| name.parse().unwrap())
}

/// A cron that triggers and one with data intervals, for whatever expression can be read.
fn both(expression: &str, zone: &Zone) -> Vec<Schedule> {
    let Ok(cron) = Cron::new(expression) else { return Vec::new() };
    let trigger = Schedule::from_text(expression, zone.clone()).unwrap();
    vec![trigger, Schedule::CronDataInterval { cron, zone: zone.clone() }]
}

proptest! {
    #[test]
    fn reading_never_panics(text in ".*") {
        drop(Cron::new(&text));
        drop(Zone::new(&text));
        drop(text.parse::<Delta>());
    }

    #[test]
    fn whatever_can_be_read_can_be_asked(
        text in almost_cron(),
        zone in zone(),
        now in any_moment(),
        start in prop::option::of(any_moment()),
        end in prop::option::of(any_moment()),
        last in prop::option::of(any_moment()),
        catchup in any::<bool>(),
    ) {
        for schedule in both(&text, &zone) {
            let restriction = TimeRestriction { earliest: start, latest: end, catchup };
            schedule.next_tick(last.map(DataInterval::exact), &restriction, now);
            schedule.manual_data_interval(now);
        }
    }

    #[test]
    fn each_tick_is_later_than_the_last(
        text in prop_oneof![almost_cron(), lists().prop_map(|lists| lists.expression())],
        zone in zone(),
        start in moment(),
        now in moment(),
        catchup in any::<bool>(),
    ) {
        for schedule in both(&text, &zone) {
            let restriction = TimeRestriction { earliest: Some(start), latest: None, catchup };
            let mut last = None;
            for _ in 0..20 {
                let Some(tick) = schedule.next_tick(last, &restriction, now) else { break };
                prop_assert!(tick.run_after >= start);
                if let Some(last) = last.replace(tick.data_interval) {
                    prop_assert!(tick.run_after > last.end, "{} after {}", tick.run_after, last.end);
                }
            }
        }
    }

    #[test]
    fn the_ticks_are_the_matching_minutes_and_no_others(lists in lists(), start in moment()) {
        let cron = Cron::new(&lists.expression()).unwrap();
        let trigger = Schedule::CronTrigger {
            crons: cron.clone().into(),
            zone: Zone::UTC,
            interval: None,
            run_immediately: Default::default(),
        };
        let minute = SignedDuration::from_mins(1);
        let end = start + SignedDuration::from_hours(24 * 10);
        let first = Timestamp::from_second(start.as_second().div_euclid(60) * 60).unwrap();
        let matching: Vec<Timestamp> = std::iter::successors(Some(first), |at| Some(*at + minute))
            .take_while(|at| *at <= end)
            .filter(|at| *at >= start && lists.matches(TimeZone::UTC.to_datetime(*at)))
            .collect();
        let ticks: Vec<Timestamp> = trigger.ticks_between(start, end).map(|tick| tick.run_after).collect();
        prop_assert_eq!(&ticks, &matching);

        // Backwards: the last complete interval lies between the last two of them.
        let interval = Schedule::CronDataInterval { cron, zone: Zone::UTC }.manual_data_interval(end);
        if let [.., before, last] = matching.as_slice() {
            prop_assert_eq!(interval, DataInterval { start: *before, end: *last });
        }
    }

    #[test]
    fn in_a_zone_a_tick_matches_unless_the_clock_was_just_set_forward(
        lists in lists(),
        name in prop::sample::select(&ZONES[..7]),
        start in moment(),
    ) {
        let schedule = Schedule::from_text(&lists.expression(), name.parse().unwrap()).unwrap();
        let zone = TimeZoneDatabase::bundled().get(name).unwrap();
        for tick in schedule.ticks_between(start, Timestamp::MAX).take(30) {
            let shown = zone.to_datetime(tick.run_after);
            if !lists.matches(shown) {
                let skipped = zone.preceding(tick.run_after).next().map(|set| {
                    let before = zone.to_offset(set.timestamp() - SignedDuration::from_secs(1));
                    shown - before.until(set.offset())
                });
                prop_assert!(skipped.is_some_and(|skipped| lists.matches(skipped)), "{} shows {shown}", tick.run_after);
            }
        }
    }
}
