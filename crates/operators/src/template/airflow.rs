//! Airflow's context: the variables that its templates see, what these have, and its macros.

mod assets;
mod attributes;
mod known;
mod lookup;

use std::{
    cell::{OnceCell, RefCell},
    path::PathBuf,
    rc::Rc,
};

use jiff::tz::TimeZone;
use updraft_core::{
    MapIndex,
    jinja::{
        self, Args, GLOBALS, Machine, Mode, Result, Value, fault, int, json, needed, size, text,
        time::{At, DateTime, Delta, Relative, parse, strftime, strptime},
    },
    protocol::Order,
};

pub use self::attributes::ATTRIBUTES;
pub(crate) use self::attributes::log_url;
pub(super) use self::{
    assets::{AssetEvents, Event, asset_attr, of_found},
    known::check,
};
use super::{
    object::{Airflow, Object},
    own,
};
use crate::{Host, prepare::folder};

/// Names that Airflow or Jinja has and that are not supplied, each with what to do.
const REFUSED: &[(&str, &str)] = &[
    ("inlet_events", EVENTS),
    ("outlet_events", EVENTS),
    ("lipsum", "it makes up other words each time: write the text"),
    ("self", "there are no blocks here: what is to be shown twice can be a macro of the template"),
];

const EVENTS: &str = "what happened to assets that the run was made for is in triggering_asset_events";

/// All names that may be there: of Airflow's context, and Jinja's functions.
pub(super) fn names<'a>() -> impl Iterator<Item = &'a str> {
    [ALWAYS, DATED, GLOBALS].into_iter().flatten().copied()
}

/// Why a name is not there, whatever the run, that Airflow's templates have.
pub(super) fn refused(name: &str) -> Option<String> {
    let (_, mend) = REFUSED.iter().find(|(known, _)| *known == name)?;
    Some(format!("`{name}` is not supported: {mend}"))
}

/// What the templates of one order see.
pub(super) struct World<'a> {
    pub(super) order: &'a Order,
    pub(super) host: &'a dyn Host,
    mode: Mode,
    native: bool,
    searchpath: Vec<PathBuf>,
    /// The DAG's own macros: `user_defined_macros`.
    own: Option<&'a serde_json::Map<String, serde_json::Value>>,
    pub(super) secrets: RefCell<Vec<String>>,
    /// The run's parameters and what was given with it: one value each, since templates may change them.
    params: OnceCell<Value>,
    conf: OnceCell<Value>,
    events: OnceCell<Value>,
    /// When the order's attempt began, so to say: when its templates were first looked at.
    began: jiff::Timestamp,
}

/// Airflow 3 gives what all runs before left, as a list that is in no order but that of the copies, or what the latest
/// left where `map_indexes` is given.
pub(super) const PRIOR_DATES: &str = "xcom_pull(include_prior_dates=True) is not supported: name the run by `run_id`, or keep what the \
                           next run needs in a variable";

/// Names that are there whatever the run.
const ALWAYS: &[&str] = &[
    "conn",
    "dag",
    "dag_run",
    "inlets",
    "macros",
    "map_index_template",
    "outlets",
    "params",
    "partition_date",
    "partition_key",
    "prev_end_date_success",
    "prev_start_date_success",
    "run_id",
    "task",
    "task_instance",
    "task_instance_key_str",
    "ti",
    "triggering_asset_events",
    "var",
];

/// Names that are there where the run has a logical date.
const DATED: &[&str] = &[
    "data_interval_end",
    "data_interval_start",
    "ds",
    "ds_nodash",
    "logical_date",
    "prev_data_interval_end_success",
    "prev_data_interval_start_success",
    "ts",
    "ts_nodash",
    "ts_nodash_with_tz",
];

