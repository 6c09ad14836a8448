//! Values as Python has them: what is equal, what comes before what, what counts as true.

use std::{cell::RefCell, cmp::Ordering, rc::Rc};

use jiff::civil;
use serde_json::{Map, Number, Value as Json};

use super::{
    fault::{Result, fault},
    macros::Macro,
    object::Object,
    time::{DateTime, Delta},
};

/// A value of a template.
#[derive(Clone, Default)]
pub enum Value {
    /// A name or an attribute that there is not.
    Undefined(Rc<Undefined>),
    #[default]
    /// `None`.
    None,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i128),
    /// `float`.
    Float(f64),
    /// `str`.
    Str(Rc<str>),
    /// Text that is escaped already (`markupsafe.Markup`).
    Markup(Rc<str>),
    /// `list`.
    List(Rc<RefCell<Vec<Value>>>),
    /// `tuple`.
    Tuple(Rc<[Value]>),
    /// `dict`.
    Dict(Rc<RefCell<Dict>>),
    /// What can be gone through once: Python's generators.
    Generator(Rc<RefCell<Vec<Value>>>),
    /// What can be gone through and has a length: `range` and the views of a dict.
    View(View, Rc<[Value]>),
    /// `datetime`.
    DateTime(Rc<DateTime>),
    /// `date`.
    Date(civil::Date),
    /// `time`.
    Time(civil::Time),
    /// `timedelta`.
    Delta(Delta),
    /// Something of Jinja's own, or of the world's.
    Object(Object),
    /// A macro of a template.
    Macro(Rc<Macro>),
    /// A method, not called yet.
    Method(Rc<(Value, Rc<str>)>),
}

/// What was looked for and not found, and what may be done with it.
pub struct Undefined {
    /// What the error says, if it comes to one.
    pub(super) why: Rc<str>,
    pub(super) mode: Mode,
}

/// What an undefined name is good for, as Jinja2's classes have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `StrictUndefined`, Airflow's default: for nothing but `is defined` and `| default`.
    Strict,
    /// `Undefined`: it is empty.
    Lenient,
    /// `ChainableUndefined`: empty, and so is what is asked of it.
    Chainable,
}

/// What a [`Value::View`] is.
#[derive(Clone, Copy, PartialEq)]
pub enum View {
    /// `range`.
    Range,
    /// `dict.keys()`.
    Keys,
    /// `dict.values()`.
    Values,
    /// `dict.items()`.
    Items,
    /// A pair that `groupby` makes: its parts have names besides.
    Group,
    /// A set, as Airflow has those of tags and task ids. Which of its items is the first, Python does not say.
    Set,
}

/// A dict: pairs in the order in which they came. Those of templates are small, or only gone through.
#[derive(Clone, Default)]
pub struct Dict(pub Vec<(Value, Value)>);

impl Dict {
    pub(super) fn get(&self, key: &Value) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own.equals(key)).map(|(_, value)| value)
    }

    pub(super) fn get_str(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(own, _)| own.as_str() == Some(key)).map(|(_, value)| value)
    }

    pub(super) fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return fault(format!("unhashable type: '{}'", key.type_name()));
        }
        match self.0.iter_mut().find(|(own, _)| own.equals(&key)) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
        Ok(())
    }
}

