//! Templates that give more than text: what a template puts out, read as a Python literal
//! (`render_template_as_native_obj`).

use std::{iter::Peekable, str::Chars};

use super::{
    fault::{Result, fault},
    show,
    value::{Dict, Value},
};

/// Jinja2's `native_concat`: one value as it is, and all else as text, which is read as a Python literal if
/// it can be.
pub fn concat(mut values: Vec<Value>) -> Result<Value> {
    let text = match values.len() {
        0 => return Ok(Value::None),
        1 => match values.remove(0) {
            Value::Str(text) => text.to_string(),
            Value::Undefined(undefined) => return fault(&*undefined.why),
            other => return Ok(other),
        },
        _ => values.iter().map(show::str).collect::<Result<String>>()?,
    };
    // Python reads an expression from its first line on, and lets no blank stand before it.
    if text.starts_with([' ', '\t']) {
        return Ok(Value::str(text));
    }
    let mut reader = Reader { chars: text.trim_start_matches('\n').chars().peekable(), refused: None };
    match (reader.whole(), reader.refused) {
        (Some(_), Some(reason)) => fault(reason),
        (Some(value), None) => Ok(value),
        (None, _) => Ok(Value::str(text)),
    }
}

/// Reads what `ast.literal_eval` reads. `None`: it is no literal, and stays text.
struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    /// Why the literal, if it comes to be one, can't be had: Python reads it, and it is not supplied here.
    refused: Option<String>,
}

impl Reader<'_> {
    fn whole(&mut self) -> Option<Value> {
        let first = self.value(0)?;
        self.blank();
        let value = if self.eat(',') {
            let mut items = vec![first];
            loop {
                self.blank();
                if self.chars.peek().is_none() {
                    break;
                }
                items.push(self.value(0)?);
                self.blank();
                if !self.eat(',') {
                    break;
                }
            }
            Value::tuple(items)
        } else {
            first
        };
        while self.chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if self.eat('#') {
            return self.refuse("a comment behind a literal is not supported".into());
        }
        self.chars.peek().is_none().then_some(value)
    }

    /// Goes on as if this had been read.
    fn refuse(&mut self, reason: String) -> Option<Value> {
        self.refused = Some(reason);
        Some(Value::None)
    }

    fn blank(&mut self) {
        while self.chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
    }

    /// White space within brackets, where a line may end.
    fn space(&mut self) {
        while self.chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
    }

    fn eat(&mut self, c: char) -> bool {
        self.chars.next_if_eq(&c).is_some()
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        // Python's parser gives up here too.
        if depth > 200 {
            return None;
        }
        if depth > 0 {
            self.space()
        } else {
            self.blank()
        }
        match *self.chars.peek()? {
            '[' => {
                self.chars.next();
                self.items(']', depth).map(|(items, _)| Value::list(items))
            }
            '(' => {
                self.chars.next();
                let (mut items, comma) = self.items(')', depth)?;
                Some(if items.len() == 1 && !comma { items.remove(0) } else { Value::tuple(items) })
            }
            '{' => self.dict(depth),
            '\'' | '"' => self.strings(),
            sign @ ('+' | '-') => {
                self.chars.next();
                self.blank();
                match self.number()? {
                    Value::Int(number) if sign == '-' => Some(Value::Int(-number)),
                    Value::Float(number) if sign == '-' => Some(Value::Float(-number)),
                    number => Some(number),
                }
            }
            c if c.is_ascii_digit() || c == '.' => self.number(),
            c if c.is_alphabetic() || c == '_' => self.word(),
            _ => None,
        }
    }

    fn items(&mut self, close: char, depth: u32) -> Option<(Vec<Value>, bool)> {
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            self.space();
            if self.eat(close) {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            self.space();
            comma = self.eat(',');
        }
    }

    fn dict(&mut self, depth: u32) -> Option<Value> {
        self.chars.next();
        let (mut dict, mut comma) = (Dict::default(), true);
        loop {
            self.space();
            if self.eat('}') {
                return Some(Value::Dict(std::rc::Rc::new(std::cell::RefCell::new(dict))));
            }
            if !comma {
                return None;
            }
            let key = self.value(depth + 1)?;
            self.space();
            if !self.eat(':') {
                self.eat(',');
                self.items('}', depth)?;
                return self.refuse("a set has no form in JSON; write a list".into());
            }
            let value = self.value(depth + 1)?;
            dict.insert(key, value).ok()?;
            self.space();
            comma = self.eat(',');
        }
    }

    fn word(&mut self) -> Option<Value> {
        let mut word = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
        }
        match &*word {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::None),
            prefix if prefix.len() < 3 && matches!(self.chars.peek(), Some('\'' | '"')) => {
                self.strings()?;
                self.refuse(format!("a literal with the prefix {prefix} is not supported"))
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let mut text = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || matches!(c, '.' | '_')) {
            text.push(c);
            if matches!(c, 'e' | 'E')
                && !text.starts_with("0x")
                && let Some(sign) = self.chars.next_if(|c| matches!(c, '+' | '-'))
            {
                text.push(sign);
            }
        }
        let number = number_of(&text.to_lowercase())?;
        self.blank();
        if matches!(self.chars.peek(), Some('+' | '-')) {
            // A complex number, or no literal at all: 2026-01-01 is none.
            return None;
        }
        match number {
            Some(number) => Some(number),
            None => self.refuse(format!("the complex number {text} has no form in JSON; write a text")),
        }
    }

    /// A text, and those right behind it.
    fn strings(&mut self) -> Option<Value> {
        let mut text = String::new();
        while let Some(quote) = self.chars.next_if(|c| matches!(c, '\'' | '"')) {
            if self.chars.peek() == Some(&quote) {
                self.chars.next();
                if self.eat(quote) {
                    while self.chars.next_if(|c| *c != quote).is_some() {}
                    (self.eat(quote) && self.eat(quote) && self.eat(quote)).then_some(())?;
                    self.refuse("a literal in three quotes is not supported".into());
                }
            } else {
                self.string(quote, &mut text)?;
            }
            self.blank();
        }
        Some(Value::str(text))
    }

    fn string(&mut self, quote: char, text: &mut String) -> Option<()> {
        loop {
            match self.chars.next()? {
                c if c == quote => return Some(()),
                '\n' => return None,
                '\\' => match self.chars.next()? {
                    c @ ('\\' | '\'' | '"') => text.push(c),
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    other => {
                        self.refuse(format!("the escape \\{other} in a literal is not supported"));
                    }
                },
                c => text.push(c),
            }
        }
    }
}

