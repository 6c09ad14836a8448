//! The filters: those of Jinja2 3.1 and those that Airflow adds.

mod layout;
mod sequences;

pub(super) use self::sequences::check_test;
use super::{
    eval::Machine,
    fault::{Result, fault},
    format, json,
    macros::{Args, int, needed, size, text},
    ops::escape,
    text::{self as texts, cased, pad, strip},
    time::strftime,
    value::{Mode, Value},
};
use crate::nearest::did_you_mean;

/// All filters that are supplied.
const FILTERS: &[&str] = &[
    "abs",
    "as_template",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "ds",
    "ds_nodash",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "ts",
    "ts_nodash",
    "ts_nodash_with_tz",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
];

/// Filters of Jinja2 that are not.
const OTHER: &[&str] = &["random", "striptags", "urlize", "xmlattr"];

/// Fails where there is no filter of this name, as Jinja2 does when it reads a template.
pub(super) fn check_filter(name: &str) -> Result<()> {
    if FILTERS.contains(&name) { Ok(()) } else { no_filter(name) }
}

fn no_filter<T>(name: &str) -> Result<T> {
    if OTHER.contains(&name) {
        return fault(format!("the filter `{name}` is not supported"));
    }
    fault(format!("there is no filter `{name}`{}", did_you_mean(name, FILTERS.iter().copied())))
}

