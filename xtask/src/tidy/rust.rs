//! Just enough of Rust's grammar for the style rules: what is code, comment and literal, and what is test code.
//!
//! It takes sources that compile. A parser crate would know more, and cost every CI run its build.

use std::ops::Range;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

pub struct Rust {
    /// The text with comments and literals blanked: every byte and line stays where it was.
    pub code: String,
    /// The text with literals alone blanked.
    pub code_and_comments: String,
    /// The bytes of `code` under `#[cfg(test)]`.
    test_code: Vec<Range<usize>>,
}

impl Rust {
    pub fn new(text: &str) -> Self {
        let kinds = kinds(text.as_bytes());
        let code = blank(text, |index| kinds[index] == Kind::Code);
        let code_and_comments = blank(text, |index| kinds[index] != Kind::Literal);
        let test_code = test_code(&code);
        Self { code, code_and_comments, test_code }
    }

    /// Whether the byte lies in a module or function under `#[cfg(test)]`.
    pub fn is_test(&self, byte: usize) -> bool {
        self.test_code.iter().any(|range| range.contains(&byte))
    }

    /// The number of the line that the byte lies in, counted from 1.
    pub fn line(&self, byte: usize) -> usize {
        self.code[..byte].matches('\n').count() + 1
    }

    /// The bytes at which `what` stands in code.
    pub fn find<'a>(&'a self, what: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.match_indices(what).map(|(byte, _)| byte)
    }
}

fn blank(text: &str, keep: impl Fn(usize) -> bool) -> String {
    let blanked =
        |(index, c): (usize, char)| if c == '\n' || keep(index) { (c, 1) } else { (' ', c.len_utf8()) };
    text.char_indices().map(blanked).flat_map(|(c, times)| std::iter::repeat_n(c, times)).collect()
}

/// What each byte of a source is part of.
fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Code; text.len()];
    let mut start = 0;
    while start < text.len() {
        let (kind, length) = token(text, start);
        let end = text.len().min(start + length);
        kinds[start..end].fill(kind);
        start = end;
    }
    kinds
}

/// The kind and the length of what begins at `start`.
fn token(text: &[u8], start: usize) -> (Kind, usize) {
    let rest = &text[start..];
    let in_word = start > 0 && is_word(text[start - 1]);
    match rest {
        [b'/', b'/', ..] => (Kind::Comment, rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => (Kind::Comment, block_comment(rest)),
        [b'"', ..] => (Kind::Literal, 1 + quoted(&rest[1..], b'"')),
        [b'r', b'"' | b'#', ..] if !in_word || is_string_prefix(text, start - 1) => match raw_string(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Code, 1),
        },
        [b'\'', b'\\', ..] => (Kind::Literal, 1 + quoted(&rest[1..], b'\'')),
        [b'\'', first, ..] => match rest.get(1 + utf8_length(*first)) {
            Some(b'\'') => (Kind::Literal, 2 + utf8_length(*first)),
            // The name of a lifetime or a label.
            Some(_) | None => (Kind::Code, 1),
        },
        _ => (Kind::Code, 1),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the byte is the `b` of `br"..."` or the `c` of `cr"..."`.
fn is_string_prefix(text: &[u8], at: usize) -> bool {
    matches!(text[at], b'b' | b'c') && (at == 0 || !is_word(text[at - 1]))
}

fn utf8_length(first: u8) -> usize {
    match first.leading_ones() {
        0 => 1,
        ones => ones as usize,
    }
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of what follows an opening quote, its closing quote included.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of a raw string, or nothing where `r` begins something else (`r#type`).
fn raw_string(text: &[u8]) -> Option<usize> {
    let hashes = text[1..].iter().take_while(|byte| **byte == b'#').count();
    let open = 1 + hashes;
    if text.get(open) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = &text[open + 1..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    Some(open + 1 + length + end.len())
}

/// The items under `#[cfg(test)]` or `#[cfg(all(test, ...))]`, from the attribute to the closing brace.
fn test_code(code: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(attribute) {
            let after = &code[start..];
            // An item that ends with a semicolon first has no body here: `mod tests;`, `use ...;`.
            let Some(open) = after.find(['{', ';']).filter(|at| after[*at..].starts_with('{')) else {
                continue;
            };
            ranges.push(start..start + open + closing_brace(&after[open..]));
        }
    }
    ranges
}

/// The length of a text from its opening brace to the brace that closes it.
fn closing_brace(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_told_from_code() {
        let cases = [
            ("a(); // b()", "a();       "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x \" y") + g"#, r"f(        ) + g"),
            (r##"f(r#"x " y"#) + g"##, r"f(          ) + g"),
            (r##"f(br#"x"#, b"y") + g"##, r"f(b      , b   ) + g"),
            ("r#type + bar\"x\"", "r#type + bar   "),
            ("f('\"', '\\'', 'ж') + g", "f(   ,     ,     ) + g"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("f(\"a\nb\") + g", "f(  \n  ) + g"),
        ];
        for (text, code) in cases {
            assert_eq!(Rust::new(text).code, code, "{text}");
            assert_eq!(Rust::new(text).code.len(), text.len(), "{text}");
        }
    }

    #[test]
    fn comments_stay_where_literals_alone_are_blanked() {
        assert_eq!(Rust::new("f(\"x\") // y").code_and_comments, "f(   ) // y");
    }

    #[test]
    fn a_source_that_ends_too_early_is_still_read() {
        for text in ["/* a", "\"a", "\"a\\", "r#\"a", "'", "'\\", "r", "#[cfg(test)]", "#[cfg(test)] mod a {"]
        {
            assert_eq!(Rust::new(text).code.len(), text.len(), "{text}");
        }
    }

    #[test]
    fn test_code_reaches_to_its_closing_brace() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { \"}\" }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\n{}";
        let rust = Rust::new(text);
        let is_test = |word: &str| rust.is_test(text.find(word).unwrap());
        assert!(is_test("fn b"));
        assert!(!is_test("fn a") && !is_test("fn c") && !is_test("{}"));
    }
}
