//! What has which attributes in Airflow's context.

use updraft_core::{
    MapIndex,
    jinja::{Result, Thing, View, fault, quote, time::Delta},
    nearest::did_you_mean,
    protocol::{Order, RunFound},
};

use super::{Airflow, Object, Value, World, assets, macro_named, moment};
use crate::prepare::folder;

/// The attributes of a task instance (`ti`).
const TASK_INSTANCE: &[&str] = &[
    "dag_id",
    "end_date",
    "log_url",
    "map_index",
    "mark_success_url",
    "max_tries",
    "queue",
    "run_id",
    "start_date",
    "state",
    "task",
    "task_id",
    "try_number",
    "xcom_pull",
    "xcom_push",
];

/// Those of a task.
const TASK: &[&str] = &[
    "dag",
    "dag_id",
    "depends_on_past",
    "do_xcom_push",
    "doc_md",
    "downstream_task_ids",
    "execution_timeout",
    "inlets",
    "map_index_template",
    "operator_name",
    "outlets",
    "owner",
    "params",
    "pool",
    "pool_slots",
    "priority_weight",
    "queue",
    "retries",
    "retry_delay",
    "run_as_user",
    "task_display_name",
    "task_id",
    "task_type",
    "trigger_rule",
    "upstream_task_ids",
    "wait_for_downstream",
];

/// Those of a DAG.
const DAG: &[&str] = &[
    "catchup",
    "dag_display_name",
    "dag_id",
    "description",
    "end_date",
    "fileloc",
    "folder",
    "max_active_runs",
    "max_active_tasks",
    "params",
    "start_date",
    "tags",
];

/// Those of a run.
const DAG_RUN: &[&str] = &[
    "clear_number",
    "conf",
    "dag_id",
    "data_interval_end",
    "data_interval_start",
    "end_date",
    "logical_date",
    "note",
    "partition_date",
    "partition_key",
    "run_after",
    "run_id",
    "run_type",
    "start_date",
    "state",
    "triggering_user_name",
];

/// What `macros` has.
const MACROS: &[&str] =
    &["dateutil", "datetime", "datetime_diff_for_humans", "ds_add", "ds_format", "json", "timedelta"];

/// The methods of `macros.datetime`. `now`, `utcnow` and `today` give a time without a zone, as Python's do.
pub(super) const DATE_TIME: &[&str] = &["fromisoformat", "now", "strptime", "today", "utcnow"];

/// Those of `macros.json`.
pub(super) const JSON: &[&str] = &["dumps", "loads"];

/// Attributes that there are not, though people look for them, and what to do.
const ABSENT: &[(Airflow, &str, &str)] = &[
    (
        Airflow::TaskInstance,
        "duration",
        "an attempt that runs has no length yet. Airflow 3 has none here either",
    ),
    (Airflow::TaskInstance, "execution_date", "Airflow 3 has none either: use logical_date"),
    (Airflow::TaskInstance, "hostname", "which machine runs it, is not known when templates are rendered"),
    (Airflow::DagRun, "duration", "a run that runs has no length yet. Airflow 3 has none here either"),
    (Airflow::DagRun, "execution_date", "Airflow 3 has none either: use dag_run.logical_date"),
    (Airflow::DagRun, "external_trigger", "Airflow 3 has none either: use dag_run.run_type"),
    (Airflow::Macros, "yaml", "write JSON, which YAML contains, with `| tojson`"),
];

/// The names of the context whose attributes are known whatever the run, and these.
pub const ATTRIBUTES: [(&str, &[&str]); 5] =
    [("ti", TASK_INSTANCE), ("task", TASK), ("dag", DAG), ("dag_run", DAG_RUN), ("macros", MACROS)];

pub(super) fn attributes(of: Airflow) -> &'static [&'static str] {
    match of {
        Airflow::TaskInstance => TASK_INSTANCE,
        Airflow::Task => TASK,
        Airflow::Dag => DAG,
        Airflow::DagRun => DAG_RUN,
        Airflow::Macros => MACROS,
        Airflow::DateTime => DATE_TIME,
        Airflow::Json => JSON,
        Airflow::Variables { .. } | Airflow::Connections => &[],
    }
}

