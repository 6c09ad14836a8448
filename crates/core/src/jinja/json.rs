//! `json.dumps`, as Python writes it.

use std::rc::Rc;

use super::{
    fault::{Result, fault},
    show,
    value::Value,
};

/// How it is written.
pub struct Style {
    /// How far what is within is set in; without it, all is one line.
    pub indent: Option<usize>,
    /// Whether the keys are sorted.
    pub sort_keys: bool,
    /// Whether other letters are escaped.
    pub ascii: bool,
}

/// The value as JSON.
///
/// # Errors
///
/// Where it is none.
pub fn dumps(value: &Value, style: &Style) -> Result<String> {
    let mut out = String::new();
    write(value, style, 0, &mut out)?;
    Ok(out)
}

fn write(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<()> {
    if depth > 100 {
        return fault("a value that holds itself, or a hundred within each other, is no JSON");
    }
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) if number.is_finite() => out.push_str(&show::float(*number)),
        Value::Float(_) => return fault("a number that is not finite is no JSON"),
        Value::Str(text) | Value::Markup(text) => string(text, style, out),
        Value::List(items) => list(&items.borrow(), style, depth, out)?,
        Value::Tuple(items) => list(items, style, depth, out)?,
        Value::Dict(dict) => {
            let mut pairs = Vec::new();
            for (key, value) in &dict.borrow().0 {
                let Value::Str(key) = key else {
                    return fault("a dict with other keys than texts is not supported as JSON");
                };
                pairs.push((key.clone(), value.clone()));
            }
            if style.sort_keys {
                pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            let one = |(key, value): &(Rc<str>, Value), out: &mut String| {
                string(key, style, out);
                out.push_str(": ");
                write(value, style, depth + 1, out)
            };
            bracketed('{', &pairs, '}', one, style, depth, out)?;
        }
        Value::Undefined(undefined) => return fault(&*undefined.why),
        other => return fault(format!("Object of type {} is not JSON serializable", other.type_name())),
    }
    Ok(())
}

fn list(items: &[Value], style: &Style, depth: usize, out: &mut String) -> Result<()> {
    bracketed('[', items, ']', |item, out| write(item, style, depth + 1, out), style, depth, out)
}

fn bracketed<T>(
    open: char,
    items: &[T],
    close: char,
    mut one: impl FnMut(&T, &mut String) -> Result<()>,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Result<()> {
    out.push(open);
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = style.indent {
            out.push('\n');
            out.push_str(&" ".repeat((indent * depth).min(10_000)));
        }
    };
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push_str(if style.indent.is_some() { "," } else { ", " });
        }
        line(out, depth + 1);
        one(item, out)?;
    }
    if !items.is_empty() {
        line(out, depth);
    }
    out.push(close);
    Ok(())
}

fn string(text: &str, style: &Style, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' && style.ascii || style.ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
