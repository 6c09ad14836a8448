//! Every case in `tests/oracle/schedule/cases.jsonl`, which Airflow 3.3.2 has answered. What a case holds
//! is said at the top of `generate.py` beside it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use updraft_core::schedule::{Cron, DataInterval, RunImmediately, Schedule, Tick, TimeRestriction, Zone};

const COMMITTED: &str = include_str!("../../oracle/schedule/cases.jsonl");

/// Another file of cases, where the environment names one.
#[expect(clippy::disallowed_methods, reason = "this is a test's input, not the core's")]
fn cases() -> String {
    match std::env::var("UPDRAFT_ORACLE_SCHEDULE") {
        Ok(path) => std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}")),
        Err(_) => COMMITTED.to_owned(),
    }
}

#[test]
fn every_schedule_runs_when_airflow_runs_it() {
    let cases = cases();
    let mut lines = cases.lines();
    let header: Value = serde_json::from_str(lines.next().expect("a header")).unwrap();
    let zones: Vec<Zone> =
        header["zones"].as_array().unwrap().iter().map(|z| text(z).parse().unwrap()).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    for line in lines {
        let case: Value = serde_json::from_str(line).unwrap();
        let (group, names, difference) = if case[0] == "x" {
            let difference = Cron::new(text(&case[1])).is_ok().then(|| "accepted here".to_owned());
            ("refused", &case[2], difference)
        } else {
            ("compared", &case[11], compare(&case, &zones).err())
        };
        *counts.entry(group.to_owned()).or_default() += 1;
        for name in names.as_str().unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
            *counts.entry(format!("of these {name}")).or_default() += 1;
        }
        differences.extend(difference.map(|what| format!("{line}\n    {what}")));
    }
    println!("{counts:?}, {} differ", differences.len());
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} differ:\n{shown}", differences.len());
    assert!(counts["compared"] >= 10_000 && counts["refused"] >= 1_000, "too few cases: {counts:?}");
}

fn compare(case: &Value, zones: &[Zone]) -> Result<(), String> {
    let schedule = schedule(text(&case[0]), &case[1], &zones[case[2].as_u64().unwrap() as usize])?;
    let restriction = TimeRestriction {
        earliest: optional(&case[4], instant),
        latest: optional(&case[5], instant),
        catchup: case[3] == 1,
    };
    let mut last =
        optional(&case[6], |last| DataInterval { start: instant(&last[0]), end: instant(&last[1]) });
    let mut now = instant(&case[7]);
    let gap = length(&case[8]);
    let by_hand = match &case[10] {
        Value::Array(ends) => DataInterval { start: now + length(&ends[0]), end: now + length(&ends[1]) },
        _ => DataInterval::exact(now),
    };
    equal("by hand", &by_hand, &schedule.manual_data_interval(now))?;
    let mut base = now;
    for (place, answer) in case[9].as_array().unwrap().iter().enumerate() {
        let expected = optional(answer, |answer| {
            let (ahead, span) = match answer {
                Value::Array(both) => (length(&both[0]), length(&both[1])),
                ahead => (length(ahead), SignedDuration::ZERO),
            };
            let end = base + ahead;
            Tick { run_after: end, data_interval: DataInterval { start: end - span, end } }
        });
        equal(&format!("tick {place}"), &expected, &schedule.next_tick(last, &restriction, now))?;
        let Some(tick) = expected else { break };
        (last, base) = (Some(tick.data_interval), tick.run_after);
        now = now.max(tick.run_after) + gap;
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, airflow: &T, ours: &T) -> Result<(), String> {
    if airflow == ours { Ok(()) } else { Err(format!("{what}: Airflow {airflow:?}\n    ours {ours:?}")) }
}

/// The schedule of a case, by the JSON that stands for it.
fn schedule(kind: &str, spec: &Value, zone: &Zone) -> Result<Schedule, String> {
    let zone = zone.to_string();
    let json = match kind {
        "t" if spec.is_string() => {
            let zone = zone.parse().unwrap();
            return Schedule::from_text(text(spec), zone).map_err(|error| error.to_string());
        }
        "t" => {
            let run_immediately = match &spec[2] {
                Value::Bool(true) => RunImmediately::Always,
                Value::Bool(false) => RunImmediately::IfRecent,
                within => RunImmediately::Within(text(within).parse().unwrap()),
            };
            serde_json::json!({"kind": "cron_trigger", "crons": spec[0], "zone": zone, "interval": spec[1],
                "run_immediately": run_immediately})
        }
        "i" => serde_json::json!({"kind": "cron_data_interval", "cron": spec, "zone": zone}),
        "T" => serde_json::json!({"kind": "delta_trigger", "every": spec[0], "interval": spec[1]}),
        "I" => serde_json::json!({"kind": "delta_data_interval", "every": spec}),
        "e" => {
            let times: Vec<Timestamp> = spec[1].as_array().unwrap().iter().map(instant).collect();
            serde_json::json!({"kind": "list_of_times", "times": times, "restrict_to_events": spec[0]})
        }
        "o" => serde_json::json!({"kind": "once"}),
        "c" => serde_json::json!({"kind": "continuous"}),
        "n" => serde_json::json!({"kind": "manual"}),
        other => panic!("no such kind: {other}"),
    };
    serde_json::from_value(json).map_err(|error| error.to_string())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}

fn optional<T>(value: &Value, read: impl Fn(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| read(value))
}

fn micros(value: &Value) -> i64 {
    let seconds = value.as_f64().unwrap_or_else(|| panic!("a number of seconds, not {value}"));
    (seconds * 1e6).round() as i64
}

fn instant(value: &Value) -> Timestamp {
    Timestamp::from_microsecond(micros(value)).unwrap()
}

fn length(value: &Value) -> SignedDuration {
    SignedDuration::from_micros(micros(value))
}
