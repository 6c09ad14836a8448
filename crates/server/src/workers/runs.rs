//! What tasks want of other runs: that they are made, and how they are.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, Json, extract::State};
use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_core::{
    DagKey, DagSpec, GroupId, MapIndex, RunKey, RunState, TaskId,
    input::{Clear, Command, CommandError, Reply, Trigger},
    protocol::{NextInterval, RunFound, RunGiven, RunWanted, States, StatesWanted, WhichRun},
    record::{AuditRow, RunRow, RunType},
    schedule::{DataInterval, TimeRestriction},
};
use updraft_store::{
    Bounds, Note, Order, RunField, RunListing, RunQuery, TextFilter, TiListing, TiQuery, Window,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::api::{AttemptQuery, held};
use crate::{
    http::{Body, Error, Joining, Path, Reads, Shared, Writes},
    leader::{Refusal, now},
    params,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(give_run))
        .routes(routes!(find_states))
        .routes(routes!(find_next_interval))
        .routes(routes!(show_run))
}

/// Makes a run for a task, or says why there can be none.
#[utoipa::path(
    post, path = "/worker/v1/runs", tag = "Worker", request_body = Object,
    responses((status = 200, body = Object), Writes),
)]
async fn give_run(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Body(wanted): Body<RunWanted>,
) -> Result<Json<RunGiven>, Error> {
    let asker = held(&shared, &joining, wanted.attempt).await?;
    let dag = DagKey { namespace: asker.dag.namespace.clone(), dag_id: wanted.dag_id.clone() };
    let by = name(&asker);
    let note = wanted.note.clone();
    if let Some(run) = made_before(&shared, &asker, &dag, &by, wanted.run_after).await? {
        put_note(&shared, &dag, run.key, &by, note).await?;
        return Ok(Json(RunGiven::Made(run.run_id)));
    }
    if let Some(why) = refusal(&shared, &dag, &wanted).await? {
        return Ok(Json(RunGiven::Refused(why)));
    }
    if let Some(run) = there(&shared, &dag, &wanted).await? {
        return Ok(Json(if wanted.reset {
            clear(&shared, by, &run).await?
        } else {
            RunGiven::Exists(run.run_id)
        }));
    }
    let trigger = Trigger {
        dag: dag.clone(),
        run_id: wanted.run_id,
        logical_date: wanted.logical_date,
        data_interval: None,
        run_after: wanted.run_after,
        conf: Arc::new(wanted.conf.into()),
        tasks: Vec::new(),
        run_type: RunType::Manual,
        triggered_by: "operator",
    };
    Ok(Json(match shared.leader.command(by.clone(), Command::Trigger(trigger)).await {
        Ok(Reply::Run(run, run_id)) => {
            put_note(&shared, &dag, run, &by, note).await?;
            RunGiven::Made(run_id)
        }
        Ok(_) => return Err(Error::Internal("a trigger was answered without a run".into())),
        Err(refusal) => refused(refusal)?,
    }))
}

/// Notes something on a run that was made for a task, if there is something to be noted. Asked again it is noted again.
async fn put_note(
    shared: &Shared,
    dag: &DagKey,
    run: RunKey,
    by: &str,
    text: Option<String>,
) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    let audit = AuditRow {
        at: now(),
        user: by.to_owned(),
        action: "note".into(),
        namespace: Some(dag.namespace.clone()),
        dag: Some(dag.dag_id.clone()),
        run: Some(run),
        detail: json!({ "note": text }),
    };
    let note = Note { text, user: by.to_owned(), at: now() };
    shared.store.put_run_note(run, Some(&note), &audit).await?;
    Ok(())
}

/// A run of the asker's namespace, as it is now.
#[utoipa::path(
    get, path = "/worker/v1/runs/{dag_id}/{run_id}", tag = "Worker", params(AttemptQuery),
    responses((status = 200, body = Object), Reads),
)]
async fn show_run(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: AttemptQuery,
) -> Result<Json<RunFound>, Error> {
    let asker = held(&shared, &joining, query.attempt.0).await?;
    let dag = DagKey { namespace: asker.dag.namespace, dag_id: dag_id.into() };
    let run = match shared.store.find_run(&dag, &run_id.into()).await? {
        Some(key) => shared.store.run(key).await?,
        None => None,
    };
    let RunListing { row, note } = run.ok_or_else(|| Error::not_found("there is no such run"))?;
    Ok(Json(RunFound {
        dag_id: row.dag.dag_id,
        run_id: row.run_id,
        run_type: row.run_type,
        state: row.state,
        logical_date: row.logical_date,
        data_interval: row.data_interval,
        run_after: row.run_after,
        started_at: row.started_at,
        ended_at: row.ended_at,
        clear_number: row.clear_number,
        triggering_user: row.triggering_user,
        conf: Value::clone(&row.conf),
        note: note.map(|note| note.text),
    }))
}

