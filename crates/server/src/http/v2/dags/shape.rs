//! A DAG as Airflow shows it.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};
use updraft_core::{AssetCondition, Dag, DagSpec, Param, schedule::Schedule};
use updraft_store::DagListing;
use utoipa::ToSchema;

use super::super::versions::DagVersionResponse;
use super::super::{
    super::{time::Time, versions::Version},
    assets::GROUP,
};

/// A DAG.
#[derive(Serialize, ToSchema)]
pub(super) struct DagResponse {
    dag_id: String,
    dag_display_name: String,
    is_paused: bool,
    /// Its source is gone.
    is_stale: bool,
    /// When it last changed.
    last_parsed_time: Option<Time>,
    last_parse_duration: Option<f64>,
    last_expired: Option<Time>,
    /// `git` where it came from a repository.
    bundle_name: Option<String>,
    /// The commit it was read from.
    bundle_version: Option<String>,
    relative_fileloc: Option<String>,
    /// Where it came from.
    fileloc: String,
    description: Option<String>,
    timetable_summary: Option<String>,
    timetable_description: Option<String>,
    timetable_partitioned: bool,
    /// Whether it runs by itself again and again.
    timetable_periodic: bool,
    tags: Vec<DagTagResponse>,
    max_active_tasks: u32,
    max_active_runs: u32,
    max_consecutive_failed_dag_runs: u32,
    /// Whether a task limits its instances. In lists, where tasks are not looked at, always false.
    has_task_concurrency_limits: bool,
    has_import_errors: bool,
    next_dagrun_logical_date: Option<Time>,
    next_dagrun_data_interval_start: Option<Time>,
    next_dagrun_data_interval_end: Option<Time>,
    next_dagrun_run_after: Option<Time>,
    allowed_run_types: Option<Vec<String>>,
    owners: Vec<String>,
    is_backfillable: bool,
    file_token: String,
}

/// A tag of a DAG.
#[derive(Serialize, ToSchema)]
struct DagTagResponse {
    name: String,
    dag_id: String,
    dag_display_name: String,
}

/// The name that is shown for a DAG.
pub(in super::super) fn display_name(spec: &DagSpec) -> String {
    spec.dag_display_name.clone().unwrap_or_else(|| spec.dag_id.to_string())
}

impl DagResponse {
    pub fn of(listing: &DagListing) -> Self {
        let DagListing { row, header, .. } = listing;
        let mut tags = header.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        let tag = |name| DagTagResponse {
            name,
            dag_id: row.key.dag_id.to_string(),
            dag_display_name: display_name(header),
        };
        let periodic = is_periodic(&header.schedule);
        let next = row.next_tick;
        let bundle = header.bundle.as_ref();
        Self {
            dag_id: row.key.dag_id.to_string(),
            dag_display_name: display_name(header),
            is_paused: row.is_paused,
            is_stale: row.is_stale,
            last_parsed_time: Some(Time(listing.version_created_at)),
            last_parse_duration: None,
            last_expired: None,
            bundle_name: bundle.map(|bundle| bundle.name.clone()),
            bundle_version: bundle.map(|bundle| bundle.version.clone()),
            relative_fileloc: Some(row.source.clone()),
            fileloc: row.source.clone(),
            description: header.description.clone(),
            timetable_summary: or_assets(header, "Asset", summary),
            timetable_description: or_assets(header, "Triggered by assets", description),
            timetable_partitioned: false,
            timetable_periodic: periodic,
            tags: tags.into_iter().map(tag).collect(),
            max_active_tasks: header.max_active_tasks,
            max_active_runs: header.max_active_runs,
            max_consecutive_failed_dag_runs: header.max_consecutive_failed_dag_runs,
            has_task_concurrency_limits: false,
            has_import_errors: listing.has_import_error,
            next_dagrun_logical_date: next.map(|tick| Time(tick.logical_date())),
            next_dagrun_data_interval_start: next.map(|tick| Time(tick.data_interval.start)),
            next_dagrun_data_interval_end: next.map(|tick| Time(tick.data_interval.end)),
            next_dagrun_run_after: next.map(|tick| Time(tick.run_after)),
            allowed_run_types: None,
            owners: header.owner.split(',').map(|owner| owner.trim().to_owned()).collect(),
            is_backfillable: periodic,
            file_token: URL_SAFE_NO_PAD.encode(&row.source),
        }
    }

