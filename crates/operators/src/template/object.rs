//! What has attributes and can be called, and is neither Python's nor a date: Jinja's own things and those
//! of Airflow's context.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use updraft_core::{
    Asset, AssetEventSource,
    protocol::{Connection, RunFound},
};

use super::{
    airflow::{AssetEvents, Event, World, asset_attr, of_found},
    eval::{Machine, Scope},
    fault::{Result, fault},
    macros::{Args, int},
    syntax::ForLoop,
    time::Relative,
    value::{Dict, Value, View},
};

/// Something with attributes.
#[derive(Clone)]
pub(super) enum Object {
    /// Of Airflow's context: see `airflow.rs`.
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
    /// `dateutil.relativedelta.relativedelta(…)`
    Relative(Rc<Relative>),
    /// `conn.<id>`
    Connection(Rc<Connection>),
    /// A function of Jinja's or a macro of Airflow's, by its name.
    Function(&'static str),
    /// A function of Python that the DAG has for its templates, by the dotted path to it: see `own.rs`.
    Own(Rc<str>),
    /// `namespace()`
    Namespace(Rc<RefCell<Dict>>),
    /// `loop`
    Loop(Rc<Loop>),
    /// `cycler()`
    Cycler(Rc<(Vec<Value>, Cell<usize>)>),
    /// `joiner()`
    Joiner(Rc<(Value, Cell<bool>)>),
    /// An imported template.
    Module(Rc<Scope>),
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

/// The state of a `for` loop.
pub(super) struct Loop {
    pub(super) items: Rc<[Value]>,
    pub(super) index: Cell<usize>,
    pub(super) changed: RefCell<Option<Vec<Value>>>,
    /// Within how many others of its own it is.
    pub(super) depth: usize,
    /// What it does when it is called, where it may be, and the names that it sees then.
    pub(super) again: Option<(Rc<ForLoop>, Rc<Scope>)>,
}

impl Object {
    pub(super) fn type_name(&self) -> &'static str {
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
            Self::Relative(_) => "relativedelta",
            Self::Connection(_) => "Connection",
            Self::Function(_) | Self::Own(_) => "function",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
            Self::Module(_) => "TemplateModule",
        }
    }

    pub(super) fn show(&self) -> Result<String> {
        if let Self::Member(kind, value) = self {
            return Ok(format!("{kind}.{}", value.to_uppercase()));
        }
        fault(format!("a {} can't be shown: name one of its attributes", self.type_name()))
    }

