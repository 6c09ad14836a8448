//! What happened and what was left: transitions, XComs, deliveries, the audit log.

use std::sync::Arc;

use updraft_core::{
    AlertOn, DagKey, DeliveryId, OnDoubt, RunKey, XcomValue,
    record::{AuditRow, DeliveryRow, TransitionRow, XcomRow},
};

use super::{json, ti::read_ti_key};
use crate::{
    AuditListing, DeliveryListing, DeliveryState, Error,
    sql::{
        db::{Fields, broken},
        statement::{
            Arg,
            Type::{Int, Text},
        },
        table::Table,
    },
};

pub(crate) const TRANSITION: Table = Table {
    name: "transition",
    columns: &[
        ("run", Int),
        ("task", Int),
        ("map_index", Int),
        ("try_number", Int),
        ("from_state", Text),
        ("to_state", Text),
        ("at", Int),
        ("reason", Text),
    ],
    key: &["id"],
};

pub(crate) fn transition_cells(row: &TransitionRow) -> [Arg; 8] {
    [
        row.ti.run.0.into(),
        row.ti.task.0.into(),
        row.ti.map_index.0.into(),
        row.try_number.into(),
        row.from.as_str().into(),
        row.to.as_str().into(),
        row.at.into(),
        row.reason.clone().into(),
    ]
}

pub(crate) fn read_transition(f: &mut Fields) -> Result<TransitionRow, Error> {
    Ok(TransitionRow {
        ti: read_ti_key(f)?,
        try_number: f.number()?,
        from: f.parse()?,
        to: f.parse()?,
        at: f.time()?,
        reason: f.opt_arc()?,
    })
}

pub(crate) const XCOM: Table = Table {
    name: "xcom",
    columns: &[
        ("run", Int),
        ("task", Int),
        ("map_index", Int),
        ("key", Text),
        ("value", Text),
        ("blob_path", Text),
        ("blob_bytes", Int),
        ("at", Int),
    ],
    key: &["run", "task", "map_index", "key"],
};

pub(crate) fn xcom_cells(row: &XcomRow) -> [Arg; 8] {
    let (value, path, bytes) = match &row.value {
        XcomValue::Inline(value) => (Some(json(value)), None, None),
        XcomValue::Blob { path, bytes } => (None, Some(path), Some(*bytes)),
    };
    [
        row.ti.run.0.into(),
        row.ti.task.0.into(),
        row.ti.map_index.0.into(),
        (&row.key).into(),
        value.into(),
        path.into(),
        bytes.into(),
        row.at.into(),
    ]
}

pub(crate) fn read_xcom(f: &mut Fields) -> Result<XcomRow, Error> {
    Ok(XcomRow { ti: read_ti_key(f)?, key: f.text()?, value: read_value(f)?, at: f.time()? })
}

/// Of the columns `value, blob_path, blob_bytes`.
pub(crate) fn read_value(f: &mut Fields) -> Result<XcomValue, Error> {
    let inline: Option<serde_json::Value> = f.opt_json()?;
    let (path, bytes) = (f.opt_text()?, f.opt_number()?);
    match (inline, path, bytes) {
        (Some(value), None, None) => Ok(XcomValue::Inline(Arc::new(value))),
        (None, Some(path), Some(bytes)) => Ok(XcomValue::Blob { path, bytes }),
        _ => Err(broken("reading an XCom", "neither a value nor a blob")),
    }
}

pub(crate) const RENDERED: Table = Table {
    name: "rendered",
    columns: &[("run", Int), ("task", Int), ("map_index", Int), ("fields", Text)],
    key: &["run", "task", "map_index"],
};

pub(crate) const DELIVERY: Table = Table {
    name: "delivery",
    columns: &[
        ("id", Int),
        ("namespace", Text),
        ("dag_id", Text),
        ("run", Int),
        ("task", Int),
        ("map_index", Int),
        ("alert_on", Text),
        ("channel", Text),
        ("words", Text),
        ("on_doubt", Text),
        ("at", Int),
        ("context", Text),
        ("state", Text),
        ("attempts", Int),
        ("next_at", Int),
        ("last_error", Text),
        ("changed_at", Int),
        ("digest", Int),
        ("taken_by", Text),
    ],
    key: &["id"],
};

