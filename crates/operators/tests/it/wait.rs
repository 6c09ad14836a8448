//! Waits that a worker works out, and `FileSensor`.

use serde_json::{Value, json};
use updraft_core::input::AttemptEnd;
use updraft_operators::{Work, prepare};

use crate::world::{World, order, run_native, with_run};

fn until(operator: &str, args: Value) -> String {
    let mut order = order(operator, args);
    order.task.first_started_at = Some("2026-01-31T12:00:00Z".parse().unwrap());
    let order = with_run(order, |run| run.timezone = "Europe/Paris".into());
    match prepare(&order, &World::default()).unwrap().work {
        Work::Until(time) => time.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_time_that_a_template_gives_is_waited_for() {
    let next_day = "{{ data_interval_end + macros.timedelta(days=1) }}";
    assert_eq!(until("DateTimeSensor", json!({"target_time": next_day})), "2026-02-01T06:00:00Z");
    assert_eq!(until("TimeDeltaSensor", json!({"delta": "{{ 30 }}"})), "2026-01-31T06:30:00Z");
    assert_eq!(until("WaitOperator", json!({"seconds": "{{ 90 }}"})), "2026-01-31T12:01:30Z");
    assert_eq!(until("WaitSensor", json!({"time_to_wait": "00:10:00"})), "2026-01-31T12:10:00Z");
    assert_eq!(until("TimeSensor", json!({"target_time": "18:30"})), "2026-01-31T17:30:00Z");
}

#[test]
fn a_time_that_is_none_is_refused_when_it_is_rendered() {
    let args = json!({"target_time": "{{ ds }} soon"});
    let error = prepare(&order("DateTimeSensor", args), &World::default()).unwrap_err().to_string();
    assert!(error.contains("`target_time` must be a time such as"), "{error}");
}

#[test]
fn a_file_is_waited_for_below_the_dags_folder_or_the_connections_path() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let sensor = |args: Value, world: &World| {
        let order = with_run(order("FileSensor", args), |run| {
            run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
        });
        prepare(&order, world).unwrap()
    };
    let late = data.join("late.csv");
    let writer = std::thread::spawn({
        let late = late.clone();
        move || std::fs::write(late, "").unwrap()
    });
    let args = json!({"filepath": "data/*.csv", "poke_interval": 0.02, "timeout": 20});
    let ended = run_native(sensor(args, &World::default()));
    writer.join().unwrap();
    assert_eq!(ended.outcome.end, AttemptEnd::Success);
    assert!(ended.log[0].contains("late.csv"), "{:?}", ended.log);

    let mut world = World::default();
    let connection = updraft_core::protocol::Connection {
        extra: json!({"path": data}).as_object().unwrap().clone(),
        ..Default::default()
    };
    world.connections.insert("lake".into(), connection);
    let args = json!({"filepath": "late.csv", "fs_conn_id": "lake"});
    assert_eq!(run_native(sensor(args, &world)).outcome.end, AttemptEnd::Success);
    let args = json!({"filepath": "never.csv", "poke_interval": 0.01, "timeout": 0.05, "soft_fail": true});
    assert_eq!(run_native(sensor(args, &world)).outcome.end, AttemptEnd::Skipped);
    let args = json!({"filepath": "x", "fs_conn_id": "nowhere"});
    assert!(prepare(&order("FileSensor", args), &world).unwrap_err().to_string().contains("nowhere"));
}