impl Value {
    /// A text.
    pub fn str(text: impl Into<Rc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A list of these.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(RefCell::new(items)))
    }

    /// A tuple of these.
    pub fn tuple(items: Vec<Value>) -> Self {
        Self::Tuple(items.into())
    }

    /// A dict of these, of which no two have the same key.
    pub fn dict(pairs: Vec<(Value, Value)>) -> Self {
        Self::Dict(Rc::new(RefCell::new(Dict(pairs))))
    }

    /// These, to be gone through once.
    pub fn generator(items: Vec<Value>) -> Self {
        Self::Generator(Rc::new(RefCell::new(items)))
    }

    pub(super) fn undefined(why: impl Into<Rc<str>>, mode: Mode) -> Self {
        Self::Undefined(Rc::new(Undefined { why: why.into(), mode }))
    }

    /// A text or nothing.
    pub fn optional(text: Option<impl Into<Rc<str>>>) -> Self {
        text.map_or(Self::None, |text| Self::Str(text.into()))
    }

    /// Its text, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// A number without a fraction; true is 1.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            _ => self.as_int().map(|number| number as f64),
        }
    }

    /// Python's name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Markup(_) => "Markup",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Generator(_) => "generator",
            Self::View(View::Range, _) => "range",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::View(View::Group, _) => "_GroupTuple",
            Self::View(View::Set, _) => "set",
            Self::DateTime(_) => "datetime",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Delta(_) => "timedelta",
            Self::Object(object) => object.type_name(),
            Self::Macro(_) => "Macro",
            Self::Method(_) => "method",
        }
    }

    /// Whether it counts as true.
    pub fn truth(&self) -> Result<bool> {
        match self {
            Self::Undefined(undefined) if undefined.mode == Mode::Strict => fault(&*undefined.why),
            _ => Ok(self.is_true()),
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) | Self::Markup(text) => !text.is_empty(),
            Self::List(items) => !items.borrow().is_empty(),
            Self::Tuple(items) | Self::View(_, items) => !items.is_empty(),
            Self::Dict(dict) => !dict.borrow().0.is_empty(),
            Self::Delta(delta) => delta.micros != 0,
            Self::Object(Object::Thing(thing)) => thing.items().is_none_or(|items| !items.is_empty()),
            Self::Object(Object::Relative(of)) => of.is_something(),
            Self::Generator(_)
            | Self::DateTime(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::Object(_)
            | Self::Macro(_)
            | Self::Method(_) => true,
        }
    }

    /// Whether both are equal, as Python's `==` has it.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Int(_) | Self::Bool(_), Self::Int(_) | Self::Bool(_)) => self.as_int() == other.as_int(),
            (
                Self::Int(_) | Self::Bool(_) | Self::Float(_),
                Self::Int(_) | Self::Bool(_) | Self::Float(_),
            ) => self.order_of_numbers(other) == Some(Ordering::Equal),
            (Self::Str(a) | Self::Markup(a), Self::Str(b) | Self::Markup(b)) => a == b,
            (Self::List(a), Self::List(b)) => Rc::ptr_eq(a, b) || all_equal(&a.borrow(), &b.borrow()),
            (Self::Tuple(a) | Self::View(View::Group, a), Self::Tuple(b) | Self::View(View::Group, b)) => {
                all_equal(a, b)
            }
            (Self::Dict(a), Self::Dict(b)) => {
                let (a, b) = (a.borrow(), b.borrow());
                a.0.len() == b.0.len()
                    && a.0.iter().all(|(key, value)| b.get(key).is_some_and(|own| own.equals(value)))
            }
            (Self::View(a, x), Self::View(b, y)) => a == b && all_equal(x, y),
            (Self::DateTime(a), Self::DateTime(b)) => a.order(b) == Some(Ordering::Equal),
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Delta(a), Self::Delta(b)) => a.micros == b.micros,
            (Self::Object(a), Self::Object(b)) => a.same(b),
            (Self::Object(Object::Thing(thing)), other) | (other, Self::Object(Object::Thing(thing))) => {
                thing.text().is_some_and(|text| other.as_str() == Some(text))
            }
            (Self::Macro(a), Self::Macro(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Which of both comes first, as Python's `<` has it; an error where it has no order.
    pub(super) fn order(&self, other: &Self) -> Result<Ordering> {
        let order = match (self, other) {
            (Self::Int(_) | Self::Bool(_), Self::Int(_) | Self::Bool(_)) => {
                self.as_int().partial_cmp(&other.as_int())
            }
            (
                Self::Int(_) | Self::Bool(_) | Self::Float(_),
                Self::Int(_) | Self::Bool(_) | Self::Float(_),
            ) => self.order_of_numbers(other),
            (Self::Str(a) | Self::Markup(a), Self::Str(b) | Self::Markup(b)) => Some(a.cmp(b)),
            (Self::List(a), Self::List(b)) => return order_of_all(&a.borrow(), &b.borrow()),
            (Self::Tuple(a), Self::Tuple(b)) => return order_of_all(a, b),
            (Self::DateTime(a), Self::DateTime(b)) => a.order(b),
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Delta(a), Self::Delta(b)) => Some(a.micros.cmp(&b.micros)),
            _ => None,
        };
        order.map_or_else(
            || {
                let (a, b) = (self.type_name(), other.type_name());
                fault(format!("'{a}' and '{b}' can't be compared"))
            },
            Ok,
        )
    }

    /// Which of two numbers is less: exactly, as Python has it, also where no float is the whole one.
    fn order_of_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self.as_int(), other.as_int()) {
            (Some(whole), None) => order_of_whole(whole, other.as_float()?),
            (None, Some(whole)) => order_of_whole(whole, self.as_float()?).map(Ordering::reverse),
            _ => self.as_float()?.partial_cmp(&other.as_float()?),
        }
    }

    /// Its length, where it has one.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Str(text) | Self::Markup(text) => Some(text.chars().count()),
            Self::List(items) => Some(items.borrow().len()),
            Self::Tuple(items) | Self::View(_, items) => Some(items.len()),
            Self::Dict(dict) => Some(dict.borrow().0.len()),
            Self::Object(Object::Thing(thing)) => thing.items().map(|items| items.len()),
            _ => None,
        }
    }

    /// Its items one after the other, where it can be gone through. A generator is empty afterwards.
    pub(super) fn items(&self) -> Option<Vec<Value>> {
        match self {
            Self::Undefined(undefined) if undefined.mode != Mode::Strict => Some(Vec::new()),
            Self::Str(text) => {
                Some(text.chars().map(|c| Self::str(c.encode_utf8(&mut [0; 4]) as &str)).collect())
            }
            Self::List(items) => Some(items.borrow().clone()),
            Self::Tuple(items) | Self::View(_, items) => Some(items.to_vec()),
            Self::Dict(dict) => Some(dict.borrow().0.iter().map(|(key, _)| key.clone()).collect()),
            Self::Object(Object::Thing(thing)) => thing.items(),
            Self::Generator(items) => Some(std::mem::take(&mut *items.borrow_mut())),
            _ => None,
        }
    }

    /// The value as JSON, where it has one.
    pub fn to_json(&self) -> Result<Json> {
        self.to_json_within(&mut Within::default())
    }

    /// The value as JSON, within another one.
    ///
    /// # Errors
    ///
    /// Where it has none, or that goes too far.
    pub fn to_json_within(&self, within: &mut Within) -> Result<Json> {
        within.enter(|within| {
            Ok(match self {
                Self::None => Json::Null,
                Self::Bool(value) => Json::Bool(*value),
                Self::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                    (Ok(number), _) => number.into(),
                    (_, Ok(number)) => number.into(),
                    (Err(_), Err(_)) => return fault(format!("the number {number} is too large")),
                },
                Self::Float(number) => match Number::from_f64(*number) {
                    Some(number) => Json::Number(number),
                    None => return fault("a number that is not finite is no JSON"),
                },
                Self::Str(text) | Self::Markup(text) => Json::String(text.to_string()),
                Self::List(items) => {
                    items.borrow().iter().map(|item| item.to_json_within(within)).collect::<Result<_>>()?
                }
                Self::Tuple(items) | Self::View(View::Group, items) => {
                    items.iter().map(|item| item.to_json_within(within)).collect::<Result<_>>()?
                }
                Self::Dict(dict) => {
                    let mut map = Map::new();
                    for (key, value) in &dict.borrow().0 {
                        map.insert(json_key(key)?, value.to_json_within(within)?);
                    }
                    Json::Object(map)
                }
                Self::Undefined(undefined) => return fault(&*undefined.why),
                _ => {
                    let what = self.type_name();
                    return fault(format!("a {what} is no JSON; make a string of it, as with `| string`"));
                }
            })
        })
    }
}