impl<'a> World<'a> {
    /// What this order's templates see. The DAG's options for templates are Airflow's: `template_undefined`,
    /// `render_template_as_native_obj`, `template_searchpath`, `user_defined_macros`.
    pub(super) fn new(order: &'a Order, host: &'a dyn Host) -> Result<Self> {
        let mut world = Self {
            order,
            host,
            mode: Mode::Strict,
            native: false,
            searchpath: vec![folder(order)],
            own: None,
            secrets: RefCell::default(),
            params: OnceCell::new(),
            conf: OnceCell::new(),
            events: OnceCell::new(),
            began: jiff::Timestamp::now(),
        };
        for (name, value) in &order.run.template {
            match (&**name, value) {
                ("template_undefined" | "undefined", serde_json::Value::String(mode)) => {
                    world.mode = match mode.rsplit('.').next() {
                        Some("StrictUndefined" | "strict" | "error") => Mode::Strict,
                        Some("Undefined" | "lenient" | "empty") => Mode::Lenient,
                        Some("ChainableUndefined" | "chainable") => Mode::Chainable,
                        _ => return fault(format!("the option `{name}` can't be {mode:?}")),
                    }
                }
                ("render_template_as_native_obj" | "native", serde_json::Value::Bool(native)) => {
                    world.native = *native;
                }
                ("template_searchpath" | "searchpath", serde_json::Value::String(path)) => {
                    world.searchpath.push(folder(order).join(path));
                }
                ("template_searchpath" | "searchpath", serde_json::Value::Array(paths)) => {
                    let paths = paths.iter().filter_map(serde_json::Value::as_str);
                    world.searchpath.extend(paths.map(|path| folder(order).join(path)));
                }
                ("user_defined_macros", serde_json::Value::Object(own)) => world.own = Some(own),
                (name, _) => {
                    return fault(format!("the DAG's option for templates `{name}` is not supported"));
                }
            }
        }
        Ok(world)
    }

    /// Has templates give text, whatever the DAG's options say.
    pub(super) fn give_text(&mut self) {
        self.native = false;
    }

    pub(super) fn undefined(&self) -> Mode {
        self.mode
    }

    pub(super) fn is_native(&self) -> bool {
        self.native
    }

    /// All names, for an error to say which is near.
    pub(super) fn all_names(&self) -> impl Iterator<Item = &str> {
        let dated = if self.order.run.logical_date.is_some() { DATED } else { &[] };
        let own = self.own.into_iter().flatten().map(|(name, _)| &**name);
        ALWAYS.iter().chain(dated).chain(GLOBALS).copied().chain(own)
    }

    /// Whether a name is missing for the one reason that the run has no logical date.
    pub(super) fn needs_date(&self, name: &str) -> bool {
        self.order.run.logical_date.is_none() && DATED.contains(&name)
    }

    /// A variable of the context, or a function of Jinja's.
    pub(super) fn named(&self, name: &str) -> Result<Option<Value>> {
        let run = &self.order.run;
        let airflow = |of| Value::from(Object::Airflow(of));
        let found = match name {
            "dag" => airflow(Airflow::Dag),
            "dag_run" => airflow(Airflow::DagRun),
            "task" => airflow(Airflow::Task),
            "ti" | "task_instance" => airflow(Airflow::TaskInstance),
            "macros" => airflow(Airflow::Macros),
            "conn" => airflow(Airflow::Connections),
            "var" => Value::dict(vec![
                (Value::str("json"), airflow(Airflow::Variables { json: true })),
                (Value::str("value"), airflow(Airflow::Variables { json: false })),
            ]),
            "run_id" => Value::str(&*run.run_id),
            "params" => {
                let params = self.order.params();
                let pairs = || params.into_iter().map(|(key, value)| (Value::str(key), value.into()));
                self.params.get_or_init(|| Value::dict(pairs().collect())).clone()
            }
            "inlets" | "outlets" => return self.attr_of(Airflow::Task, name),
            "map_index_template" | "partition_key" | "partition_date" => Value::None,
            "triggering_asset_events" => self.events.get_or_init(|| self.asset_events()).clone(),
            "task_instance_key_str" => {
                let when = match run.logical_date {
                    Some(date) => strftime(&DateTime::utc(date).into(), "%Y%m%d")?,
                    None => run.run_id.to_string(),
                };
                Value::str(format!("{}__{}__{when}", run.dag_id, self.order.task.task_id))
            }
            "prev_start_date_success" => self.previous(|run| run.start_date)?,
            "prev_end_date_success" => self.previous(|run| run.end_date)?,
            _ => match (refused(name), self.dated(name)?) {
                (Some(why), _) => return fault(why),
                (None, Some(dated)) => dated,
                (None, None) => return Ok(self.global(name)),
            },
        };
        Ok(Some(found))
    }

    /// What is seen where the context has nothing of this name: the DAG's own macros, and Jinja's functions.
    fn global(&self, name: &str) -> Option<Value> {
        let own = self.own.and_then(|own| own.get(name)).map(own::named);
        own.or_else(|| jinja::global(name))
    }

