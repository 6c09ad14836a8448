//! What has attributes and can be called, and is neither Python's nor a date: Jinja's own things, and those of the
//! world that a template sees.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    eval::{Machine, Scope},
    fault::{Result, fault},
    macros::{Args, int},
    syntax::ForLoop,
    time::Relative,
    value::{Dict, Mode, Value, View},
};

/// Something with attributes.
#[derive(Clone)]
pub enum Object {
    /// Of the world that is seen.
    Thing(Rc<dyn Thing>),
    /// `dateutil.relativedelta.relativedelta(…)`
    Relative(Rc<Relative>),
    /// A function of Jinja's or of the world's, by its name.
    Function(&'static str),
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

/// What a template or an expression sees beside Jinja's own functions.
pub trait World {
    /// What a name or an attribute that there is not is good for: as Airflow has it, for nothing.
    fn mode(&self) -> Mode {
        Mode::Strict
    }

    /// Whether what is rendered keeps its type.
    fn native(&self) -> bool {
        false
    }

    /// What a name stands for, where it is not one that the template itself has given a value.
    ///
    /// # Errors
    ///
    /// Where it is not supplied, or could not be looked up.
    fn variable(&self, name: &str) -> Result<Option<Value>>;

    /// All names, for an error to say which is near.
    fn names(&self) -> Vec<&str>;

    /// Why a name is not there, where that is known.
    fn why_missing(&self, _name: &str) -> Option<String> {
        None
    }

    /// What the error about an attribute or an item that there is not goes on with.
    fn mend(&self) -> &str {
        ""
    }

    /// The text of another template.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    fn read_file(&self, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// `str(thing)`
    ///
    /// # Errors
    ///
    /// Where it can't be shown.
    fn show(&self, thing: &dyn Thing) -> Result<String> {
        thing.show()
    }

    /// `thing.name`
    ///
    /// # Errors
    ///
    /// Where it is not supplied, or could not be looked up.
    fn attr(&self, _thing: &dyn Thing, _name: &str) -> Result<Option<Value>> {
        Ok(None)
    }

    /// `thing(args)`
    ///
    /// # Errors
    ///
    /// Where it is no function, or fails.
    fn call(&self, _machine: &Machine<'_>, thing: &dyn Thing, _args: Args) -> Result<Value> {
        fault(format!("'{}' object is not callable", thing.type_name()))
    }

    /// `thing.name(args)`, where that is a method; `None` where it is not supplied.
    ///
    /// # Errors
    ///
    /// Where it fails.
    fn method(
        &self,
        _machine: &Machine<'_>,
        _thing: &dyn Thing,
        _name: &str,
        _args: Args,
    ) -> Result<Option<Value>> {
        Ok(None)
    }

    /// Calls an [`Object::Function`] of the world's.
    ///
    /// # Errors
    ///
    /// Where there is none, or it fails.
    fn call_function(&self, _machine: &Machine<'_>, name: &str, _args: Args) -> Result<Value> {
        fault(format!("'{name}' can't be called"))
    }
}

/// Something that a world has of its own, which alone knows its attributes and methods.
pub trait Thing: Any {
    /// Python's name of its type.
    fn type_name(&self) -> &'static str;

    /// How it is shown.
    ///
    /// # Errors
    ///
    /// Where it can't be.
    fn show(&self) -> Result<String> {
        fault(format!("a {} can't be shown: name one of its attributes", self.type_name()))
    }

    /// Whether both are the same.
    fn same(&self, other: &dyn Thing) -> bool;

    /// The text that it is equal to, where it is to one.
    fn text(&self) -> Option<&str> {
        None
    }

    /// Its items, where it can be gone through.
    fn items(&self) -> Option<Vec<Value>> {
        None
    }

    /// The item of this key.
    fn item(&self, _key: &Value) -> Option<Value> {
        None
    }

    /// Whether calling `thing.name(…)` means one of its methods.
    fn has_method(&self, _name: &str) -> bool {
        false
    }
}

/// Jinja's functions, which are there for every template.
pub const GLOBALS: &[&str] = &["cycler", "dict", "joiner", "namespace", "range"];

/// A function of Jinja's.
#[must_use]
pub fn global(name: &str) -> Option<Value> {
    GLOBALS.iter().find(|global| **global == name).map(|global| Value::Object(Object::Function(global)))
}

/// The state of a `for` loop.
pub struct Loop {
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
            Self::Thing(thing) => thing.type_name(),
            Self::Relative(_) => "relativedelta",
            Self::Function(_) => "function",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
            Self::Module(_) => "TemplateModule",
        }
    }

    pub(super) fn show(&self) -> Result<String> {
        match self {
            Self::Thing(thing) => thing.show(),
            _ => fault(format!("a {} can't be shown: name one of its attributes", self.type_name())),
        }
    }

    /// Whether both are the same thing.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Thing(a), Self::Thing(b)) => a.same(&**b),
            (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Relative(a), Self::Relative(b)) => a == b,
            (Self::Namespace(a), Self::Namespace(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Machine<'_> {
    /// An attribute of Jinja's own things, and of the world's.
    pub(super) fn object_attr(&self, object: &Object, name: &str) -> Result<Option<Value>> {
        match object {
            Object::Thing(thing) => self.world.attr(&**thing, name),
            Object::Relative(of) => Ok(of.attr(name)),
            Object::Namespace(space) => Ok(space.borrow().get_str(name).cloned()),
            Object::Module(scope) => Ok(scope.exported(name)),
            Object::Loop(state) => Ok(loop_attr(state, name, self)),
            Object::Cycler(cycler) if name == "current" => Ok(cycler.0.get(cycler.1.get()).cloned()),
            Object::Function(_) | Object::Cycler(_) | Object::Joiner(_) => Ok(None),
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
            Object::Function(name) => self.world.call_function(self, name, args),
            Object::Loop(state) => self.loop_again(state, args),
            Object::Thing(thing) => self.world.call(self, &**thing, args),
            other => fault(format!("'{}' object is not callable", other.type_name())),
        }
    }

    /// Calls a method of Jinja's own things; `None` where there is none of this name.
    pub(super) fn object_method(&self, object: &Object, name: &str, args: Args) -> Result<Option<Value>> {
        Ok(Some(match (object, name) {
            (Object::Thing(thing), _) => return self.world.method(self, &**thing, name, args),
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
        Object::Thing(thing) => thing.has_method(name),
        Object::Loop(_) => matches!(name, "cycle" | "changed"),
        Object::Cycler(_) => matches!(name, "next" | "reset"),
        Object::Function(_)
        | Object::Relative(_)
        | Object::Namespace(_)
        | Object::Joiner(_)
        | Object::Module(_) => false,
    }
}