/// A new row: pending, and due at once.
pub(crate) fn delivery_cells(row: &DeliveryRow) -> [Arg; 19] {
    [
        row.id.0.into(),
        (&*row.dag.namespace).into(),
        (&*row.dag.dag_id).into(),
        row.run.map(|run| run.0).into(),
        row.ti.map(|ti| ti.task.0).into(),
        row.ti.map(|ti| ti.map_index.0).into(),
        alert_name(row.on).into(),
        json(&row.channel).into(),
        json(&row.words).into(),
        on_doubt_name(row.on_doubt).into(),
        row.at.into(),
        json(&row.context).into(),
        DeliveryState::Pending.as_str().into(),
        0.into(),
        row.at.into(),
        Arg::Text(None),
        row.at.into(),
        Arg::Int(None),
        Arg::Text(None),
    ]
}

fn alert_name(on: AlertOn) -> &'static str {
    match on {
        AlertOn::Failure => "failure",
        AlertOn::Retry => "retry",
        AlertOn::Success => "success",
        AlertOn::Deadline => "deadline",
        AlertOn::Missed => "missed",
    }
}

fn on_doubt_name(on_doubt: OnDoubt) -> &'static str {
    match on_doubt {
        OnDoubt::Resend => "resend",
        OnDoubt::Hold => "hold",
    }
}

pub(crate) fn read_delivery(f: &mut Fields) -> Result<DeliveryListing, Error> {
    let id = DeliveryId(f.int()?);
    let dag = DagKey { namespace: f.name()?, dag_id: f.name()? };
    let run = f.opt_number()?.map(RunKey);
    let task = f.opt_number()?.map(updraft_core::TaskIx);
    let map_index = f.opt_number()?.map(updraft_core::MapIndex);
    let on = f.text()?;
    let row = DeliveryRow {
        id,
        dag,
        run,
        ti: run.zip(task.zip(map_index)).map(|(run, (task, map_index))| updraft_core::TiKey {
            run,
            task,
            map_index,
        }),
        on: [AlertOn::Failure, AlertOn::Retry, AlertOn::Success, AlertOn::Deadline, AlertOn::Missed]
            .into_iter()
            .find(|alert| alert_name(*alert) == on)
            .ok_or_else(|| broken("reading a delivery", format!("there is no alert on `{on}`")))?,
        channel: f.json()?,
        words: f.json()?,
        on_doubt: match &*f.text()? {
            "resend" => OnDoubt::Resend,
            "hold" => OnDoubt::Hold,
            other => return Err(broken("reading a delivery", format!("in doubt it can't be `{other}`"))),
        },
        at: f.time()?,
        context: f.json()?,
    };
    Ok(DeliveryListing {
        row,
        state: f.parse()?,
        attempts: f.number()?,
        next_at: f.time()?,
        last_error: f.opt_text()?,
        changed_at: f.time()?,
        digest: f.opt_number()?.map(DeliveryId),
        taken_by: f.opt_json()?.unwrap_or_default(),
    })
}

pub(crate) const AUDIT: Table = Table {
    name: "audit",
    columns: &[
        ("at", Int),
        ("account", Text),
        ("action", Text),
        ("namespace", Text),
        ("dag_id", Text),
        ("run", Int),
        ("detail", Text),
    ],
    key: &["id"],
};

pub(crate) fn audit_cells(row: &AuditRow) -> [Arg; 7] {
    [
        row.at.into(),
        (&row.user).into(),
        (&row.action).into(),
        row.namespace.as_deref().into(),
        row.dag.as_deref().into(),
        row.run.map(|run| run.0).into(),
        json(&row.detail).into(),
    ]
}

/// The number comes first.
pub(crate) fn read_audit(f: &mut Fields) -> Result<AuditListing, Error> {
    let (id, at, user, action) = (f.int()?, f.time()?, f.text()?, f.text()?);
    let (namespace, dag, run) = (f.opt_name()?, f.opt_name()?, f.opt_number()?.map(RunKey));
    Ok(AuditListing { id, row: AuditRow { at, user, action, namespace, dag, run, detail: f.json()? } })
}
