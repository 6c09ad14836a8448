//! What concerns other runs, against a server that says what a test has it say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use updraft_core::{
    RunState, TiStateName, XcomValue,
    input::{AttemptEnd, Branch, Outcome},
    protocol::{NextInterval, Order, RunGiven, RunWanted, States, StatesWanted, WhichRun},
    record::RunType,
};
use updraft_operators::{Asked, HostError, Server, Work, catalog::check, prepare, work::TaskContext};

use crate::world::{Lines, World, context, order};

/// Says these things, one after the other, and the last one for ever.
#[derive(Default)]
struct Says {
    given: Option<RunGiven>,
    states: Mutex<Vec<States>>,
    wanted: Mutex<Vec<RunWanted>>,
    looked: Mutex<Vec<StatesWanted>>,
}

impl Server for Says {
    fn give_run(&self, wanted: RunWanted) -> Asked<'_, RunGiven> {
        self.wanted.lock().unwrap().push(wanted);
        let given = self.given.clone().ok_or_else(|| HostError("the server is away".into()));
        Box::pin(async move { given })
    }

    fn states(&self, wanted: StatesWanted) -> Asked<'_, States> {
        self.looked.lock().unwrap().push(wanted);
        let mut states = self.states.lock().unwrap();
        let next = if states.len() > 1 { states.remove(0) } else { states[0].clone() };
        Box::pin(async move { Ok(next) })
    }
}

fn run(order: &Order, says: Says) -> (Outcome, Arc<Says>) {
    let says = Arc::new(says);
    let prepared = prepare(order, &World::default()).unwrap();
    let Work::Native(task) = prepared.work else { panic!("{:?}", prepared.work) };
    let context = TaskContext { server: says.clone(), ..context(Arc::new(Lines::default())) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), task.run(context)).await });
    (done.expect("it does not end"), says)
}

fn state(state: RunState) -> States {
    States { run: Some(state), ..States::default() }
}

fn tasks(states: &[(&str, &[TiStateName])]) -> States {
    let tasks: BTreeMap<_, _> =
        states.iter().map(|(task, states)| ((*task).into(), states.to_vec())).collect();
    States { run: Some(RunState::Running), tasks, ..States::default() }
}

fn message(outcome: &Outcome) -> &str {
    outcome.message.as_deref().unwrap()
}

#[test]
fn a_run_is_made_as_it_is_written() {
    let order = order(
        "trigger",
        json!({"trigger_dag_id": "{{ 'o' }}ther", "trigger_run_id": "of_{{ ds }}", "conf": {"day": "{{ ds }}"},
               "logical_date": "{{ logical_date }}", "reset_dag_run": true}),
    );
    let (done, says) = run(&order, Says { given: Some(RunGiven::Made("r".into())), ..Says::default() });
    assert_eq!(done.end, AttemptEnd::Success);
    assert_eq!(done.xcoms, [("trigger_run_id".to_owned(), XcomValue::Inline(json!("r").into()))]);
    let wanted = says.wanted.lock().unwrap()[0].clone();
    assert_eq!((&*wanted.dag_id, wanted.run_id), ("other", Some("of_2026-01-31".into())));
    assert_eq!(Value::Object(wanted.conf), json!({"day": "2026-01-31"}));
    assert_eq!((wanted.logical_date, wanted.reset), (order.run.logical_date, true));
    assert!(says.looked.lock().unwrap().is_empty(), "it does not wait");
}

