//! `'%s' % x` and `'{}'.format(x)`: values put into texts.

use std::{iter::Peekable, rc::Rc, str::Chars};

use super::{
    eval::Machine,
    fault::{Result, fault},
    macros::Args,
    show,
    value::Value,
};

/// How one value is to be written.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `template % values`.
pub(super) fn percent(machine: &Machine<'_>, template: &str, values: &Value) -> Result<String> {
    let list: Rc<[Value]> = match values {
        Value::Tuple(values) => Rc::clone(values),
        one => [one.clone()].into(),
    };
    let mut list = list.iter();
    let mut used_names = false;
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let name = if chars.next_if_eq(&'(').is_some() { Some(until(&mut chars, ')')?) } else { None };
        let spec = percent_spec(&mut chars)?;
        let value = match (name, values) {
            (Some(name), Value::Dict(dict)) => {
                used_names = true;
                match dict.borrow().get_str(&name) {
                    Some(value) => value.clone(),
                    None => return fault(format!("there is no key '{name}' to format")),
                }
            }
            (Some(_), _) => return fault("format requires a mapping"),
            (None, _) => match list.next() {
                Some(value) => value.clone(),
                None => return fault("not enough arguments for format string"),
            },
        };
        let text = percent_one(&spec, &value)?;
        machine.charge(text.len().max(spec.width))?;
        out.push_str(&padded(&spec, &text, '>'));
    }
    if list.next().is_some() && !used_names && !matches!(values, Value::Dict(_)) {
        return fault("not all arguments converted during string formatting");
    }
    Ok(out)
}

fn percent_spec(chars: &mut Peekable<Chars<'_>>) -> Result<Spec> {
    let mut spec = Spec::default();
    while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | ' ' | '0' | '#')) {
        match flag {
            '-' => spec.align = Some('<'),
            '0' if spec.align.is_none() => spec.fill = Some('0'),
            '#' => spec.alternate = true,
            '+' => spec.sign = Some('+'),
            _ => spec.sign = spec.sign.or(Some(' ')),
        }
    }
    spec.width = digits(chars)?.unwrap_or(0);
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(digits(chars)?.unwrap_or(0));
    }
    spec.kind = chars.next();
    if spec.fill == Some('0') {
        // Zeros go between the sign and the digits, and before numbers only.
        let number = !matches!(spec.kind, Some('s' | 'r' | 'c'));
        spec.fill = number.then_some('0');
        spec.align = number.then_some('=');
    }
    Ok(spec)
}

fn percent_one(spec: &Spec, value: &Value) -> Result<String> {
    match (spec.kind, value) {
        (Some('s'), _) => Ok(cut(&show::str(value)?, spec.precision)),
        (Some('r'), _) => Ok(cut(&show::repr(value)?, spec.precision)),
        (Some('d' | 'i' | 'u'), Value::Float(number)) if number.is_finite() && number.abs() < 1e18 => {
            integer(spec, *number as i128, 'd')
        }
        (Some('d' | 'i' | 'u'), _) => match value.as_int() {
            Some(number) => integer(spec, number, 'd'),
            None => fault(format!("%d format: a real number is required, not {}", value.type_name())),
        },
        (Some(kind @ ('x' | 'X' | 'o')), _) => match value.as_int() {
            Some(number) => integer(spec, number, kind),
            None => fault(format!("%{kind} format: an integer is required, not {}", value.type_name())),
        },
        (Some(kind @ ('f' | 'F' | 'e' | 'E')), _) => match value.as_float() {
            Some(number) => real(spec, number, kind),
            None => fault(format!("must be real number, not {}", value.type_name())),
        },
        (Some(kind), _) => fault(format!("the format %{kind} is not supported")),
        (None, _) => fault("incomplete format"),
    }
}