/// What a task is called where it does something: as the account of its runs, in the audit log.
fn name(asker: &TiListing) -> String {
    let TiListing { dag, run_id, row, .. } = asker;
    let name = format!("task:{}/{run_id}/{}", dag.dag_id, row.task_id);
    match row.key.map_index {
        MapIndex::NONE => name,
        MapIndex(copy) => format!("{name}/{copy}"),
    }
}

/// The run that this task instance made before, in a try that was lost, or whose answer was. One that it made in
/// a try that failed for the run's own failure is none: the next try wants another.
async fn made_before(
    shared: &Shared,
    asker: &TiListing,
    dag: &DagKey,
    by: &str,
    run_after: Option<Timestamp>,
) -> Result<Option<RunRow>, Error> {
    // Before it was last cleared it was another task instance, so to say.
    let since = asker.row.first_started_at.or(asker.row.started_at);
    let query = RunQuery {
        namespace: dag.namespace.clone(),
        dags: vec![dag.dag_id.clone()],
        triggering_user: TextFilter::exactly(by),
        // It asks for the same each time; so no older runs have to be looked at.
        run_after: Bounds {
            gte: since.map(|since| run_after.map_or(since, |at| at.min(since))),
            ..Bounds::default()
        },
        order: vec![Order { by: RunField::Key, descending: true }],
        window: Window { limit: 1, count_to: 0, ..Window::default() },
        ..RunQuery::default()
    };
    let last = shared.store.runs(&query).await?.rows.pop().map(|listing| listing.row);
    let counts = |run: &RunRow| {
        since.is_none_or(|since| run.queued_at >= since)
            && (asker.row.lost > 0 || run.state != RunState::Failed)
    };
    Ok(last.filter(counts))
}

/// Why there can be no run.
async fn refusal(shared: &Shared, dag: &DagKey, wanted: &RunWanted) -> Result<Option<String>, Error> {
    let dag_id = &dag.dag_id;
    let found = shared.store.dag(dag).await?.filter(|found| !found.row.is_stale);
    let Some(found) = found else { return Ok(Some(format!("there is no DAG `{dag_id}`"))) };
    if found.has_import_error {
        return Ok(Some(format!("the DAG `{dag_id}` has import errors: mend its file first")));
    }
    if wanted.unless_paused && found.row.is_paused {
        return Ok(Some(format!("the DAG `{dag_id}` is paused (fail_when_dag_is_paused)")));
    }
    let Some(version) = shared.version(dag, found.row.version).await? else { return Ok(None) };
    let checked = params::check(version.dag.spec(), &wanted.conf);
    Ok(checked.err().map(|bad| bad.to_string()))
}

/// The run with the name, or else the logical date, that is wanted.
async fn there(shared: &Shared, dag: &DagKey, wanted: &RunWanted) -> Result<Option<RunRow>, Error> {
    if let Some(run_id) = &wanted.run_id
        && let Some(found) = find_run(shared, dag, &WhichRun::Named(run_id.clone())).await?
    {
        return Ok(Some(found));
    }
    match wanted.logical_date {
        Some(date) => find_run(shared, dag, &WhichRun::Dated(date)).await,
        None => Ok(None),
    }
}

async fn find_run(shared: &Shared, dag: &DagKey, which: &WhichRun) -> Result<Option<RunRow>, Error> {
    let found = match which {
        WhichRun::Named(run_id) => match shared.store.find_run(dag, run_id).await? {
            Some(key) => shared.store.run(key).await?,
            None => None,
        },
        WhichRun::Dated(date) => shared.store.runs(&RunQuery::dated(dag, *date)).await?.rows.pop(),
    };
    Ok(found.map(|listing| listing.row))
}

async fn clear(shared: &Shared, by: String, run: &RunRow) -> Result<RunGiven, Error> {
    let clear = Clear {
        run: run.key,
        tasks: Vec::new(),
        upstream: false,
        downstream: false,
        only_failed: false,
        only_running: false,
        reset_run: true,
        latest: false,
        dry_run: false,
    };
    match shared.leader.command(by, Command::Clear(clear)).await {
        Ok(_) => Ok(RunGiven::Made(run.run_id.clone())),
        Err(refusal) => refused(refusal),
    }
}

