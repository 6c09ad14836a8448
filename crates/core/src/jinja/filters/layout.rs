//! Filters that lay something out for people to read: `filesizeformat`, `wordwrap`, `pprint`.

use std::{cell::RefCell, cmp::Ordering, rc::Rc};

use crate::jinja::{
    eval::Machine,
    fault::{Result, fault},
    macros::{Args, size, text},
    show::repr,
    value::{Dict, Value},
};

/// `filesizeformat`: `1.5 MB`, or with `binary` `1.4 MiB`.
pub(super) fn file_size(value: &Value, args: Args) -> Result<Value> {
    let [binary] = args.take("filesizeformat", ["binary"])?;
    let binary = binary.map_or(Ok(false), |binary| binary.truth())?;
    let number = match value {
        Value::Str(text) => super::python_number(text).and_then(|text| text.parse().ok()),
        other => other.as_float(),
    };
    let Some(bytes) = number else {
        return fault(format!("filesizeformat needs a number, not {}", repr(value)?));
    };
    let (base, infix, kilo) = if binary { (1024i128, "i", "K") } else { (1000, "", "k") };
    if bytes == 1.0 {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base as f64 {
        return Ok(Value::str(format!("{} Bytes", bytes as i64)));
    }
    let units = std::iter::successors(Some(base * base), |unit| Some(unit * base));
    let all = [kilo, "M", "G", "T", "P", "E", "Z", "Y"];
    let (last, _) = all.split_last().unwrap_or((&"Y", &[]));
    let found = all.iter().zip(units).find(|(prefix, unit)| (bytes as i128) < *unit || *prefix == last);
    let (prefix, unit) = found.unwrap_or((last, base));
    Ok(Value::str(format!("{:.1} {prefix}{infix}B", base as f64 * bytes / unit as f64)))
}

impl Machine<'_> {
    /// `wordwrap`: no line longer than `width`.
    pub(super) fn word_wrap(&self, own: &str, args: Args) -> Result<Value> {
        let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
        let [width, long, between, hyphens] = args.take("wordwrap", names)?;
        let width = width.map_or(Ok(79), |width| size("the width", &width))?;
        let flag = |value: Option<Value>| value.map_or(Ok(true), |value| value.truth());
        let (long, hyphens) = (flag(long)?, flag(hyphens)?);
        let between = between.filter(|between| !matches!(between, Value::None));
        let between = between.map_or(Ok("\n".into()), |between| text("the wrapstring", &between))?;
        if width == 0 {
            return fault("wordwrap needs a width above 0");
        }
        let lines = crate::jinja::text::method(self, own, "splitlines", Args::default())?;
        let mut wrapped = Vec::new();
        for line in lines.and_then(|lines| lines.items()).unwrap_or_default() {
            let line: Vec<char> = line.as_str().unwrap_or_default().chars().collect();
            self.charge(line.len().saturating_mul(2))?;
            wrapped.push(wrap(&line, width, long, hyphens).join(&between));
        }
        let wrapped = wrapped.join(&between);
        self.charge(wrapped.len())?;
        Ok(Value::str(wrapped))
    }
}