impl Machine<'_> {
    /// `value | name(args)`.
    pub(super) fn filter(&self, name: &str, value: Value, args: Args) -> Result<Value> {
        if let "default" | "d" = name {
            return self.default(value, args);
        }
        let value = match &value {
            // An empty name is an empty text for those that Jinja2 lets have it; for the others it is an error.
            Value::Undefined(undefined)
                if undefined.mode != Mode::Strict
                    && matches!(name, "string" | "upper" | "lower" | "trim" | "length" | "list" | "join") =>
            {
                Value::str("")
            }
            _ => {
                self.defined(&value)?;
                value
            }
        };
        self.charge(value.len().unwrap_or(0))?;
        if let Some(text) = self.text_filter(name, &value, &args)? {
            return Ok(text);
        }
        if let Some(found) = self.sequence_filter(name, &value, &args)? {
            return Ok(found);
        }
        match name {
            "ds" | "ds_nodash" | "ts" | "ts_nodash" | "ts_nodash_with_tz" => {
                args.none(name)?;
                date(name, &value)
            }
            "as_template" => {
                args.none(name)?;
                self.as_template(&text("what is read as a template", &value)?)
            }
            "abs" => {
                args.none(name)?;
                match &value {
                    Value::Float(number) => Ok(Value::Float(number.abs())),
                    Value::Delta(delta) if delta.micros < 0 => self.negate(&value),
                    Value::Delta(_) => Ok(value),
                    _ => Ok(Value::Int(int("abs()'s argument", &value)?.abs())),
                }
            }
            "int" => to_int(&value, args),
            "float" => to_float(&value, args),
            "round" => round(&value, args),
            "filesizeformat" => layout::file_size(&value, args),
            "pprint" => {
                args.none(name)?;
                let pretty = layout::pretty(&value)?;
                self.charge(pretty.len())?;
                Ok(Value::str(pretty))
            }
            "attr" => {
                let [attr] = args.take(name, ["name"])?;
                let attr = text("the attribute's name", &needed("the attribute's name", attr)?)?;
                match &value {
                    Value::Dict(_) => Ok(self.missing(format!("a dict has no attribute '{attr}'"))),
                    _ => self.attr(&value, &attr),
                }
            }
            "tojson" => {
                let [indent] = args.take(name, ["indent"])?;
                let indent = indent.filter(|indent| !matches!(indent, Value::None));
                let indent = indent.map(|indent| size("indent", &indent)).transpose()?;
                let json = json::dumps(&value, &json::Style { indent, sort_keys: true, ascii: true })?;
                self.charge(json.len())?;
                let safe = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
                Ok(Value::Markup(safe.replace('\'', "\\u0027").into()))
            }
            other => no_filter(other),
        }
    }

    /// What a text comes to that is read as a template by itself, as Airflow does with the value of a variable that is an
    /// operator's argument when the file is read: it sees the context, and nothing of the template around it.
    fn as_template(&self, source: &str) -> Result<Value> {
        if !super::is_template(source) {
            return Ok(Value::str(super::without_last_line_end(source)));
        }
        let body = super::syntax::read(source).map_err(|mut error| {
            error.reason = format!("in a template that is a value here: {}", error.reason);
            error
        })?;
        self.render_value(&body)
    }

    fn default(&self, value: Value, args: Args) -> Result<Value> {
        let [default, boolean] = args.take("default", ["default_value", "boolean"])?;
        let by_truth = boolean.map(|boolean| boolean.truth()).transpose()?.unwrap_or(false);
        let absent = matches!(value, Value::Undefined(_)) || (by_truth && !value.truth()?);
        Ok(if absent { default.unwrap_or_else(|| Value::str("")) } else { value })
    }

    /// Filters of text; `None` where it is none.
    fn text_filter(&self, name: &str, value: &Value, args: &Args) -> Result<Option<Value>> {
        let known = matches!(
            name,
            "lower"
                | "upper"
                | "capitalize"
                | "title"
                | "trim"
                | "replace"
                | "center"
                | "indent"
                | "truncate"
                | "wordwrap"
                | "urlencode"
                | "wordcount"
                | "format"
                | "string"
                | "safe"
                | "escape"
                | "e"
                | "forceescape"
        );
        if !known {
            return Ok(None);
        }
        let args = args.clone();
        if name == "urlencode" {
            args.none(name)?;
            return self.urlencode(value).map(Some);
        }
        let own = self.text(value)?;
        if let (Value::Markup(_), "string" | "safe" | "escape" | "e" | "forceescape") = (value, name) {
            args.none(name)?;
            return Ok(Some(if name == "forceescape" {
                Value::Markup(escape(&own).into())
            } else {
                value.clone()
            }));
        }
        if matches!(value, Value::Markup(_)) && !matches!(name, "replace" | "wordcount") {
            return fault(format!("`{name}` of a text that is escaped already is not supported"));
        }
        Ok(Some(match name {
            "lower" | "upper" | "capitalize" => {
                args.none(name)?;
                Value::str(cased(&own, name)?)
            }
            "title" => {
                args.none(name)?;
                Value::str(title(&own)?)
            }
            "string" => args.none(name).map(|()| Value::str(own))?,
            "safe" => args.none(name).map(|()| Value::Markup(own.into()))?,
            "escape" | "e" | "forceescape" => args.none(name).map(|()| Value::Markup(escape(&own).into()))?,
            "trim" => {
                let [chars] = args.take(name, ["chars"])?;
                Value::str(strip(&own, "strip", chars)?)
            }
            "replace" => {
                let [old, new, count] = args.take(name, ["old", "new", "count"])?;
                let old = self.text(&needed("the old text", old)?)?;
                let new = self.text(&needed("the new text", new)?)?;
                let count = count.filter(|count| !matches!(count, Value::None)).unwrap_or(Value::Int(-1));
                let list = vec![Value::str(old), Value::str(new), count];
                return texts::method(self, &own, "replace", Args::of(list));
            }
            "center" => {
                let [width] = args.take(name, ["width"])?;
                let width = width.map(|width| size("the width", &width)).transpose()?.unwrap_or(80);
                Value::str(pad(self, &own, "center", width, " ")?)
            }
            "indent" => Value::str(self.indent(&own, args)?),
            "truncate" => truncate(&own, args)?,
            "wordwrap" if matches!(value, Value::Str(_)) => self.word_wrap(&own, args)?,
            "wordwrap" => return fault(format!("`wordwrap` needs a text, not {}", value.type_name())),
            "wordcount" => {
                args.none(name)?;
                let words = own.split(|c: char| !(c.is_alphanumeric() || c == '_'));
                Value::Int(words.filter(|word| !word.is_empty()).count() as i128)
            }
            _ => {
                let values = if args.named.is_empty() {
                    Value::tuple(args.list)
                } else if args.list.is_empty() {
                    Value::dict(
                        args.named.into_iter().map(|(name, value)| (Value::Str(name), value)).collect(),
                    )
                } else {
                    return fault("can't handle positional and keyword arguments at the same time");
                };
                Value::str(format::percent(self, &own, &values)?)
            }
        }))
    }

    fn indent(&self, own: &str, args: Args) -> Result<String> {
        let [width, first, blank] = args.take("indent", ["width", "first", "blank"])?;
        let width = match width {
            Some(Value::Str(text)) => text.to_string(),
            Some(width) => {
                let width = size("the width", &width)?;
                self.charge(width)?;
                " ".repeat(width)
            }
            None => " ".repeat(4),
        };
        let flag = |value: Option<Value>| value.map_or(Ok(false), |value| value.truth());
        let (first, blank) = (flag(first)?, flag(blank)?);
        self.charge(width.len().saturating_mul(own.matches('\n').count() + 1))?;
        let own = format!("{own}\n");
        let mut out = String::new();
        let lines = texts::method(self, &own, "splitlines", Args::default())?;
        for (place, line) in lines.and_then(|lines| lines.items()).unwrap_or_default().iter().enumerate() {
            let line = line.as_str().unwrap_or_default();
            if place > 0 {
                out.push('\n');
            }
            if (place == 0 && first) || (place > 0 && (blank || !line.is_empty())) {
                out.push_str(&width);
            }
            out.push_str(line);
        }
        Ok(out)
    }

    fn urlencode(&self, value: &Value) -> Result<Value> {
        let pairs = match value {
            Value::Dict(dict) => dict.borrow().0.clone(),
            Value::List(_) | Value::Tuple(_) | Value::View(..) | Value::Generator(_) => {
                let pair = |pair: Value| match &self.iterate(&pair)?[..] {
                    [key, value] => Ok((key.clone(), value.clone())),
                    _ => fault("urlencode needs pairs"),
                };
                self.iterate(value)?.into_iter().map(pair).collect::<Result<_>>()?
            }
            one => return Ok(Value::str(quote(&self.text(one)?, "/"))),
        };
        let part = |value: &Value| -> Result<String> { Ok(quote(&self.text(value)?, " ").replace(' ', "+")) };
        let pairs = pairs.iter().map(|(key, value)| Ok(format!("{}={}", part(key)?, part(value)?)));
        Ok(Value::str(pairs.collect::<Result<Vec<_>>>()?.join("&")))
    }
}

