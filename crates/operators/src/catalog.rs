//! Which operators there are, and what arguments they take.

pub(crate) mod argument;
mod files;

use serde_json::{Map, Value};
use updraft_core::{
    MapSource, Mapping, TaskKind, WaitRule,
    nearest::{did_you_mean, nearest},
};

use self::argument::{BadArgument, FromArgument, Interval};
pub use self::{
    argument::Argument,
    files::{NamedFile, files},
};
use crate::{
    Refused, Work, operators, operators::python::class, prepare::Job, template, template::BadTemplate,
};

/// An operator as a DAG file names it, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Its class name, as Airflow has it; of a Python class that is not built in the dotted path.
    pub operator: String,
    /// What the engine has to do for it.
    pub kind: TaskKind,
    /// Its own arguments, as given.
    pub args: Map<String, Value>,
}

impl Checked {
    /// The same, with the DAG's time zone where a time of the day was given without one (`TimeSensor`).
    /// [`check`] does not know the DAG and leaves the zone empty.
    #[must_use]
    pub fn in_zone(mut self, dag_zone: &str) -> Self {
        if let TaskKind::Wait(WaitRule::TimeOfDay { zone, .. }) = &mut self.kind
            && zone.is_empty()
        {
            *zone = dag_zone.into();
        }
        self
    }
}

/// An operator that can't be had as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOperator {
    /// There is none of this name.
    #[error("there is no operator `{name}`{}", instead(name, *nearest))]
    Unknown {
        /// As written.
        name: String,
        /// One with a similar name.
        nearest: Option<&'static str>,
    },
    /// It does not take these arguments.
    #[error("{operator}: {reason}")]
    Arguments {
        /// Its class name.
        operator: &'static str,
        /// Which argument, what is wrong, and the mend.
        reason: String,
        /// The argument, where it is one.
        argument: Option<String>,
    },
}

/// What to write instead of an operator that is not there.
fn instead(name: &str, nearest: Option<&str>) -> String {
    if let Some(near) = nearest {
        return format!("; did you mean `{near}`?");
    }
    let names: Vec<_> = all().iter().map(|entry| entry.name).collect();
    // Whatever is called so is likely one of Airflow's, or of its providers'.
    let whole_path = match parts(name).1 {
        "" => String::new(),
        _ => format!(". A Python class is named by the whole path to it: `package.module.{name}`"),
    };
    format!(": there are {}{whole_path}", names.join(", "))
}

/// A class name in two: what it is about, and `operator` or `sensor`. As all end in one of these, only the first
/// tells how near one is to another.
fn parts(class: &str) -> (String, &'static str) {
    let class = class.to_lowercase();
    let ending = ["operator", "sensor"].into_iter().find(|ending| class.ends_with(ending)).unwrap_or("");
    (class.strip_suffix(ending).unwrap_or(&class).to_owned(), ending)
}

/// The name that was probably meant.
fn meant(name: &str) -> Option<&'static str> {
    let (about, ending) = parts(name.rsplit('.').next().unwrap_or_default());
    let names = all().iter().flat_map(|entry| [entry.name].into_iter().chain(entry.aliases.iter().copied()));
    let short = names.filter(|name| !name.contains('.'));
    let alike: Vec<(String, &str)> = match ending {
        // Where even the ending is mistaken, the whole is compared.
        "" => short.map(|name| (name.to_lowercase(), name)).collect(),
        _ => {
            let alike = short.map(|name| (parts(name), name)).filter(|((_, other), _)| *other == ending);
            alike.map(|((about, _), name)| (about, name)).collect()
        }
    };
    let near = nearest(&about, alike.iter().map(|(about, _)| &**about))?;
    alike.iter().find(|(about, _)| about == near).map(|(_, name)| *name)
}

/// An operator, as the documentation and editors show it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its class name, as Airflow has it; for our own, in Airflow's manner.
    pub name: &'static str,
    /// Other names it is found under: short ones first, then the dotted paths it has or had in Airflow.
    pub aliases: &'static [&'static str],
    /// What it does.
    pub doc: &'static str,
    /// Whether it takes results that an edge passes on, and as what.
    pub takes_results: Option<&'static str>,
    pub(crate) arguments: &'static [&'static [Argument]],
    /// A text that ends so is the name of a file with the template (Airflow's `template_ext`).
    pub(crate) template_ext: &'static [&'static str],
    pub(crate) kind: fn(&Written<'_>) -> Result<TaskKind, BadArgument>,
    pub(crate) plan: fn(&Job<'_>) -> Result<Work, Refused>,
}

impl Entry {
    /// Its arguments, in the order in which they matter.
    pub fn arguments(&self) -> impl Iterator<Item = &'static Argument> + use<> {
        self.arguments.iter().copied().flatten()
    }

    /// What the names of files with templates end with; as in Airflow, some operators are told by `templates_exts`.
    pub(crate) fn ends<'a>(&self, args: &'a Map<String, Value>) -> Vec<&'a str> {
        let given: Vec<&str> = match args.get("templates_exts") {
            Some(Value::Array(ends)) => ends.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(end)) => vec![end],
            Some(_) | None => Vec::new(),
        };
        if given.is_empty() { self.template_ext.to_vec() } else { given }
    }

    pub(crate) fn bad(&self, (argument, reason): (Option<&str>, String)) -> BadOperator {
        BadOperator::Arguments {
            operator: self.name,
            reason: match argument {
                Some(argument) => format!("`{argument}` {reason}"),
                None => reason,
            },
            argument: argument.map(str::to_owned),
        }
    }
}