    /// What can be said only by who looks at the tasks.
    pub fn with_tasks(mut self, dag: &Dag) -> Self {
        self.has_task_concurrency_limits =
            dag.spec().tasks.iter().any(|task| {
                task.max_active_tis_per_dag.is_some() || task.max_active_tis_per_dagrun.is_some()
            });
        self
    }
}

fn is_periodic(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::WithHolidays { schedule, .. } => is_periodic(schedule),
        Schedule::Manual
        | Schedule::AtBoot
        | Schedule::Once
        | Schedule::Continuous
        | Schedule::ListOfTimes { .. } => false,
        Schedule::CronTrigger { .. }
        | Schedule::CronDataInterval { .. }
        | Schedule::DeltaTrigger { .. }
        | Schedule::DeltaDataInterval { .. } => true,
    }
}

/// What is said of a schedule, with Airflow's words for one by assets before it.
fn or_assets(spec: &DagSpec, by_assets: &str, of: fn(&Schedule) -> Option<String>) -> Option<String> {
    match (&spec.assets, &spec.schedule) {
        (None, schedule) => of(schedule),
        (Some(_), Schedule::Manual) => Some(by_assets.to_owned()),
        (Some(_), schedule) => Some(format!("{by_assets} or {}", of(schedule).unwrap_or_default())),
    }
}

/// What Airflow calls a timetable's summary: the cron, the length, a preset.
fn summary(schedule: &Schedule) -> Option<String> {
    match schedule {
        Schedule::Manual => None,
        Schedule::AtBoot => Some("@reboot".into()),
        Schedule::Once => Some("@once".into()),
        Schedule::Continuous => Some("@continuous".into()),
        Schedule::CronTrigger { crons, .. } => {
            let crons: Vec<&str> = crons.as_slice().iter().map(|cron| cron.as_str()).collect();
            Some(crons.join(", "))
        }
        Schedule::CronDataInterval { cron, .. } => Some(cron.to_string()),
        Schedule::DeltaTrigger { every, .. } | Schedule::DeltaDataInterval { every } => {
            Some(every.to_string())
        }
        Schedule::ListOfTimes { .. } => Some("a list of times".into()),
        Schedule::WithHolidays { schedule, .. } => summary(schedule),
    }
}

/// The schedule in a few words, in Airflow's where it has no cron in it.
fn description(schedule: &Schedule) -> Option<String> {
    let text = match schedule {
        Schedule::Manual => "Never, external triggers only".into(),
        Schedule::AtBoot => "After each start of the machine".into(),
        Schedule::Once => "Once, as soon as possible".into(),
        Schedule::Continuous => "As frequently as possible, but only one run at a time.".into(),
        Schedule::CronTrigger { zone, .. } | Schedule::CronDataInterval { zone, .. } => {
            format!("{}, on the clock of {zone}", summary(schedule)?)
        }
        Schedule::DeltaTrigger { every, .. } | Schedule::DeltaDataInterval { every } => {
            format!("Every {every}")
        }
        Schedule::ListOfTimes { .. } => summary(schedule)?,
        Schedule::WithHolidays { schedule, holidays } => {
            let days = holidays.days();
            let until = days.spans().last().map(|span| format!(", the last on {}", span.last()));
            let until = until.unwrap_or_default();
            format!("{}, but not on its {} holidays{until}", description(schedule)?, days.count())
        }
    };
    Some(text)
}

