//! Carries out a template: statements, expressions, names.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
};

use serde_json::{Map, Value as Json};

use super::{
    fault::{Result, at, fault},
    macros::{Args, Macro, int, no_else},
    object::{Loop, Object, World},
    ops::slice,
    syntax::{Arg, Body, Expr, ForLoop, Node, Stmt, Target},
    value::{Mode, Value},
};
use crate::nearest::did_you_mean;

/// What other tasks left may be gone through so many times besides, however large it is.
const FUEL_OF_RESULTS: u64 = 16;

/// How deep expressions, statements and macros may be within each other: each takes a part of the stack.
const DEEPEST: u32 = 250;

/// Carries out templates and expressions.
pub struct Machine<'a> {
    pub(super) world: &'a dyn World,
    /// How much may be done in all: each expression counts one, and so does each byte or item made.
    most: u64,
    fuel: Cell<u64>,
    /// The results that it has been given fuel for.
    looked_up: RefCell<BTreeSet<String>>,
    /// How many expressions and statements are being carried out within each other.
    depth: Cell<u32>,
    /// Whether that is within a template that is a value.
    in_value: Cell<bool>,
    /// The scopes that macros and recursive loops see. These may be in one of them themselves, so they have to be
    /// emptied to go.
    emptied_at_the_end: RefCell<Vec<Rc<Scope>>>,
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        for scope in self.emptied_at_the_end.take() {
            scope.names.take();
        }
    }
}

/// The names set in one block; those of the blocks around it are seen through it.
#[derive(Default)]
pub struct Scope {
    names: RefCell<Vec<(Rc<str>, Value)>>,
    outer: Option<Rc<Scope>>,
}

impl Scope {
    pub(super) fn within(outer: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), outer: Some(Rc::clone(outer)) })
    }

    /// A scope with these names in it.
    fn of(names: &Map<String, Json>) -> Rc<Self> {
        let names = names.iter().map(|(name, value)| (Rc::from(&**name), Value::from(value)));
        Rc::new(Self { names: RefCell::new(names.collect()), outer: None })
    }

    pub(super) fn set(&self, name: Rc<str>, value: Value) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(own, _)| *own == name) {
            Some((_, old)) => *old = value,
            None => names.push((name, value)),
        }
    }

    fn get(&self, name: &str) -> Option<Value> {
        let own = self.names.borrow().iter().find(|(own, _)| &**own == name).map(|(_, value)| value.clone());
        own.or_else(|| self.outer.as_ref()?.get(name))
    }

    /// All names seen from here, for an error to say which is near.
    fn all(&self, found: &mut Vec<Rc<str>>) {
        found.extend(self.names.borrow().iter().map(|(name, _)| Rc::clone(name)));
        if let Some(outer) = &self.outer {
            outer.all(found);
        }
    }
}

impl<'a> Machine<'a> {
    /// One that does at most so much: each expression counts one, and so does each byte or item made.
    #[must_use]
    pub fn new(world: &'a dyn World, fuel: u64) -> Self {
        Self {
            world,
            most: fuel,
            fuel: Cell::new(fuel),
            looked_up: RefCell::default(),
            depth: Cell::new(0),
            in_value: Cell::new(false),
            emptied_at_the_end: RefCell::default(),
        }
    }

