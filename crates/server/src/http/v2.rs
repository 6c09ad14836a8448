//! Airflow's REST API v2, as Airflow 3.3.2 answers it: its paths, parameters, shapes, messages and statuses.
//!
//! What Airflow has and Updraft has not is either `null` (triggers, executors) or not there at all
//! (aliases of assets): a route that is not there is answered with 404. A task instance that is `paused` is
//! shown as `running`, since Airflow's clients know no such state.

mod assets;
pub(super) mod backfills;
mod bulk;
mod clear;
mod connections;
mod dags;
mod event_logs;
mod import_errors;
mod jobs;
mod logs;
mod monitor;
mod pools;
mod runs;
mod sources;
mod tasks;
mod tis;
mod variables;
mod versions;
mod xcoms;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use self::clear::runs_around;
pub(crate) use self::xcoms::value_of;
pub(super) use self::{
    assets::{AssetEventResponse, tell as tell_asset_event},
    logs::plain,
    pools::PoolSlots,
    runs::RunResponse,
    tis::rendered_map_index,
};
use super::Shared;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .merge(monitor::routes())
        .merge(dags::routes())
        .merge(versions::routes())
        .merge(sources::routes())
        .merge(tasks::routes())
        .merge(runs::routes())
        .merge(tis::routes())
        .merge(clear::routes())
        .merge(logs::routes())
        .merge(xcoms::routes())
        .merge(import_errors::routes())
        .merge(pools::routes())
        .merge(variables::routes())
        .merge(connections::routes())
        .merge(assets::routes())
        .merge(backfills::routes())
        .merge(event_logs::routes())
        .merge(jobs::routes())
}