/// `urllib.parse.quote`.
pub fn quote(text: &str, safe: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Jinja2's own `title`: a word begins behind white space and opening signs.
fn title(own: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = own;
    let begins = |c: char| c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
    while !rest.is_empty() {
        let signs = rest.len() - rest.trim_start_matches(begins).len();
        out.push_str(&rest[..signs]);
        rest = &rest[signs..];
        let word = &rest[..rest.find(begins).unwrap_or(rest.len())];
        out.push_str(&cased(word, "capitalize")?);
        rest = &rest[word.len()..];
    }
    Ok(out)
}

fn truncate(own: &str, args: Args) -> Result<Value> {
    let [length, kill, end, leeway] = args.take("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = length.map(|length| size("the length", &length)).transpose()?.unwrap_or(255);
    let kill = kill.map(|kill| kill.truth()).transpose()?.unwrap_or(false);
    let end = end.map(|end| text("the end", &end)).transpose()?.unwrap_or_else(|| "...".into());
    let leeway = leeway.filter(|leeway| !matches!(leeway, Value::None));
    let leeway = leeway.map(|leeway| size("the leeway", &leeway)).transpose()?.unwrap_or(5);
    let Some(kept) = length.checked_sub(end.chars().count()) else {
        return fault(format!("expected length >= {}, got {length}", end.chars().count()));
    };
    if own.chars().count() <= length.saturating_add(leeway) {
        return Ok(Value::str(own));
    }
    let head: String = own.chars().take(kept).collect();
    let head = if kill { &*head } else { head.rsplit_once(' ').map_or(&*head, |(words, _)| words) };
    Ok(Value::str(format!("{head}{end}")))
}

/// Airflow's filters of dates.
fn date(name: &str, value: &Value) -> Result<Value> {
    let iso = |value: &Value| match value {
        Value::DateTime(time) => Ok(time.isoformat('T')),
        Value::Date(date) => Ok(date.to_string()),
        other => fault(format!("'{}' object has no attribute 'isoformat'", other.type_name())),
    };
    if matches!(value, Value::None) {
        return Ok(Value::None);
    }
    Ok(Value::str(match name {
        "ds" => strftime(value, "%Y-%m-%d")?,
        "ds_nodash" => strftime(value, "%Y%m%d")?,
        "ts" => iso(value)?,
        "ts_nodash" => strftime(value, "%Y%m%dT%H%M%S")?,
        _ => iso(value)?.replace(['-', ':'], ""),
    }))
}

fn to_int(value: &Value, args: Args) -> Result<Value> {
    let [default, base] = args.take("int", ["default", "base"])?;
    if base.is_some_and(|base| base.as_int() != Some(10)) {
        return fault("`int` to another base than 10 is not supported");
    }
    let whole = |number: f64| match number {
        number if !number.is_finite() => Ok(None),
        number if number.abs() < 1e30 => Ok(Some(number as i128)),
        _ => fault("this number is too large"),
    };
    let number = match value {
        Value::Str(text) => match python_number(text) {
            Some(text) => match text.parse::<i128>() {
                Ok(number) => Some(number),
                Err(_) => text.parse::<f64>().map_or(Ok(None), whole)?,
            },
            None => None,
        },
        Value::Float(number) => whole(*number)?,
        other => other.as_int(),
    };
    Ok(number.map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
}

fn to_float(value: &Value, args: Args) -> Result<Value> {
    let [default] = args.take("float", ["default"])?;
    let number = match value {
        Value::Str(text) => python_number(text).and_then(|text| text.parse::<f64>().ok()),
        other => other.as_float(),
    };
    Ok(number.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
}

/// A text that may be a number to Python: white space around it and underscores between digits are off.
fn python_number(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let between = |at: usize| {
        at > 0 && bytes[at - 1].is_ascii_digit() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    let fine = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || between(at));
    fine.then(|| text.replace('_', ""))
}

fn round(value: &Value, args: Args) -> Result<Value> {
    let [precision, method] = args.take("round", ["precision", "method"])?;
    let precision = precision.map(|precision| int("the precision", &precision)).transpose()?.unwrap_or(0);
    let method = method.map(|method| text("the method", &method)).transpose()?;
    let method = method.as_deref().unwrap_or("common");
    let Some(precision) = usize::try_from(precision).ok().filter(|precision| *precision <= 15) else {
        return fault("`round` is supported from 0 to 15 digits");
    };
    let Some(number) = value.as_float() else {
        return fault(format!("a {} can't be rounded", value.type_name()));
    };
    let power = 10f64.powi(precision as i32);
    Ok(match (method, value) {
        ("common", Value::Int(_)) => value.clone(),
        ("common", Value::Bool(_)) => Value::Int(value.as_int().unwrap_or(0)),
        ("common", _) => Value::Float(format!("{number:.precision$}").parse().unwrap_or(number)),
        ("ceil", _) => Value::Float((number * power).ceil() / power),
        ("floor", _) => Value::Float((number * power).floor() / power),
        _ => return fault("method must be common, ceil or floor"),
    })
}
