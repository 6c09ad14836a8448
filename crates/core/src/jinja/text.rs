//! The methods of Python's `str`.

use std::rc::Rc;

use super::{
    eval::Machine,
    fault::{Result, fault},
    format,
    macros::{Args, int, needed, size, text},
    value::Value,
};

/// Those supplied here.
pub(super) const METHODS: &[&str] = &[
    "capitalize",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isdigit",
    "islower",
    "isspace",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// Those that are not: to call one is an error that says so.
pub const OTHER: &[&str] = &[
    "casefold",
    "encode",
    "expandtabs",
    "format_map",
    "isascii",
    "isdecimal",
    "isidentifier",
    "isnumeric",
    "isprintable",
    "istitle",
    "maketrans",
    "translate",
];

/// Calls a method; `None` where it is not supplied.
#[expect(clippy::too_many_lines, reason = "a table: one arm a method")]
pub(super) fn method(machine: &Machine<'_>, own: &str, name: &str, args: Args) -> Result<Option<Value>> {
    machine.charge(own.len())?;
    Ok(Some(match name {
        "upper" | "lower" | "capitalize" | "title" | "swapcase" => {
            args.none(name)?;
            Value::str(cased(own, name)?)
        }
        "isalnum" | "isalpha" | "isdigit" | "islower" | "isspace" | "isupper" => {
            args.none(name)?;
            Value::Bool(is(own, name)?)
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.take(name, ["chars"])?;
            Value::str(strip(own, name, chars)?)
        }
        "replace" => {
            let [old, new, count] = args.take(name, ["old", "new", "count"])?;
            let old = text("the old text", &needed("the old text", old)?)?;
            let new = text("the new text", &needed("the new text", new)?)?;
            let count = count.map(|count| int("the count", &count)).transpose()?.unwrap_or(-1);
            let replaced = usize::try_from(count)
                .map_or_else(|_| own.replace(&*old, &new), |count| own.replacen(&*old, &new, count));
            machine.charge(replaced.len())?;
            Value::str(replaced)
        }
        "split" | "rsplit" => {
            let [separator, most] = args.take(name, ["sep", "maxsplit"])?;
            let most = most.map(|most| int("maxsplit", &most)).transpose()?;
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let parts = match separator {
                None | Some(Value::None) => split_space(own, most, name == "rsplit"),
                Some(separator) => split_by(own, &text("sep", &separator)?, most, name == "rsplit")?,
            };
            machine.charge(parts.len())?;
            Value::list(parts.into_iter().map(Value::str).collect())
        }
        "splitlines" => {
            let [keep] = args.take(name, ["keepends"])?;
            let keep = keep.map(|keep| keep.truth()).transpose()?.unwrap_or(false);
            Value::list(lines(own, keep)?.into_iter().map(Value::str).collect())
        }
        "partition" | "rpartition" => {
            let [separator] = args.take(name, ["sep"])?;
            let separator = text("sep", &needed("sep", separator)?)?;
            if separator.is_empty() {
                return fault("empty separator");
            }
            let found =
                if name == "partition" { own.split_once(&*separator) } else { own.rsplit_once(&*separator) };
            let (before, middle, after) = match found {
                Some((before, after)) => (before, &*separator, after),
                None if name == "partition" => (own, "", ""),
                None => ("", "", own),
            };
            Value::tuple([before, middle, after].map(Value::str).to_vec())
        }
        "join" => {
            let [items] = args.take(name, ["iterable"])?;
            let mut joined = String::new();
            for (place, item) in machine.iterate(&needed("join()'s argument", items)?)?.iter().enumerate() {
                if place > 0 {
                    joined.push_str(own);
                }
                joined.push_str(&text(&format!("sequence item {place}"), item)?);
                machine.charge(joined.len() / (place + 1))?;
            }
            Value::str(joined)
        }
        "startswith" | "endswith" => {
            let [affix] = args.take(name, ["affix"])?;
            let affixes = match needed("the argument", affix)? {
                Value::Tuple(affixes) => affixes.to_vec(),
                one => vec![one],
            };
            let mut any = false;
            for affix in affixes {
                let affix = text(&format!("{name}'s argument"), &affix)?;
                any |= if name == "startswith" { own.starts_with(&*affix) } else { own.ends_with(&*affix) };
            }
            Value::Bool(any)
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = args.take(name, ["affix"])?;
            let affix = text("the argument", &needed("the argument", affix)?)?;
            let rest =
                if name == "removeprefix" { own.strip_prefix(&*affix) } else { own.strip_suffix(&*affix) };
            Value::str(rest.unwrap_or(own))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [what] = args.take(name, ["sub"])?;
            let what = text("the text to look for", &needed("the text to look for", what)?)?;
            search(own, name, &what)?
        }
        "zfill" => {
            let [width] = args.take(name, ["width"])?;
            let width = size("the width", &needed("the width", width)?)?;
            let (sign, digits) = match own.strip_prefix(['+', '-']) {
                Some(digits) => own.split_at(own.len() - digits.len()),
                None => ("", own),
            };
            let zeros = width.saturating_sub(own.chars().count());
            machine.charge(zeros)?;
            Value::str(format!("{sign}{}{digits}", "0".repeat(zeros)))
        }
        "ljust" | "rjust" | "center" => {
            let [width, fill] = args.take(name, ["width", "fillchar"])?;
            let width = size("the width", &needed("the width", width)?)?;
            let fill = fill.map(|fill| text("fillchar", &fill)).transpose()?.unwrap_or_else(|| " ".into());
            if fill.chars().count() != 1 {
                return fault("The fill character must be exactly one character long");
            }
            Value::str(pad(machine, own, name, width, &fill)?)
        }
        "format" => Value::str(format::str_format(machine, own, args)?),
        _ => return Ok(None),
    }))
}

/// `upper`, `lower`, `capitalize`, `title`, `swapcase`.
pub(super) fn cased(own: &str, how: &str) -> Result<String> {
    // Letters whose cases Python and Rust may not see alike: title case, and those of several letters.
    if own.chars().any(|c| {
        matches!(c, 'ß' | 'ŉ' | 'İ' | 'ı' | 'Σ' | 'ς' | 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{fb00}'..='\u{fb17}')
    }) {
        return fault(format!("{how} of a text with letters that have several cases is not supported"));
    }
    let upper = |c: char| c.to_uppercase();
    let lower = |c: char| c.to_lowercase();
    Ok(match how {
        "upper" => own.to_uppercase(),
        "lower" => own.to_lowercase(),
        "capitalize" => {
            let mut chars = own.chars();
            let first = chars.next().map(upper).into_iter().flatten();
            first.chain(chars.flat_map(lower)).collect()
        }
        "swapcase" => own
            .chars()
            .flat_map(|c| if c.is_uppercase() { lower(c).collect::<Vec<_>>() } else { upper(c).collect() })
            .collect(),
        _ => {
            let mut out = String::new();
            let mut within = false;
            for c in own.chars() {
                if within {
                    out.extend(lower(c))
                } else {
                    out.extend(upper(c))
                }
                within = c.is_alphabetic();
            }
            out
        }
    })
}

fn is(own: &str, what: &str) -> Result<bool> {
    if what == "isdigit" && !own.is_ascii() {
        return fault("isdigit() of other than ASCII is not supported");
    }
    let all = |test: fn(char) -> bool| !own.is_empty() && own.chars().all(test);
    Ok(match what {
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isdigit" => all(|c| c.is_ascii_digit()),
        "isspace" => all(char::is_whitespace),
        "islower" => own.chars().any(char::is_lowercase) && !own.chars().any(char::is_uppercase),
        _ => own.chars().any(char::is_uppercase) && !own.chars().any(char::is_lowercase),
    })
}

/// `strip`, `lstrip`, `rstrip`.
pub(super) fn strip<'a>(own: &'a str, side: &str, chars: Option<Value>) -> Result<&'a str> {
    let chars: Option<Rc<str>> = match chars {
        None | Some(Value::None) => None,
        Some(chars) => Some(text("chars", &chars)?),
    };
    let of = |c: char| match &chars {
        None => is_space(c),
        Some(chars) => chars.contains(c),
    };
    Ok(match side {
        "lstrip" => own.trim_start_matches(of),
        "rstrip" => own.trim_end_matches(of),
        _ => own.trim_matches(of),
    })
}

