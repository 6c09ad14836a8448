//! `updraft assets`: what tasks make and DAGs wait for.

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Ask, Limit, Session};
use crate::output::Columns;

/// What can be done with assets.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the assets that DAGs name, with the tasks that make them and the DAGs that wait for them.
    #[command(after_help = "Examples:\n  updraft assets list\n  updraft assets list --dag etl -o json")]
    List {
        /// Only those that this DAG names.
        #[arg(long = "dag", value_name = "DAG_ID")]
        dag_id: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// List what happened to assets, the latest first, with the runs that were made of it.
    #[command(
        after_help = "Examples:\n  updraft assets events\n  updraft assets events s3://shop/orders.csv --limit 5"
    )]
    Events {
        /// Only of the asset with this URI.
        uri: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Tell that something happened to an asset, so that the DAGs that wait for it run.
    #[command(after_help = "Examples:\n  updraft assets tell s3://shop/orders.csv\n  \
                            updraft assets tell s3://shop/orders.csv --key 2026-01-31 --extra '{\"rows\": 120}'")]
    Tell {
        /// The asset's URI, as a DAG has it.
        uri: String,
        /// What there is to say about it, a JSON object; templates see it in `triggering_asset_events`.
        #[arg(long, value_name = "JSON")]
        extra: Option<String>,
        /// Told again under the same key, it is the same event and makes no other run.
        #[arg(long)]
        key: Option<String>,
    },
    /// List what DAGs wait with: assets to which something happened, and there was no run for yet.
    #[command(after_help = "Example:\n  updraft assets queued report")]
    Queued {
        /// The DAG that waits.
        dag_id: String,
        /// Forget it all: none of it makes a run any more.
        #[arg(long)]
        forget: bool,
    },
}

const LISTED: Columns = &[
    ("ID", "/id"),
    ("URI", "/uri"),
    ("MADE BY", "/made_by"),
    ("DAGS THAT WAIT", "/dags"),
    ("LAST EVENT", "/last_asset_event/timestamp"),
];
const EVENTS: Columns = &[
    ("ID", "/id"),
    ("AT", "/timestamp"),
    ("URI", "/uri"),
    ("DAG", "/source_dag_id"),
    ("RUN", "/source_run_id"),
    ("TASK", "/source_task_id"),
    ("KEY", "/key"),
    ("RUNS MADE OF IT", "/runs"),
];
const QUEUED: Columns = &[("ASSET", "/asset_id"), ("URI", "/uri"), ("SINCE", "/created_at")];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { dag_id, limit } => {
                let query: Vec<_> = dag_id.into_iter().map(|dag_id| ("dag_ids", dag_id)).collect();
                let mut rows = client.list(&["v2", "assets"], &query, "assets", limit.rows()).await?;
                for row in rows.iter_mut().filter(|_| !session.is_for_programs()) {
                    row["made_by"] = names(&row["producing_tasks"], &["dag_id", "task_id"]);
                    row["dags"] = names(&row["scheduled_dags"], &["dag_id"]);
                }
                format.list(&rows, LISTED)
            }
            Self::Events { uri, limit } => {
                let mut query = vec![("order_by", "-id".to_owned())];
                if let Some(uri) = uri {
                    query.push(("asset_id", asset_id(session, &uri).await?.to_string()));
                }
                let path = ["v2", "assets", "events"];
                let mut rows = client.list(&path, &query, "asset_events", limit.rows()).await?;
                for row in rows.iter_mut().filter(|_| !session.is_for_programs()) {
                    row["runs"] = names(&row["created_dagruns"], &["dag_id", "run_id"]);
                }
                format.list(&rows, EVENTS)
            }
            Self::Tell { uri, extra, key } => {
                let extra: Map<String, Value> = match extra.as_deref().map(serde_json::from_str) {
                    None => Map::new(),
                    Some(Ok(Value::Object(extra))) => extra,
                    Some(_) => bail!("--extra is no JSON object: write it like '{{\"rows\": 120}}'"),
                };
                let body = json!({ "uri": uri, "extra": extra, "key": key });
                let told = client.call(Method::POST, &["v1", "assets", "events"], &[], Some(body)).await?;
                let id = &told["id"];
                match (told["is_new"].as_bool(), names(&told["created_dagruns"], &["dag_id", "run_id"])) {
                    (Some(false), _) => eprintln!("it was told before under this key: event {id}"),
                    (_, Value::String(runs)) if !runs.is_empty() => eprintln!("event {id} made {runs}"),
                    _ => eprintln!(
                        "event {id} is written down, and no run is made of it yet: `updraft assets queued DAG_ID` \
                         shows what a DAG has of what it waits for"
                    ),
                }
                session.echo(&told)
            }
            Self::Queued { dag_id, forget } => {
                let path = ["v2", "dags", &dag_id, "assets", "queuedEvents"];
                if forget {
                    client.call(Method::DELETE, &path, &[], None).await?;
                    eprintln!("{dag_id} waits with nothing any more");
                    return Ok(());
                }
                let mut answer = client.call(Method::GET, &path, &[], None).await?;
                let rows = answer["queued_events"].as_array_mut().map(std::mem::take).unwrap_or_default();
                let mut shown = Vec::with_capacity(rows.len());
                for mut row in rows {
                    let path = ["v2", "assets", &row["asset_id"].to_string()];
                    row["uri"] = client.call(Method::GET, &path, &[], None).await?["uri"].take();
                    shown.push(row);
                }
                format.list(&shown, QUEUED)
            }
        }
    }
}

/// The named parts of objects, joined by dots, one after the other.
fn names(objects: &Value, parts: &[&str]) -> Value {
    let objects = objects.as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |object: &Value| {
        let parts: Vec<&str> = parts.iter().filter_map(|part| object[part].as_str()).collect();
        parts.join(".")
    };
    objects.iter().map(name).collect::<Vec<_>>().join(", ").into()
}

async fn asset_id(session: &Session, uri: &str) -> Result<i64> {
    let query = [("only_active", "false".to_owned())];
    let all = session.client.list(&["v2", "assets"], &query, "assets", None).await?;
    match all.iter().find(|asset| asset["uri"] == uri).and_then(|asset| asset["id"].as_i64()) {
        Some(id) => Ok(id),
        None => bail!("no DAG names an asset `{uri}`: `updraft assets list` shows those that are named"),
    }
}
