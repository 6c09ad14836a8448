//! What is known of a chain of attributes and calls (`ti.task_id.upper()`) before there is a run.

use jiff::Timestamp;
use updraft_core::{
    jinja::{
        Certain, Chain, OTHER, Result, Step, Value, at, fault, is_method,
        time::{self, DateTime},
    },
    protocol::Connection,
};

use super::{
    Airflow, PRIOR_DATES, World,
    attributes::{attributes, unsupported},
    has_method,
};

/// What a part of a chain is, whatever the run.
enum Known {
    Airflow(Airflow),
    /// A value of the same type as this one.
    Like(Value),
    Connection,
    /// `var`
    Variables,
}

/// Refuses what a template is certain to ask for, whatever the run, and not to get.
pub(in crate::template) fn check(certain: &Certain) -> Result<()> {
    for called in &certain.called {
        if &*called.method == "xcom_pull" && called.set.iter().any(|name| &**name == "include_prior_dates") {
            return at(called.line, fault(PRIOR_DATES));
        }
    }
    certain.asked.iter().try_for_each(|chain| at(chain.line, check_chain(chain)))
}

/// Fails where a chain is certain to fail by one of its attributes, whatever the run.
fn check_chain(chain: &Chain) -> Result<()> {
    let mut known = root(&chain.root);
    for (place, step) in chain.steps.iter().enumerate() {
        let Some(of) = known else { return Ok(()) };
        let is_end = place + 1 == chain.steps.len();
        known = after(&of, step, chain.harmless && is_end && !step.called)?;
    }
    Ok(())
}

fn text_like() -> Option<Known> {
    Some(Known::Like(Value::str("")))
}

fn time_like(pendulum: bool) -> Option<Known> {
    let time = DateTime { pendulum, ..DateTime::utc(Timestamp::UNIX_EPOCH) };
    Some(Known::Like(time.into()))
}

fn root(name: &str) -> Option<Known> {
    let airflow = |of| Some(Known::Airflow(of));
    match name {
        "ti" | "task_instance" => airflow(Airflow::TaskInstance),
        "task" => airflow(Airflow::Task),
        "dag" => airflow(Airflow::Dag),
        "dag_run" => airflow(Airflow::DagRun),
        "macros" => airflow(Airflow::Macros),
        "var" => Some(Known::Variables),
        "conn" => airflow(Airflow::Connections),
        "ds"
        | "ds_nodash"
        | "ts"
        | "ts_nodash"
        | "ts_nodash_with_tz"
        | "run_id"
        | "task_instance_key_str" => text_like(),
        "logical_date"
        | "data_interval_start"
        | "data_interval_end"
        | "prev_data_interval_start_success"
        | "prev_data_interval_end_success"
        | "prev_start_date_success"
        | "prev_end_date_success" => time_like(true),
        _ => None,
    }
}

