//! Having the functions called that DAGs have about their runs.
//!
//! They wait in the outbox until a worker is there, which calls them; what becomes of the call becomes of the row. One
//! that was being called when its server ended is asked for again under the same id: the worker that has it says what
//! becomes of it. Where that worker is gone, nobody knows whether it was called, and it is called again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Map;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::JoinSet,
};
use tracing::{info, warn};
use updraft_core::{
    AlertChannel, AlertOn, AttemptId, Callback, Dag, Namespace, RunState, TiStateName, callback_reason,
    protocol::{Call, CallOutcome, Order, OrderTask},
};
use updraft_store::{
    Change, DeliveryEnd, DeliveryListing, DeliveryQuery, DeliveryState, Error, Order as Sorted, OutboxPart,
    RecordKind, Store, TiField, TiListing, TiQuery, Window,
};

use super::send::{again, in_doubt};
use crate::{
    leader::{now, order_run, order_task},
    workers::Workers,
};

/// The functions of so many runs are called at once.
const AT_ONCE: usize = 16;

/// How often to look for those whose time has come again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Has functions called for as long as this server leads: workers are with the leader.
pub struct Caller {
    /// Where the outbox is.
    pub store: Arc<dyn Store>,
    /// Who calls.
    pub workers: Arc<Workers>,
    /// Where people see this server: `http://127.0.0.1:8080`. Empty where nobody can.
    pub base_url: String,
}

/// The versions of a bundle that functions are in which are to be called about a namespace's runs that are over.
pub(crate) async fn called_from(
    store: &dyn Store,
    namespace: &Namespace,
    bundle: &str,
) -> Result<BTreeSet<String>, Error> {
    let query = DeliveryQuery {
        namespace: namespace.clone(),
        states: vec![DeliveryState::Pending, DeliveryState::Sending],
        window: Window::ALL,
        ..DeliveryQuery::default()
    };
    let mut versions = BTreeSet::new();
    for listing in store.deliveries(&query).await?.rows {
        if let (AlertChannel::Callback(_), Some(run)) = (&listing.row.channel, listing.row.run)
            && let Some(run) = store.run(run).await?
        {
            versions.insert((run.row.dag, run.row.version));
        }
    }
    let mut found = BTreeSet::new();
    for (dag, version) in versions {
        let version = store.dag_version(&dag, Some(version)).await?;
        let its = version.and_then(|version| version.spec.bundle.clone());
        found.extend(its.filter(|its| its.name == bundle).map(|its| its.version));
    }
    Ok(found)
}

/// So soon it is looked for a worker again.
const LOOK_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(30);

fn no_worker() -> DeliveryEnd {
    let at = now().saturating_add(LOOK_AGAIN_AFTER).unwrap_or(Timestamp::MAX);
    DeliveryEnd::Retry { at, error: "no worker of its namespace is there".into() }
}

