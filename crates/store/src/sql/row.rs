//! How each kind of row stands in its table: what is written, and the same read back.

mod asset;
mod backfill;
mod dag;
mod event;
mod record;
mod run;
mod ti;

use serde::Serialize;

pub(super) use self::{
    asset::{
        ASSET, ASSET_EVENT, DAG_ASSET, QUEUED_EVENT, asset_cells, asset_event_cells, asset_event_select,
        dag_asset_cells, queued_event_cells, read_asset, read_asset_event, read_asset_use,
    },
    backfill::{
        BACKFILL, BACKFILL_RUN, backfill_cells, backfill_run_cells, read_backfill, read_backfill_run,
        read_backfill_run_listing,
    },
    dag::{
        DAG, DAG_TAG, DAG_TASK, DAG_VERSION, POOL, STATS, TICK, dag_cells, pool_cells, read_dag, read_pool,
        read_stats, read_tick, read_version, stats_cells, tick_cells, version_cells,
    },
    event::{
        AUDIT, DELIVERY, RENDERED, TRANSITION, XCOM, audit_cells, delivery_cells, read_audit, read_delivery,
        read_transition, read_value, read_xcom, transition_cells, xcom_cells,
    },
    record::{
        CONNECTION, VARIABLE, connection_cells, read_account, read_connection, read_deployment,
        read_import_error, read_note, read_token, read_variable, variable_cells,
    },
    run::{RUN, read_run, run_cells},
    ti::{TI, TI_HISTORY, TI_KEY, read_ti, read_ti_key, ti_cells, ti_key_cells},
};

/// A value as it is kept. What we keep as JSON has texts for keys and can't fail.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}