/// The arguments of a task as they are written, and those it is mapped over.
pub(crate) struct Written<'a> {
    pub(crate) args: &'a Map<String, Value>,
    mapped: Mapped<'a>,
}

enum Mapped<'a> {
    /// It is not mapped.
    Not,
    /// These arguments differ from copy to copy.
    Over(Vec<&'a str>),
    /// Which ones differ is not known before the run.
    Anything,
}

impl Written<'_> {
    /// The argument's value, where one is written for all copies.
    pub(crate) fn literal(&self, name: &str) -> Option<&Value> {
        self.args.get(name).filter(|value| !value.is_null())
    }

    /// Whether it has this argument, or may come to have it.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.literal(name).is_some()
            || match &self.mapped {
                Mapped::Not => false,
                Mapped::Over(names) => names.contains(&name),
                Mapped::Anything => true,
            }
    }
}

/// All operators.
pub fn all() -> &'static [Entry] {
    operators::ALL
}

/// The one that is built in under this name.
fn native(name: &str) -> Option<&'static Entry> {
    all().iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
}

/// The operator of this name: Airflow's class name, a dotted path, or a short alias; or what carries out a class.
pub fn find(name: &str) -> Result<&'static Entry, BadOperator> {
    native(name)
        .or_else(|| class::is_named(name).then_some(&class::ENTRY))
        .ok_or_else(|| BadOperator::Unknown { name: name.into(), nearest: meant(name) })
}

/// Whether this names a Python class, of its author's or of Airflow's, that there is nothing native for. It takes what it
/// takes: see [`CLASS_DEFAULTS`].
pub fn is_class(name: &str) -> bool {
    class::is_named(name) && native(name).is_none()
}

/// What is to be known of a class of Airflow's that there is nothing native for.
pub fn needs_airflow(name: &str) -> Option<String> {
    let near = || meant(name).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
    (name.starts_with("airflow.") && is_class(name)).then(|| {
        format!(
            "`{name}` is not built in: it runs as in Airflow, in a process of its own, where the worker's python3 has \
             Airflow and this class.{}",
            near()
        )
    })
}

/// What such a name looks like, as an expression that editors and programs of all kinds read: of ASCII the letters, digits
/// and the underscore, and anything beyond it, since not all of them know what a letter is there.
pub const CLASS: &str =
    r"^[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*(\.[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*)+$";

/// The argument with the `default_args` that a class is offered: it takes those that it knows.
pub const CLASS_DEFAULTS: &str = "default_args";

/// The key of a mapping that describes a Python object, with the dotted path to its class. Under [`OBJECT_ARGS`] are the
/// arguments without a name that the class is called with, and every other key is one with a name.
pub const OBJECT: &str = "__type__";

/// See [`OBJECT`].
pub const OBJECT_ARGS: &str = "__args__";

/// Durations, which may be described as objects wherever one is expected.
pub const TIMEDELTA: &str = "datetime.timedelta";

/// An operator's argument of this name, if it has one.
pub fn argument(operator: &str, name: &str) -> Option<&'static Argument> {
    find(operator).and_then(|entry| known(entry, name)).ok()
}

/// Whether objects of Python may be described in this argument of an operator.
pub fn takes_objects(operator: &str, name: &str) -> bool {
    argument(operator, name).is_some_and(|argument| argument.objects)
}

/// The class of the object that this value describes.
pub(crate) fn class_of(value: &Value) -> Option<&str> {
    value.get(OBJECT)?.as_str()
}

/// The first class of an object in this value that does not fit.
fn misfit<'a>(value: &'a Value, fits: &impl Fn(&str) -> bool) -> Option<&'a str> {
    class_of(value).filter(|class| !fits(class)).or_else(|| match value {
        Value::Array(items) => items.iter().find_map(|item| misfit(item, fits)),
        Value::Object(map) => map.values().find_map(|item| misfit(item, fits)),
        _ => None,
    })
}

/// Checks an operator's name (Airflow's class name, its dotted path, or a short alias) and the arguments
/// that are its own; what every task can have (`retries`, `pool`, …) is not among them.
pub fn check(name: &str, args: &Map<String, Value>) -> Result<Checked, BadOperator> {
    checked(name, find(name)?, Written { args, mapped: Mapped::Not })
}