    /// A variable that is there only where the run has a logical date.
    fn dated(&self, name: &str) -> Result<Option<Value>> {
        let Some(date) = self.order.run.logical_date else { return Ok(None) };
        let date = Value::from(DateTime::utc(date));
        let interval = self.order.run.data_interval;
        Ok(Some(match name {
            "logical_date" => date,
            "ds" => Value::str(strftime(&date, "%Y-%m-%d")?),
            "ds_nodash" => Value::str(strftime(&date, "%Y%m%d")?),
            "ts" => Value::str(strftime_iso(&date)),
            "ts_nodash" => Value::str(strftime(&date, "%Y%m%dT%H%M%S")?),
            "ts_nodash_with_tz" => Value::str(strftime_iso(&date).replace(['-', ':'], "")),
            "data_interval_start" => moment(interval.map(|(start, _)| start)),
            "data_interval_end" => moment(interval.map(|(_, end)| end)),
            "prev_data_interval_start_success" => {
                self.previous(|run| run.data_interval.map(|(start, _)| start))?
            }
            "prev_data_interval_end_success" => self.previous(|run| run.data_interval.map(|(_, end)| end))?,
            _ => return Ok(None),
        }))
    }

    fn previous(
        &self,
        part: impl FnOnce(&crate::PreviousSuccess) -> Option<jiff::Timestamp>,
    ) -> Result<Value> {
        Ok(moment(self.host.previous_success()?.as_ref().and_then(part)))
    }

    /// How some of them are shown.
    pub(super) fn shown(&self, of: Airflow) -> Option<String> {
        match of {
            Airflow::Dag => Some(format!("<DAG: {}>", self.order.run.dag_id)),
            Airflow::Task => Some(format!("<Task({}): {}>", self.order.operator, self.order.task.task_id)),
            _ => None,
        }
    }
}

fn moment(time: Option<jiff::Timestamp>) -> Value {
    time.map_or(Value::None, |time| DateTime::utc(time).into())
}

fn strftime_iso(date: &Value) -> String {
    match date {
        Value::DateTime(time) => time.isoformat('T'),
        _ => String::new(),
    }
}

fn macro_named(name: &str) -> Result<Value> {
    Ok(match name {
        "ds_add" | "ds_format" | "timedelta" | "datetime_diff_for_humans" => {
            let known = ["ds_add", "ds_format", "timedelta", "datetime_diff_for_humans"];
            known
                .into_iter()
                .find(|own| *own == name)
                .map_or(Value::None, |own| Value::Object(jinja::Object::Function(own)))
        }
        "datetime" => Value::from(Object::Airflow(Airflow::DateTime)),
        "json" => Value::from(Object::Airflow(Airflow::Json)),
        "dateutil" => dateutil(),
        "random" | "uuid" | "time" => {
            return fault(format!(
                "macros.{name} is not supported: it gives something else each time, so that a second try would \
                 not do what the first did. Use {{{{ run_id }}}} or {{{{ ti.try_number }}}}"
            ));
        }
        other => return attributes::unsupported(Airflow::Macros, other),
    })
}

/// `macros.dateutil`, as much of it as is supplied.
fn dateutil() -> Value {
    let module = |names: &[&'static str]| {
        let named = |name: &&'static str| (Value::str(*name), Value::Object(jinja::Object::Function(name)));
        Value::dict(names.iter().map(named).collect())
    };
    Value::dict(vec![
        (Value::str("parser"), module(&["parse"])),
        (Value::str("relativedelta"), module(&["relativedelta"])),
    ])
}

/// Whether calling `object.name(…)` means one of its methods.
pub(super) fn has_method(of: Airflow, name: &str) -> bool {
    match of {
        Airflow::TaskInstance => matches!(name, "xcom_pull" | "xcom_push"),
        Airflow::Variables { .. } | Airflow::Connections => name == "get",
        Airflow::DateTime => attributes::DATE_TIME.contains(&name),
        Airflow::Json => attributes::JSON.contains(&name),
        Airflow::Task | Airflow::Dag | Airflow::DagRun | Airflow::Macros => false,
    }
}