/// A DAG with more about it.
#[derive(Serialize, ToSchema)]
pub(super) struct DagDetailsResponse {
    #[serde(flatten)]
    dag: DagResponse,
    catchup: bool,
    /// An ISO 8601 duration.
    dag_run_timeout: Option<String>,
    #[schema(value_type = Option<Object>)]
    asset_expression: Option<Value>,
    doc_md: Option<String>,
    start_date: Option<Time>,
    end_date: Option<Time>,
    is_paused_upon_creation: Option<bool>,
    #[schema(value_type = Object)]
    params: BTreeMap<String, ParamResponse>,
    render_template_as_native_obj: bool,
    template_search_path: Option<Vec<String>>,
    timezone: Option<String>,
    last_parsed: Option<Time>,
    /// They are written into each task when a DAG is read.
    #[schema(value_type = Option<Object>)]
    default_args: Option<Value>,
    rerun_with_latest_version: Option<bool>,
    #[schema(value_type = Option<Object>)]
    owner_links: Option<Value>,
    is_favorite: bool,
    /// Runs that are running.
    active_runs_count: u64,
    concurrency: u32,
    latest_dag_version: Option<DagVersionResponse>,
}

/// A parameter, as Airflow dumps its `Param`.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct ParamResponse {
    #[schema(value_type = Object)]
    value: Value,
    #[schema(value_type = Object)]
    schema: Value,
    description: Option<String>,
    source: Option<String>,
}

/// Parameters, as Airflow dumps them.
pub(in super::super) fn params(params: &BTreeMap<String, Param>) -> BTreeMap<String, ParamResponse> {
    let shown = |param: &Param| ParamResponse {
        value: param.value.clone(),
        schema: if param.schema.is_null() { Value::Object(Default::default()) } else { param.schema.clone() },
        description: param.description.clone(),
        source: None,
    };
    params.iter().map(|(name, param)| (name.clone(), shown(param))).collect()
}

/// What a DAG waits for, as Airflow's page reads it.
fn expression(condition: &AssetCondition) -> Value {
    let all = |parts: &[AssetCondition]| parts.iter().map(expression).collect::<Vec<_>>();
    match condition {
        AssetCondition::Asset(asset) => json!({ "asset": {
            "uri": asset.uri,
            "name": asset.name.as_deref().unwrap_or(&asset.uri),
            "group": asset.group.as_deref().unwrap_or(GROUP),
        }}),
        AssetCondition::All(parts) => json!({ "all": all(parts) }),
        AssetCondition::Any(parts) => json!({ "any": all(parts) }),
    }
}

impl DagDetailsResponse {
    pub fn of(listing: &DagListing, version: &Version, running: u64) -> Self {
        let spec = version.dag.spec();
        let native = spec.template.get("render_template_as_native_obj");
        let paths = spec.template.get("template_searchpath").and_then(|paths| match paths {
            Value::String(path) => Some(vec![path.clone()]),
            paths => serde_json::from_value(paths.clone()).ok(),
        });
        Self {
            dag: DagResponse::of(listing).with_tasks(&version.dag),
            catchup: spec.catchup,
            dag_run_timeout: spec.dagrun_timeout.map(|timeout| timeout.to_string()),
            asset_expression: spec.assets.as_ref().map(expression),
            doc_md: spec.doc_md.clone(),
            start_date: spec.start_date.map(Time),
            end_date: spec.end_date.map(Time),
            is_paused_upon_creation: spec.is_paused_upon_creation,
            params: params(&spec.params),
            render_template_as_native_obj: native.and_then(Value::as_bool).unwrap_or(false),
            template_search_path: paths,
            timezone: Some(spec.timezone()),
            last_parsed: Some(Time(listing.version_created_at)),
            default_args: None,
            rerun_with_latest_version: None,
            owner_links: None,
            is_favorite: false,
            active_runs_count: running,
            concurrency: spec.max_active_tasks,
            latest_dag_version: Some(DagVersionResponse::of(version)),
        }
    }
}