    /// Takes so much fuel.
    pub fn charge(&self, amount: usize) -> Result<()> {
        match self.fuel.get().checked_sub(amount as u64 + 1) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => fault(format!(
                "takes too long, or makes too much: it was stopped after {} steps and letters. Let the task itself do it",
                self.most
            )),
        }
    }

    /// What has this name was looked up, so many bytes, to be worked with. Looked up again it gives no more.
    pub fn refuel(&self, name: String, bytes: usize) {
        if self.looked_up.borrow_mut().insert(name) {
            self.fuel.set(self.fuel.get().saturating_add(FUEL_OF_RESULTS * bytes as u64));
        }
    }

    /// Fails where a value is undefined, in whatever mode.
    pub(super) fn defined(&self, value: &Value) -> Result<()> {
        match value {
            Value::Undefined(undefined) => fault(&*undefined.why),
            _ => Ok(()),
        }
    }

    /// Renders a template that sees these names.
    ///
    /// # Errors
    ///
    /// Where it can't be read or rendered, takes too long, or makes too much.
    pub fn render(&self, source: &str, names: &Map<String, Json>) -> Result<Value> {
        self.block(&super::syntax::read(source)?, &Scope::of(names))
    }

    /// Renders a template that is a value of another one, and sees none of its names.
    pub(super) fn render_value(&self, body: &Body) -> Result<Value> {
        if self.in_value.replace(true) {
            return fault("a template that is a value can't have another one in it");
        }
        let rendered = self.block(body, &Rc::default());
        self.in_value.set(false);
        rendered
    }

    /// The value of an expression, as it stands within `{{ }}`, that sees these names: what can only be gone through as a
    /// list.
    ///
    /// # Errors
    ///
    /// Where it can't be read or told, takes too long, or makes too much.
    pub fn value(&self, expression: &str, names: &Map<String, Json>) -> Result<Value> {
        match self.eval(&super::syntax::read_expression(expression)?, &Scope::of(names))? {
            all @ (Value::Generator(_) | Value::View(..)) => self.iterate(&all).map(Value::list),
            value => Ok(value),
        }
    }

    /// What a block puts out: text, or, with native types, what its text reads as.
    pub(super) fn block(&self, body: &Body, scope: &Rc<Scope>) -> Result<Value> {
        self.put_out(|out| self.body(body, scope, out))
    }

    fn put_out(&self, write: impl FnOnce(&mut Out) -> Result<()>) -> Result<Value> {
        let mut out = if self.world.native() { Out::Values(Vec::new()) } else { Out::Text(String::new()) };
        write(&mut out)?;
        match out {
            Out::Text(text) => Ok(Value::str(text)),
            Out::Values(values) => super::native::concat(values),
        }
    }

    fn closure(&self, def: &Rc<super::syntax::MacroDef>, scope: &Rc<Scope>) -> Value {
        self.emptied_at_the_end.borrow_mut().push(Rc::clone(scope));
        Value::Macro(Rc::new(Macro { def: Rc::clone(def), scope: Rc::clone(scope) }))
    }

    fn body(&self, body: &Body, scope: &Rc<Scope>, out: &mut Out) -> Result<()> {
        body.iter().try_for_each(|stmt| self.deeper(|| self.stmt(stmt, scope, out)))
    }

    /// Does something within what is being done.
    fn deeper<T>(&self, inner: impl FnOnce() -> Result<T>) -> Result<T> {
        self.charge(0)?;
        if self.depth.get() >= DEEPEST {
            return fault("goes too deep: a macro calls itself, or too much is within each other");
        }
        self.depth.set(self.depth.get() + 1);
        let result = inner();
        self.depth.set(self.depth.get() - 1);
        result
    }

    fn stmt(&self, stmt: &Stmt, scope: &Rc<Scope>, out: &mut Out) -> Result<()> {
        match stmt {
            Stmt::Text(text) => self.put(Value::Str(Rc::clone(text)), out)?,
            Stmt::Emit(expr) => at(expr.line, self.eval(expr, scope).and_then(|value| self.put(value, out)))?,
            Stmt::For(of) => {
                let all = self.eval(&of.of, scope)?;
                self.for_loop(of, &all, 0, scope, out)?;
            }
            Stmt::If { test, then, otherwise } => {
                let body = if self.test(test, scope)? { then } else { otherwise };
                self.body(body, scope, out)?;
            }
            Stmt::With(pairs, body) => {
                let inner = Scope::within(scope);
                for (target, value) in pairs {
                    let value = self.eval(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                self.body(body, &inner, out)?;
            }
            Stmt::Set(target, expr) => {
                let value = self.eval(expr, scope)?;
                at(expr.line, self.assign(target, value, scope))?;
            }
            Stmt::SetBlock { target, filter, body } => {
                let text = self.block(body, &Scope::within(scope))?;
                let value = self.filtered(filter.as_ref(), text, scope)?;
                self.assign(target, value, scope)?;
            }
            Stmt::Filter(filter, body) => {
                let text = self.block(body, &Scope::within(scope))?;
                let value = self.filtered(Some(filter), text, scope)?;
                self.put(value, out)?;
            }
            Stmt::Include { name, ignore_missing } => {
                let found = self.eval(name, scope).and_then(|name| self.file(&name));
                match at(name.line, found)? {
                    Some(body) => self.body(&body, &Scope::within(scope), out)?,
                    None if *ignore_missing => {}
                    None => return at(name.line, fault("the template to include is not there")),
                }
            }
            Stmt::Import { of, name } => {
                let module = self.import(of, scope)?;
                scope.set(Rc::clone(name), Value::Object(Object::Module(module)));
            }
            Stmt::FromImport { of, names } => {
                let module = self.import(of, scope)?;
                for (name, alias) in names {
                    let Some(value) = module.exported(name) else {
                        return at(of.line, fault(format!("the imported template has no `{name}`")));
                    };
                    scope.set(Rc::clone(alias), value);
                }
            }
            Stmt::Macro(def) => {
                scope.set(Rc::clone(&def.name), self.closure(def, scope));
            }
            Stmt::Call { callee, args, caller } => {
                let mut args = self.args(args, scope)?;
                args.named.push(("caller".into(), self.closure(caller, scope)));
                let callable = self.eval(callee, scope)?;
                let value = at(callee.line, self.call(&callable, args))?;
                self.put(value, out)?;
            }
            Stmt::Do(expr) => drop(self.eval(expr, scope)?),
        }
        Ok(())
    }

    fn put(&self, value: Value, out: &mut Out) -> Result<()> {
        match out {
            Out::Text(text) => {
                let more = self.text(&value)?;
                self.charge(more.len())?;
                text.push_str(&more);
            }
            Out::Values(values) => values.push(value),
        }
        Ok(())
    }

    /// Goes through all of this, within so many other rounds of the same loop.
    fn for_loop(
        &self,
        of: &Rc<ForLoop>,
        all: &Value,
        depth: usize,
        scope: &Rc<Scope>,
        out: &mut Out,
    ) -> Result<()> {
        let ForLoop { target, filter, body, otherwise, .. } = &**of;
        let mut items = at(of.of.line, self.iterate(all))?;
        if let Some(filter) = filter {
            let mut kept = Vec::new();
            for item in items {
                let inner = Scope::within(scope);
                self.assign(target, item.clone(), &inner)?;
                if self.test(filter, &inner)? {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            return self.body(otherwise, &Scope::within(scope), out);
        }
        let again = of.recursive.then(|| {
            // A template may keep the loop where the loop sees it.
            self.emptied_at_the_end.borrow_mut().push(Rc::clone(scope));
            (Rc::clone(of), Rc::clone(scope))
        });
        let (index, changed) = (Cell::new(0), RefCell::default());
        let state = Rc::new(Loop { items: items.into(), index, changed, depth, again });
        for (index, item) in state.items.iter().enumerate() {
            self.charge(0)?;
            state.index.set(index);
            let inner = Scope::within(scope);
            inner.set("loop".into(), Value::Object(Object::Loop(Rc::clone(&state))));
            at(of.of.line, self.assign(target, item.clone(), &inner))?;
            self.body(body, &inner, out)?;
        }
        Ok(())
    }

    /// `loop(…)` of a recursive loop: what it puts out for these.
    pub(super) fn loop_again(&self, of: &Loop, args: Args) -> Result<Value> {
        let Some((again, scope)) = &of.again else {
            return fault(
                "the loop must have the `recursive` marker to be called: `{% for x in y recursive %}`",
            );
        };
        let [all] = args.take("loop", ["iterable"])?;
        let all = super::macros::needed("loop()'s argument", all)?;
        self.deeper(|| self.put_out(|out| self.for_loop(again, &all, of.depth + 1, scope, out)))
    }

    fn assign(&self, target: &Target, value: Value, scope: &Rc<Scope>) -> Result<()> {
        match target {
            Target::Name(name) => {
                scope.set(Rc::clone(name), value);
                Ok(())
            }
            Target::Attr(name, attr) => match scope.get(name) {
                Some(Value::Object(Object::Namespace(space))) => {
                    space.borrow_mut().insert(Value::Str(Rc::clone(attr)), value)
                }
                _ => fault(format!("cannot assign attribute `{attr}`: `{name}` is no namespace")),
            },
            Target::Several(targets) => {
                let values = self.iterate(&value)?;
                if values.len() != targets.len() {
                    let (found, wanted) = (values.len(), targets.len());
                    return fault(format!("{found} values can't be taken apart into {wanted} names"));
                }
                targets.iter().zip(values).try_for_each(|(target, value)| self.assign(target, value, scope))
            }
        }
    }

    /// The items of what can be gone through.
    pub fn iterate(&self, value: &Value) -> Result<Vec<Value>> {
        match value.items() {
            Some(items) => {
                self.charge(items.len())?;
                Ok(items)
            }
            None => {
                self.defined(value)?;
                fault(format!("'{}' object is not iterable", value.type_name()))
            }
        }
    }

    fn test(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<bool> {
        at(expr.line, self.eval(expr, scope)?.truth())
    }

    fn import(&self, of: &Expr, scope: &Rc<Scope>) -> Result<Rc<Scope>> {
        let name = self.eval(of, scope)?;
        match at(of.line, self.file(&name))? {
            Some(body) => {
                let module = Rc::new(Scope::default());
                self.block(&body, &module)?;
                Ok(module)
            }
            None => at(of.line, fault("the template to import is not there")),
        }
    }

    fn file(&self, name: &Value) -> Result<Option<Body>> {
        let name = super::macros::text("a template's name", name)?;
        match self.world.read_file(&name)? {
            Some(source) => {
                self.charge(source.len())?;
                super::syntax::read(&source).map(Some).map_err(|mut error| {
                    error.reason = format!("{name}: {}", error.reason);
                    error
                })
            }
            None => Ok(None),
        }
    }

    /// The value of an expression. An error in it has its line.
    pub(super) fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        at(expr.line, self.deeper(|| self.node(&expr.node, scope)))
    }

    fn node(&self, node: &Node, scope: &Rc<Scope>) -> Result<Value> {
        let all =
            |exprs: &[Expr]| exprs.iter().map(|expr| self.eval(expr, scope)).collect::<Result<Vec<_>>>();
        Ok(match node {
            Node::Const(value) => value.clone(),
            Node::Var(name) => self.name(name, scope)?,
            Node::List(items) => Value::list(all(items)?),
            Node::Tuple(items) => Value::tuple(all(items)?),
            Node::Dict(pairs) => {
                let mut dict = super::value::Dict::default();
                for (key, value) in pairs {
                    dict.insert(self.eval(key, scope)?, self.eval(value, scope)?)?;
                }
                Value::Dict(Rc::new(RefCell::new(dict)))
            }
            Node::Attr(of, name) => self.attr(&self.eval(of, scope)?, name)?,
            Node::Item(of, key) => self.item(&self.eval(of, scope)?, &self.eval(key, scope)?)?,
            Node::Slice(of, parts) => {
                let of = self.eval(of, scope)?;
                self.defined(&of)?;
                let mut bounds = [None; 3];
                for (bound, part) in bounds.iter_mut().zip(parts) {
                    let value = part.as_ref().map(|part| self.eval(part, scope)).transpose()?;
                    *bound = match value {
                        None | Some(Value::None) => None,
                        Some(value) => Some(int("a slice's bound", &value)?),
                    };
                }
                self.charge(of.len().unwrap_or(0))?;
                slice(&of, bounds[0], bounds[1], bounds[2])?
            }
            Node::Call(callee, args) => {
                let callable = self.eval(callee, scope)?;
                self.call(&callable, self.args(args, scope)?)?
            }
            Node::Filter { name, of, args } => {
                let of = match of {
                    Some(of) => self.eval(of, scope)?,
                    None => scope.get(PIPED).unwrap_or(Value::None),
                };
                self.filter(name, of, self.args(args, scope)?)?
            }
            Node::Test { name, of, args } => {
                let of = self.eval(of, scope)?;
                Value::Bool(self.check(name, &of, self.args(args, scope)?)?)
            }
            Node::Not(of) => Value::Bool(!self.test(of, scope)?),
            Node::Neg(of) => self.negate(&self.eval(of, scope)?)?,
            Node::And(left, right) => {
                let left = self.eval(left, scope)?;
                if left.truth()? { self.eval(right, scope)? } else { left }
            }
            Node::Or(left, right) => {
                let left = self.eval(left, scope)?;
                if left.truth()? { left } else { self.eval(right, scope)? }
            }
            Node::Binary(op, left, right) => {
                self.binary(*op, &self.eval(left, scope)?, &self.eval(right, scope)?)?
            }
            Node::Compare(first, rest) => {
                let mut left = self.eval(first, scope)?;
                for (op, right) in rest {
                    let right = self.eval(right, scope)?;
                    if !self.compare(*op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Value::Bool(true)
            }
            Node::If { test, then, otherwise } => match (self.test(test, scope)?, otherwise) {
                (true, _) => self.eval(then, scope)?,
                (false, Some(otherwise)) => self.eval(otherwise, scope)?,
                (false, None) => no_else(),
            },
        })
    }

    fn name(&self, name: &Rc<str>, scope: &Rc<Scope>) -> Result<Value> {
        if let Some(value) = scope.get(name) {
            return Ok(value);
        }
        if let Some(value) = self.world.variable(name)? {
            return Ok(value);
        }
        if let Some(why) = self.world.why_missing(name) {
            return Ok(Value::undefined(why, self.world.mode()));
        }
        let mut names: Vec<Rc<str>> = self.world.names().into_iter().map(Rc::from).collect();
        scope.all(&mut names);
        let why = format!("'{name}' is undefined{}", did_you_mean(name, names.iter().map(|name| &**name)));
        Ok(Value::undefined(why, self.world.mode()))
    }

    pub(super) fn args(&self, args: &[Arg], scope: &Rc<Scope>) -> Result<Args> {
        let mut given = Args::default();
        for arg in args {
            match arg {
                Arg::One(value) => given.list.push(self.eval(value, scope)?),
                Arg::Named(name, value) => given.named.push((Rc::clone(name), self.eval(value, scope)?)),
                Arg::Splat(value) => {
                    let values = self.eval(value, scope)?;
                    given.list.extend(self.iterate(&values)?);
                }
                Arg::NamedSplat(value) => match self.eval(value, scope)? {
                    Value::Dict(dict) => {
                        for (name, value) in &dict.borrow().0 {
                            given.named.push((super::macros::text("a keyword", name)?, value.clone()));
                        }
                    }
                    other => return fault(format!("** needs a dict, not {}", other.type_name())),
                },
            }
        }
        Ok(given)
    }

    /// A block's text through its filters.
    fn filtered(&self, filter: Option<&Expr>, text: Value, scope: &Rc<Scope>) -> Result<Value> {
        let Some(filter) = filter else { return Ok(text) };
        let inner = Scope::within(scope);
        inner.set(PIPED.into(), text);
        self.eval(filter, &inner)
    }

    /// `str(value)`.
    pub fn text(&self, value: &Value) -> Result<String> {
        match value {
            Value::Object(Object::Thing(thing)) => self.world.show(&**thing),
            _ => super::show::str(value),
        }
    }

    /// What a name that there is not comes to.
    pub(super) fn missing(&self, why: String) -> Value {
        Value::undefined(why + self.world.mend(), self.world.mode())
    }

    /// An attribute or an item of what is not there.
    pub(super) fn of_undefined(&self, value: &Value) -> Result<Value> {
        match value {
            Value::Undefined(undefined) if undefined.mode == Mode::Chainable => Ok(value.clone()),
            Value::Undefined(undefined) => fault(&*undefined.why),
            _ => Ok(Value::None),
        }
    }
}

/// The name under which a block's text waits for its filters; no template can name it.
const PIPED: &str = " piped";

/// Where a template's output goes.
enum Out {
    Text(String),
    Values(Vec<Value>),
}

impl Scope {
    /// What an imported template set under this name.
    pub(super) fn exported(&self, name: &str) -> Option<Value> {
        if name.starts_with('_') { None } else { self.get(name) }
    }
}