/// What an attribute of this is, or what it gives where it is called; `None` where only a run can tell.
fn after(of: &Known, step: &Step, may_be_missing: bool) -> Result<Option<Known>> {
    let (name, called) = (&*step.name, step.called);
    let found = match of {
        Known::Airflow(of) => match of {
            Airflow::Connections if name == "get" => return Ok(None),
            Airflow::Connections => Some(Known::Connection),
            Airflow::TaskInstance if called && name == "xcom_push" => {
                return fault(
                    "the method 'xcom_push' of 'RuntimeTaskInstance' is not supported: a task leaves its result",
                );
            }
            of if called && has_method(*of, name) => return Ok(given_by_airflow(*of, name)),
            Airflow::Macros if called && attributes(*of).contains(&name) => {
                return Ok(given_by_airflow(*of, name));
            }
            Airflow::TaskInstance | Airflow::Task | Airflow::Dag | Airflow::DagRun | Airflow::Macros
                if !attributes(*of).contains(&name) =>
            {
                return unsupported(*of, name);
            }
            Airflow::DateTime | Airflow::Json if !has_method(*of, name) => return unsupported(*of, name),
            of => attribute_of_airflow(*of, name),
        },
        Known::Variables => match name {
            "value" | "json" => Some(Known::Airflow(Airflow::Variables { json: name == "json" })),
            name if is_method(&Value::dict(Vec::new()), name) => return Ok(None),
            _ => None,
        },
        Known::Connection => World::connection_attr(&Connection::default(), name)?.map(Known::Like),
        Known::Like(value) if is_method(value, name) => {
            if matches!(value, Value::Str(_)) && OTHER.contains(&name) {
                return fault(format!("the method '{name}' of 'str' is not supported"));
            }
            return Ok(if called { given_by_value(value, name) } else { None });
        }
        Known::Like(value @ Value::DateTime(_)) => time::attr(value, name)?.map(Known::Like),
        Known::Like(Value::Str(_)) => None,
        Known::Like(_) => return Ok(None),
    };
    match (found, of) {
        (Some(Known::Like(Value::None)), _) => Ok(None),
        (Some(Known::Like(value)), _) if called => {
            fault(format!("'{name}' can't be called: '{}' object is not callable", value.type_name()))
        }
        (Some(found), _) => Ok(Some(found)),
        (None, Known::Airflow(_)) => Ok(None),
        (None, _) if may_be_missing => Ok(None),
        (None, Known::Like(value)) => {
            fault(format!("'{} object' has no attribute '{name}'", value.type_name()))
        }
        (None, Known::Variables) => {
            fault(format!("`var` has no '{name}': the variable of this name is var.value.{name}"))
        }
        (None, Known::Connection) => fault(format!("'Connection object' has no attribute '{name}'")),
    }
}

fn attribute_of_airflow(of: Airflow, name: &str) -> Option<Known> {
    match (of, name) {
        (Airflow::TaskInstance, "task") => Some(Known::Airflow(Airflow::Task)),
        (Airflow::Task, "dag") => Some(Known::Airflow(Airflow::Dag)),
        (Airflow::Macros, "datetime") => Some(Known::Airflow(Airflow::DateTime)),
        (Airflow::Macros, "json") => Some(Known::Airflow(Airflow::Json)),
        (Airflow::TaskInstance | Airflow::Task | Airflow::Dag | Airflow::DagRun, "dag_id")
        | (Airflow::TaskInstance | Airflow::DagRun, "run_id")
        | (Airflow::TaskInstance | Airflow::Task, "task_id" | "queue")
        | (Airflow::TaskInstance, "log_url" | "mark_success_url")
        | (Airflow::Task, "owner" | "pool" | "task_type" | "operator_name" | "task_display_name")
        | (Airflow::Dag, "dag_display_name" | "folder" | "fileloc")
        | (Airflow::Variables { json: false }, _) => text_like(),
        (Airflow::TaskInstance | Airflow::DagRun, "start_date")
        | (Airflow::DagRun, "logical_date" | "data_interval_start" | "data_interval_end" | "run_after") => {
            time_like(true)
        }
        _ => None,
    }
}

fn given_by_airflow(of: Airflow, name: &str) -> Option<Known> {
    match (of, name) {
        (Airflow::Macros, "ds_add" | "ds_format" | "datetime_diff_for_humans") | (Airflow::Json, "dumps") => {
            text_like()
        }
        (Airflow::Macros, "datetime") | (Airflow::DateTime, _) => time_like(false),
        _ => None,
    }
}

fn given_by_value(of: &Value, name: &str) -> Option<Known> {
    match (of, name) {
        (
            Value::Str(_),
            "capitalize" | "center" | "format" | "join" | "ljust" | "lower" | "lstrip" | "removeprefix"
            | "removesuffix" | "replace" | "rjust" | "rstrip" | "strip" | "swapcase" | "title" | "upper"
            | "zfill",
        )
        | (
            Value::DateTime(_),
            "strftime" | "isoformat" | "format" | "to_date_string" | "to_time_string" | "to_datetime_string"
            | "to_iso8601_string",
        ) => text_like(),
        (
            Value::DateTime(time),
            "add" | "subtract" | "replace" | "set" | "at" | "on" | "start_of" | "end_of" | "in_timezone"
            | "in_tz" | "naive",
        ) => time_like(time.pendulum),
        _ => None,
    }
}