/// What `textwrap.wrap` calls white space.
fn is_space(c: &char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_blank(chunk: &[char]) -> bool {
    chunk.iter().all(|c| c.is_whitespace())
}

/// The lines that one is broken into, as `textwrap.wrap` breaks it.
fn wrap(line: &[char], width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let (mut chunks, mut at) = (Vec::new(), 0);
    while at < line.len() {
        let end = chunk_end(line, at, hyphens);
        chunks.push(&line[at..end]);
        at = end;
    }
    chunks.reverse();
    let mut lines: Vec<String> = Vec::new();
    while let Some(first) = chunks.last().copied() {
        if is_blank(first) && !lines.is_empty() {
            chunks.pop();
        }
        let (mut own, mut length) = (Vec::new(), 0);
        while let Some(chunk) = chunks.pop_if(|chunk| length + chunk.len() <= width) {
            length += chunk.len();
            own.push(chunk);
        }
        if let Some(long) = chunks.pop_if(|chunk| chunk.len() > width) {
            let room = width - length;
            if break_long {
                let head = &long[..room];
                let hyphen = head.iter().rposition(|c| *c == '-');
                let hyphen = hyphen.filter(|at| hyphens && long[..*at].iter().any(|c| *c != '-'));
                let (head, rest) = long.split_at(hyphen.map_or(room, |at| at + 1));
                own.push(head);
                chunks.push(rest);
            } else if own.is_empty() {
                own.push(long);
            } else {
                chunks.push(long);
            }
        }
        if own.last().is_some_and(|chunk| is_blank(chunk)) {
            own.pop();
        }
        if !own.is_empty() {
            lines.push(own.concat().into_iter().collect());
        }
    }
    lines
}

/// Where the piece ends that begins here and is broken only where it is longer than a line: white space, a word, a part
/// of one up to a hyphen, a dash.
fn chunk_end(line: &[char], start: usize, hyphens: bool) -> usize {
    let run = |of: &dyn Fn(&char) -> bool| {
        start + line[start..].iter().position(|c| !of(c)).unwrap_or(line.len() - start)
    };
    if is_space(&line[start]) {
        return run(&is_space);
    }
    let end = run(&|c| !is_space(c));
    if !hyphens {
        return end;
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let punctuated = |c: char| word(c) || "!\"'&.,?".contains(c);
    let is_letter =
        |at: Option<usize>| at.and_then(|at| line.get(at)).is_some_and(|c| word(*c) && !c.is_numeric());
    // Two dashes or more between words.
    let dash = |at: usize| {
        if at == 0 || !punctuated(line[at - 1]) {
            return None;
        }
        let end = at + line[at..].iter().take_while(|c| **c == '-').count();
        (end > at + 1 && line.get(end).is_some_and(|c| word(*c))).then_some(end)
    };
    if let Some(end) = dash(start) {
        return end;
    }
    let back = |at: usize, by: usize| at.checked_sub(by);
    for at in start + 1..end {
        if dash(at).is_some() {
            return at;
        }
        let behind_letters = is_letter(back(at, 1)) && is_letter(back(at, 2));
        let behind_one = || {
            let of_word = back(at, 1).is_some_and(|at| punctuated(line[at]));
            of_word && back(at, 2).is_some_and(|at| line[at] == '-') && is_letter(back(at, 3))
        };
        let after = at + 1 + usize::from(line.get(at + 2) == Some(&'-'));
        let before_letters = is_letter(Some(at + 1)) && is_letter(Some(after + 1));
        if line[at] == '-' && before_letters && (behind_letters || behind_one()) {
            return at + 1;
        }
    }
    end
}

/// So wide are the lines of `pprint`, unless what is in them is wider.
const WIDTH: usize = 80;

/// `pprint`: as Python's `pprint.pformat` lays it out.
pub(super) fn pretty(value: &Value) -> Result<String> {
    let mut out = String::new();
    pretty_into(&sorted(value, 0)?, (0, 0), &mut out)?;
    Ok(out)
}

/// The same with the keys of all dicts in order.
fn sorted(value: &Value, depth: u32) -> Result<Value> {
    if depth > 100 {
        return fault("a value that holds itself, or a hundred within each other, can't be shown");
    }
    let all = |items: &[Value]| items.iter().map(|item| sorted(item, depth + 1)).collect::<Result<Vec<_>>>();
    Ok(match value {
        Value::List(items) => Value::list(all(&items.borrow())?),
        Value::Tuple(items) => Value::tuple(all(items)?),
        Value::Dict(dict) => {
            let (mut pairs, mut unordered) = (dict.borrow().0.clone(), None);
            pairs.sort_by(|(a, _), (b, _)| {
                a.order(b).unwrap_or_else(|error| {
                    unordered.get_or_insert(error);
                    Ordering::Equal
                })
            });
            if let Some(error) = unordered {
                return Err(error);
            }
            let pairs = pairs.into_iter().map(|(key, value)| Ok((key, sorted(&value, depth + 1)?)));
            Value::Dict(Rc::new(RefCell::new(Dict(pairs.collect::<Result<_>>()?))))
        }
        other => other.clone(),
    })
}

/// Writes a value that begins behind so much, and has to leave so much behind itself.
fn pretty_into(value: &Value, (indent, allowance): (usize, usize), out: &mut String) -> Result<()> {
    let plain = repr(value)?;
    if plain.chars().count() + indent + allowance <= WIDTH {
        out.push_str(&plain);
        return Ok(());
    }
    let each = |items: &[(String, &Value)], open: char, close: &str, out: &mut String| -> Result<()> {
        out.push(open);
        for (place, (key, item)) in items.iter().enumerate() {
            if place > 0 {
                out.push_str(",\n");
                out.push_str(&" ".repeat(indent + 1));
            }
            out.push_str(key);
            let last = place + 1 == items.len();
            let room = if last { allowance + close.len() } else { 1 };
            pretty_into(item, (indent + 1 + key.chars().count(), room), out)?;
        }
        out.push_str(close);
        Ok(())
    };
    let plainly =
        |items: &[Value]| items.iter().map(|item| (String::new(), item.clone())).collect::<Vec<_>>();
    let (items, open, close) = match value {
        Value::List(items) => (plainly(&items.borrow()), '[', "]"),
        Value::Tuple(items) => (plainly(items), '(', if items.len() == 1 { ",)" } else { ")" }),
        Value::Dict(dict) => {
            let key = |(key, value): &(Value, Value)| Ok((repr(key)? + ": ", value.clone()));
            (dict.borrow().0.iter().map(key).collect::<Result<_>>()?, '{', "}")
        }
        Value::Str(text) if text.contains(char::is_whitespace) => {
            return fault(
                "`pprint` of a text that is longer than a line is not supported: use `tojson(indent=2)`",
            );
        }
        _ => {
            out.push_str(&plain);
            return Ok(());
        }
    };
    let items: Vec<_> = items.iter().map(|(key, item)| (key.clone(), item)).collect();
    each(&items, open, close, out)
}