/// The same for a mapped task: the arguments that it is mapped over are not missed among `args`, and where
/// their values are written down, these are checked too.
pub fn check_mapped(
    name: &str,
    args: &Map<String, Value>,
    mapping: &Mapping,
) -> Result<Checked, BadOperator> {
    let entry = find(name)?;
    let mapped = match mapping {
        Mapping::Kwargs(_) => Mapped::Anything,
        Mapping::Product(sources) => {
            for (name, source) in sources {
                let argument = known(entry, base(name))?;
                match source {
                    // What is within an argument can be anything.
                    MapSource::List(values) if base(name) == name => {
                        values.iter().try_for_each(|value| well_formed(entry, argument, value))?;
                    }
                    _ => {}
                }
            }
            Mapped::Over(sources.iter().map(|(name, _)| base(name)).collect())
        }
    };
    checked(name, entry, Written { args, mapped })
}

/// The names in an operator's templates that are certain not to be there when they are rendered, each with the argument
/// that it stands in: they are none of Airflow's and no macro of the DAG (`own`), the template gives them no value, and it
/// does not ask first whether they are there. Which arguments of a Python class are templates, only it knows.
pub fn unknown_names<'a>(
    operator: &str,
    args: &'a Map<String, Value>,
    own: &[&str],
) -> Vec<(&'a str, BadTemplate)> {
    let Some(entry) = native(operator) else { return Vec::new() };
    let templated = args.iter().filter(|(name, _)| known(entry, name).is_ok_and(|known| known.templated));
    let mend = |called: bool| match called {
        true => "macros of your own belong in the DAG's `user_defined_macros`".to_owned(),
        false => "values of your own belong in `params`, and are there as `params.NAME`".to_owned(),
    };
    let names = template::Names { own, closed: |_| None, mend };
    let unknown = templated.flat_map(|(name, value)| {
        let unknown = template::unknown_names(name, value, &names);
        unknown.into_iter().map(move |bad| (&**name, bad))
    });
    unknown.collect()
}

/// What is likely not meant of how often it looks (`poke_interval`), which is as it says all the same.
#[must_use]
pub fn too_often(args: &Map<String, Value>) -> Option<String> {
    let Interval(interval) = Interval::from_argument(args.get("poke_interval")?).ok()?;
    (interval < jiff::SignedDuration::from_secs(1)).then(|| {
        "looks more than once a second, which is much for whoever is asked: write `1 second` or more"
            .to_owned()
    })
}

/// The argument that a name is of: that of `op_kwargs.number` is `op_kwargs`.
fn base(name: &str) -> &str {
    name.split_once('.').map_or(name, |(argument, _)| argument)
}

fn checked(name: &str, entry: &'static Entry, written: Written<'_>) -> Result<Checked, BadOperator> {
    for (name, value) in written.args {
        well_formed(entry, known(entry, name)?, value)?;
    }
    for argument in entry.arguments() {
        if argument.required && !written.may_have(argument.name) {
            return Err(entry.bad((Some(argument.name), "is required".into())));
        }
    }
    let kind = (entry.kind)(&written).map_err(|bad| entry.bad(bad))?;
    let operator = if entry.name == class::ENTRY.name { name } else { entry.name };
    Ok(Checked { operator: operator.into(), kind, args: written.args.clone() })
}

/// The argument of this name.
pub(crate) fn known(entry: &Entry, name: &str) -> Result<&'static Argument, BadOperator> {
    let named = |name: &str| entry.arguments().find(|argument| argument.name == name);
    named(name).or_else(|| named(Argument::ANY)).ok_or_else(|| {
        let names: Vec<_> = entry.arguments().map(|argument| argument.name).collect();
        let near = did_you_mean(name, names.iter().copied());
        let list = if names.is_empty() { "none".into() } else { names.join(", ") };
        let reason = format!("is no argument of it{near} It takes: {list}");
        entry.bad((Some(name), reason.replace("of it It", "of it. It")))
    })
}

/// Whether a value can be this argument's, as far as can be said before its templates are rendered.
fn well_formed(entry: &Entry, argument: &Argument, value: &Value) -> Result<(), BadOperator> {
    let bad = |reason| entry.bad((Some(argument.name), reason));
    let fits = |class: &str| if argument.objects { class::is_named(class) } else { class == TIMEDELTA };
    if let Some(class) = misfit(value, &fits) {
        if argument.objects {
            let mend = "write the dotted path to it, `package.module.Class`";
            return Err(bad(format!("has a Python object in it of the class `{class}`: {mend}")));
        }
        let mend = "write plain values; they are made for functions of Python (`op_args`, `op_kwargs`) and for classes";
        return Err(bad(format!("can't have a Python object of the class `{class}` in it: {mend}")));
    }
    if argument.templated {
        template::check(argument.name, value).map_err(|error| bad(format!("can't be read: {error}")))?;
        if value.as_str().is_some_and(template::is_template) {
            return Ok(());
        }
    }
    if value.is_null() && !argument.required {
        return Ok(());
    }
    (argument.check)(value).map_err(bad)
}

#[cfg(test)]
mod tests;
