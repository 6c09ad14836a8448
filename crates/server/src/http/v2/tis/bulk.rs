//! Many task instances marked by one request, and their notes.

use std::fmt;

use axum::Json;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use super::{
    super::{
        super::{Body, Error, Path, Writes, call::Call},
        bulk::{self, BulkBody, BulkResponse, InBulk, Unnamed, not_supported, text, text_if_given},
    },
    patch::{Patch, TiPatchBody, apply, named},
};

/// What stands in the path for any DAG and any run.
const ANY: &str = "~";

/// The fields of an entity that name it.
const OF_NAME: [&str; 4] = ["dag_id", "dag_run_id", "task_id", "map_index"];

/// A task instance, or all copies of a mapped task.
#[derive(Clone, PartialEq, Eq)]
struct TiName {
    /// Of the DAG, the run and the task.
    of: (String, String, String),
    map_index: Option<i32>,
}

impl fmt::Display for TiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dag_id, run_id, task_id) = &self.of;
        write!(f, "{dag_id}.{run_id}.{task_id}")?;
        match self.map_index {
            Some(index) => write!(f, "[{index}]"),
            None => Ok(()),
        }
    }
}

/// What a patch of one takes, without what names it.
struct TiBody(TiPatchBody);

impl<'de> Deserialize<'de> for TiBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        for name in OF_NAME {
            fields.remove(name);
        }
        serde_json::from_value(Value::Object(fields)).map(Self).map_err(D::Error::custom)
    }
}

/// Task instances of the DAG and the run in the path, or of any.
struct Instances {
    dag_id: String,
    run_id: String,
}

impl InBulk for Instances {
    const MANY: &'static str = "task instances";
    type Name = TiName;
    type New = TiBody;
    type Change = TiBody;

    fn name(&self, entity: &Value) -> Result<TiName, Unnamed> {
        let task_id = entity.as_str().map_or_else(|| text(entity, "task_id"), Ok)?.to_owned();
        let of_path = |of_path: &str, field, why| {
            let own = text_if_given(entity, field)?;
            let name = own.or(Some(of_path)).filter(|name| *name != ANY);
            name.map(str::to_owned).ok_or(Unnamed(field, "missing", why))
        };
        let dag_id = of_path(&self.dag_id, "dag_id", "with `~` in the path, each names its DAG")?;
        let run_id = of_path(&self.run_id, "dag_run_id", "with `~` in the path, each names its run")?;
        let map_index = match entity.get("map_index") {
            None | Some(Value::Null) => None,
            Some(index) => {
                let index = index.as_i64().and_then(|index| i32::try_from(index).ok());
                Some(index.ok_or(Unnamed("map_index", "int_type", "Input should be a valid integer"))?)
            }
        };
        Ok(TiName { of: (dag_id, run_id, task_id), map_index })
    }

    async fn is_there(&self, call: &Call, name: &TiName) -> Result<bool, Error> {
        match named(call, &name.of, name.map_index).await {
            Ok(_) => Ok(true),
            Err(Error::Status(axum::http::StatusCode::NOT_FOUND, _)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, _: &Call, _: TiBody) -> Result<(), Error> {
        Err(not_supported("task instances are made with their run: none can be added"))
    }

    async fn change(&self, call: &Call, name: &TiName, body: TiBody, mask: &[String]) -> Result<(), Error> {
        apply(call, &name.of, name.map_index, Patch::of(body.0, mask)?, false).await.map(drop)
    }

    async fn delete(&self, _: &Call, name: &TiName) -> Result<(), Error> {
        Err(not_supported(&format!("{name} is a part of its run: delete the run, or mark the task instance")))
    }
}

/// Marks task instances, and writes their notes. `~` for the DAG, or the run, where each names its own.
#[utoipa::path(
    patch, path = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", tag = "Task Instance",
    request_body = BulkBody, responses((status = 200, body = BulkResponse), Writes),
)]
pub(super) async fn bulk_task_instances(
    call: Call,
    Path((dag_id, run_id)): Path<(String, String)>,
    Body(body): Body<BulkBody>,
) -> Result<Json<BulkResponse>, Error> {
    Ok(Json(bulk::obey(&Instances { dag_id, run_id }, &call, body).await?))
}