#[test]
fn a_run_that_nothing_dates_has_the_date_of_its_making() {
    let made = |more: Value| {
        let mut args = json!({"trigger_dag_id": "other"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let given = Says { given: Some(RunGiven::Made("r".into())), ..Says::default() };
        let (_, says) = run(&order("trigger", args), given);
        let wanted = says.wanted.lock().unwrap();
        wanted[0].logical_date
    };
    let began = Timestamp::now();
    assert!(made(json!({})).is_some_and(|date| date >= began && date <= Timestamp::now()));
    assert_eq!(made(json!({"logical_date": null})), None);
    assert_eq!(made(json!({"run_after": "2026-02-01T00:00:00Z"})), None);
}

#[test]
fn its_parameters_may_come_as_json_from_a_template() {
    let conf = |conf: &str| order("trigger", json!({"trigger_dag_id": "other", "conf": conf}));
    let given = || Says { given: Some(RunGiven::Made("r".into())), ..Says::default() };
    let (_, says) = run(&conf("{{ {'day': ds, 'n': [1]} | tojson }}"), given());
    let wanted = says.wanted.lock().unwrap()[0].clone();
    assert_eq!(Value::Object(wanted.conf), json!({"day": "2026-01-31", "n": [1]}));
    let refused = prepare(&conf("[1]"), &World::default()).unwrap_err().to_string();
    assert!(refused.contains("`conf` must be a map, or JSON of one"), "{refused}");
}

#[test]
fn it_waits_for_a_run_and_fails_with_it() {
    let order = order(
        "TriggerDagRunOperator",
        json!({"trigger_dag_id": "other", "wait_for_completion": true, "poke_interval": 0.01}),
    );
    let says = |states: &[RunState]| Says {
        given: Some(RunGiven::Made("r".into())),
        states: Mutex::new(states.iter().map(|one| state(*one)).collect()),
        ..Says::default()
    };
    let (done, seen) = run(&order, says(&[RunState::Queued, RunState::Running, RunState::Success]));
    assert_eq!((done.end, seen.looked.lock().unwrap().len()), (AttemptEnd::Success, 3));
    assert_eq!(seen.looked.lock().unwrap()[0].run, WhichRun::Named("r".into()));
    let (done, _) = run(&order, says(&[RunState::Running, RunState::Failed]));
    assert_eq!(done.end, AttemptEnd::Failed);
    assert_eq!(message(&done), "the run `r` of the DAG `other` is failed");
    assert_eq!(done.xcoms.len(), 1, "whoever reads it finds the run that failed");
    let gone = Says { states: Mutex::new(vec![States::default()]), ..says(&[]) };
    assert!(message(&run(&order, gone).0).contains("was deleted"));
}

#[test]
fn a_run_that_is_there_already_fails_or_skips_it() {
    let exists = || Says { given: Some(RunGiven::Exists("r".into())), ..Says::default() };
    let plain = order("trigger", json!({"trigger_dag_id": "other"}));
    let (done, _) = run(&plain, exists());
    assert_eq!(done.end, AttemptEnd::Failed);
    assert!(message(&done).contains("reset_dag_run"), "{done:?}");
    let skips = order("trigger", json!({"trigger_dag_id": "other", "skip_when_already_exists": true}));
    assert_eq!(run(&skips, exists()).0.end, AttemptEnd::Skipped);
    let refused =
        Says { given: Some(RunGiven::Refused("there is no DAG `other`".into())), ..Says::default() };
    assert_eq!(message(&run(&plain, refused).0), "there is no DAG `other`");
    assert_eq!(run(&plain, Says::default()).0.end, AttemptEnd::Failed);
}

#[test]
fn a_sensor_waits_for_a_run_of_the_same_date_or_an_earlier_one() {
    let mut args = json!({"external_dag_id": "other", "poke_interval": 0.01, "execution_delta": "1 hour"});
    let says = |states: Vec<States>| Says { states: Mutex::new(states), ..Says::default() };
    let waits = vec![States::default(), state(RunState::Running), state(RunState::Success)];
    let (done, seen) = run(&order("external_task", args.clone()), says(waits));
    assert_eq!((done.end, seen.looked.lock().unwrap().len()), (AttemptEnd::Success, 3));
    let date: Timestamp = "2026-01-31T05:00:00Z".parse().unwrap();
    assert_eq!(seen.looked.lock().unwrap()[0].run, WhichRun::Dated(date));

    let later = json!({"__type__": "datetime.timedelta", "hours": -1});
    let later = json!({"external_dag_id": "other", "poke_interval": 0.01, "execution_delta": later});
    let (_, seen) = run(&order("external_task", later), says(vec![state(RunState::Success)]));
    let date: Timestamp = "2026-01-31T07:00:00Z".parse().unwrap();
    assert_eq!(seen.looked.lock().unwrap()[0].run, WhichRun::Dated(date));

    // A failure ends the wait only where that is asked for.
    let fails = vec![state(RunState::Failed), state(RunState::Success)];
    assert_eq!(run(&order("external_task", args.clone()), says(fails)).0.end, AttemptEnd::Success);
    args["failed_states"] = json!(["failed"]);
    let (done, _) = run(&order("external_task", args.clone()), says(vec![state(RunState::Failed)]));
    assert_eq!(done.end, AttemptEnd::Failed);
    assert!(
        message(&done).contains("the run of 2026-01-31T05:00:00Z in the DAG `other` is failed"),
        "{done:?}"
    );
    args["soft_fail"] = json!(true);
    let (done, _) = run(&order("external_task", args.clone()), says(vec![state(RunState::Failed)]));
    assert_eq!(done.end, AttemptEnd::Skipped);
    args["check_existence"] = json!(true);
    args["soft_fail"] = json!(false);
    let missing = States { missing: Some("there is no DAG `other`".into()), ..States::default() };
    assert_eq!(
        message(&run(&order("external_task", args), says(vec![missing])).0),
        "there is no DAG `other`"
    );
}

#[test]
fn a_function_says_which_runs_a_sensor_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let functions = "from datetime import datetime, timedelta\n\
                     def day_before(execution_date): return execution_date - timedelta(days=1)\n\
                     def of_both(dt, params, context):\n    \
                         return [dt.replace(hour=n) for n in params['hours']] + [context['logical_date']]\n\
                     def naive(dt): return datetime(2026, 1, 1)\n";
    std::fs::write(folder.path().join("dates.py"), functions).unwrap();
    let of = |more: Value| {
        let mut args = json!({"external_dag_id": "other", "poke_interval": 0.01});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut order = order("external_task", args);
        let run = Arc::make_mut(&mut order.run);
        run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
        run.params.insert("hours".into(), json!([1, 2]));
        order
    };
    let looked = |more: Value, states: &[States]| {
        let says = Says { states: Mutex::new(states.to_vec()), ..Says::default() };
        let (done, seen) = run(&of(more), says);
        let looked = seen.looked.lock().unwrap();
        let dates = looked.iter().map(|wanted| match wanted.run {
            WhichRun::Dated(date) => date.to_string(),
            ref other => panic!("{other:?}"),
        });
        (done.end, dates.collect::<Vec<_>>())
    };
    let there = state(RunState::Success);
    let one = json!({"execution_date_fn": "dates.day_before"});
    assert_eq!(
        looked(one, std::slice::from_ref(&there)),
        (AttemptEnd::Success, vec!["2026-01-30T06:00:00Z".into()])
    );
    let both = json!({"execution_date_fn_name": "of_both", "execution_date_fn_file": "dates.py",
                      "failed_states": ["failed"]});
    let (end, dates) = looked(both.clone(), &[there.clone(), state(RunState::Running), there.clone()]);
    let round = ["2026-01-31T01:00:00Z", "2026-01-31T02:00:00Z", "2026-01-31T06:00:00Z"];
    assert_eq!(
        (end, dates),
        (AttemptEnd::Success, [round, round].concat().into_iter().map(str::to_owned).collect())
    );
    let (end, _) = looked(both, &[state(RunState::Running), state(RunState::Failed)]);
    assert_eq!(end, AttemptEnd::Failed);
    let refused = prepare(&of(json!({"execution_date_fn": "dates.naive"})), &World::default()).unwrap_err();
    assert!(refused.to_string().contains("a time with a zone"), "{refused}");
}

#[test]
fn a_sensor_waits_for_all_tasks_with_all_their_copies() {
    use TiStateName::{Failed, Running, Skipped, Success};
    let says = |states: &[States]| Says { states: Mutex::new(states.to_vec()), ..Says::default() };
    let args = json!({"external_dag_id": "other", "external_task_ids": ["a", "b"], "poke_interval": 0.01,
                      "skipped_states": ["skipped"], "failed_states": ["failed"]});
    let order = order("ExternalTaskSensor", args);
    let steps = [
        tasks(&[("a", &[]), ("b", &[Success])]),
        tasks(&[("a", &[Success, Running]), ("b", &[Success])]),
        tasks(&[("a", &[Success, Success]), ("b", &[Success])]),
    ];
    let (done, seen) = run(&order, says(&steps));
    assert_eq!((done.end, seen.looked.lock().unwrap().len()), (AttemptEnd::Success, 3));
    assert_eq!(run(&order, says(&[tasks(&[("a", &[Skipped]), ("b", &[])])])).0.end, AttemptEnd::Skipped);
    let both = tasks(&[("a", &[Skipped]), ("b", &[Failed])]);
    assert_eq!(run(&order, says(&[both])).0.end, AttemptEnd::Failed, "a failure comes first");
}

#[test]
fn what_can_not_be_is_refused_when_the_file_is_read() {
    let refused =
        |operator: &str, args: Value| check(operator, args.as_object().unwrap()).unwrap_err().to_string();
    let of = |more: Value| {
        let mut args = json!({"external_dag_id": "other"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        refused("external_task", args)
    };
    assert!(of(json!({"allowed_states": ["done"]})).contains("`done`"));
    assert!(of(json!({"allowed_states": ["skipped"]})).contains("`skipped`"), "no state of a run");
    assert!(of(json!({"external_task_id": "a", "external_task_group_id": "g"})).contains("takes one of"));
    assert!(of(json!({"execution_date_fn": "f"})).contains("dotted path"));
    assert!(of(json!({"execution_date_fn_name": "f"})).contains("`execution_date_fn_file` is required"));
    assert!(of(json!({"execution_date_fn": "m.f", "execution_delta": 60})).contains("keep one"));
    assert!(refused("trigger", json!({"trigger_dag_id": "x", "failed_states": ["bad"]})).contains("`bad`"));
}

#[test]
fn only_the_latest_run_goes_on_past_latest_only() {
    let now = Timestamp::now();
    let later = |minutes: i64| Some(NextInterval { end: now + SignedDuration::from_mins(minutes) });
    let follows = |next, run_type| {
        let mut order = order("latest_only", json!({}));
        Arc::make_mut(&mut order.run).run_type = run_type;
        let prepared = prepare(&order, &World { next, ..World::default() }).unwrap();
        match crate::world::run_native(prepared).outcome.branch {
            Some(Branch::Follow(tasks)) => tasks.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(follows(later(5), RunType::Scheduled), 2);
    assert_eq!(follows(later(-5), RunType::Scheduled), 0);
    assert_eq!(follows(later(-5), RunType::Backfill), 0);
    assert_eq!(follows(later(-5), RunType::Manual), 2);
    assert_eq!(follows(None, RunType::Scheduled), 2, "nothing comes after it");
}
