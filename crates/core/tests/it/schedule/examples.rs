//! Schedules by example: what a person would look up, and how they are written down.

use jiff::Timestamp;
use updraft_core::schedule::{DataInterval, Schedule, Tick, TimeRestriction, Zone};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn cron(text: &str, zone: &str) -> Schedule {
    Schedule::from_text(text, zone.parse().unwrap()).unwrap()
}

fn from_json(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn runs(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    schedule.ticks_between(at(from), at(to)).map(|tick| tick.run_after.to_string()).collect()
}

fn since(start: &str, catchup: bool) -> TimeRestriction {
    TimeRestriction { earliest: Some(at(start)), latest: None, catchup }
}

#[test]
fn a_time_that_the_clock_skips_comes_after_the_jump() {
    assert_eq!(
        runs(&cron("30 2 * * *", "Europe/Berlin"), "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
    );
}

#[test]
fn a_time_that_the_clock_shows_twice_is_the_second() {
    assert_eq!(
        runs(&cron("30 2 * * *", "Europe/Berlin"), "2026-10-24T00:00:00Z", "2026-10-25T12:00:00Z"),
        ["2026-10-24T00:30:00Z", "2026-10-25T01:30:00Z"]
    );
}

#[test]
fn an_hourly_cron_runs_in_both_hours_that_the_clock_shows_twice() {
    assert_eq!(
        runs(&cron("30 * * * *", "Europe/Berlin"), "2026-10-24T23:00:00Z", "2026-10-25T02:00:00Z"),
        ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]
    );
    assert_eq!(
        runs(&cron("30 0-23/2 * * *", "Europe/Berlin"), "2026-10-24T21:00:00Z", "2026-10-25T04:00:00Z"),
        ["2026-10-24T22:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T03:30:00Z"]
    );
}

#[test]
fn without_catch_up_only_the_latest_passed_tick_runs() {
    let daily = cron("0 0 * * *", "UTC");
    let next = |catchup| {
        let restriction = since("2026-01-01T00:00:00Z", catchup);
        daily.next_tick(None, &restriction, at("2026-06-01T12:00:00Z")).unwrap().run_after
    };
    assert_eq!(next(true), at("2026-01-01T00:00:00Z"));
    assert_eq!(next(false), at("2026-06-01T00:00:00Z"));
}

#[test]
fn a_data_interval_is_run_at_its_end_and_a_trigger_at_its_moment() {
    let restriction = since("2026-01-01T00:00:00Z", true);
    let now = at("2026-01-05T00:00:00Z");
    let trigger = cron("@daily", "UTC").next_tick(None, &restriction, now).unwrap();
    assert_eq!(trigger.logical_date(), at("2026-01-01T00:00:00Z"));
    assert_eq!(trigger.run_after, trigger.logical_date());

    let interval = from_json(r#"{"kind":"cron_data_interval","cron":"@daily","zone":"UTC"}"#);
    let tick = interval.next_tick(None, &restriction, now).unwrap();
    assert_eq!(tick.logical_date(), at("2026-01-01T00:00:00Z"));
    assert_eq!(tick.run_after, at("2026-01-02T00:00:00Z"));
}

#[test]
fn after_the_end_date_nothing_runs() {
    let restriction = TimeRestriction {
        earliest: Some(at("2026-01-01T00:00:00Z")),
        latest: Some(at("2026-01-02T00:00:00Z")),
        catchup: true,
    };
    let daily = cron("@daily", "UTC");
    let last = DataInterval::exact(at("2026-01-01T00:00:00Z"));
    let tick = daily.next_tick(Some(last), &restriction, at("2026-02-01T00:00:00Z")).unwrap();
    assert_eq!(tick.run_after, at("2026-01-02T00:00:00Z"));
    assert_eq!(daily.next_tick(Some(tick.data_interval), &restriction, at("2026-02-01T00:00:00Z")), None);
}

#[test]
fn several_crons_are_one_schedule_and_a_common_moment_is_one_tick() {
    let both = from_json(
        r#"{"kind":"cron_trigger","crons":["0 0 * * *","0 0,12 * * *"],"zone":"UTC","interval":"PT1H"}"#,
    );
    let ticks: Vec<Tick> =
        both.ticks_between(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")).collect();
    let ends: Vec<String> = ticks.iter().map(|tick| tick.run_after.to_string()).collect();
    assert_eq!(ends, ["2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"]);
    assert_eq!(ticks[1].logical_date(), at("2026-01-01T11:00:00Z"));
}

#[test]
fn months_and_lengths_step_from_the_start_date() {
    let monthly = from_json(r#"{"kind":"delta_trigger","every":"P1M"}"#);
    assert_eq!(
        runs(&monthly, "2026-01-31T06:00:00Z", "2026-04-01T00:00:00Z"),
        ["2026-01-31T06:00:00Z", "2026-02-28T06:00:00Z", "2026-03-28T06:00:00Z"]
    );
    let intervals = from_json(r#"{"kind":"delta_data_interval","every":"PT10M"}"#);
    assert_eq!(
        runs(&intervals, "2026-01-01T00:05:00Z", "2026-01-01T00:20:00Z"),
        ["2026-01-01T00:15:00Z", "2026-01-01T00:25:00Z"]
    );
}

#[test]
fn kinds_without_a_pace_have_the_ticks_that_can_be_known() {
    let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    assert_eq!(runs(&cron("@once", "UTC"), from, to), [from]);
    assert_eq!(runs(&cron("@continuous", "UTC"), from, to), [""; 0]);
    assert_eq!(runs(&Schedule::Manual, from, to), [""; 0]);
    let list = r#"{"kind":"list_of_times","times":["2026-01-01T09:00:00Z","2026-01-01T08:00:00Z",
        "2026-01-01T09:00:00Z","2027-01-01T00:00:00Z"]}"#;
    assert_eq!(runs(&from_json(list), from, to), ["2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z"]);
}

#[test]
fn a_schedule_comes_back_from_json_as_it_was() {
    for json in [
        r#"{"kind":"manual"}"#,
        r#"{"kind":"once"}"#,
        r#"{"kind":"continuous"}"#,
        r#"{"kind":"cron_trigger","crons":["0 0 * * *"],"zone":"UTC","run_immediately":"if_recent"}"#,
        r#"{"kind":"cron_trigger","crons":["5 4 * * L5","* * * * * 7"],"zone":"+05:30","interval":"P1M","run_immediately":{"within":"PT5M"}}"#,
        r#"{"kind":"cron_data_interval","cron":"0 0 * * *","zone":"Europe/Berlin"}"#,
        r#"{"kind":"delta_trigger","every":"PT10M","interval":"P1D"}"#,
        r#"{"kind":"delta_data_interval","every":"P1Y2M3DT4H5M6S"}"#,
        r#"{"kind":"list_of_times","times":["2026-01-01T00:00:00Z"],"restrict_to_events":true}"#,
    ] {
        assert_eq!(serde_json::to_string(&from_json(json)).unwrap(), json);
    }
}

#[test]
fn json_that_is_no_schedule_is_refused_with_the_reason() {
    for (json, reason) in [
        (r#"{"kind":"cron_trigger","crons":["0 25 * * *"],"zone":"UTC"}"#, "the hour \"25\""),
        (r#"{"kind":"cron_trigger","crons":[],"zone":"UTC"}"#, "at least one"),
        (r#"{"kind":"cron_trigger","crons":["@daily"],"zone":"Mars/Olympus"}"#, "no time zone"),
        (r#"{"kind":"cron_trigger","crons":["@daily"],"zone":"UTC","jitter":1}"#, "jitter"),
        (r#"{"kind":"delta_trigger","every":"PT0S"}"#, "step forward"),
        (r#"{"kind":"lunar"}"#, "lunar"),
    ] {
        let error = serde_json::from_str::<Schedule>(json).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_scheduled_run_id_is_the_one_airflow_makes() {
    let id = |text: &str| {
        let moment = at(text);
        let data_interval = DataInterval::exact(moment);
        Tick { run_after: moment, data_interval }.scheduled_run_id()
    };
    assert_eq!(id("2026-01-31T00:00:00Z"), "scheduled__2026-01-31T00:00:00+00:00");
    assert_eq!(id("2026-01-31T01:02:03.00045Z"), "scheduled__2026-01-31T01:02:03.000450+00:00");
    assert_eq!(id("2026-01-31T01:02:03.0000009Z"), "scheduled__2026-01-31T01:02:03+00:00");
}

#[test]
fn utc_is_a_zone_by_name_and_by_constant() {
    assert_eq!(Zone::new("UTC").unwrap(), Zone::UTC);
}
