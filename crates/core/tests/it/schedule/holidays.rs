//! Holidays take ticks out of a schedule, and change nothing else about when it runs.

use std::collections::BTreeSet;

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use updraft_core::DagSpec;
use updraft_core::schedule::{DataInterval, Days, Holidays, Schedule, Span, Tick, TimeRestriction, Zone};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn cron(text: &str, zone: &str) -> Schedule {
    Schedule::from_text(text, zone.parse().unwrap()).unwrap()
}

fn without(schedule: Schedule, zone: &str, days: &[&str]) -> Schedule {
    let days: Days = days.iter().map(|span| span.parse::<Span>().unwrap()).collect();
    let holidays = Holidays::new(zone.parse().unwrap(), days);
    Schedule::WithHolidays { schedule: Box::new(schedule), holidays }
}

fn from_json(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn runs(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    schedule.ticks_between(at(from), at(to)).map(|tick| tick.run_after.to_string()).collect()
}

fn restriction(start: Option<&str>, catchup: bool) -> TimeRestriction {
    TimeRestriction { earliest: start.map(at), latest: None, catchup }
}

#[test]
fn a_run_on_a_holiday_is_passed_over_in_the_zone_of_the_schedule() {
    // On the 25th at one o'clock in Berlin it is still the 24th in UTC.
    let schedule = without(cron("0 1 * * *", "Europe/Berlin"), "Europe/Berlin", &["2026-12-25/2026-12-26"]);
    assert_eq!(
        runs(&schedule, "2026-12-23T12:00:00Z", "2026-12-28T12:00:00Z"),
        ["2026-12-24T00:00:00Z", "2026-12-27T00:00:00Z", "2026-12-28T00:00:00Z"]
    );
}

#[test]
fn a_data_interval_goes_on_over_holidays() {
    let interval = r#"{"kind": "cron_data_interval", "cron": "0 0 * * *", "zone": "UTC"}"#;
    let schedule = without(from_json(interval), "UTC", &["2026-12-25", "2026-12-26"]);
    let ticks: Vec<Tick> =
        schedule.ticks_between(at("2026-12-23T00:00:00Z"), at("2026-12-27T00:00:00Z")).collect();
    let spans: Vec<String> = ticks
        .iter()
        .map(|tick| {
            format!("{} to {}", tick.data_interval.start.strftime("%d"), tick.run_after.strftime("%d"))
        })
        .collect();
    assert_eq!(spans, ["23 to 24", "24 to 27", "27 to 28"]);
    assert_eq!(
        schedule.manual_data_interval(at("2026-12-27T09:00:00Z")),
        DataInterval { start: at("2026-12-24T00:00:00Z"), end: at("2026-12-27T00:00:00Z") }
    );
}

#[test]
fn without_catch_up_the_latest_passed_tick_is_one_that_is_no_holiday() {
    let schedule = without(cron("0 9 * * *", "UTC"), "UTC", &["2026-12-25/2026-12-26"]);
    let asked = |last: &str, now: &str| {
        let last = Some(DataInterval::exact(at(last)));
        schedule.next_tick(last, &restriction(None, false), at(now)).unwrap().run_after
    };
    let on_holiday = "2026-12-26T12:00:00Z";
    assert_eq!(asked("2026-12-22T09:00:00Z", on_holiday), at("2026-12-24T09:00:00Z"));
    assert_eq!(asked("2026-12-24T09:00:00Z", on_holiday), at("2026-12-27T09:00:00Z"));
}

#[test]
fn a_length_of_time_is_counted_on_over_holidays() {
    for every in ["PT36H", "P1M"] {
        let json = format!(r#"{{"kind": "delta_trigger", "every": "{every}"}}"#);
        let days = ["2026-01-04/2026-01-06", "2026-03-02"];
        let schedule = without(from_json(&json), "UTC", &days);
        let (from, to) = ("2026-01-02T09:00:00Z", "2026-05-03T00:00:00Z");
        let all = runs(&from_json(&json), from, to);
        let left = runs(&schedule, from, to);
        let no_holiday = |run: &&String| {
            let day = &run[..10];
            !(("2026-01-04"..="2026-01-06").contains(&day) || day == "2026-03-02")
        };
        assert_eq!(left, all.iter().filter(no_holiday).cloned().collect::<Vec<_>>(), "{every}");
        assert!(left.len() < all.len(), "{every}");
    }
}

#[test]
fn a_day_that_a_clock_set_back_shows_again_after_its_end_is_passed_over_too() {
    // At one minute past midnight on November 7 it was 23:01 on the 6th once more.
    for every in ["PT1H", "P1M"] {
        let json = format!(r#"{{"kind": "delta_trigger", "every": "{every}"}}"#);
        let schedule = without(from_json(&json), "America/St_Johns", &["2010-11-06"]);
        let first = schedule.next_tick(
            None,
            &restriction(Some("2010-11-06T03:00:00Z"), true),
            at("2010-11-06T03:00:00Z"),
        );
        let first = first.unwrap().run_after;
        let expected = if every == "PT1H" { "2010-11-07T04:00:00Z" } else { "2010-12-06T03:00:00Z" };
        assert_eq!(first, at(expected), "{every}");
    }
}

#[test]
fn a_length_of_time_that_is_overdue_on_a_holiday_makes_one_run() {
    let schedule =
        without(from_json(r#"{"kind": "delta_trigger", "every": "PT1H"}"#), "UTC", &["2026-01-05"]);
    let restriction = restriction(Some("2026-01-01T00:30:00Z"), false);
    let now = at("2026-01-05T12:00:00Z");
    let last = DataInterval::exact(at("2026-01-02T00:30:00Z"));
    let overdue = schedule.next_tick(Some(last), &restriction, now).unwrap();
    assert_eq!(overdue.run_after, at("2026-01-04T23:30:00Z"));
    let next = schedule.next_tick(Some(overdue.data_interval), &restriction, now).unwrap();
    assert_eq!(next.run_after, at("2026-01-06T00:30:00Z"));
}

#[test]
fn times_of_a_list_are_left_out() {
    let list = r#"{"kind": "list_of_times", "restrict_to_events": true,
                   "times": ["2026-12-24T09:00:00Z", "2026-12-25T09:00:00Z", "2026-12-28T09:00:00Z"]}"#;
    let schedule = without(from_json(list), "UTC", &["2026-12-25"]);
    assert_eq!(
        runs(&schedule, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ["2026-12-24T09:00:00Z", "2026-12-28T09:00:00Z"]
    );
    assert_eq!(
        schedule.manual_data_interval(at("2026-12-26T00:00:00Z")),
        DataInterval::exact(at("2026-12-24T09:00:00Z"))
    );
}

#[test]
fn years_of_holidays_are_passed_at_once_and_all_days_leave_no_tick() {
    // Step by step, this would not end in the time that a test has.
    for kind in [
        r#"{"kind": "cron_trigger", "crons": ["* * * * * *"], "zone": "Europe/Berlin"}"#,
        r#"{"kind": "cron_data_interval", "cron": "* * * * * *", "zone": "UTC"}"#,
        r#"{"kind": "delta_trigger", "every": "PT0.000000001S"}"#,
        r#"{"kind": "delta_data_interval", "every": "PT1S"}"#,
    ] {
        for catchup in [true, false] {
            let restriction = restriction(Some("2026-06-01T12:00:00Z"), catchup);
            let next = |days: &str, now: &str| {
                let schedule = without(from_json(kind), "UTC", &[days]);
                schedule.next_tick(None, &restriction, at(now)).map(|tick| tick.run_after)
            };
            let now = "2030-06-01T12:00:00Z";
            let after = next("2026-06-01/2035-12-31", now).unwrap();
            assert!(
                after.duration_since(at("2036-01-01T00:00:00Z")) < SignedDuration::from_secs(2),
                "{kind}: {after}"
            );
            assert_eq!(next("-009999-01-01/9999-12-31", now), None, "{kind}");
            assert_eq!(next("2026-06-01/9999-12-31", now), None, "{kind}");
        }
    }
}

#[test]
fn a_backfill_from_a_holiday_makes_no_interval_that_overlaps_the_schedule_s_own() {
    for kind in [
        r#"{"kind": "cron_data_interval", "cron": "0 0 * * *", "zone": "UTC"}"#,
        r#"{"kind": "delta_data_interval", "every": "P1D"}"#,
    ] {
        let schedule = without(from_json(kind), "UTC", &["2026-12-25/2026-12-26"]);
        let spans = |start: Option<&str>, from: &str| -> Vec<String> {
            let day = |day: &str| at(&format!("2026-12-{day}T00:00:00Z"));
            let ticks = schedule.backfilled(start.map(day), day(from), day("28"));
            let span = |tick: Tick| {
                format!("{} to {}", tick.data_interval.start.strftime("%d"), tick.run_after.strftime("%d"))
            };
            ticks.map(span).collect()
        };
        // The schedule's own reaches from the 24th to the 27th.
        let own = ["24 to 27", "27 to 28", "28 to 29"];
        assert_eq!(spans(Some("20"), "24"), own, "{kind}");
        for from in ["25", "26"] {
            assert_eq!(spans(Some("20"), from), own[1..], "{kind}");
            assert_eq!(spans(None, from), own[1..], "{kind}");
        }
        // A DAG that begins on a holiday has data from then on.
        assert_eq!(spans(Some("25"), "25"), ["25 to 27", "27 to 28", "28 to 29"], "{kind}");
        assert_eq!(spans(Some("25"), "26"), own[1..], "{kind}");
        // Of the time before it began it has none that one could overlap with.
        assert_eq!(spans(Some("28"), "26"), ["26 to 27", "27 to 28", "28 to 29"], "{kind}");
    }
    let trigger = without(cron("0 0 * * *", "UTC"), "UTC", &["2026-12-25"]);
    let ticks = trigger.backfilled(None, at("2026-12-25T00:00:00Z"), at("2026-12-27T00:00:00Z"));
    assert_eq!(ticks.count(), 2);
}

#[test]
fn the_ticks_to_come_of_a_length_of_time_are_counted_from_the_start_date() {
    let start = "2026-01-31T09:30:00Z";
    for kind in ["delta_trigger", "delta_data_interval"] {
        for every in ["PT7H", "P1M"] {
            let plain = from_json(&format!(r#"{{"kind": "{kind}", "every": "{every}"}}"#));
            // The last two of the times before the question are holidays in one, and all of them in the other.
            for days in [&["2026-07-30/2026-08-01", "2026-06-28"][..], &["2026-01-01/2026-07-31"]] {
                for schedule in [plain.clone(), without(plain.clone(), "UTC", days)] {
                    let from = "2026-08-01T00:00:00Z";
                    let counted: Vec<Tick> = schedule
                        .ticks_between(at(start), Timestamp::MAX)
                        .skip_while(|tick| tick.run_after < at(from))
                        .take(20)
                        .collect();
                    for catchup in [true, false] {
                        let restriction = restriction(Some(start), catchup);
                        let asked: Vec<Tick> = schedule.ticks_from(at(from), &restriction).take(20).collect();
                        assert_eq!(asked, counted, "{kind} {every} {days:?} {catchup}");
                    }
                }
            }
        }
    }
    // Without a start date there is nothing else to count from.
    let hours = from_json(r#"{"kind": "delta_trigger", "every": "PT7H"}"#);
    let restriction = restriction(None, false);
    let first = hours.ticks_from(at("2026-08-01T00:10:00Z"), &restriction).next().unwrap();
    assert_eq!(first.run_after, at("2026-08-01T00:10:00Z"));
}

#[test]
fn the_zone_of_a_dag_is_that_of_its_crons_or_else_of_its_holidays() {
    let zone = |schedule: Schedule| DagSpec { schedule, ..DagSpec::new("d") }.timezone();
    let hours = || from_json(r#"{"kind": "delta_trigger", "every": "PT7H"}"#);
    assert_eq!(zone(without(hours(), "Europe/Berlin", &["2026-12-25"])), "Europe/Berlin");
    assert_eq!(
        zone(without(cron("0 9 * * *", "Asia/Tokyo"), "Europe/Berlin", &["2026-12-25"])),
        "Asia/Tokyo"
    );
    assert_eq!(zone(hours()), "UTC");
}

#[test]
fn a_schedule_with_holidays_is_written_down_and_read_back() {
    let schedule =
        without(cron("0 9 * * 1-5", "Europe/Berlin"), "Europe/Berlin", &["2026-12-25", "2026-12-24"]);
    let json = serde_json::to_value(&schedule).unwrap();
    assert_eq!(
        json["holidays"],
        serde_json::json!({"zone": "Europe/Berlin", "days": ["2026-12-24/2026-12-25"]})
    );
    assert_eq!(from_json(&json.to_string()), schedule);
}

/// Days around the turn of a year, some of them one after the other.
fn days() -> impl Strategy<Value = BTreeSet<Date>> {
    prop::collection::btree_set(0_i64..40, 0..20)
        .prop_map(|days| days.into_iter().map(|n| date(2026, 10, 10) + n.days()).collect())
}

/// Schedules whose ticks depend on nothing but where they begin.
fn kinds() -> Vec<&'static str> {
    vec![
        r#"{"kind": "cron_trigger", "crons": ["30 2 * * *", "15 */5 * * 1-5"], "zone": "Europe/Berlin"}"#,
        r#"{"kind": "cron_trigger", "crons": ["*/20 * * * *"], "zone": "America/New_York"}"#,
        r#"{"kind": "cron_trigger", "crons": ["0 12 1,15 * *"], "zone": "UTC", "interval": "P1D"}"#,
        r#"{"kind": "cron_data_interval", "cron": "30 2 * * *", "zone": "Europe/Berlin"}"#,
        r#"{"kind": "cron_data_interval", "cron": "0 */7 * * *", "zone": "UTC"}"#,
        r#"{"kind": "delta_trigger", "every": "PT7H"}"#,
        r#"{"kind": "delta_data_interval", "every": "PT5H"}"#,
        r#"{"kind": "delta_data_interval", "every": "P1M"}"#,
    ]
}

fn moment() -> impl Strategy<Value = Timestamp> {
    // From the first of October for eight weeks.
    (0_i64..8 * 7 * 86_400)
        .prop_map(|seconds| at("2026-10-01T00:00:00Z") + SignedDuration::from_secs(seconds))
}

proptest! {
    #[test]
    fn the_ticks_are_those_without_holidays_but_for_the_ones_on_such_days(
        kind in prop::sample::select(kinds()),
        days in days(),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Pacific/Auckland", "-03:30"]),
        start in moment(),
    ) {
        let all = from_json(kind);
        let clock: Zone = zone.parse().unwrap();
        let holidays = Holidays::new(clock, days.iter().copied().map(Span::from).collect());
        let left = Schedule::WithHolidays { schedule: Box::new(all.clone()), holidays: holidays.clone() };
        let end = start + SignedDuration::from_hours(24 * 60);
        let after = |schedule: &Schedule| -> Vec<Timestamp> {
            let ticks = schedule.ticks_between(start, Timestamp::MAX).map(|tick| tick.run_after);
            ticks.take_while(|at| *at <= end).collect()
        };
        let mut expected = after(&all);
        expected.retain(|at| !holidays.contains(*at));
        prop_assert_eq!(&after(&left), &expected);

        // Asked again and again as time passes, and after a pause, it says the same.
        let restriction = TimeRestriction { earliest: Some(start), latest: None, catchup: false };
        let fixed = !kind.contains("delta");
        // Where all ticks until then are on holidays, the first lies beyond.
        for now in expected.iter().copied().chain([end]).filter(|_| fixed && !expected.is_empty()) {
            let tick = left.next_tick(None, &restriction, now).unwrap();
            let passed = expected.iter().rev().find(|at| **at <= now);
            prop_assert_eq!(Some(&tick.run_after), passed.or(expected.first()));
            let next = left.next_tick(Some(tick.data_interval), &restriction, now).unwrap();
            if let Some(place) = expected.iter().position(|at| *at == tick.run_after) {
                prop_assert!(expected.get(place + 1).is_none_or(|expected| *expected == next.run_after));
            }
        }
    }

    #[test]
    fn data_intervals_leave_no_gap(
        kind in prop::sample::select(vec![
            r#"{"kind": "cron_data_interval", "cron": "0 */7 * * *", "zone": "UTC"}"#,
            r#"{"kind": "delta_data_interval", "every": "PT5H"}"#,
        ]),
        days in days(),
        start in moment(),
    ) {
        let holidays = Holidays::new(Zone::UTC, days.into_iter().map(Span::from).collect());
        let schedule = Schedule::WithHolidays { schedule: Box::new(from_json(kind)), holidays };
        let ticks: Vec<Tick> = schedule.ticks_between(start, start + SignedDuration::from_hours(24 * 60)).collect();
        for pair in ticks.windows(2) {
            prop_assert_eq!(pair[0].data_interval.end, pair[1].data_interval.start);
        }
    }
}
