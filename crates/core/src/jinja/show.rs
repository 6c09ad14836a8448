//! Values as text: Python's `str` and `repr`.

use std::fmt::Write;

use super::{
    fault::{Result, fault},
    value::{Mode, Value, View},
};

/// `str(value)`.
pub(super) fn str(value: &Value) -> Result<String> {
    match value {
        Value::Str(text) | Value::Markup(text) => Ok(text.to_string()),
        Value::Undefined(undefined) if undefined.mode != Mode::Strict => Ok(String::new()),
        Value::DateTime(time) => Ok(time.isoformat(' ')),
        Value::Date(date) => Ok(date.to_string()),
        Value::Time(time) => Ok(super::time::clock(*time)),
        Value::Delta(delta) => delta.show(),
        Value::Object(object) => object.show(),
        _ => {
            let mut out = String::new();
            repr_into(value, &mut out, 0)?;
            Ok(out)
        }
    }
}

/// `repr(value)`.
pub(super) fn repr(value: &Value) -> Result<String> {
    let mut out = String::new();
    repr_into(value, &mut out, 0)?;
    Ok(out)
}

fn repr_into(value: &Value, out: &mut String, depth: u32) -> Result<()> {
    if depth > 100 {
        return fault("a value that holds itself, or a hundred within each other, can't be shown");
    }
    match value {
        Value::Undefined(undefined) => return fault(&*undefined.why),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(number) => _ = write!(out, "{number}"),
        Value::Float(number) => out.push_str(&float(*number)),
        Value::Str(text) => quoted(text, out),
        Value::List(items) => sequence("[", &items.borrow(), "]", out, depth)?,
        Value::Tuple(items) if items.len() == 1 => sequence("(", items, ",)", out, depth)?,
        Value::Tuple(items) | Value::View(View::Group, items) => sequence("(", items, ")", out, depth)?,
        Value::View(View::Set, items) if items.is_empty() => out.push_str("set()"),
        Value::View(View::Set, items) if items.len() == 1 => sequence("{", items, "}", out, depth)?,
        Value::View(View::Set, _) => {
            return fault("a set has no order to be shown in: write `| sort`, or `| sort | join(', ')`");
        }
        Value::Dict(dict) => {
            out.push('{');
            for (place, (key, value)) in dict.borrow().0.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                repr_into(key, out, depth + 1)?;
                out.push_str(": ");
                repr_into(value, out, depth + 1)?;
            }
            out.push('}');
        }
        Value::View(View::Range, items) => {
            let step = match &**items {
                [Value::Int(a), Value::Int(b), ..] => b - a,
                _ => 1,
            };
            match (items.first(), step) {
                (Some(Value::Int(0)), 1) => _ = write!(out, "range(0, {})", items.len()),
                // What the range was made of can't be told from its items.
                _ => return fault("a range can't be shown; make a list of it (`| list`)"),
            }
        }
        Value::View(view, items) => {
            out.push_str(match view {
                View::Keys => "dict_keys(",
                View::Values => "dict_values(",
                View::Items | View::Range | View::Group | View::Set => "dict_items(",
            });
            sequence("[", items, "])", out, depth)?;
        }
        Value::Markup(_)
        | Value::Generator(_)
        | Value::DateTime(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Delta(_)
        | Value::Object(_)
        | Value::Macro(_)
        | Value::Method(_) => {
            let what = value.type_name();
            return fault(format!("a {what} can't be shown here; make a list or a string of it first"));
        }
    }
    Ok(())
}

fn sequence(open: &str, items: &[Value], close: &str, out: &mut String, depth: u32) -> Result<()> {
    out.push_str(open);
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        repr_into(item, out, depth + 1)?;
    }
    out.push_str(close);
    Ok(())
}

/// `repr` of a float: the shortest digits that give it back, with an exponent from 1e16 on and below 1e-4.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = number.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// `repr` of a text: in single quotes, unless it has those and no double ones.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x100 => _ = write!(out, "\\x{:02x}", c as u32),
            c if (c as u32) < 0x1_0000 => _ = write!(out, "\\u{:04x}", c as u32),
            c => _ = write!(out, "\\U{:08x}", c as u32),
        }
    }
    out.push(quote);
}

/// What Python shows as it is: no control and format characters, and no spaces but the plain one.
fn is_printable(c: char) -> bool {
    let format = matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || format)
}
