//! What is counted and measured, in the exposition format of Prometheus.
//!
//! Where Airflow has a metric for the same, its name is here, with `updraft_` before it and labels in place
//! of names within the name.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header::CONTENT_TYPE,
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use updraft_core::{Namespace, TiStateName};
use updraft_store::{TextFilter, Window};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Error, Shared};
use crate::leader::histogram;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    namespace: String,
    pool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    namespace: String,
    state: &'static str,
}

/// What is counted and measured of requests while the server runs.
pub struct Metrics {
    registry: Registry,
    requests: Family<Route, Counter>,
    request_seconds: Histogram,
    started: Instant,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("updraft"),
            requests: Family::default(),
            request_seconds: histogram(),
            started: Instant::now(),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from a request to its answer's head",
            metrics.request_seconds.clone(),
        );
        metrics
    }
}

/// Counts and times a request by its route.
pub(super) async fn measure(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let method = request.method().as_str().to_owned();
    let began = Instant::now();
    let response = next.run(request).await;
    let metrics = &shared.metrics;
    metrics.request_seconds.observe(began.elapsed().as_secs_f64());
    metrics.requests.get_or_create(&Route { method, route, status: response.status().as_u16() }).inc();
    response
}

/// All metrics in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "Metrics",
    responses((status = 200, description = "OpenMetrics text"), super::Reads),
)]
async fn metrics(State(shared): State<Arc<Shared>>) -> Result<impl IntoResponse, Error> {
    let now = Snapshot::take(&shared).await?;
    let mut text = String::new();
    let written = encode_registry(&mut text, &shared.metrics.registry)
        .and_then(|()| encode_registry(&mut text, &now.registry))
        .and_then(|()| encode_eof(&mut text));
    written.map_err(|error| Error::Internal(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

/// What is looked up when it is asked for.
struct Snapshot {
    registry: Registry,
}

impl Snapshot {
    async fn take(shared: &Shared) -> Result<Self, Error> {
        let mut snapshot = Self { registry: Registry::with_prefix("updraft") };
        let times = shared.leader.times();
        snapshot.registry.register(
            "store_commit_duration_seconds",
            "Time that the store took to write a batch of the engine",
            times.commits.clone(),
        );
        snapshot.registry.register(
            "scheduler_loop_duration_seconds",
            "Time of one turn of the leader's loop, its commit included",
            times.turns.clone(),
        );
        snapshot.registry.register(
            "store_refuses_writes",
            "1 while the store refuses what the leader writes, as a full disk does, and it is tried again",
            times.refused.clone(),
        );
        snapshot.gauge(
            "uptime_seconds",
            "Since this server began",
            shared.metrics.started.elapsed().as_secs(),
        );
        let connected = shared.workers.connected().len();
        snapshot.gauge("workers_connected", "Workers connected to this server", connected as u64);
        // Only who leads has the engine in mind.
        let engine = shared.leader.ask(|engine| {
            let mut namespaces: Vec<Namespace> =
                engine.dags().map(|(row, _)| row.key.namespace.clone()).collect();
            let dags = namespaces.len();
            namespaces.sort_unstable();
            namespaces.dedup();
            (namespaces, dags, engine.unfinished())
        });
        let engine = tokio::time::timeout(Duration::from_secs(2), engine).await;
        let leads = matches!(engine, Ok(Ok(_)));
        snapshot.gauge("leader", "Whether this server leads", u64::from(leads));
        if let Ok(Ok((namespaces, dags, unfinished))) = engine {
            snapshot.gauge("dagbag_size", "DAGs", dags as u64);
            snapshot.gauge("task_instances_unfinished", "Task instances of active runs not over", unfinished);
            snapshot.of_namespaces(shared, namespaces).await?;
        }
        Ok(snapshot)
    }

    async fn of_namespaces(&mut self, shared: &Shared, namespaces: Vec<Namespace>) -> Result<(), Error> {
        let tis = self.family::<InState>("task_instances", "Task instances that take, or wait for, a slot");
        let runs = self.family::<InState>("dag_runs", "Runs by state");
        let errors = self.family::<InState>("dag_processing_import_errors", "Sources that can't be read");
        let pool = ["open", "running", "queued", "scheduled", "deferred"].map(|kind| {
            let name = format!("pool_{kind}_slots");
            (kind, self.family::<Pool>(&name, "Slots of a pool; -1 open ones where it has no limit"))
        });
        for namespace in namespaces {
            let label = |state| InState { namespace: namespace.to_string(), state };
            let pools = shared.store.pools(&namespace, &TextFilter::default(), Window::ALL).await?;
            for listing in pools.rows {
                let of = |states: &[TiStateName]| -> u64 {
                    states.iter().filter_map(|state| listing.slots.get(state)).sum()
                };
                let slots = super::v2::PoolSlots::of(&listing);
                for (kind, family) in &pool {
                    let value = match *kind {
                        "open" => slots.open,
                        "running" => slots.running,
                        "queued" => slots.queued,
                        "scheduled" => slots.scheduled,
                        _ => slots.deferred,
                    };
                    let pool = listing.row.name.to_string();
                    family.get_or_create(&Pool { namespace: namespace.to_string(), pool }).set(value);
                }
                for state in TiStateName::ALL.iter().filter(|state| listing.slots.contains_key(state)) {
                    tis.get_or_create(&label(state.as_str())).inc_by(of(&[*state]) as i64);
                }
            }
            for counts in shared.store.run_counts(&namespace, &[]).await?.values() {
                for (state, count) in counts {
                    runs.get_or_create(&label(state.as_str())).inc_by(*count as i64);
                }
            }
            let none = Window { limit: 0, ..Window::default() };
            let found = shared.store.import_errors(&namespace, &TextFilter::default(), none).await?;
            errors.get_or_create(&label("current")).set(found.total as i64);
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let gauge = Gauge::<u64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    fn family<L>(&mut self, name: &str, help: &str) -> Family<L, Gauge>
    where
        L: Clone + fmt::Debug + Eq + std::hash::Hash + EncodeLabelSet + Send + Sync + 'static,
    {
        let family = Family::<L, Gauge>::default();
        self.registry.register(name, help, family.clone());
        family
    }
}
