//! What Airflow's context has with attributes and methods.

use std::{any::Any, rc::Rc};

use updraft_core::{
    Asset, AssetEventSource,
    jinja::{Result, Thing, Value, fault},
    protocol::{Connection, RunFound},
};

use super::airflow::{AssetEvents, Event};

/// Something of Airflow's context.
#[derive(Clone)]
pub(super) enum Object {
    /// See `airflow.rs`.
    Airflow(Airflow),
    /// A member of one of Airflow's enumerations (`DagRunType`), and its value: equal to that, and shown otherwise.
    Member(&'static str, &'static str),
    /// An asset.
    Asset(Rc<Asset>),
    /// `triggering_asset_events`
    AssetEvents(Rc<AssetEvents>),
    /// One of these.
    AssetEvent(Rc<Event>),
    /// The task instance that made an asset.
    SourceTask(Rc<AssetEventSource>),
    /// Its run.
    Run(Rc<RunFound>),
    /// `conn.<id>`
    Connection(Rc<Connection>),
    /// A function of Python that the DAG has for its templates, by the dotted path to it: see `own.rs`.
    Own(Rc<str>),
}

/// Things of Airflow's context.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Airflow {
    TaskInstance,
    Task,
    Dag,
    DagRun,
    Macros,
    /// `var.value` and `var.json`
    Variables {
        json: bool,
    },
    Connections,
    /// `macros.datetime`
    DateTime,
    /// `macros.json`
    Json,
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(updraft_core::jinja::Object::Thing(Rc::new(object)))
    }
}

impl Object {
    /// What a value is of Airflow's.
    pub(super) fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Object(updraft_core::jinja::Object::Thing(thing)) => Self::of_thing(&**thing),
            _ => None,
        }
    }

    pub(super) fn of_thing(thing: &dyn Thing) -> Option<&Self> {
        (thing as &dyn Any).downcast_ref()
    }
}

impl Thing for Object {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Airflow(Airflow::TaskInstance) => "RuntimeTaskInstance",
            Self::Airflow(Airflow::Task) => "Operator",
            Self::Airflow(Airflow::Dag) => "DAG",
            Self::Airflow(Airflow::DagRun) => "DagRun",
            Self::Airflow(Airflow::Macros) => "MacrosAccessor",
            Self::Airflow(Airflow::Variables { .. }) => "VariableAccessor",
            Self::Airflow(Airflow::Connections) => "ConnectionAccessor",
            Self::Airflow(Airflow::DateTime | Airflow::Json) => "type",
            Self::Member(kind, _) => kind,
            Self::Asset(_) => "Asset",
            Self::AssetEvents(_) => "TriggeringAssetEventsAccessor",
            Self::AssetEvent(_) => "AssetEventDagRunReferenceResult",
            Self::SourceTask(_) => "AssetEventSourceTaskInstance",
            Self::Run(_) => "DagRun",
            Self::Connection(_) => "Connection",
            Self::Own(_) => "function",
        }
    }

    fn show(&self) -> Result<String> {
        if let Self::Member(kind, value) = self {
            return Ok(format!("{kind}.{}", value.to_uppercase()));
        }
        fault(format!("a {} can't be shown: name one of its attributes", self.type_name()))
    }

    fn same(&self, other: &dyn Thing) -> bool {
        let Some(other) = Self::of_thing(other) else { return false };
        match (self, other) {
            (Self::Airflow(a), Self::Airflow(b)) => a == b,
            (Self::Connection(a), Self::Connection(b)) => Rc::ptr_eq(a, b),
            (Self::Member(_, a), Self::Member(_, b)) => a == b,
            (Self::Asset(a), Self::Asset(b)) => a.uri == b.uri && a.name == b.name,
            _ => false,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Member(_, value) => Some(value),
            _ => None,
        }
    }

    fn items(&self) -> Option<Vec<Value>> {
        match self {
            Self::AssetEvents(events) => Some(events.assets()),
            _ => None,
        }
    }

    fn item(&self, key: &Value) -> Option<Value> {
        match self {
            Self::AssetEvents(events) => events.of(key),
            _ => None,
        }
    }

    fn has_method(&self, name: &str) -> bool {
        match self {
            Self::Airflow(of) => super::airflow::has_method(*of, name),
            Self::AssetEvents(_) => {
                matches!(name, "items" | "keys" | "values" | "get" | "for_asset" | "for_asset_alias")
            }
            Self::SourceTask(_) => name == "xcom_pull",
            Self::Own(_)
            | Self::Connection(_)
            | Self::Member(..)
            | Self::Asset(_)
            | Self::AssetEvent(_)
            | Self::Run(_) => false,
        }
    }
}
