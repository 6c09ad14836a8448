//! A document's text, environment variables put in, and the way back from there to what was written.

use std::{borrow::Cow, cell::OnceCell};

/// A text with its environment variables put in.
pub(super) struct Text<'a> {
    written: &'a str,
    expanded: Cow<'a, str>,
    pieces: Vec<Piece>,
    /// Variables that are known and are not put in: where they stand in the expanded text, and their names.
    withheld: Vec<(usize, &'a str)>,
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
    /// `variable` knows the name. Others stay as they are written, and so do secrets: whoever may write or see a DAG
    /// is not for that one who may see what the server knows.
    pub fn new(written: &'a str, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        // A mark of the byte order says nothing in UTF-8.
        let start = if written.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut expanded = String::new();
        let (mut pieces, mut withheld) = (Vec::new(), Vec::new());
        let mut copied = start;
        let mut at = start;
        while let Some(dollar) = written[at..].find('$').map(|found| at + found) {
            at = dollar + 1;
            let Some((name, end)) = name_at(written, at) else { continue };
            // Also where the name is not known, as in Python: nothing within `${…}` is looked at again.
            at = end;
            let Some(value) = variable(name) else { continue };
            if is_secret(name) {
                if !is_comment(&written[..dollar]) {
                    withheld.push((expanded.len() + dollar - copied, name));
                }
                continue;
            }
            expanded.push_str(&written[copied..dollar]);
            let from = expanded.len();
            expanded.push_str(&value);
            pieces.push(Piece { expanded: (from, expanded.len()), written: (dollar, end) });
            copied = end;
        }
        if pieces.is_empty() && start == 0 {
            let expanded = Cow::Borrowed(written);
            return Self { written, expanded, pieces, withheld, lines: OnceCell::new() };
        }
        if start > 0 {
            pieces.insert(0, Piece { expanded: (0, 0), written: (0, start) });
        }
        expanded.push_str(&written[copied..]);
        Self { written, expanded: Cow::Owned(expanded), pieces, withheld, lines: OnceCell::new() }
    }

    /// The text to be parsed.
    pub fn expanded(&self) -> &str {
        &self.expanded
    }

    /// The variables that are known and were not put in: where they stand in the expanded text, and their names.
    pub fn withheld(&self) -> &[(usize, &'a str)] {
        &self.withheld
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

/// Whether a variable tells by its name that it is a secret: of the server, of Airflow, or of whatever else the
/// environment is for.
fn is_secret(name: &str) -> bool {
    const BEGIN: [&str; 4] = ["UPDRAFT__", "AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"];
    const WITHIN: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL"];
    const WORDS: [&str; 4] = ["KEY", "KEYS", "APIKEY", "PWD"];
    let upper = name.to_ascii_uppercase();
    BEGIN.iter().any(|begin| upper.starts_with(begin))
        || WITHIN.iter().any(|part| upper.contains(part))
        // The shell's own `PWD` is a folder.
        || upper != "PWD" && upper.split('_').any(|word| WORDS.contains(&word))
}

/// Whether what comes after this text stands in a line that is a comment, of YAML or of a script.
fn is_comment(before: &str) -> bool {
    before.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#'))
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
    fn secrets_stay_as_they_are_written() {
        let any = |_: &str| Some("x".to_owned());
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "UPDRAFT__DATABASE__URL",
            "AIRFLOW_VAR_REGION",
            "PGPASSWORD",
            "key",
            "MYSQL_PWD",
        ] {
            let written = format!("$HOME é ${{{name}}}");
            let text = Text::new(&written, &any);
            assert_eq!(text.expanded(), format!("x é ${{{name}}}"));
            assert_eq!(text.withheld(), [(text.expanded().find('$').unwrap(), name)]);
        }
        for name in ["PWD", "OLDPWD", "KEYBOARD", "MONKEY", "AIRFLOW_HOME", "UPDRAFT_HOME"] {
            assert_eq!(Text::new(&format!("${name}"), &any).expanded(), "x", "{name}");
        }
        assert!(Text::new("a: 1\n  # $API_TOKEN", &any).withheld().is_empty(), "nobody sees a comment");
        assert!(
            Text::new("$API_TOKEN", &variable).withheld().is_empty(),
            "a shell's own is no secret of ours"
        );
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
