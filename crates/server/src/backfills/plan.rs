//! What a backfill does, date by date.

use jiff::Timestamp;
use serde_json::{Map, Value};
use updraft_core::{
    Dag, DagKey, RunId, RunState, TaskId,
    record::{RunRow, RunType},
    schedule::{Schedule, Tick},
};
use updraft_store::{Bounds, Error, Reprocess, RunQuery, Store, Window};

use crate::params;

/// A backfill has so many dates at most.
pub(crate) const MOST_DATES: usize = 100_000;

/// Runs are read in pages of this size.
const PAGE: u64 = 1000;

/// What somebody wants backfilled.
pub(crate) struct Wanted<'a> {
    pub from_date: Timestamp,
    pub to_date: Timestamp,
    pub run_backwards: bool,
    pub reprocess: Reprocess,
    pub conf: &'a Map<String, Value>,
    pub tasks: &'a [TaskId],
}

/// Why it can't be, in Airflow's words where it has some.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplanned {
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A date, and what becomes of it.
pub(crate) struct Planned {
    pub tick: Tick,
    /// The run of this date that is there.
    pub run: Option<RunId>,
    pub action: Action,
}

/// What becomes of a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It gets a run.
    Make,
    /// Its run begins anew.
    Clear,
    /// Nothing, for this reason.
    PassOver(String),
}

impl Action {
    /// Airflow's `_get_dag_run_no_create_reason`.
    pub fn of(run: Option<&RunRow>, reprocess: Reprocess) -> Self {
        let Some(run) = run else { return Self::Make };
        let stays = |why: &str| Self::PassOver(format!("its run `{}` {why}", run.run_id));
        match (run.state, reprocess) {
            (RunState::Queued | RunState::Running, _) => stays("is not over"),
            (_, Reprocess::Completed) | (RunState::Failed, Reprocess::Failed) => Self::Clear,
            (RunState::Success, Reprocess::Failed) => stays("succeeded"),
            (_, Reprocess::None) => stays("is there"),
        }
    }
}

/// The name of the run that a backfill makes: Airflow's, by the end of the interval.
pub(super) fn run_id(interval_end: Timestamp) -> RunId {
    Tick::named(RunType::Backfill.as_str(), interval_end).into()
}

/// What becomes of each date, in the order in which they are taken.
pub(crate) async fn plan(
    store: &dyn Store,
    dag: &Dag,
    key: &DagKey,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Vec<Planned>, Unplanned> {
    check(dag, wanted, now).map_err(Unplanned::Invalid)?;
    let spec = dag.spec();
    let between = spec.schedule.backfilled(spec.start_date, wanted.from_date, wanted.to_date);
    let mut ticks: Vec<Tick> =
        between.take_while(|tick| tick.data_interval.end < now).take(MOST_DATES + 1).collect();
    if ticks.len() > MOST_DATES {
        return Err(Unplanned::Invalid(format!(
            "more than {MOST_DATES} runs from {} to {}: backfill a part of it first",
            wanted.from_date, wanted.to_date
        )));
    }
    let there = runs(store, key, wanted).await?;
    if wanted.run_backwards {
        ticks.reverse();
    }
    Ok(ticks
        .into_iter()
        .map(|tick| {
            let at = tick.logical_date();
            let run = there.binary_search_by_key(&Some(at), |run| run.logical_date);
            let run = run.ok().map(|found| &there[found]);
            let action = Action::of(run, wanted.reprocess);
            Planned { tick, run: run.map(|run| run.run_id.clone()), action }
        })
        .collect())
}

/// Airflow's `_validate_backfill_params`.
fn check(dag: &Dag, wanted: &Wanted<'_>, now: Timestamp) -> Result<(), String> {
    let spec = dag.spec();
    if matches!(spec.schedule, Schedule::Manual | Schedule::AtBoot | Schedule::Once | Schedule::Continuous) {
        return Err(format!("{} has a non-periodic schedule that does not support backfills", spec.dag_id));
    }
    if wanted.from_date > wanted.to_date {
        return Err(format!(
            "from_date ({}) must not be after to_date ({}).",
            wanted.from_date, wanted.to_date
        ));
    }
    if wanted.from_date >= now {
        return Err("Backfill cannot be executed for future dates.".into());
    }
    if spec.tasks.iter().any(|task| task.depends_on_past) {
        if wanted.run_backwards {
            let msg = "Backfill cannot be run in reverse when the Dag has tasks where depends_on_past=True.";
            return Err(msg.into());
        }
        if wanted.reprocess == Reprocess::None {
            return Err("Dag has tasks for which depends_on_past=True. You must set reprocess behavior to \
                        reprocess completed or reprocess failed."
                .into());
        }
    }
    if let Some(task) = wanted.tasks.iter().find(|task| dag.find(task).is_none()) {
        return Err(format!("the DAG `{}` has no task `{task}`", spec.dag_id));
    }
    params::check(spec, wanted.conf).map_err(|bad| bad.to_string())
}

/// The runs of these dates, by their dates.
async fn runs(store: &dyn Store, dag: &DagKey, wanted: &Wanted<'_>) -> Result<Vec<RunRow>, Error> {
    let mut all = Vec::new();
    loop {
        let query = RunQuery {
            namespace: dag.namespace.clone(),
            dags: vec![dag.dag_id.clone()],
            logical_date: Bounds {
                gte: Some(wanted.from_date),
                lte: Some(wanted.to_date),
                ..Bounds::default()
            },
            window: Window { offset: all.len() as u64, limit: PAGE, count_to: 0 },
            ..RunQuery::default()
        };
        let page = store.runs(&query).await?.rows;
        let is_last = (page.len() as u64) < PAGE;
        all.extend(page.into_iter().map(|listing| listing.row));
        if is_last {
            all.sort_by_key(|run| run.logical_date);
            return Ok(all);
        }
    }
}