impl World<'_> {
    /// Calls one of Airflow's macros that are plain functions.
    pub(super) fn call_macro(&self, machine: &Machine<'_>, name: &str, args: Args) -> Result<Value> {
        match name {
            "timedelta" => Delta::new(args).map(Value::Delta),
            "datetime_diff_for_humans" => {
                let [time, since] = args.take(name, ["dt", "since"])?;
                let moment = |what, value: Option<Value>| match value {
                    None | Some(Value::None) => Ok(None),
                    Some(Value::DateTime(time)) => Ok(Some(time)),
                    Some(other) => fault(format!("{what} must be a datetime, not {}", other.type_name())),
                };
                let time = moment("the time", Some(needed("the time", time)?))?;
                let since = moment("since", since)?;
                match time {
                    Some(time) => time.human(since.as_deref(), jiff::Timestamp::now()).map(Value::str),
                    None => fault("the time must be a datetime, not NoneType"),
                }
            }
            "parse" => {
                let [time] = args.take("dateutil.parser.parse", ["timestr"])?;
                parse(&text("the time", &needed("the time", time)?)?).map(Value::from)
            }
            "relativedelta" => {
                Relative::new(args).map(|of| Value::Object(jinja::Object::Relative(Rc::new(of))))
            }
            "ds_add" => {
                let [ds, days] = args.take(name, ["ds", "days"])?;
                let ds = machine.text(&needed("ds_add()'s date", ds)?)?;
                let days = int("days", &needed("ds_add()'s days", days)?)?;
                if days == 0 {
                    return Ok(Value::str(ds));
                }
                let args = Args { list: Vec::new(), named: vec![("days".into(), Value::Int(days))] };
                let date = strptime(&ds, "%Y-%m-%d")?.plus(Delta::new(args)?)?;
                strftime(&date.into(), "%Y-%m-%d").map(Value::str)
            }
            "ds_format" => {
                let [ds, from, to] = args.take(name, ["ds", "input_format", "output_format"])?;
                let ds = machine.text(&needed("ds_format()'s date", ds)?)?;
                let from = text("input_format", &needed("input_format", from)?)?;
                let to = text("output_format", &needed("output_format", to)?)?;
                strftime(&strptime(&ds, &from)?.into(), &to).map(Value::str)
            }
            other => fault(format!("'{other}' can't be called")),
        }
    }

    /// Calls a method of something in Airflow's context.
    pub(super) fn airflow_method(
        &self,
        machine: &Machine<'_>,
        of: Airflow,
        name: &str,
        args: Args,
    ) -> Result<Option<Value>> {
        // A look-up goes over the network.
        machine.charge(1000)?;
        Ok(Some(match (of, name) {
            (Airflow::TaskInstance, "xcom_pull") => self.xcom_pull(machine, args)?,
            (Airflow::Variables { json }, "get") => {
                let [key, default] = args.take(name, ["key", "default"])?;
                let key = text("the variable's name", &needed("the variable's name", key)?)?;
                self.airflow_variable(&key, json, default)?
            }
            (Airflow::Connections, "get") => {
                let [conn_id, default] = args.take(name, ["conn_id", "default_conn"])?;
                let conn_id = text("the connection's name", &needed("the connection's name", conn_id)?)?;
                self.connection(&conn_id)?.or(default).unwrap_or(Value::None)
            }
            (Airflow::DateTime, "strptime") => {
                let [time, format] = args.take(name, ["date_string", "format"])?;
                let time = text("the time", &needed("the time", time)?)?;
                strptime(&time, &text("the format", &needed("the format", format)?)?)?.into()
            }
            (Airflow::DateTime, "fromisoformat") => {
                let [time] = args.take(name, ["date_string"])?;
                let time = text("the time", &needed("the time", time)?)?;
                let separator = time.get(10..11).unwrap_or("T");
                match time.rsplit_once(':') {
                    _ if time.len() == 10 => strptime(&time, "%Y-%m-%d")?.into(),
                    _ if time.len() == 19 => strptime(&time, &format!("%Y-%m-%d{separator}%H:%M:%S"))?.into(),
                    Some((head, tail)) if time.len() == 25 => {
                        strptime(&format!("{head}{tail}"), &format!("%Y-%m-%d{separator}%H:%M:%S%z"))?.into()
                    }
                    _ => return fault("fromisoformat() is supported for YYYY-MM-DD[THH:MM:SS[+HH:MM]]"),
                }
            }
            (Airflow::DateTime, "now" | "utcnow" | "today") => {
                args.none(name)?;
                let zone = if name == "utcnow" { TimeZone::UTC } else { TimeZone::system() };
                let now = zone.to_datetime(jiff::Timestamp::now());
                DateTime { at: At::Naive(now), pendulum: false }.into()
            }
            (Airflow::Json, "dumps") => {
                let names = ["obj", "indent", "sort_keys", "ensure_ascii"];
                if args.list.len() > 1 {
                    return fault("dumps() takes 1 positional argument");
                }
                let [value, indent, sort, ascii] = args.take(name, names)?;
                let flag = |value: Option<Value>, default| value.map_or(Ok(default), |value| value.truth());
                let indent = indent.filter(|indent| !matches!(indent, Value::None));
                let style = json::Style {
                    indent: indent.map(|indent| size("indent", &indent)).transpose()?,
                    sort_keys: flag(sort, false)?,
                    ascii: flag(ascii, true)?,
                };
                let json = json::dumps(&needed("dumps()'s argument", value)?, &style)?;
                machine.charge(json.len())?;
                Value::str(json)
            }
            (Airflow::Json, "loads") => {
                let [text_] = args.take(name, ["s"])?;
                let text_ = text("loads()'s argument", &needed("loads()'s argument", text_)?)?;
                machine.charge(text_.len())?;
                match serde_json::from_str::<serde_json::Value>(&text_) {
                    Ok(value) => Value::from(&value),
                    Err(error) => return fault(format!("this is no JSON: {error}")),
                }
            }
            _ => return Ok(None),
        }))
    }

    /// `ti.xcom_pull(…)`, as Airflow 3 has it: all copies of a task, unless `map_indexes` says which; one
    /// value alone where one task was named.
    fn xcom_pull(&self, machine: &Machine<'_>, args: Args) -> Result<Value> {
        let names = ["task_ids", "dag_id", "key", "include_prior_dates", "map_indexes", "default", "run_id"];
        if args.list.len() > 4 {
            return fault("xcom_pull() takes at most 4 positional arguments");
        }
        let [tasks, dag, key, prior, indexes, default, run] = args.take("xcom_pull", names)?;
        if prior.is_some_and(|prior| prior.truth().unwrap_or(true)) {
            return fault(PRIOR_DATES);
        }
        let given = |value: Option<Value>| value.filter(|value| !matches!(value, Value::None));
        let name = |what, value: Option<Value>| given(value).map(|value| text(what, &value)).transpose();
        let (dag, run) = (name("dag_id", dag)?, name("run_id", run)?);
        let key = name("key", key)?.unwrap_or_else(|| "return_value".into());
        let (tasks, one_task) = match given(tasks) {
            None => (vec![Value::str(&*self.order.task.task_id)], true),
            Some(task @ Value::Str(_)) => (vec![task], true),
            Some(tasks) => (machine.iterate(&tasks)?, false),
        };
        let (indexes, one_index) = match indexes {
            None => (None, true),
            Some(Value::None) => (Some(vec![MapIndex::NONE]), true),
            Some(Value::Int(index)) => (Some(vec![map_index(index)?]), true),
            Some(indexes) => {
                let all = machine.iterate(&indexes)?;
                let all = all.iter().map(|index| map_index(int("a map index", index)?));
                (Some(all.collect::<Result<_>>()?), false)
            }
        };
        let mut values = Vec::new();
        for task in tasks {
            let task = text("a task's id", &task)?;
            let (found, bytes) = self.xcoms(&task, &key, dag.as_deref(), run.as_deref())?;
            machine.refuel(format!("{dag:?} {run:?} {task} {key}"), bytes);
            machine.charge(found.len())?;
            match &indexes {
                None if found.is_empty() => values.push(Value::None),
                None => values.extend(found.into_iter().map(|(_, value)| value)),
                Some(indexes) => values.extend(indexes.iter().map(|index| {
                    let value = found.iter().find(|(own, _)| own == index).map(|(_, value)| value.clone());
                    given(value).or_else(|| default.clone()).unwrap_or(Value::None)
                })),
            }
        }
        let single = one_task && one_index && values.len() == 1;
        Ok(if single { values.remove(0) } else { Value::list(values) })
    }
}

fn map_index(index: i128) -> Result<MapIndex> {
    i32::try_from(index).map(MapIndex).or_else(|_| fault("a map index is too large"))
}