impl Caller {
    /// Runs for as long as it is let.
    pub async fn run(self) {
        let mut changes = self.store.subscribe();
        let caller = Arc::new(self);
        let mut calls = JoinSet::new();
        // Whether something may be on its way for nobody: since an earlier leader ended, or as a claim was not answered.
        let mut in_doubt = true;
        loop {
            while calls.try_join_next().is_some() {}
            if in_doubt && calls.is_empty() {
                in_doubt = !is_done(caller.end_doubts().await);
            }
            in_doubt |= !is_done(caller.begin(&mut calls).await);
            tokio::select! {
                () = caller.workers.one_that_calls() => {}
                () = new_rows(&mut changes) => {}
                Some(_) = calls.join_next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Asks for what was on its way once more.
    async fn end_doubts(&self) -> Result<(), Error> {
        let error = "the server ended before it knew what became of it. It is asked for again";
        // Also where the clock was set back since.
        self.store.end_doubt(OutboxPart::Callbacks, Timestamp::MAX, error, now()).await.map(drop)
    }

    /// Has those called whose time has come.
    async fn begin(self: &Arc<Self>, calls: &mut JoinSet<()>) -> Result<(), Error> {
        while calls.len() < AT_ONCE && self.workers.can_call() {
            let limit = u32::try_from(AT_ONCE - calls.len()).unwrap_or(u32::MAX);
            let claimed = self.store.claim_deliveries(OutboxPart::Callbacks, now(), limit, None).await?;
            if claimed.deliveries.is_empty() {
                break;
            }
            // Those of one run one after the other, as they stand in the DAG.
            for of_run in claimed.deliveries.chunk_by(|one, next| one.row.run == next.row.run) {
                let (caller, of_run) = (self.clone(), of_run.to_vec());
                calls.spawn(async move {
                    for delivery in &of_run {
                        caller.carry_out(delivery).await;
                    }
                });
            }
        }
        Ok(())
    }

    /// Has a function called, and writes what became of it, for as long as that takes.
    async fn carry_out(&self, delivery: &DeliveryListing) {
        let id = delivery.row.id;
        let (end, called_by) = match self.call(delivery).await {
            Ok(Some(call)) => match self.workers.call(call) {
                Some((worker, outcome)) => {
                    let outcome = outcome.await.ok();
                    // One of whom nothing was heard may still be asked.
                    let heard_of = outcome.is_some().then_some(worker);
                    (end(delivery, outcome), heard_of)
                }
                // It was asked for nowhere, however often it was looked.
                None => (no_worker(), None),
            },
            Ok(None) => (DeliveryEnd::Undeliverable("the run that it is about is gone".into()), None),
            Err(error) => (again(delivery.attempts, format!("the run can't be read: {error}"), None), None),
        };
        match &end {
            DeliveryEnd::Sent | DeliveryEnd::SentInPart { .. } => info!(%id, "a DAG's callback was called"),
            DeliveryEnd::Partly { at, error, .. } | DeliveryEnd::Retry { at, error } => {
                warn!(%id, %at, error, "a DAG's callback was not called; trying again");
            }
            DeliveryEnd::Failed(error) | DeliveryEnd::Undeliverable(error) | DeliveryEnd::Held(error) => {
                warn!(%id, error, "a DAG's callback failed");
            }
        }
        while let Err(error) = self.store.finish_delivery(id, delivery.attempts, &end, now()).await {
            warn!(%error, %id, "could not write what became of a DAG's callback; trying again");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if let Some(worker) = called_by {
            self.workers.forget_call(&worker, id);
        }
    }

    /// What a worker is to call; `None` where the run is gone.
    async fn call(&self, delivery: &DeliveryListing) -> Result<Option<Call>, Error> {
        let row = &delivery.row;
        let (AlertChannel::Callback(callback), Some(run)) = (&row.channel, row.run) else { return Ok(None) };
        let Some(run) = self.store.run(run).await?.map(|listing| listing.row) else { return Ok(None) };
        let Some(version) = self.store.dag_version(&run.dag, Some(run.version)).await? else {
            return Ok(None);
        };
        let Ok(dag) = Dag::compile((*version.spec).clone()) else { return Ok(None) };
        let failed = row.on == AlertOn::Failure;
        let Some(ti) = self.shown_with(delivery, failed).await? else { return Ok(None) };
        let source = self.store.dag(&run.dag).await?.map(|listing| listing.row.source).unwrap_or_default();
        let task = OrderTask {
            // The user of the tasks is theirs, and each may have another.
            run_as_user: None,
            callbacks: Vec::new(),
            ..order_task(&run, &dag, &ti.row)
        };
        let order = Arc::new(Order {
            attempt: AttemptId::of_call(ti.row.key, ti.row.try_number),
            watch: false,
            operator: dag.task(ti.row.key.task).operator.clone(),
            args: Map::new(),
            task,
            run: Arc::new(order_run(&run, &dag, &source, &self.base_url)),
        });
        Ok(Some(Call {
            id: row.id,
            callback: Callback::clone(callback),
            order,
            ti_state: ti.row.state.name(),
            ti_started_at: ti.row.started_at,
            ti_ended_at: ti.row.ended_at,
            // It may have begun anew since.
            run_state: if failed { RunState::Failed } else { RunState::Success },
            run_ended_at: row.at,
            reason: callback_reason(failed, row.context["reason"].as_str()).to_owned(),
        }))
    }

    /// The task instance that is shown with a run (Airflow's `ti` in a DAG's callbacks): of a run that failed the one
    /// that failed first, else the one that ended last.
    async fn shown_with(&self, delivery: &DeliveryListing, failed: bool) -> Result<Option<TiListing>, Error> {
        let query = |states: Vec<TiStateName>, descending| TiQuery {
            namespace: delivery.row.dag.namespace.clone(),
            runs: delivery.row.run.into_iter().collect(),
            states,
            order: vec![Sorted { by: TiField::EndedAt, descending }],
            window: Window { limit: 1, count_to: 0, ..Window::default() },
            ..TiQuery::default()
        };
        if failed {
            let first = self.store.tis(&query(vec![TiStateName::Failed], false)).await?.rows.pop();
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(self.store.tis(&query(Vec::new(), true)).await?.rows.pop())
    }
}

/// Whether the outbox could be read; what is in the way is logged.
fn is_done(read: Result<(), Error>) -> bool {
    read.inspect_err(|error| warn!(%error, "can't read the outbox; trying again")).is_ok()
}

/// What the end of a call is for its row. One that failed is not called again: it may have done half of its work.
fn end(delivery: &DeliveryListing, outcome: Option<CallOutcome>) -> DeliveryEnd {
    match outcome {
        Some(CallOutcome::Done) => DeliveryEnd::Sent,
        Some(CallOutcome::Failed(why)) => DeliveryEnd::Failed(why),
        Some(CallOutcome::NotCalled(why)) => again(delivery.attempts, why, None),
        Some(CallOutcome::Broken(why)) => in_doubt(delivery, why),
        None => {
            let why = "nobody knows whether it was called: its worker went meanwhile";
            match in_doubt(delivery, why.into()) {
                // Whichever worker comes next is asked: the same, where only its connection was gone.
                DeliveryEnd::Retry { error, .. } => DeliveryEnd::Retry { at: now(), error },
                end => end,
            }
        }
    }
}

/// Waits until the outbox may have more.
async fn new_rows(changes: &mut Receiver<Arc<Change>>) {
    loop {
        match changes.recv().await.as_deref() {
            Ok(Change::Committed { deliveries: true, .. } | Change::Record(RecordKind::Delivery)) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The store goes with the server.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