/// What the engine refuses is told to the task; where nobody leads, it asks again.
fn refused(refusal: Refusal) -> Result<RunGiven, Error> {
    match refusal {
        Refusal::Command(
            CommandError::NotFound(why) | CommandError::Conflict(why) | CommandError::Invalid(why),
        ) => Ok(RunGiven::Refused(why)),
        Refusal::TryAgain | Refusal::NoLeader => Err(refusal.into()),
    }
}

/// Says how a run and its tasks are.
#[utoipa::path(
    post, path = "/worker/v1/states", tag = "Worker", request_body = Object,
    responses((status = 200, body = Object), Reads),
)]
async fn find_states(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    Body(wanted): Body<StatesWanted>,
) -> Result<Json<States>, Error> {
    let asker = held(&shared, &joining, wanted.attempt).await?;
    let dag = DagKey { namespace: asker.dag.namespace, dag_id: wanted.dag_id };
    let Some(found) = shared.store.dag(&dag).await?.filter(|found| !found.row.is_stale) else {
        let missing = Some(format!("there is no DAG `{}`", dag.dag_id));
        return Ok(Json(States { missing, ..States::default() }));
    };
    let version = shared.version(&dag, found.row.version).await?;
    let spec = version.as_ref().map(|version| version.dag.spec());
    let (tasks, missing) = match spec {
        Some(spec) => tasks_of(spec, wanted.tasks, wanted.group.as_ref()),
        None => (wanted.tasks, None),
    };
    let run = find_run(&shared, &dag, &wanted.run).await?;
    let mut states = States { missing, run: run.as_ref().map(|run| run.state), tasks: BTreeMap::new() };
    states.tasks.extend(tasks.into_iter().map(|task| (task, Vec::new())));
    if let Some(run) = run.filter(|_| !states.tasks.is_empty()) {
        let query = TiQuery { runs: vec![run.key], window: Window::ALL, ..TiQuery::default() };
        for listing in shared.store.tis(&query).await?.rows {
            if let Some(copies) = states.tasks.get_mut(&listing.row.task_id) {
                copies.push(listing.row.state.name());
            }
        }
    }
    Ok(Json(states))
}

/// These tasks and those of the group; and what of it the DAG does not have.
fn tasks_of(spec: &DagSpec, tasks: Vec<TaskId>, group: Option<&GroupId>) -> (Vec<TaskId>, Option<String>) {
    let dag_id = &spec.dag_id;
    let unknown = tasks.iter().find(|task| spec.tasks.iter().all(|known| known.task_id != **task));
    let missing = unknown.map(|task| format!("the DAG `{dag_id}` has no task `{task}`"));
    let Some(group) = group else { return (tasks, missing) };
    let mut inside = Vec::new();
    // Outer groups come before inner ones.
    for known in &spec.groups {
        let is_in = known.parent.as_ref().is_some_and(|parent| inside.contains(&parent));
        if known.group_id == *group || is_in {
            inside.push(&known.group_id);
        }
    }
    let of_group =
        spec.tasks.iter().filter(|task| task.group.as_ref().is_some_and(|of| inside.contains(&of)));
    let tasks = of_group.map(|task| task.task_id.clone()).collect();
    let missing = inside.is_empty().then(|| format!("the DAG `{dag_id}` has no task group `{group}`"));
    (tasks, missing)
}

/// Until when the asker's run is its schedule's latest; 404 where no time comes after it. Airflow's
/// `LatestOnlyOperator._get_compare_dates`.
#[utoipa::path(
    get, path = "/worker/v1/next-interval", tag = "Worker", params(AttemptQuery),
    responses((status = 200, body = Object), Reads),
)]
async fn find_next_interval(
    State(shared): State<Arc<Shared>>,
    Extension(joining): Extension<Joining>,
    query: AttemptQuery,
) -> Result<Json<NextInterval>, Error> {
    let asker = held(&shared, &joining, query.attempt.0).await?;
    let run = shared.store.run(asker.row.key.run).await?.map(|listing| listing.row);
    let version = shared.version(&asker.dag, asker.version).await?;
    let (Some(run), Some(version)) = (run, version) else {
        return Err(Error::not_found("the run is gone"));
    };
    let date = run.logical_date.unwrap_or(run.run_after);
    let (start, end): (Timestamp, Timestamp) = run.data_interval.unwrap_or((date, date));
    let restriction = TimeRestriction { earliest: Some(end), latest: None, catchup: true };
    let next = version.dag.spec().schedule.next_tick(Some(DataInterval { start, end }), &restriction, now());
    let next = next.ok_or_else(|| Error::not_found("no time of the schedule comes after the run"))?;
    Ok(Json(NextInterval { end: next.data_interval.end }))
}