/// A number as Python's source writes it ("Numeric literals" in its reference), in small letters. `None` where it is none;
/// `Some(None)` where it is imaginary.
fn number_of(text: &str) -> Option<Option<Value>> {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = text.strip_prefix(prefix) {
            let rest = digits(rest.strip_prefix('_').unwrap_or(rest), radix)?;
            return i128::from_str_radix(&rest, radix).ok().map(|number| Some(Value::Int(number)));
        }
    }
    if let Some(real) = text.strip_suffix('j') {
        return number_of(real).map(|_| None);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        let digits = digits(text, 10)?;
        let leading_zero = digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0');
        return digits.parse().ok().filter(|_| !leading_zero).map(|number| Some(Value::Int(number)));
    }
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        // One of both is enough.
        Some((whole, "")) => (digits(whole, 10)?, String::new()),
        Some(("", fraction)) => (String::new(), digits(fraction, 10)?),
        Some((whole, fraction)) => (digits(whole, 10)?, digits(fraction, 10)?),
        None => (digits(mantissa, 10)?, String::new()),
    };
    let exponent = match exponent {
        Some(exponent) => {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let sign = if exponent.starts_with('-') { "-" } else { "" };
            format!("{sign}{}", digits(unsigned, 10)?)
        }
        None => "0".into(),
    };
    format!("{whole}.{fraction}e{exponent}").parse().ok().map(|number| Some(Value::Float(number)))
}

/// Digits without the underscores that may stand between them.
fn digits(text: &str, radix: u32) -> Option<String> {
    let alone = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_digit(radix));
    text.split('_').all(alone).then(|| text.replace('_', ""))
}
