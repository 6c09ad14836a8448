//! What Updraft has beyond Airflow's REST API. States are as they are here, `paused` among them.

mod accounts;
mod assets;
mod backfills;
mod control;
mod dags;
mod deliveries;
mod deployments;
mod events;
mod explain;
mod git;
mod history;
mod pause;
mod progress;
mod servers;
mod tokens;
mod workers;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use super::Shared;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .merge(accounts::routes())
        .merge(tokens::routes())
        .merge(dags::routes())
        .merge(git::routes())
        .merge(control::routes())
        .merge(pause::routes())
        .merge(explain::routes())
        .merge(history::routes())
        .merge(progress::routes())
        .merge(servers::routes())
        .merge(workers::routes())
        .merge(deliveries::routes())
        .merge(deployments::routes())
        .merge(backfills::routes())
        .merge(assets::routes())
        .merge(events::routes())
}
