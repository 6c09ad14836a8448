//! A document's text, environment variables put in, and the way back from there to what was written.

use std::{borrow::Cow, cell::OnceCell};

use super::is_secret;

/// A text with its environment variables put in.
pub(super) struct Text<'a> {
    written: &'a str,
    expanded: Cow<'a, str>,
    pieces: Vec<Piece>,
    /// Where the lines of the written text begin; found when it is first asked.
    lines: OnceCell<Vec<usize>>,
}

/// A variable: where it stands in either text.
struct Piece {
    expanded: (usize, usize),
    written: (usize, usize),
}

impl<'a> Text<'a> {
    /// Puts variables in as dag-factory does (Python's `os.path.expandvars`): `$NAME` and `${NAME}`, where
    /// `variable` knows the name. Others stay as they are written.
    pub fn new(written: &'a str, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        // A mark of the byte order says nothing in UTF-8.
        let start = if written.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut expanded = String::new();
        let mut pieces = Vec::new();
        let mut copied = start;
        let mut at = start;
        while let Some(dollar) = written[at..].find('$').map(|found| at + found) {
            at = dollar + 1;
            let Some((name, end)) = name_at(written, at) else { continue };
            // Also where the name is not known, as in Python: nothing within `${…}` is looked at again.
            at = end;
            let Some(value) = variable(name) else { continue };
            expanded.push_str(&written[copied..dollar]);
            let from = expanded.len();
            expanded.push_str(&value);
            pieces.push(Piece { expanded: (from, expanded.len()), written: (dollar, end) });
            copied = end;
        }
        if pieces.is_empty() && start == 0 {
            let expanded = Cow::Borrowed(written);
            return Self { written, expanded, pieces, lines: OnceCell::new() };
        }
        if start > 0 {
            pieces.insert(0, Piece { expanded: (0, 0), written: (0, start) });
        }
        expanded.push_str(&written[copied..]);
        Self { written, expanded: Cow::Owned(expanded), pieces, lines: OnceCell::new() }
    }

    /// The text to be parsed.
    pub fn expanded(&self) -> &str {
        &self.expanded
    }

    /// The line and the column, both from 1, in the text as written, of a place in the expanded one.
    pub fn line_and_column(&self, offset: usize) -> (u32, u32) {
        let before = self.pieces.partition_point(|piece| piece.expanded.0 <= offset);
        let mut at = match before.checked_sub(1).map(|last| &self.pieces[last]) {
            None => offset,
            Some(piece) if offset < piece.expanded.1 => piece.written.0,
            Some(piece) => offset - piece.expanded.1 + piece.written.1,
        };
        at = at.min(self.written.len());
        while !self.written.is_char_boundary(at) {
            at -= 1;
        }
        let lines = self.lines.get_or_init(|| {
            let ends = self.written.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect()
        });
        let line = lines.partition_point(|start| *start <= at);
        let before = &self.written[lines[line - 1]..at];
        let column = before.chars().filter(|letter| *letter != '\u{feff}').count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

/// The first variable that a text still names.
pub(super) fn first_variable(text: &str) -> Option<&str> {
    text.match_indices('$').find_map(|(dollar, _)| name_at(text, dollar + 1)).map(|(name, _)| name)
}

/// What to do about a path on which nothing is found: `otherwise`, unless it still names a variable, which then is not set.
pub(super) fn mend_of_path(path: &str, otherwise: impl FnOnce() -> String) -> String {
    let Some(name) = first_variable(path) else { return otherwise() };
    if is_secret(name) {
        return format!("`${name}` holds a secret, and is not put into DAG files: write the path itself");
    }
    format!(
        "the environment variable {name} is not set where DAG files are read: set it there, or write the path itself"
    )
}

/// The name of the variable whose dollar stands just before `at`, and where its writing ends.
fn name_at(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = &text[at..];
    if let Some(braced) = rest.strip_prefix('{') {
        let end = braced.find('}')?;
        return Some((&braced[..end], at + end + 2));
    }
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
    (end > 0).then(|| (&rest[..end], at + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/opt/ada".into()),
            "TWO_LINES" => Some("a\nb".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn known_variables_are_put_in_and_others_stay() {
        let text = Text::new("$HOME ${HOME}x $HOMER $ $$HOME ${NOT ${EMPTY}.", &variable);
        assert_eq!(text.expanded(), "/opt/ada /opt/adax $HOMER $ $/opt/ada ${NOT ${EMPTY}.");
    }

    #[test]
    fn a_value_is_not_looked_through_again() {
        let again = |_: &str| Some("$HOME".to_owned());
        assert_eq!(Text::new("$A", &again).expanded(), "$HOME");
    }

    #[test]
    fn places_are_those_of_the_text_as_written() {
        let text = Text::new("a: $TWO_LINES\nbß: ${EMPTY} c", &variable);
        assert_eq!(text.expanded(), "a: a\nb\nbß:  c");
        assert_eq!(text.line_and_column(0), (1, 1));
        assert_eq!(text.line_and_column(5), (1, 4), "inside the value: where the variable stands");
        let c = text.expanded().len() - 1;
        assert_eq!(text.line_and_column(c), (2, 14));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        let text = Text::new("\u{feff}a: 1", &variable);
        assert_eq!(text.expanded(), "a: 1");
        assert_eq!(text.line_and_column(3), (1, 4));
    }
}
