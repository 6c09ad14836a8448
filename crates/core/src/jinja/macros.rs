//! Calls: the arguments of one, and the macros that templates define.

use std::rc::Rc;

use super::{
    eval::{Machine, Scope},
    fault::{Result, fault},
    syntax::MacroDef,
    value::{Mode, Value},
};
use crate::nearest::did_you_mean;

/// The arguments of a call.
#[derive(Clone, Default)]
pub struct Args {
    /// By their places.
    pub list: Vec<Value>,
    /// By their names.
    pub named: Vec<(Rc<str>, Value)>,
}

impl Args {
    /// Only positional ones.
    pub fn of(list: Vec<Value>) -> Self {
        Self { list, named: Vec::new() }
    }

    /// Puts each argument where its place or its name says; `None` where none is given.
    pub fn take<const N: usize>(self, what: &str, names: [&str; N]) -> Result<[Option<Value>; N]> {
        let mut taken = [const { None }; N];
        if self.list.len() > N {
            return fault(format!("{what}() takes at most {N} arguments, {} given", self.list.len()));
        }
        for (place, value) in taken.iter_mut().zip(self.list) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            match names.iter().position(|own| *own == &*name) {
                Some(place) if taken[place].is_none() => taken[place] = Some(value),
                Some(_) => return fault(format!("{what}() got several values for `{name}`")),
                None => {
                    let near = did_you_mean(&name, names);
                    return fault(format!("{what}() takes no argument `{name}`{near}"));
                }
            }
        }
        Ok(taken)
    }

    /// No arguments are taken.
    pub fn none(self, what: &str) -> Result<()> {
        self.take::<0>(what, []).map(drop)
    }
}

/// A text argument.
pub fn text(what: &str, value: &Value) -> Result<Rc<str>> {
    match value {
        Value::Str(text) => Ok(Rc::clone(text)),
        other => fault(format!("{what} must be a str, not {}", other.type_name())),
    }
}

/// A whole number.
pub fn int(what: &str, value: &Value) -> Result<i128> {
    match value.as_int() {
        Some(number) => Ok(number),
        None => fault(format!("{what} must be an int, not {}", value.type_name())),
    }
}

/// A number of characters, items or the like; below 0 is 0.
pub fn size(what: &str, value: &Value) -> Result<usize> {
    Ok(usize::try_from(int(what, value)?.max(0)).unwrap_or(usize::MAX))
}

/// An argument that must be given.
pub fn needed(what: &str, value: Option<Value>) -> Result<Value> {
    value.map_or_else(|| fault(format!("{what} is missing")), Ok)
}

/// A macro that a template defines, with the names it sees.
pub struct Macro {
    pub(super) def: Rc<MacroDef>,
    pub(super) scope: Rc<Scope>,
}

impl Machine<'_> {
    /// Calls a macro; what it writes is its value.
    pub(super) fn call_macro(&self, of: &Macro, mut args: Args) -> Result<Value> {
        let def = &of.def;
        let caller = args.named.iter().position(|(name, _)| &**name == "caller");
        let caller = caller.map(|place| args.named.remove(place).1);
        if args.list.len() > def.parameters.len() {
            let (name, all) = (&def.name, def.parameters.len());
            return fault(format!("macro '{name}' takes not more than {all} argument(s)"));
        }
        let scope = Scope::within(&of.scope);
        if let Some(caller) = caller {
            scope.set("caller".into(), caller);
        }
        let mut given = args.list.into_iter();
        let mandatory = def.parameters.len() - def.defaults.len().min(def.parameters.len());
        for (place, name) in def.parameters.iter().enumerate() {
            let named = args.named.iter().position(|(own, _)| own == name);
            let value = match (given.next(), named) {
                (Some(_), Some(_)) => return fault(format!("macro argument `{name}` is given twice")),
                (Some(value), None) => value,
                (None, Some(at)) => args.named.swap_remove(at).1,
                (None, None) => match place.checked_sub(mandatory).and_then(|at| def.defaults.get(at)) {
                    Some(default) => self.eval(default, &scope)?,
                    None => {
                        Value::undefined(format!("parameter '{name}' was not provided"), self.world.mode())
                    }
                },
            };
            scope.set(Rc::clone(name), value);
        }
        if let Some((name, _)) = args.named.first() {
            return fault(format!("macro '{}' takes no keyword argument '{name}'", def.name));
        }
        self.block(&def.body, &scope)
    }
}

/// What an absent `else` of an inline `if` is: empty, even where names must be defined.
pub(super) fn no_else() -> Value {
    Value::undefined("the inline if-expression evaluated to false and has no else", Mode::Lenient)
}
