//! One DAG: the settings it has besides its tasks.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value as Json};
use updraft_core::{Dag, DagId, DagSpec, InvalidDag, Namespace, Param, TaskId, schedule::Schedule};

use super::{
    alert, callback, conversion, date,
    field::{self, did_you_mean, set, set_option},
    files,
    holidays::{self, Beside},
    keys, names,
    node::{Entry, Mapping, Node, Value},
    operators::Check,
    problem::Problems,
    schedule::{self, Scheduled, When},
    settings::{Settings, default_args, tell},
    tasks,
};
use crate::params;

/// What a DAG is read with.
pub(super) struct Context<'a> {
    pub namespace: &'a Namespace,
    pub check: &'a Check,
    pub now: Timestamp,
    pub beside: &'a Beside<'a>,
}

/// Reads a DAG, its defaults already merged in. `None` where a problem was noted.
pub(super) fn read(
    id: &Entry,
    dag: &Mapping,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<DagSpec> {
    names::check(&id.key, "DAG", true, 250, id.key_place, problems);
    let mut spec = DagSpec::new(DagId::from(&*id.key));
    spec.namespace = context.namespace.clone();
    let defaults = default_args(dag.get("default_args"), problems);
    let zone = dates(&mut spec, dag, &defaults, context.now, problems);
    let mut fail_fast = [None, None];
    let callbacks = callback::of_dag(dag, problems);
    for entry in dag.entries.iter().filter(|entry| !callback::is_key_of_dag(&entry.key)) {
        let node = &entry.node;
        match &*entry.key {
            "fail_fast" => set_option(&mut fail_fast[0], field::boolean(node, problems)),
            "fail_stop" => set_option(&mut fail_fast[1], field::boolean(node, problems)),
            "dag_id" => {
                if node.text() != Some(&id.key) {
                    // As in dag-factory, the entry's name counts.
                    problems.warn(node.place, format!("has no effect: this DAG is called `{}`", id.key));
                }
            }
            key => setting(key, entry, &mut spec, problems),
        }
    }
    spec.alerts.extend(callbacks);
    if let Some(text) = dag.get("doc_md_file_path").and_then(|file| doc_of(file, context.beside, problems)) {
        spec.doc_md = Some(text);
    }
    spec.fail_fast = fail_fast.into_iter().flatten().next().unwrap_or(false);
    schedule(&mut spec, dag, &zone, context, problems);
    if let (Err(bad), Some(entry)) = (params::check_all(&spec.params, &Map::new()), dag.entry("params"))
        && runs_by_itself(&spec)
    {
        let mend = "give it a default that fits, or take the schedule out";
        problems.error(entry.key_place, format!("a scheduled run is given nothing. {bad}: {mend}"));
    }
    let settings = Settings::new().with_defaults(&defaults, problems);
    if let Some(owner) = &settings.spec.owner {
        spec.owner = owner.as_str().into();
    }
    let zone = zone.iana_name().unwrap_or("UTC").to_owned();
    let parts = tasks::read(dag, &settings, &zone, context, problems);
    spec.tasks = parts.tasks;
    for task in spec.tasks.iter().filter(|_| runs_by_itself(&spec)) {
        if let (Err(bad), Some(entry)) = (params::check_all(&task.params, &Map::new()), dag.entry("tasks")) {
            let message = format!(
                "`{}`: a scheduled run is given nothing. {bad}: give it a default that fits",
                task.task_id
            );
            problems.error(entry.key_place, message);
        }
    }
    for task in &mut spec.tasks {
        // The DAG's own needs no saying.
        task.owner = task.owner.take().filter(|owner| **owner != *spec.owner);
    }
    spec.edges = parts.edges;
    spec.groups = parts.groups;
    if problems.has_errors() {
        return None;
    }
    let place =
        |task: Option<&TaskId>| task.and_then(|task| parts.places.get(task).copied()).unwrap_or(id.key_place);
    match Dag::compile(spec) {
        Ok(dag) => {
            for (task, missing) in files::missing(dag.spec(), context.beside) {
                problems.warn(place(Some(task)), missing);
            }
            Some(dag.spec().clone())
        }
        Err(error) => {
            problems.error(place(culprit(&error)), error.to_string());
            None
        }
    }
}

/// The text of a file about the DAG, which counts over `doc_md` as in dag-factory. A DAG runs as well without.
fn doc_of(file: &Node, beside: &Beside<'_>, problems: &mut Problems) -> Option<String> {
    let path = field::text(file, problems).ok().flatten().filter(|path| !path.is_empty())?;
    match beside.text(file.place.document, &path) {
        Ok(text) => Some(text),
        Err(reason) => {
            problems.warn(file.place, format!("has no effect: the file `{path}` {reason}"));
            None
        }
    }
}

fn runs_by_itself(spec: &DagSpec) -> bool {
    spec.schedule != Schedule::Manual || spec.assets.is_some()
}

fn schedule(
    spec: &mut DagSpec,
    dag: &Mapping,
    zone: &TimeZone,
    context: &Context<'_>,
    problems: &mut Problems,
) {
    let Context { now, beside, .. } = *context;
    let Some(Scheduled { when, assets, place }) = schedule::read(dag, zone, now, beside, problems) else {
        return;
    };
    spec.assets = assets;
    if when == When::Continuous {
        // More than one at once can't be; unlike Airflow we need not be told so.
        match dag.entry("max_active_runs") {
            Some(entry) if spec.max_active_runs > 1 => {
                problems.error(entry.node.place, "a continuous schedule has one run at a time: write 1");
            }
            Some(_) | None => spec.max_active_runs = 1,
        }
    }
    for cron in conversion::never_due(&when, now) {
        problems.warn(place, format!("the cron `{cron}` is never due: there is no such day"));
    }
    match conversion::schedule(when) {
        Ok(schedule) => {
            spec.schedule = match dag.entry("holidays") {
                Some(entry) => holidays::without(schedule, entry, zone, now, beside, problems),
                None => schedule,
            };
        }
        Err(reason) => problems.error(place, reason),
    }
}

/// The task that a DAG fails by.
fn culprit(error: &InvalidDag) -> Option<&TaskId> {
    match error {
        InvalidDag::Cycle(tasks) => tasks.first(),
        InvalidDag::DuplicateTask(task)
        | InvalidDag::FailFastRule(task)
        | InvalidDag::UnknownNeighbour { task, .. }
        | InvalidDag::MappedInMappedGroup { task, .. }
        | InvalidDag::UnknownMapSource { task, .. } => Some(task),
        InvalidDag::DuplicateGroup(_)
        | InvalidDag::UnknownGroup { .. }
        | InvalidDag::TooSmall { .. }
        | InvalidDag::NestedMappedGroup(_)
        | InvalidDag::TooManyTasks(_) => None,
    }
}

/// Reads the start and the end, and tells the zone in which the DAG's cron is read: as in Airflow, that of
/// its start date.
fn dates(
    spec: &mut DagSpec,
    dag: &Mapping,
    defaults: &Mapping,
    now: Timestamp,
    problems: &mut Problems,
) -> TimeZone {
    let mut zone_beside = |map: &Mapping| {
        let zone = map.get("timezone").map(|node| date::zone(node, problems));
        zone.and_then(Result::ok).flatten().unwrap_or(TimeZone::UTC)
    };
    let (dag_zone, default_zone) = (zone_beside(dag), zone_beside(defaults));
    let given = |map: &Mapping, key: &str| map.get(key).filter(|node| !node.is_null()).cloned();
    let read = |key: &str, problems: &mut Problems| {
        let own = given(dag, key).map(|node| (node, &dag_zone));
        let default = given(defaults, key).map(|node| (node, &default_zone));
        if let (Some((own, zone)), Some((default, default_zone))) = (&own, &default) {
            let own = date::instant(own, zone, now, problems);
            let default_date = date::instant(default, default_zone, now, problems);
            if matches!((own, default_date), (Ok(own), Ok(default)) if own != default) {
                let message = format!("the {key} of default_args has no effect: the DAG has its own");
                problems.warn(default.place, message);
            }
        }
        let (node, zone) = own.or(default)?;
        let instant = date::instant(&node, zone, now, problems).ok().flatten()?;
        Some((instant, zone.clone()))
    };
    let start = read("start_date", problems);
    spec.end_date = read("end_date", problems).map(|(end, _)| end);
    spec.start_date = start.as_ref().map(|(start, _)| *start);
    tell_idle_zone(dag, defaults, problems);
    if let (Some(start), Some(end)) = (spec.start_date, spec.end_date)
        && end < start
        && let Some(node) = dag.get("end_date").or_else(|| defaults.get("end_date"))
    {
        problems.warn(node.place, "the end_date is before the start_date: no run will ever be due");
    }
    start.map_or(TimeZone::UTC, |(_, zone)| zone)
}

/// Tells of a zone in which nothing is read. As in dag-factory, each date is of the zone that stands beside it, and the
/// schedule of the start date's.
fn tell_idle_zone(dag: &Mapping, defaults: &Mapping, problems: &mut Problems) {
    let given = |map: &Mapping, key: &str| map.get(key).filter(|node| !node.is_null()).map(|node| node.place);
    let (own, default) = (given(dag, "timezone"), given(defaults, "timezone"));
    let (idle, why) = if given(dag, "start_date").is_some() {
        (default.filter(|_| own.is_none()), "the start_date is the DAG's, and this is not beside it")
    } else if given(defaults, "start_date").is_some() {
        (
            own.filter(|_| default.is_none()),
            "the start_date is that of default_args, and this is not beside it",
        )
    } else {
        (own.or(default), "there is none")
    };
    if let Some(place) = idle {
        let message = format!("timezone has an effect only beside a start_date; {why}: cron is read in UTC");
        problems.warn(place, message);
    }
}

fn setting(key: &str, entry: &Entry, spec: &mut DagSpec, problems: &mut Problems) {
    let node = &entry.node;
    match key {
        "tasks" | "task_groups" | "default_args" | "vars" | "start_date" | "end_date" | "timezone"
        | "schedule" | "schedule_interval" | "timetable" | "holidays" | "doc_md_file_path" => {}
        "description" => set_option(&mut spec.description, field::text(node, problems)),
        "dag_display_name" => set_option(&mut spec.dag_display_name, field::text(node, problems)),
        "doc_md" => set_option(&mut spec.doc_md, field::text(node, problems)),
        "tags" => set(&mut spec.tags, field::texts(node, problems), Vec::new()),
        "catchup" => set(&mut spec.catchup, field::boolean(node, problems), false),
        "params" => spec.params = params(node, problems),
        "max_active_runs" => set(&mut spec.max_active_runs, field::at_least_one(node, problems), 16),
        "max_active_tasks" | "concurrency" => {
            set(&mut spec.max_active_tasks, field::at_least_one(node, problems), 16);
        }
        "max_consecutive_failed_dag_runs" => {
            set(&mut spec.max_consecutive_failed_dag_runs, field::count(node, problems), 0);
        }
        "dagrun_timeout" | "dagrun_timeout_sec" => {
            set_option(&mut spec.dagrun_timeout, field::duration(node, problems));
        }
        "is_paused_upon_creation" => {
            set_option(&mut spec.is_paused_upon_creation, field::boolean(node, problems));
        }
        "render_template_as_native_obj" => {
            if let Ok(Some(native)) = field::boolean(node, problems) {
                spec.template.insert(key.into(), Json::Bool(native));
            }
        }
        "template_searchpath" => {
            if let Ok(Some(paths)) = field::texts(node, problems) {
                spec.template.insert(key.into(), paths.into());
            }
        }
        "user_defined_macros" => {
            if let Some(macros) = macros(node, problems) {
                spec.template.insert(key.into(), Json::Object(macros));
            }
        }
        "template_undefined" => {
            problems.error(
                entry.key_place,
                "`template_undefined` is a Python class, which can't be had here: take it out",
            );
        }
        "alerts" => set(&mut spec.alerts, alert::alerts(alert::Of::Dag, node, problems), Vec::new()),
        key => match keys::of_dag(key) {
            None => {
                let known = keys::DAG.into_iter();
                let place = if keys::TASK.contains(&key) {
                    "; it belongs to a task, or in default_args".to_owned()
                } else {
                    did_you_mean(key, known)
                };
                problems.error(entry.key_place, format!("a DAG has no `{key}`{place}"));
            }
            fate => tell(fate, entry, problems),
        },
    }
}

/// Names for templates, as dag-factory reads them: a text is the dotted path to a function of Python, a mapping has
/// names within it, and anything else is a value.
fn macros(node: &Node, problems: &mut Problems) -> Option<Map<String, Json>> {
    if node.is_null() {
        return None;
    }
    let Some(map) = node.map() else {
        problems.error(node.place, format!("expected macros as a mapping, found {}", node.kind()));
        return None;
    };
    let mut all = Map::new();
    for entry in &map.entries {
        let node = &entry.node;
        let of = match &node.value {
            Value::Map(_) => macros(node, problems).map(Json::Object),
            _ => field::json(node, problems).ok(),
        };
        if let Some(Json::String(path)) = &of
            && !path.contains('.')
        {
            let mend = "must be the dotted path to a function, module.function: texts that stay as they are \
                        belong in `params`";
            problems.error(node.place, format!("the macro `{}` {mend}", entry.key));
        }
        all.extend(of.map(|of| (entry.key.to_string(), of)));
    }
    Some(all)
}

/// The parameters of a run: plain values, or `airflow.sdk.Param` objects.
pub(super) fn params(node: &Node, problems: &mut Problems) -> std::collections::BTreeMap<String, Param> {
    let mut all = std::collections::BTreeMap::new();
    if node.is_null() {
        return all;
    }
    let Some(map) = node.map() else {
        problems.error(node.place, format!("expected params as a mapping, found {}", node.kind()));
        return all;
    };
    for entry in &map.entries {
        if let Some(param) = param(&entry.node, problems) {
            all.insert(entry.key.to_string(), param);
        }
    }
    all
}

fn param(node: &Node, problems: &mut Problems) -> Option<Param> {
    let Value::Object(object) = &node.value else {
        let value = field::json(node, problems).ok()?;
        return Some(Param { value, ..Param::default() });
    };
    let is_param = object.class.rsplit('.').next() == Some("Param") && object.class.starts_with("airflow.");
    if !is_param || object.arguments.len() > 1 {
        let message =
            format!("`{}` can't be a param: write a value, or an `airflow.sdk.Param`", object.class);
        problems.error(node.place, message);
        return None;
    }
    let mut param = Param::default();
    let mut schema = Map::new();
    if let Some(default) = object.arguments.first() {
        param.value = field::json(default, problems).ok()?;
    }
    for entry in &object.keywords.entries {
        match &*entry.key {
            "default" => param.value = field::json(&entry.node, problems).ok()?,
            "description" => set_option(&mut param.description, field::text(&entry.node, problems)),
            "schema" => match field::json(&entry.node, problems).ok()? {
                Json::Object(given) => schema.extend(given),
                other => {
                    problems.error(entry.node.place, format!("expected a JSON Schema, found {other}"));
                }
            },
            key => {
                schema.insert(key.into(), field::json(&entry.node, problems).ok()?);
            }
        }
    }
    if !schema.is_empty() {
        param.schema = Json::Object(schema);
    }
    if let Err(reason) = params::check_schema(&param) {
        problems.error(node.place, reason);
        return None;
    }
    Some(param)
}
