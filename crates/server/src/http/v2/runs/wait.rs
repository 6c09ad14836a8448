//! Waiting for a run's end.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use updraft_core::{MapIndex, RunKey};
use updraft_store::Change;

use super::super::super::{
    Error, Path, Reads, Shared,
    call::Call,
    error::Invalid,
    query::{Needed, query},
};
use super::super::xcoms::value_of;

query! {
    /// How to wait.
    WaitQuery {
        /// Seconds between two looks.
        interval: Needed<f64>,
        /// Tasks whose results are wanted.
        result: Vec<String>,
    }
}

/// Says the state of a run again and again until it is over, a line of JSON each time, with the results of
/// the tasks that were asked for in the last. The server that leads says at once that it is over.
#[utoipa::path(
    get, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", tag = "DagRun", params(WaitQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), Reads),
)]
pub(super) async fn wait_dag_run_until_finished(
    call: Call,
    Path((dag_id, dag_run_id)): Path<(String, String)>,
    query: WaitQuery,
) -> Result<Response, Error> {
    let interval = Duration::try_from_secs_f64(query.interval.0).ok().filter(|length| !length.is_zero());
    let interval = interval.ok_or_else(|| {
        let msg = "Input should be greater than 0";
        Invalid::query("interval", "greater_than", msg, &query.interval.0.to_string())
    })?;
    let run = call.run(&dag_id, &dag_run_id).await?.row.key;
    let changes = call.store().subscribe();
    let waiting = Waiting { run, results: query.result, interval, changes, shared: call.shared };
    // The step after the last has nothing to say.
    let first = Some((waiting, false));
    let lines = stream::unfold(first, |step| async move {
        let (mut waiting, waited) = step?;
        let look = if waited { waiting.next().await } else { waiting.look().await };
        // Deleted meanwhile, or not to be read any more: the lines end without an end of the run.
        let (line, over) = look.ok().flatten()?;
        Some((Ok::<_, Infallible>(format!("{line}\n")), (!over).then_some((waiting, true))))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

struct Waiting {
    run: RunKey,
    results: Vec<String>,
    interval: Duration,
    changes: broadcast::Receiver<Arc<Change>>,
    shared: Arc<Shared>,
}

impl Waiting {
    /// What there is to say after the interval, or as soon as the run is over where it ends on this server.
    async fn next(&mut self) -> Result<Option<(Value, bool)>, Error> {
        let interval = tokio::time::sleep(self.interval);
        tokio::pin!(interval);
        loop {
            tokio::select! {
                () = &mut interval => return self.look().await,
                () = written(&mut self.changes, self.run) => {
                    let look = self.look().await?;
                    if look.as_ref().is_none_or(|(_, over)| *over) {
                        return Ok(look);
                    }
                }
            }
        }
    }

    /// The run's state, with the results where it is over.
    async fn look(&self) -> Result<Option<(Value, bool)>, Error> {
        let Self { shared, results, .. } = self;
        let Some(run) = shared.store.run(self.run).await? else { return Ok(None) };
        let state = run.row.state;
        let mut line = json!({ "state": state });
        if state.is_finished() && !results.is_empty() {
            let mut found = BTreeMap::new();
            for task in results {
                let mut values = Vec::new();
                let rows = shared.store.xcoms_of(run.row.key, &task.as_str().into(), "return_value").await?;
                for row in &rows {
                    values.push((row.ti.map_index, value_of(shared, &row.value).await?));
                }
                let value = match values.as_mut_slice() {
                    [] => continue,
                    [(MapIndex::NONE, value)] => value.take(),
                    mapped => mapped.iter_mut().map(|(_, value)| value.take()).collect(),
                };
                found.insert(task.clone(), value);
            }
            line["results"] = json!(found);
        }
        Ok(Some((line, state.is_finished())))
    }
}

/// Waits until this run is written. May come back though it was not.
async fn written(changes: &mut broadcast::Receiver<Arc<Change>>, run: RunKey) {
    loop {
        match changes.recv().await.as_deref() {
            Ok(Change::Committed { runs, .. }) if runs.contains(&run) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