/// How far one goes into a value: lists and dicts may hold themselves, and many times the same.
pub struct Within {
    deeper: u32,
    more: u32,
}

impl Default for Within {
    fn default() -> Self {
        Self { deeper: 100, more: 1_000_000 }
    }
}

impl Within {
    /// Goes into one more, a level deeper.
    pub fn enter<T>(&mut self, go: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (Some(deeper), Some(more)) = (self.deeper.checked_sub(1), self.more.checked_sub(1)) else {
            return fault(
                "a value that holds itself, is a hundred deep, or has a million items can't be passed on",
            );
        };
        (self.deeper, self.more) = (deeper, more);
        let gone = go(self);
        self.deeper += 1;
        gone
    }
}

/// A dict's key as `json.dumps` writes it.
fn json_key(key: &Value) -> Result<String> {
    match key {
        Value::Str(text) | Value::Markup(text) => Ok(text.to_string()),
        Value::None => Ok("null".into()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(_) => super::show::str(key),
        _ => fault(format!("keys must be str, int, float, bool or None, not {}", key.type_name())),
    }
}

fn order_of_whole(whole: i128, float: f64) -> Option<Ordering> {
    // Beyond this no whole number is ours.
    if float.is_nan() || float.abs() >= 2f64.powi(127) {
        return 0.0.partial_cmp(&float);
    }
    let floor = float.floor();
    Some(whole.cmp(&(floor as i128)).then(if float > floor { Ordering::Less } else { Ordering::Equal }))
}

fn all_equal(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
}

fn order_of_all(a: &[Value], b: &[Value]) -> Result<Ordering> {
    match a.iter().zip(b).find(|(a, b)| !a.equals(b)) {
        Some((a, b)) => a.order(b),
        None => Ok(a.len().cmp(&b.len())),
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::None,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number.into()),
                (_, Some(number)) => Self::Int(number.into()),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::str(&**text),
            Json::Array(items) => Self::list(items.iter().map(Self::from).collect()),
            Json::Object(map) => {
                Self::dict(map.iter().map(|(key, value)| (Self::str(&**key), Self::from(value))).collect())
            }
        }
    }
}
