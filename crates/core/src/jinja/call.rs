//! Attributes, items and methods of Python's values.

use std::rc::Rc;

use super::{
    eval::Machine,
    fault::{Result, fault},
    macros::{Args, int, needed},
    object::{Object, has_method},
    text, time,
    value::{Value, View},
};

const LIST_METHODS: &[&str] = &["append", "extend", "insert", "count", "index", "reverse", "copy"];
const TUPLE_METHODS: &[&str] = &["count", "index"];
const DICT_METHODS: &[&str] = &["get", "items", "keys", "values", "copy", "update", "setdefault", "pop"];
/// Methods of Python's that are not supplied: to call one is an error that says so.
const OTHER_METHODS: &[&str] = &["sort", "remove", "clear", "popitem", "fromkeys"];

impl Machine<'_> {
    /// `value.name`: an attribute or a method, or else the item of that name.
    pub(super) fn attr(&self, value: &Value, name: &Rc<str>) -> Result<Value> {
        if name.starts_with("__") {
            return fault(format!("access to attribute '{name}' is unsafe"));
        }
        if is_method(value, name) {
            return Ok(Value::Method(Rc::new((value.clone(), Rc::clone(name)))));
        }
        let found = match value {
            Value::Undefined(_) => return self.of_undefined(value),
            Value::Dict(dict) => dict.borrow().get_str(name).cloned(),
            Value::Object(object) => self.object_attr(object, name)?,
            Value::DateTime(_) | Value::Date(_) | Value::Time(_) | Value::Delta(_) => {
                time::attr(value, name)?
            }
            Value::View(View::Group, pair) => match &**name {
                "grouper" => pair.first().cloned(),
                "list" => pair.get(1).cloned(),
                _ => None,
            },
            Value::Macro(of) if &**name == "name" => Some(Value::Str(Rc::clone(&of.def.name))),
            _ => None,
        };
        Ok(found.unwrap_or_else(|| {
            self.missing(format!("'{} object' has no attribute '{name}'", value.type_name()))
        }))
    }

    /// `value[key]`: an item, or else the attribute of that name.
    pub(super) fn item(&self, value: &Value, key: &Value) -> Result<Value> {
        self.defined(key)?;
        let at = |length: usize| {
            let index = key.as_int()?;
            usize::try_from(if index < 0 { index + length as i128 } else { index }).ok()
        };
        let found = match value {
            Value::Undefined(_) => return self.of_undefined(value),
            Value::Dict(dict) => dict.borrow().get(key).cloned(),
            Value::Object(Object::Thing(thing)) => thing.item(key),
            Value::List(items) => at(items.borrow().len()).and_then(|at| items.borrow().get(at).cloned()),
            Value::Tuple(items) | Value::View(View::Range | View::Group, items) => {
                at(items.len()).and_then(|at| items.get(at).cloned())
            }
            Value::Str(text) => at(value.len().unwrap_or(0))
                .and_then(|at| text.chars().nth(at))
                .map(|c| Value::str(c.encode_utf8(&mut [0; 4]) as &str)),
            _ => None,
        };
        match (found, key) {
            (Some(found), _) => Ok(found),
            (None, Value::Str(name)) => self.attr(value, name),
            (None, _) => {
                let key = super::show::repr(key)?;
                Ok(self.missing(format!("'{} object' has no element {key}", value.type_name())))
            }
        }
    }

    /// Calls something.
    pub(super) fn call(&self, callable: &Value, args: Args) -> Result<Value> {
        match callable {
            Value::Method(method) => self.method(&method.0, &method.1, args),
            Value::Macro(of) => self.call_macro(of, args),
            Value::Object(object) => self.call_object(object, args),
            other => {
                self.defined(other)?;
                fault(format!("'{}' object is not callable", other.type_name()))
            }
        }
    }

    fn method(&self, of: &Value, name: &str, args: Args) -> Result<Value> {
        let done = match of {
            Value::Str(own) => text::method(self, own, name, args)?,
            Value::List(_) | Value::Tuple(_) => self.sequence_method(of, name, args)?,
            Value::Dict(_) => self.dict_method(of, name, args)?,
            Value::DateTime(_) | Value::Date(_) | Value::Time(_) | Value::Delta(_) => {
                time::method(of, name, args)?
            }
            Value::Object(object) => self.object_method(object, name, args)?,
            _ => None,
        };
        done.map_or_else(
            || fault(format!("the method '{name}' of '{}' is not supported", of.type_name())),
            Ok,
        )
    }

    fn sequence_method(&self, of: &Value, name: &str, args: Args) -> Result<Option<Value>> {
        let items = of.items().unwrap_or_default();
        self.charge(items.len())?;
        if name == "count" || name == "index" {
            let [what] = args.take(name, ["value"])?;
            let what = needed("the value to look for", what)?;
            return match name {
                "count" => {
                    Ok(Some(Value::Int(items.iter().filter(|item| item.equals(&what)).count() as i128)))
                }
                _ => match items.iter().position(|item| item.equals(&what)) {
                    Some(place) => Ok(Some(Value::Int(place as i128))),
                    None => fault("the value is not in the list"),
                },
            };
        }
        let Value::List(list) = of else { return Ok(None) };
        Ok(Some(match name {
            "append" => {
                let [item] = args.take(name, ["object"])?;
                list.borrow_mut().push(needed("append()'s argument", item)?);
                Value::None
            }
            "extend" => {
                let [more] = args.take(name, ["iterable"])?;
                let more = self.iterate(&needed("extend()'s argument", more)?)?;
                list.borrow_mut().extend(more);
                Value::None
            }
            "insert" => {
                let [at, item] = args.take(name, ["index", "object"])?;
                let at = int("the index", &needed("the index", at)?)?;
                let len = items.len() as i128;
                let at = if at < 0 { at.saturating_add(len) } else { at }.clamp(0, len);
                list.borrow_mut().insert(at as usize, needed("the object", item)?);
                Value::None
            }
            "reverse" => {
                args.none(name)?;
                list.borrow_mut().reverse();
                Value::None
            }
            "copy" => {
                args.none(name)?;
                Value::list(items)
            }
            _ => return Ok(None),
        }))
    }

    fn dict_method(&self, of: &Value, name: &str, args: Args) -> Result<Option<Value>> {
        let Value::Dict(dict) = of else { return Ok(None) };
        self.charge(dict.borrow().0.len())?;
        Ok(Some(match name {
            "items" | "keys" | "values" | "copy" => {
                args.none(name)?;
                let dict = dict.borrow();
                let pairs = dict.0.iter();
                match name {
                    "keys" => Value::View(View::Keys, pairs.map(|(key, _)| key.clone()).collect()),
                    "values" => Value::View(View::Values, pairs.map(|(_, value)| value.clone()).collect()),
                    "items" => {
                        let pairs = pairs.map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()]));
                        Value::View(View::Items, pairs.collect())
                    }
                    _ => Value::dict(dict.0.clone()),
                }
            }
            "get" => {
                let [key, default] = args.take(name, ["key", "default"])?;
                let found = dict.borrow().get(&needed("get()'s key", key)?).cloned();
                found.or(default).unwrap_or(Value::None)
            }
            "setdefault" => {
                let [key, default] = args.take(name, ["key", "default"])?;
                let key = needed("setdefault()'s key", key)?;
                let found = dict.borrow().get(&key).cloned();
                match found {
                    Some(value) => value,
                    None => {
                        let default = default.unwrap_or(Value::None);
                        dict.borrow_mut().insert(key, default.clone())?;
                        default
                    }
                }
            }
            "pop" => {
                let [key, default] = args.take(name, ["key", "default"])?;
                let key = needed("pop()'s key", key)?;
                let place = dict.borrow().0.iter().position(|(own, _)| own.equals(&key));
                match (place, default) {
                    (Some(place), _) => dict.borrow_mut().0.remove(place).1,
                    (None, Some(default)) => default,
                    (None, None) => return fault(format!("there is no key {}", super::show::repr(&key)?)),
                }
            }
            "update" => {
                let more = self.call_object(&Object::Function("dict"), args)?;
                if let Value::Dict(more) = more {
                    let more = more.borrow().0.clone();
                    for (key, value) in more {
                        dict.borrow_mut().insert(key, value)?;
                    }
                }
                Value::None
            }
            _ => return Ok(None),
        }))
    }
}

/// Whether `value.name` is a method of Python's, supplied here or not.
pub fn is_method(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(_) | Value::Markup(_) => text::METHODS.contains(&name) || text::OTHER.contains(&name),
        Value::List(_) => LIST_METHODS.contains(&name) || OTHER_METHODS.contains(&name) || name == "pop",
        Value::Tuple(_) => TUPLE_METHODS.contains(&name),
        Value::Dict(_) => DICT_METHODS.contains(&name) || OTHER_METHODS[2..].contains(&name),
        Value::DateTime(_) | Value::Date(_) | Value::Time(_) | Value::Delta(_) => {
            time::is_method(value, name)
        }
        Value::Object(object) => has_method(object, name),
        _ => false,
    }
}
