//! Filters of lists, dicts and what else can be gone through.

use std::{cmp::Ordering, rc::Rc};

use crate::{
    jinja::{
        eval::Machine,
        fault::{Result, fault},
        macros::{Args, needed, size, text},
        text::cased,
        value::{Value, View},
    },
    nearest::did_you_mean,
};

/// All tests: those of Jinja2 3.1.
const TESTS: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Fails where there is no test of this name, as Jinja2 does when it reads a template.
pub(in crate::jinja) fn check_test(name: &str) -> Result<()> {
    if TESTS.contains(&name) {
        return Ok(());
    }
    fault(format!("there is no test `{name}`{}", did_you_mean(name, TESTS.iter().copied())))
}

impl Machine<'_> {
    /// Filters of what can be gone through; `None` where it is none of these.
    pub(super) fn sequence_filter(&self, name: &str, value: &Value, args: &Args) -> Result<Option<Value>> {
        let args = args.clone();
        Ok(Some(match name {
            "length" | "count" => {
                args.none(name)?;
                match value.len() {
                    Some(length) => Value::Int(length as i128),
                    None => return fault(format!("object of type '{}' has no len()", value.type_name())),
                }
            }
            "list" => args.none(name).and_then(|()| self.iterate(value)).map(Value::list)?,
            "first" | "last" => {
                args.none(name)?;
                if name == "last" && matches!(value, Value::Generator(_)) {
                    return fault("'generator' object is not reversible");
                }
                let items = self.iterate(value)?;
                let found = if name == "first" { items.first() } else { items.last() };
                found.cloned().unwrap_or_else(|| self.missing(format!("No {name} item, sequence was empty.")))
            }
            "reverse" => {
                args.none(name)?;
                match value {
                    Value::Str(text) => Value::str(text.chars().rev().collect::<String>()),
                    _ => Value::generator(self.iterate(value)?.into_iter().rev().collect()),
                }
            }
            "join" => self.join(value, args)?,
            "sum" => self.sum(value, args)?,
            "items" => match value {
                Value::Dict(dict) => {
                    args.none(name)?;
                    let pairs = dict.borrow();
                    let pairs =
                        pairs.0.iter().map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()]));
                    Value::generator(pairs.collect())
                }
                _ => return fault("Can only get item pairs from a mapping."),
            },
            "sort" | "min" | "max" | "unique" => self.ordered(name, value, args)?,
            "groupby" => self.group_by(value, args)?,
            "dictsort" => self.dictsort(value, args)?,
            "batch" | "slice" => self.parted(name, value, args)?,
            "map" => self.map(value, args)?,
            "select" | "reject" | "selectattr" | "rejectattr" => self.select(name, value, args)?,
            _ => return Ok(None),
        }))
    }

    fn join(&self, value: &Value, args: Args) -> Result<Value> {
        let [separator, attribute] = args.take("join", ["d", "attribute"])?;
        let separator = separator.map_or(Ok(String::new()), |separator| self.text(&separator))?;
        let mut out = String::new();
        for (place, item) in self.iterate(value)?.iter().enumerate() {
            if place > 0 {
                out.push_str(&separator);
            }
            let item = self.by_attribute(item, attribute.as_ref())?;
            let text = self.text(&item)?;
            self.charge(text.len() + separator.len())?;
            out.push_str(&text);
        }
        Ok(Value::str(out))
    }

    fn sum(&self, value: &Value, args: Args) -> Result<Value> {
        let [attribute, start] = args.take("sum", ["attribute", "start"])?;
        let mut sum = start.unwrap_or(Value::Int(0));
        for item in self.iterate(value)? {
            let item = self.by_attribute(&item, attribute.as_ref())?;
            if matches!(item, Value::Str(_) | Value::Markup(_)) {
                return fault("`sum` of texts is not possible; use `join`");
            }
            sum = self.binary(crate::jinja::syntax::Op::Add, &sum, &item)?;
        }
        Ok(sum)
    }

    /// `sort`, `min`, `max`, `unique`.
    fn ordered(&self, name: &str, value: &Value, args: Args) -> Result<Value> {
        let [reverse, cased, attribute] = match name {
            "sort" => args.take(name, ["reverse", "case_sensitive", "attribute"])?,
            _ => {
                let [cased, attribute] = args.take(name, ["case_sensitive", "attribute"])?;
                [None, cased, attribute]
            }
        };
        let flag = |value: Option<Value>| value.map_or(Ok(false), |value| value.truth());
        let (reverse, cased) = (flag(reverse)?, flag(cased)?);
        let mut keyed = Vec::new();
        for item in self.iterate(value)? {
            keyed.push((self.sort_key(&item, attribute.as_ref(), cased)?, item));
        }
        if name == "unique" {
            let mut seen: Vec<Value> = Vec::new();
            let mut kept = Vec::new();
            for (key, item) in keyed {
                self.charge(seen.len())?;
                if !seen.iter().any(|old| old.equals(&key)) {
                    seen.push(key);
                    kept.push(item);
                }
            }
            return Ok(Value::generator(kept));
        }
        self.sort_pairs(&mut keyed, reverse || name == "max")?;
        match name {
            "sort" => Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect())),
            _ => {
                let first = keyed.into_iter().next();
                Ok(first.map_or_else(
                    || self.missing("No aggregated item, sequence was empty.".into()),
                    |(_, item)| item,
                ))
            }
        }
    }

    /// `groupby`: pairs of what several items have in common, as the first of them has it, and these items.
    fn group_by(&self, value: &Value, args: Args) -> Result<Value> {
        let [attribute, default, cased] = args.take("groupby", ["attribute", "default", "case_sensitive"])?;
        let attribute = needed("groupby()'s attribute", attribute)?;
        let cased = cased.map_or(Ok(false), |cased| cased.truth())?;
        let default = default.filter(|default| !matches!(default, Value::None));
        let mut keyed = Vec::new();
        for item in self.iterate(value)? {
            let key = match (self.by_attribute(&item, Some(&attribute))?, &default) {
                (Value::Undefined(_), Some(default)) => default.clone(),
                (found, _) => found,
            };
            self.defined(&key)?;
            keyed.push((self.sort_key(&key, None, cased)?, Value::tuple(vec![key, item])));
        }
        self.sort_pairs(&mut keyed, false)?;
        let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
        for (folded, pair) in keyed {
            let [key, item] = <[Value; 2]>::try_from(pair.items().unwrap_or_default())
                .unwrap_or([Value::None, Value::None]);
            match groups.last_mut() {
                Some((own, _, items)) if own.equals(&folded) => items.push(item),
                _ => groups.push((folded, key, vec![item])),
            }
        }
        let group = |(_, key, items)| Value::View(View::Group, [key, Value::list(items)].into());
        Ok(Value::list(groups.into_iter().map(group).collect()))
    }

    /// Sorts, keeping the order of equals; an error where two have none.
    fn sort_pairs(&self, pairs: &mut [(Value, Value)], reverse: bool) -> Result<()> {
        self.charge(pairs.len().saturating_mul(pairs.len().max(2).ilog2() as usize))?;
        let mut wrong = None;
        pairs.sort_by(|(a, _), (b, _)| match a.order(b) {
            Ok(order) if reverse => order.reverse(),
            Ok(order) => order,
            Err(error) => {
                wrong.get_or_insert(error);
                Ordering::Equal
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    fn sort_key(&self, item: &Value, attribute: Option<&Value>, cased_too: bool) -> Result<Value> {
        let fold = |value: Value| match &value {
            Value::Str(text) if !cased_too => cased(text, "lower").map(Value::str),
            _ => Ok(value),
        };
        match attribute {
            // Several attributes, one after the other.
            Some(Value::Str(names)) if names.contains(',') => {
                let keys =
                    names.split(',').map(|name| fold(self.by_attribute(item, Some(&Value::str(name)))?));
                Ok(Value::list(keys.collect::<Result<_>>()?))
            }
            attribute => fold(self.by_attribute(item, attribute)?),
        }
    }

    /// The item itself, or what is at the end of a path of attributes and places in it.
    fn by_attribute(&self, item: &Value, attribute: Option<&Value>) -> Result<Value> {
        match attribute {
            None | Some(Value::None) => Ok(item.clone()),
            Some(Value::Str(path)) => path.split('.').try_fold(item.clone(), |value, part| {
                let key = part.parse::<i128>().map_or_else(|_| Value::str(part), Value::Int);
                self.item(&value, &key)
            }),
            Some(place) => self.item(item, place),
        }
    }

    fn dictsort(&self, value: &Value, args: Args) -> Result<Value> {
        let [cased, by, reverse] = args.take("dictsort", ["case_sensitive", "by", "reverse"])?;
        let cased = cased.map_or(Ok(false), |cased| cased.truth())?;
        let by = by.map(|by| text("by", &by)).transpose()?;
        let place = match by.as_deref() {
            None | Some("key") => 0,
            Some("value") => 1,
            Some(_) => return fault("You can only sort by either 'key' or 'value'"),
        };
        let Value::Dict(dict) = value else { return fault("dictsort needs a dict") };
        let pairs: Vec<(Value, Value)> = dict.borrow().0.clone();
        let mut keyed = Vec::new();
        for (key, value) in pairs {
            let of = if place == 0 { &key } else { &value };
            keyed.push((self.sort_key(of, None, cased)?, Value::tuple(vec![key.clone(), value.clone()])));
        }
        self.sort_pairs(&mut keyed, reverse.map_or(Ok(false), |reverse| reverse.truth())?)?;
        Ok(Value::list(keyed.into_iter().map(|(_, pair)| pair).collect()))
    }

    /// `batch` and `slice`.
    fn parted(&self, name: &str, value: &Value, args: Args) -> Result<Value> {
        let [count, fill] = args.take(name, ["count", "fill_with"])?;
        let count = size("the count", &needed("the count", count)?)?;
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let items = self.iterate(value)?;
        if count == 0 {
            return fault(format!("`{name}` needs a count above 0"));
        }
        self.charge(count)?;
        let mut parts: Vec<Vec<Value>> = Vec::new();
        if name == "batch" {
            parts.extend(items.chunks(count).map(<[Value]>::to_vec));
            if let (Some(last), Some(fill)) = (parts.last_mut(), fill) {
                last.resize(count, fill);
            }
        } else {
            let (each, more) = (items.len() / count, items.len() % count);
            let mut rest = &items[..];
            for place in 0..count {
                let (part, behind) = rest.split_at(each + usize::from(place < more));
                rest = behind;
                let mut part = part.to_vec();
                if let Some(fill) = fill.as_ref().filter(|_| place >= more) {
                    part.push(fill.clone());
                }
                parts.push(part);
            }
        }
        Ok(Value::generator(parts.into_iter().map(Value::list).collect()))
    }

    /// `map(filter, …)` and `map(attribute=…)`.
    fn map(&self, value: &Value, mut args: Args) -> Result<Value> {
        let items = self.iterate(value)?;
        if args.list.is_empty() {
            let [attribute, default] = args.take("map", ["attribute", "default"])?;
            let attribute = needed("map()'s filter or attribute", attribute)?;
            let one = |item: &Value| match (self.by_attribute(item, Some(&attribute))?, &default) {
                (Value::Undefined(_), Some(default)) => Ok(default.clone()),
                (found, _) => Ok(found),
            };
            return items.iter().map(one).collect::<Result<_>>().map(Value::generator);
        }
        let filter = text("map()'s filter", &args.list.remove(0))?;
        let mapped = items.into_iter().map(|item| self.filter(&filter, item, args.clone()));
        mapped.collect::<Result<_>>().map(Value::generator)
    }

    /// `select`, `reject`, `selectattr`, `rejectattr`.
    fn select(&self, name: &str, value: &Value, mut args: Args) -> Result<Value> {
        let attribute = if name.ends_with("attr") {
            if args.list.is_empty() {
                return fault(format!("`{name}` needs the attribute's name"));
            }
            Some(args.list.remove(0))
        } else {
            None
        };
        let test: Option<Rc<str>> =
            if args.list.is_empty() { None } else { Some(text("the test", &args.list.remove(0))?) };
        let wanted = name.starts_with("select");
        let mut kept = Vec::new();
        for item in self.iterate(value)? {
            let of = self.by_attribute(&item, attribute.as_ref())?;
            let holds = match &test {
                Some(test) => self.check(test, &of, args.clone())?,
                None => of.truth()?,
            };
            if holds == wanted {
                kept.push(item);
            }
        }
        Ok(Value::generator(kept))
    }

    /// `value is name(args)`.
    pub(in crate::jinja) fn check(&self, name: &str, value: &Value, args: Args) -> Result<bool> {
        use crate::jinja::syntax::Comparison;
        let comparison = match name {
            "eq" | "equalto" | "==" => Some(Comparison::Eq),
            "ne" | "!=" => Some(Comparison::Ne),
            "lt" | "lessthan" | "<" => Some(Comparison::Lt),
            "le" | "<=" => Some(Comparison::Le),
            "gt" | "greaterthan" | ">" => Some(Comparison::Gt),
            "ge" | ">=" => Some(Comparison::Ge),
            "in" => Some(Comparison::In),
            _ => None,
        };
        if let Some(comparison) = comparison {
            let [other] = args.take(name, ["other"])?;
            return self.compare(comparison, value, &needed("what to compare with", other)?);
        }
        if name == "divisibleby" {
            let [by] = args.take(name, ["num"])?;
            let rest = self.binary(crate::jinja::syntax::Op::Rem, value, &needed("the divisor", by)?)?;
            return Ok(rest.equals(&Value::Int(0)));
        }
        if name == "sameas" {
            let [other] = args.take(name, ["other"])?;
            let other = needed("what to compare with", other)?;
            return match (value, &other) {
                (Value::None | Value::Bool(_), _) | (_, Value::None | Value::Bool(_)) => {
                    Ok(value.type_name() == other.type_name() && value.equals(&other))
                }
                _ => fault("`sameas` is supported for true, false and none only"),
            };
        }
        args.none(name)?;
        Ok(match name {
            "defined" => !matches!(value, Value::Undefined(_)),
            "undefined" => matches!(value, Value::Undefined(_)),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
            "string" => matches!(value, Value::Str(_) | Value::Markup(_)),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => {
                value.len().is_some()
                    && !matches!(value, Value::View(View::Keys | View::Values | View::Items | View::Set, _))
            }
            "iterable" => value.len().is_some() || matches!(value, Value::Generator(_)),
            "callable" => matches!(value, Value::Method(_) | Value::Macro(_)),
            "escaped" => matches!(value, Value::Markup(_)),
            "filter" => value.as_str().is_some_and(|name| super::check_filter(name).is_ok()),
            "test" => value.as_str().is_some_and(|name| TESTS.contains(&name)),
            "odd" | "even" => {
                let rest = self.binary(crate::jinja::syntax::Op::Rem, value, &Value::Int(2))?;
                rest.equals(&Value::Int(i128::from(name == "odd")))
            }
            "lower" | "upper" => {
                let text = self.text(value)?;
                let low = text.chars().any(char::is_lowercase);
                let high = text.chars().any(char::is_uppercase);
                if name == "lower" { low && !high } else { high && !low }
            }
            other => return check_test(other).map(|()| false),
        })
    }
}