/// Refuses an attribute, which Airflow may have.
pub(super) fn unsupported<T>(of: Airflow, name: &str) -> Result<T> {
    let absent = ABSENT.iter().find(|(whose, absent, _)| *whose == of && *absent == name);
    let near = match absent {
        Some((_, _, mend)) => format!(": {mend}"),
        None => did_you_mean(name, attributes(of).iter().copied()),
    };
    match of {
        Airflow::Macros => fault(format!("macros.{name} is not supported{near}")),
        Airflow::DateTime | Airflow::Json => {
            let whose = if of == Airflow::Json { "json" } else { "datetime" };
            let there_are = attributes(of).join(", ");
            fault(format!("macros.{whose}.{name} is not supported{near}: there are {there_are}"))
        }
        of => {
            let what = Object::Airflow(of).type_name();
            fault(format!("the attribute '{name}' of a {what} is not supported{near}"))
        }
    }
}

impl World<'_> {
    /// An attribute of something in the context; an error where Airflow has one that is not supplied.
    pub(in crate::template) fn attr_of(&self, of: Airflow, name: &str) -> Result<Option<Value>> {
        Ok(Some(match of {
            Airflow::Macros => macro_named(name)?,
            Airflow::Variables { json } => self.airflow_variable(name, json, None)?,
            Airflow::Connections => match self.connection(name)? {
                Some(connection) => connection,
                None => return fault(format!("there is no connection `{name}`: add it, or name another")),
            },
            Airflow::TaskInstance => self.of_task_instance(name)?,
            Airflow::Task => self.of_task(name)?,
            Airflow::Dag => self.of_dag(name)?,
            Airflow::DagRun => self.of_dag_run(name)?,
            Airflow::DateTime | Airflow::Json => return unsupported(of, name),
        }))
    }

    fn of_task_instance(&self, name: &str) -> Result<Value> {
        let Order { run, task, attempt, .. } = self.order;
        Ok(match name {
            "task_id" => Value::str(&*task.task_id),
            "dag_id" => Value::str(&*run.dag_id),
            "run_id" => Value::str(&*run.run_id),
            "try_number" => Value::Int(attempt.try_number.into()),
            "max_tries" => Value::Int(task.max_tries.into()),
            "map_index" => Value::Int(attempt.ti.map_index.0.into()),
            "queue" => Value::str(&*task.shown.queue),
            "state" => Value::from(Object::Member("TaskInstanceState", "running")),
            "start_date" => moment(Some(self.began)),
            "end_date" => Value::None,
            "task" => Value::from(Object::Airflow(Airflow::Task)),
            "log_url" | "mark_success_url" => match log_url(self.order) {
                Some(url) => Value::str(url),
                None => {
                    return fault(format!(
                        "ti.{name} is not there: only what a server has made has a page, which is where its \
                         configuration says (`server.base_url`)"
                    ));
                }
            },
            _ => return unsupported(Airflow::TaskInstance, name),
        })
    }

    fn of_task(&self, name: &str) -> Result<Value> {
        let Order { run, task, operator, .. } = self.order;
        let shown = &task.shown;
        let delta = |length: jiff::SignedDuration| {
            Value::Delta(Delta { micros: length.as_micros(), interval: false })
        };
        Ok(match name {
            "task_id" | "task_display_name" => Value::str(&*task.task_id),
            "dag_id" => Value::str(&*run.dag_id),
            "dag" => Value::from(Object::Airflow(Airflow::Dag)),
            "retries" => Value::Int(task.max_tries.into()),
            "owner" => Value::str(&*task.owner),
            "task_type" | "operator_name" => Value::str(&**operator),
            "queue" => Value::str(&*shown.queue),
            "pool" => Value::str(&*shown.pool),
            "pool_slots" => Value::Int(shown.pool_slots.into()),
            "priority_weight" => Value::Int(shown.priority_weight.into()),
            "trigger_rule" => Value::from(Object::Member("TriggerRule", shown.trigger_rule.as_str())),
            "depends_on_past" => Value::Bool(shown.depends_on_past),
            "wait_for_downstream" => Value::Bool(shown.wait_for_downstream),
            "retry_delay" => delta(shown.retry_delay),
            "execution_timeout" => task.execution_timeout.map_or(Value::None, delta),
            "do_xcom_push" => Value::Bool(task.do_xcom_push),
            "doc_md" => Value::optional(shown.doc_md.as_deref()),
            "run_as_user" => Value::optional(task.run_as_user.as_deref()),
            "map_index_template" => Value::optional(task.map_index_template.as_deref()),
            "params" => return self.named("params").map(Option::unwrap_or_default),
            "inlets" => Value::list(shown.inlets.iter().map(assets::asset).collect()),
            "outlets" => Value::list(shown.outlets.iter().map(assets::asset).collect()),
            "upstream_task_ids" => set(task.upstream.iter().map(|id| &**id)),
            "downstream_task_ids" => set(task.downstream.iter().map(|id| &**id)),
            _ => return unsupported(Airflow::Task, name),
        })
    }

    fn of_dag(&self, name: &str) -> Result<Value> {
        let run = &self.order.run;
        let shown = &run.shown;
        Ok(match name {
            "dag_id" => Value::str(&*run.dag_id),
            "dag_display_name" => Value::str(shown.dag_display_name.as_deref().unwrap_or(&run.dag_id)),
            "description" => Value::optional(shown.description.as_deref()),
            "folder" => Value::str(folder(self.order).to_string_lossy()),
            "fileloc" => Value::str(&*run.source),
            "tags" => set(run.tags.iter().map(|tag| &**tag)),
            "start_date" => moment(shown.start_date),
            "end_date" => moment(shown.end_date),
            "catchup" => Value::Bool(shown.catchup),
            "max_active_runs" => Value::Int(shown.max_active_runs.into()),
            "max_active_tasks" => Value::Int(shown.max_active_tasks.into()),
            "params" => return self.named("params").map(Option::unwrap_or_default),
            _ => return unsupported(Airflow::Dag, name),
        })
    }

    fn of_dag_run(&self, name: &str) -> Result<Value> {
        let run = &self.order.run;
        Ok(match name {
            "logical_date" => moment(run.logical_date),
            "data_interval_start" => moment(run.data_interval.map(|(start, _)| start)),
            "data_interval_end" => moment(run.data_interval.map(|(_, end)| end)),
            "run_after" => moment(Some(run.run_after)),
            "start_date" => moment(run.started_at),
            "dag_id" => Value::str(&*run.dag_id),
            "run_id" => Value::str(&*run.run_id),
            "run_type" => Value::from(Object::Member("DagRunType", run.run_type.as_str())),
            "state" => Value::from(Object::Member("DagRunState", "running")),
            "clear_number" => Value::Int(run.shown.clear_number.into()),
            "triggering_user_name" => Value::optional(run.shown.triggering_user.as_deref()),
            "end_date" | "partition_date" | "partition_key" => Value::None,
            // It may come while the run is at work.
            "note" => {
                let found = self.host.run(&run.dag_id, &run.run_id)?;
                Value::optional(found.and_then(|run| run.note))
            }
            "conf" => {
                let conf =
                    || if run.conf.is_null() { Value::dict(Vec::new()) } else { Value::from(&*run.conf) };
                self.conf.get_or_init(conf).clone()
            }
            _ => return unsupported(Airflow::DagRun, name),
        })
    }
}