/// `template.format(…)`.
pub(super) fn str_format(machine: &Machine<'_>, template: &str, args: Args) -> Result<String> {
    let mut next = 0;
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.next_if_eq(&'{').is_some() => out.push('{'),
            '}' if chars.next_if_eq(&'}').is_some() => out.push('}'),
            '}' => return fault("Single '}' encountered in format string"),
            '{' => {
                let field = until(&mut chars, '}')?;
                if field.contains('{') {
                    return fault("fields within a format are not supported");
                }
                let (field, spec) = field.split_once(':').unwrap_or((&field, ""));
                let (name, conversion) = match field.split_once('!') {
                    Some((name, conversion)) => (name, Some(conversion)),
                    None => (field, None),
                };
                let value = argument(name, &args, &mut next)?;
                let text = match conversion {
                    None => format_one(&value, spec)?,
                    Some("s") => format_one(&Value::str(show::str(&value)?), spec)?,
                    Some("r") => format_one(&Value::str(show::repr(&value)?), spec)?,
                    Some(other) => return fault(format!("the conversion !{other} is not supported")),
                };
                machine.charge(text.len())?;
                out.push_str(&text);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn argument(name: &str, args: &Args, next: &mut usize) -> Result<Value> {
    if name.contains(['.', '[']) {
        return fault(format!("the field {{{name}}} is not supported: take the attribute before `format`"));
    }
    let found = if name.is_empty() {
        *next += 1;
        args.list.get(*next - 1)
    } else if let Ok(place) = name.parse::<usize>() {
        args.list.get(place)
    } else {
        args.named.iter().find(|(own, _)| &**own == name).map(|(_, value)| value)
    };
    found.cloned().map_or_else(|| fault(format!("there is no argument for the field {{{name}}}")), Ok)
}

/// `format(value, spec)`.
fn format_one(value: &Value, spec: &str) -> Result<String> {
    if spec.is_empty() {
        return show::str(value);
    }
    if let Value::DateTime(_) | Value::Date(_) | Value::Time(_) = value {
        return super::time::format_spec(value, spec);
    }
    let spec = read_spec(spec)?;
    match (spec.kind, value) {
        (None | Some('s'), Value::Str(text)) => Ok(padded(&spec, &cut(text, spec.precision), '<')),
        (None | Some('d' | 'x' | 'X' | 'o' | 'b'), Value::Int(number)) if spec.precision.is_none() => {
            Ok(padded(&spec, &integer(&spec, *number, spec.kind.unwrap_or('d'))?, '>'))
        }
        (Some(kind @ ('f' | 'F' | 'e' | 'E' | '%')), Value::Int(_) | Value::Float(_) | Value::Bool(_)) => {
            let number = value.as_float().unwrap_or(f64::NAN);
            Ok(padded(&spec, &real(&spec, number, kind)?, '>'))
        }
        _ => fault(format!("this format of a {} is not supported", value.type_name())),
    }
}

fn read_spec(text: &str) -> Result<Spec> {
    let mut spec = Spec::default();
    let mut chars = text.chars().peekable();
    let mut ahead = text.chars();
    if let (Some(fill), Some(align @ ('<' | '>' | '^' | '='))) = (ahead.next(), ahead.next()) {
        (spec.fill, spec.align) = (Some(fill), Some(align));
        chars.next();
        chars.next();
    } else {
        spec.align = chars.next_if(|c| matches!(c, '<' | '>' | '^' | '='));
    }
    spec.sign = chars.next_if(|c| matches!(c, '+' | '-' | ' '));
    spec.alternate = chars.next_if_eq(&'#').is_some();
    if chars.next_if_eq(&'0').is_some() && spec.align.is_none() {
        (spec.fill, spec.align) = (Some('0'), Some('='));
    }
    spec.width = digits(&mut chars)?.unwrap_or(0);
    spec.group = chars.next_if(|c| matches!(c, ',' | '_'));
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = digits(&mut chars)?;
    }
    spec.kind = chars.next();
    if chars.next().is_some() || spec.alternate || (spec.group.is_some() && spec.fill == Some('0')) {
        return fault(format!("the format {text:?} is not supported"));
    }
    Ok(spec)
}

fn digits(chars: &mut Peekable<Chars<'_>>) -> Result<Option<usize>> {
    let mut number = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
        number = Some(number.unwrap_or(0) * 10 + digit as usize);
        if number > Some(10_000) {
            return fault("a format may be at most 10000 wide");
        }
    }
    Ok(number)
}

fn until(chars: &mut Peekable<Chars<'_>>, end: char) -> Result<String> {
    let mut text = String::new();
    for c in chars.by_ref() {
        if c == end {
            return Ok(text);
        }
        text.push(c);
    }
    fault(format!("expected '{end}' before end of string"))
}

fn cut(text: &str, precision: Option<usize>) -> String {
    precision.map_or_else(|| text.to_owned(), |length| text.chars().take(length).collect())
}

fn signed(spec: &Spec, negative: bool, digits: String) -> String {
    match (negative, spec.sign) {
        (true, _) => format!("-{digits}"),
        (false, Some(sign @ ('+' | ' '))) => format!("{sign}{digits}"),
        (false, _) => digits,
    }
}

fn integer(spec: &Spec, number: i128, kind: char) -> Result<String> {
    let size = number.unsigned_abs();
    if spec.alternate {
        return fault("the flag # is not supported");
    }
    let mut digits = match kind {
        'x' => format!("{size:x}"),
        'X' => format!("{size:X}"),
        'o' => format!("{size:o}"),
        'b' => format!("{size:b}"),
        _ => size.to_string(),
    };
    if let Some(precision) = spec.precision {
        digits = format!("{digits:0>precision$}");
    }
    match (spec.group, kind) {
        (Some(group), 'd') => digits = grouped(&digits, group),
        (Some(_), _) => return fault("groups of digits are supported in decimals only"),
        (None, _) => {}
    }
    Ok(signed(spec, number < 0, digits))
}

fn real(spec: &Spec, number: f64, kind: char) -> Result<String> {
    if !number.is_finite() || spec.alternate {
        return fault("this format of a number that is not finite, or with #, is not supported");
    }
    let precision = spec.precision.unwrap_or(6);
    let size = number.abs();
    let mut digits = match kind {
        'e' | 'E' => {
            let text = format!("{size:.precision$e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}{kind}{sign}{:02}", exponent.abs())
        }
        '%' => format!("{:.precision$}%", size * 100.0),
        _ => format!("{size:.precision$}"),
    };
    if let Some(group) = spec.group {
        let (whole, rest) = match digits.find('.') {
            Some(at) => digits.split_at(at),
            None => (&*digits, ""),
        };
        digits = grouped(whole, group) + rest;
    }
    Ok(signed(spec, number.is_sign_negative(), digits))
}

fn grouped(digits: &str, group: char) -> String {
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(group);
        }
        out.push(digit);
    }
    out
}

fn padded(spec: &Spec, text: &str, default: char) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    let fill = spec.fill.unwrap_or(' ').to_string();
    let before = match spec.align.unwrap_or(default) {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    if spec.align == Some('=') {
        let digits = text.trim_start_matches(['+', '-', ' ']);
        let sign = &text[..text.len() - digits.len()];
        return format!("{sign}{}{digits}", fill.repeat(missing));
    }
    format!("{}{text}{}", fill.repeat(before), fill.repeat(missing - before))
}