    /// Whether both are the same thing.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Airflow(a), Self::Airflow(b)) => a == b,
            (Self::Connection(a), Self::Connection(b)) => Rc::ptr_eq(a, b),
            (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Member(_, a), Self::Member(_, b)) => a == b,
            (Self::Asset(a), Self::Asset(b)) => a.uri == b.uri && a.name == b.name,
            (Self::Relative(a), Self::Relative(b)) => a == b,
            (Self::Namespace(a), Self::Namespace(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Machine<'_> {
    /// An attribute of Jinja's own things; those of Airflow's are elsewhere.
    pub(super) fn object_attr(&self, object: &Object, name: &str) -> Result<Option<Value>> {
        match object {
            Object::Airflow(of) => self.world.attr(*of, name),
            Object::Connection(connection) => World::connection_attr(connection, name),
            Object::Member(_, value) if name == "value" => Ok(Some(Value::str(*value))),
            Object::Asset(of) => asset_attr(of, name),
            Object::AssetEvent(of) => self.world.event_attr(of, name),
            Object::SourceTask(of) => self.world.source_attr(of, name),
            Object::Run(of) => of_found(of, name),
            Object::Relative(of) => Ok(of.attr(name)),
            Object::Namespace(space) => Ok(space.borrow().get_str(name).cloned()),
            Object::Module(scope) => Ok(scope.exported(name)),
            Object::Loop(state) => Ok(loop_attr(state, name, self)),
            Object::Cycler(cycler) if name == "current" => Ok(cycler.0.get(cycler.1.get()).cloned()),
            Object::Function(_)
            | Object::Own(_)
            | Object::Cycler(_)
            | Object::Joiner(_)
            | Object::AssetEvents(_)
            | Object::Member(..) => Ok(None),
        }
    }

    /// Calls what is no method: a function, a joiner.
    pub(super) fn call_object(&self, object: &Object, args: Args) -> Result<Value> {
        match object {
            Object::Function("range") => self.range(args),
            Object::Function("dict") => {
                let mut dict = Dict::default();
                let [of] = Args::of(args.list).take("dict", ["of"])?;
                match of {
                    None => {}
                    Some(Value::Dict(of)) => dict = of.borrow().clone(),
                    Some(pairs) => {
                        for pair in self.iterate(&pairs)? {
                            match &self.iterate(&pair)?[..] {
                                [key, value] => dict.insert(key.clone(), value.clone())?,
                                _ => return fault("dict() needs pairs"),
                            }
                        }
                    }
                }
                for (name, value) in args.named {
                    dict.insert(Value::Str(name), value)?;
                }
                Ok(Value::Dict(Rc::new(RefCell::new(dict))))
            }
            Object::Function("namespace") => match self.call_object(&Object::Function("dict"), args)? {
                Value::Dict(dict) => Ok(Value::Object(Object::Namespace(dict))),
                other => Ok(other),
            },
            Object::Function("cycler") => {
                if args.list.is_empty() {
                    return fault("cycler() needs at least one item");
                }
                Ok(Value::Object(Object::Cycler(Rc::new((args.list, Cell::new(0))))))
            }
            Object::Function("joiner") => {
                let [separator] = args.take("joiner", ["sep"])?;
                let separator = separator.unwrap_or_else(|| Value::str(", "));
                Ok(Value::Object(Object::Joiner(Rc::new((separator, Cell::new(false))))))
            }
            Object::Joiner(joiner) => {
                args.none("joiner")?;
                Ok(if joiner.1.replace(true) { joiner.0.clone() } else { Value::str("") })
            }
            Object::Function(name) => self.call_macro_of_airflow(name, args),
            Object::Own(path) => self.call_own(path, args),
            Object::Loop(state) => self.loop_again(state, args),
            Object::Airflow(Airflow::DateTime) => super::time::new_datetime(args),
            other => fault(format!("'{}' object is not callable", other.type_name())),
        }
    }

    /// Calls a method of Jinja's own things; `None` where there is none of this name.
    pub(super) fn object_method(&self, object: &Object, name: &str, args: Args) -> Result<Option<Value>> {
        Ok(Some(match (object, name) {
            (Object::Airflow(of), _) => return self.airflow_method(*of, name, args),
            (Object::AssetEvents(events), _) => return events.method(name, args),
            (Object::SourceTask(source), "xcom_pull") => self.pull_of_source(source, args)?,
            (Object::Loop(state), "cycle") => match args.list.len() {
                0 => return fault("no items for cycling given"),
                count => args.list[state.index.get() % count].clone(),
            },
            (Object::Loop(state), "changed") => {
                let same = state.changed.borrow().as_ref().is_some_and(|old| {
                    old.len() == args.list.len() && old.iter().zip(&args.list).all(|(a, b)| a.equals(b))
                });
                *state.changed.borrow_mut() = Some(args.list);
                Value::Bool(!same)
            }
            (Object::Cycler(cycler), "next") => {
                args.none(name)?;
                let at = cycler.1.get();
                cycler.1.set((at + 1) % cycler.0.len());
                cycler.0[at].clone()
            }
            (Object::Cycler(cycler), "reset") => {
                args.none(name)?;
                cycler.1.set(0);
                Value::None
            }
            _ => return Ok(None),
        }))
    }

    /// `range`, as long as Jinja2's sandbox lets it be.
    fn range(&self, args: Args) -> Result<Value> {
        let numbers = args.list.iter().map(|value| int("range()'s argument", value));
        let (start, stop, step) = match numbers.collect::<Result<Vec<_>>>()?[..] {
            [stop] => (0, stop, 1),
            [start, stop] => (start, stop, 1),
            [start, stop, step] => (start, stop, step),
            _ => return fault("range() takes from 1 to 3 arguments"),
        };
        if step == 0 || !args.named.is_empty() {
            return fault("range() arg 3 must not be zero, and it takes no keywords");
        }
        let span = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
        let length = span.max(0).saturating_add(step.saturating_abs() - 1) / step.saturating_abs();
        if length > 100_000 {
            return fault("range too big: at most 100000 numbers");
        }
        self.charge(length as usize)?;
        Ok(Value::View(View::Range, (0..length).map(|at| Value::Int(start + at * step)).collect()))
    }
}

fn loop_attr(state: &Loop, name: &str, machine: &Machine<'_>) -> Option<Value> {
    let (index, length) = (state.index.get(), state.items.len());
    let number = |number: usize| Some(Value::Int(number as i128));
    let neighbour = |at: Option<usize>, what: &str| {
        let item = at.and_then(|at| state.items.get(at)).cloned();
        Some(item.unwrap_or_else(|| machine.missing(format!("there is no {what} item"))))
    };
    match name {
        "index" => number(index + 1),
        "index0" => number(index),
        "revindex" => number(length - index),
        "revindex0" => number(length - index - 1),
        "first" => Some(Value::Bool(index == 0)),
        "last" => Some(Value::Bool(index + 1 == length)),
        "length" => number(length),
        "depth" => number(state.depth + 1),
        "depth0" => number(state.depth),
        "previtem" => neighbour(index.checked_sub(1), "previous"),
        "nextitem" => neighbour(Some(index + 1), "next"),
        _ => None,
    }
}

/// Whether calling `object.name(…)` means one of its methods.
pub(super) fn has_method(object: &Object, name: &str) -> bool {
    match object {
        Object::Airflow(of) => super::airflow::has_method(*of, name),
        Object::Loop(_) => matches!(name, "cycle" | "changed"),
        Object::AssetEvents(_) => {
            matches!(name, "items" | "keys" | "values" | "get" | "for_asset" | "for_asset_alias")
        }
        Object::SourceTask(_) => name == "xcom_pull",
        Object::Cycler(_) => matches!(name, "next" | "reset"),
        Object::Function(_)
        | Object::Own(_)
        | Object::Connection(_)
        | Object::Member(..)
        | Object::Asset(_)
        | Object::AssetEvent(_)
        | Object::Run(_)
        | Object::Relative(_)
        | Object::Namespace(_)
        | Object::Joiner(_)
        | Object::Module(_) => false,
    }
}