/// An attribute of another run.
pub(in crate::template) fn of_found(run: &RunFound, name: &str) -> Result<Option<Value>> {
    Ok(Some(match name {
        "dag_id" => Value::str(&*run.dag_id),
        "run_id" => Value::str(&*run.run_id),
        "logical_date" => moment(run.logical_date),
        "data_interval_start" => moment(run.data_interval.map(|(start, _)| start)),
        "data_interval_end" => moment(run.data_interval.map(|(_, end)| end)),
        "run_after" => moment(Some(run.run_after)),
        "start_date" => moment(run.started_at),
        "end_date" => moment(run.ended_at),
        "run_type" => Value::from(Object::Member("DagRunType", run.run_type.as_str())),
        "state" => Value::from(Object::Member("DagRunState", run.state.as_str())),
        "clear_number" => Value::Int(run.clear_number.into()),
        "triggering_user_name" => Value::optional(run.triggering_user.as_deref()),
        "note" => Value::optional(run.note.as_deref()),
        "conf" if run.conf.is_null() => Value::dict(Vec::new()),
        "conf" => Value::from(&run.conf),
        "partition_date" | "partition_key" => Value::None,
        _ => return unsupported(Airflow::DagRun, name),
    }))
}

fn set<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    Value::View(View::Set, names.into_iter().map(Value::str).collect())
}

/// Where people see the log of an attempt, by the same path as Airflow's `ti.log_url`; `None` where no server has a page.
pub(crate) fn log_url(order: &Order) -> Option<String> {
    let Order { run, task, attempt, .. } = order;
    let base = Some(run.shown.base_url.trim_end_matches('/')).filter(|base| !base.is_empty())?;
    let quote = |text| quote(text, "/");
    let copy = match attempt.ti.map_index {
        MapIndex::NONE => String::new(),
        MapIndex(index) => format!("/mapped/{index}"),
    };
    let (dag, run_id, task_id) = (&run.dag_id, quote(&run.run_id), &task.task_id);
    let page = format!("{base}/dags/{dag}/runs/{run_id}/tasks/{task_id}{copy}");
    Some(if attempt.try_number > 0 { format!("{page}?try_number={}", attempt.try_number) } else { page })
}