/// White space as Python has it: that of Unicode, and four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Splits at white space, at most so often; what is left over keeps the white space at its far end.
fn split_space(own: &str, most: usize, from_right: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = own;
    loop {
        rest = if from_right { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
        if rest.is_empty() {
            break;
        }
        if parts.len() == most {
            parts.push(rest.to_owned());
            break;
        }
        let part = if from_right { rest.rsplit(is_space).next() } else { rest.split(is_space).next() };
        let part = part.unwrap_or(rest);
        parts.push(part.to_owned());
        rest = if from_right { &rest[..rest.len() - part.len()] } else { &rest[part.len()..] };
    }
    if from_right {
        parts.reverse();
    }
    parts
}

fn split_by(own: &str, separator: &str, most: usize, from_right: bool) -> Result<Vec<String>> {
    if separator.is_empty() {
        return fault("empty separator");
    }
    let count = most.saturating_add(1);
    Ok(if from_right {
        let mut parts: Vec<String> = own.rsplitn(count, separator).map(str::to_owned).collect();
        parts.reverse();
        parts
    } else {
        own.splitn(count, separator).map(str::to_owned).collect()
    })
}

fn lines(own: &str, keep: bool) -> Result<Vec<String>> {
    if own.contains(['\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}']) {
        return fault("splitlines() of a text with unusual line ends is not supported");
    }
    let mut lines = Vec::new();
    let mut rest = own;
    while let Some(at) = rest.find(['\n', '\r']) {
        let behind = at + if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        lines.push(rest[..if keep { behind } else { at }].to_owned());
        rest = &rest[behind..];
    }
    if !rest.is_empty() {
        lines.push(rest.to_owned());
    }
    Ok(lines)
}

fn search(own: &str, how: &str, what: &str) -> Result<Value> {
    if how == "count" {
        let count = if what.is_empty() { own.chars().count() + 1 } else { own.matches(what).count() };
        return Ok(Value::Int(count as i128));
    }
    let place = if how.starts_with('r') { own.rfind(what) } else { own.find(what) };
    match place {
        Some(at) => Ok(Value::Int(own[..at].chars().count() as i128)),
        None if how.ends_with("find") => Ok(Value::Int(-1)),
        None => fault("substring not found"),
    }
}

/// `ljust`, `rjust`, `center`.
pub(super) fn pad(machine: &Machine<'_>, own: &str, how: &str, width: usize, fill: &str) -> Result<String> {
    let length = own.chars().count();
    let missing = width.saturating_sub(length);
    machine.charge(missing.saturating_mul(fill.len()))?;
    let left = match how {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd one to the left where the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(format!("{}{own}{}", fill.repeat(left), fill.repeat(missing - left)))
}
