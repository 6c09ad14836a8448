//! What changes, as it changes: `/api/v1/events`, server-sent events.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::response::{
    IntoResponse,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use updraft_core::{DagKey, Namespace, RunId, RunKey, TiKey, TiStateName};
use updraft_store::Change;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Reads, Shared, call::Call};
use crate::leadership::Lead;

/// What happens within this time is told together.
const GATHER_FOR: Duration = Duration::from_millis(100);
/// The names of so many runs are kept.
const MOST_NAMES: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(follow_events))
}

/// Server-sent events, each a JSON object. `change`: `dags` (names), `runs` (`dag_id`, `run_id`),
/// `task_instances` (`dag_id`, `run_id`, `task`, the task's place in its DAG, `map_index`, `state`), `pools`,
/// `deliveries`, `records` (kinds of plain records). `lagged`: some were missed; ask anew for all that is
/// shown.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "Events",
    responses((status = 200, content_type = "text/event-stream", body = String), Reads),
)]
async fn follow_events(call: Call) -> impl IntoResponse {
    let follower = Follower {
        changes: call.store().subscribe(),
        names: HashMap::new(),
        namespace: call.namespace,
        lead: call.shared.lead.clone(),
        shared: call.shared,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

struct Follower {
    changes: broadcast::Receiver<Arc<Change>>,
    names: HashMap<RunKey, Option<(DagKey, RunId)>>,
    namespace: Namespace,
    lead: watch::Receiver<Lead>,
    shared: Arc<Shared>,
}

/// Changes put together: of each thing its last state.
#[derive(Default)]
struct Gathered {
    dags: BTreeSet<DagKey>,
    runs: BTreeSet<RunKey>,
    tis: BTreeMap<TiKey, TiStateName>,
    pools: bool,
    deliveries: bool,
    records: BTreeSet<String>,
}

impl Follower {
    /// The next event for this namespace; `None` where there will be none.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let mut gathered = Gathered::default();
            let received = tokio::select! {
                received = self.changes.recv() => received,
                // Another server leads, and this one hears of nothing any more: whoever follows asks anew.
                () = Lead::over(&mut self.lead) => return None,
            };
            match received {
                Ok(change) => gathered.add(&change),
                Err(RecvError::Lagged(_)) => return Some(Event::default().event("lagged").data("{}")),
                Err(RecvError::Closed) => return None,
            }
            tokio::time::sleep(GATHER_FOR).await;
            let mut lagged = false;
            loop {
                match self.changes.try_recv() {
                    Ok(change) => gathered.add(&change),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => lagged = true,
                    Err(_) => break,
                }
            }
            if lagged {
                return Some(Event::default().event("lagged").data("{}"));
            }
            match self.show(gathered).await {
                Ok(Some(data)) => return Some(Event::default().event("change").data(data.to_string())),
                Ok(None) => {}
                // What the names are is not to be had now: whoever follows asks anew.
                Err(_) => return Some(Event::default().event("lagged").data("{}")),
            }
        }
    }

    async fn show(&mut self, gathered: Gathered) -> Result<Option<Value>, Error> {
        let dags: Vec<_> = gathered
            .dags
            .iter()
            .filter(|dag| dag.namespace == self.namespace)
            .map(|dag| &dag.dag_id)
            .collect();
        let mut runs = Vec::new();
        for run in &gathered.runs {
            if let Some((dag, run_id)) = self.name(*run).await? {
                runs.push(json!({ "dag_id": dag.dag_id, "run_id": run_id }));
            }
        }
        let mut tis = Vec::new();
        for (ti, state) in &gathered.tis {
            if let Some((dag, run_id)) = self.name(ti.run).await? {
                tis.push(json!({
                    "dag_id": dag.dag_id,
                    "run_id": run_id,
                    "task": ti.task,
                    "map_index": ti.map_index,
                    "state": state,
                }));
            }
        }
        let Gathered { pools, deliveries, records, .. } = &gathered;
        let nothing = dags.is_empty() && runs.is_empty() && tis.is_empty() && records.is_empty();
        if nothing && !pools && !deliveries {
            return Ok(None);
        }
        Ok(Some(json!({
            "dags": dags,
            "runs": runs,
            "task_instances": tis,
            "pools": pools,
            "deliveries": deliveries,
            "records": records,
        })))
    }

    /// The name of a run of this namespace; `None` for one of another, or that is gone.
    async fn name(&mut self, run: RunKey) -> Result<Option<(DagKey, RunId)>, Error> {
        if let Some(known) = self.names.get(&run) {
            return Ok(known.clone());
        }
        let found = self.shared.store.run(run).await?;
        let name = found
            .filter(|found| found.row.dag.namespace == self.namespace)
            .map(|found| (found.row.dag, found.row.run_id));
        if self.names.len() >= MOST_NAMES {
            self.names.clear();
        }
        self.names.insert(run, name.clone());
        Ok(name)
    }
}

impl Gathered {
    fn add(&mut self, change: &Change) {
        match change {
            Change::Committed { dags, runs, tis, pools, deliveries } => {
                self.dags.extend(dags.iter().cloned());
                self.runs.extend(runs);
                self.tis.extend(tis.iter().copied());
                self.pools |= pools;
                self.deliveries |= deliveries;
            }
            Change::Record(kind) => {
                self.records.insert(format!("{kind:?}").to_lowercase());
            }
        }
    }
}
