//! The text of SQL, as far as it has to be read: where statements end, and where parameters stand.

use serde_json::{Map, Value};

use super::session::postgres::literal;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

impl Dialect {
    /// Where what begins at this place ends, where that is a string, a quoted name or a comment: in these nothing
    /// is a statement's end or a parameter.
    pub(super) fn skip(self, text: &str, at: usize) -> Option<usize> {
        let rest = &text[at..];
        let first = rest.chars().next()?;
        let backslash = match self {
            Self::MySql => true,
            Self::Postgres => is_escape_string(&text[..at]),
            Self::Sqlite => false,
        };
        let length = match first {
            '\'' => quoted(rest, '\'', backslash),
            '"' => quoted(rest, '"', self == Self::MySql),
            '`' if self != Self::Postgres => quoted(rest, '`', false),
            '[' if self == Self::Sqlite => quoted(rest, ']', false),
            '-' if rest.starts_with("--") => line(rest),
            '#' if self == Self::MySql => line(rest),
            '/' if rest.starts_with("/*") => comment(rest, self == Self::Postgres),
            '$' if self == Self::Postgres => dollar_quoted(rest)?,
            _ => return None,
        };
        Some(at + length)
    }
}

/// Whether the quote behind this text begins a string of the form `E'…'`.
fn is_escape_string(before: &str) -> bool {
    let mut letters = before.chars().rev();
    matches!(letters.next(), Some('e' | 'E')) && !letters.next().is_some_and(is_of_a_name)
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

/// The length of what is quoted, with its quotes; to the end of the text where nothing ends it.
fn quoted(text: &str, end: char, backslash: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && backslash {
            letters.next();
        } else if letter == end {
            // Twice, it stands for itself.
            if letters.next_if(|(_, next)| *next == end).is_none() {
                return at + end.len_utf8();
            }
        }
    }
    text.len()
}

fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn comment(text: &str, nested: bool) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        let Some(next) = text[at..].find(['*', '/']).map(|next| at + next) else { return text.len() };
        at = if text[next..].starts_with("*/") {
            depth -= 1;
            next + 2
        } else if nested && text[next..].starts_with("/*") {
            depth += 1;
            next + 2
        } else {
            next + 1
        };
    }
    at
}

/// The length of `$$…$$` or `$tag$…$tag$`, where it is that.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = text[1..].find('$').map(|end| &text[..end + 2])?;
    let name = &tag[1..tag.len() - 1];
    let is_tag = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
        && !name.starts_with(char::is_numeric);
    let end = |after: usize| after + 2 * tag.len();
    is_tag.then(|| text[tag.len()..].find(tag).map_or(text.len(), end))
}

/// The statements of a text, each without the semicolon behind it.
pub(super) fn split(text: &str, dialect: Dialect) -> Vec<String> {
    let mut statements = Vec::new();
    let (mut begin, mut at, mut has_code) = (0, 0, false);
    while let Some(letter) = text[at..].chars().next() {
        if let Some(end) = dialect.skip(text, at) {
            has_code |= !is_comment(&text[at..end], dialect);
            at = end;
            continue;
        }
        if letter == ';' {
            if has_code {
                statements.push(text[begin..at].trim().to_owned());
            }
            (begin, has_code) = (at + 1, false);
        } else {
            has_code |= !letter.is_whitespace();
        }
        at += letter.len_utf8();
    }
    if has_code {
        statements.push(text[begin..].trim().to_owned());
    }
    statements
}

fn is_comment(text: &str, dialect: Dialect) -> bool {
    // What MySQL has in `/*! … */` is carried out.
    (text.starts_with("--") || text.starts_with('#') || text.starts_with("/*"))
        && !(dialect == Dialect::MySql && text.starts_with("/*!"))
}

/// Whether the last statement of a text is one that gives rows, be they none.
pub(super) fn gives_rows(text: &str, dialect: Dialect) -> bool {
    let Some(last) = split(text, dialect).pop() else { return false };
    let (mut code, mut at) = (String::new(), 0);
    while let Some(letter) = last[at..].chars().next() {
        match dialect.skip(&last, at) {
            Some(end) => {
                code.push(' ');
                at = end;
            }
            None => {
                code.push(letter);
                at += letter.len_utf8();
            }
        }
    }
    let words = code.split(|letter| !is_of_a_name(letter)).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    let queries = [
        "select", "with", "values", "table", "show", "explain", "describe", "desc", "pragma", "fetch", "call",
    ];
    words.first().is_some_and(|first| queries.contains(&&**first))
        || words.iter().any(|word| word == "returning")
}

/// What is bound to a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Parameters {
    /// Nothing: then the text is sent as it is, and a `%` in it means nothing.
    #[default]
    None,
    /// In the order in which they stand.
    List(Vec<Value>),
    /// By their names.
    Named(Map<String, Value>),
}

/// A text with the placeholders of its database, and the values for these in their order; in PostgreSQL with literals
/// in their place. They are written as Airflow's own drivers have it: `%s` and `%(name)s` (and `%%` for a `%`) in
/// PostgreSQL and MySQL, `?` and `:name` in SQLite. The error says what does not fit.
pub(super) fn place(
    text: &str,
    dialect: Dialect,
    parameters: &Parameters,
) -> Result<(String, Vec<Value>), String> {
    let mut placing =
        Placing { dialect, parameters, values: Vec::new(), out: String::with_capacity(text.len()) };
    let mut at = 0;
    while at < text.len() {
        at = match dialect.skip(text, at) {
            Some(end) => {
                placing.quoted(&text[at..end])?;
                end
            }
            None => at + placing.code(text, at)?,
        };
    }
    let Placing { values, out, .. } = placing;
    match parameters {
        Parameters::List(given) if given.len() != values.len() => Err(format!(
            "has {} placeholders for {} parameters: `%s` stands for one in PostgreSQL and MySQL, `?` in SQLite",
            values.len(),
            given.len()
        )),
        _ => Ok((out, values)),
    }
}

struct Placing<'a> {
    dialect: Dialect,
    parameters: &'a Parameters,
    values: Vec<Value>,
    out: String,
}

impl Placing<'_> {
    fn is_percent(&self) -> bool {
        self.dialect != Dialect::Sqlite
    }

    /// What stands in quotes or is a comment.
    fn quoted(&mut self, text: &str) -> Result<(), String> {
        if !self.is_percent() {
            self.out.push_str(text);
            return Ok(());
        }
        let plain = text.replace("%%", "\0");
        if !is_comment(text, self.dialect) && (plain.contains("%s") || plain.contains("%(")) {
            return Err(format!(
                "has a placeholder in quotes, where nothing can be bound: take the quotes off ({})",
                text.chars().take(60).collect::<String>()
            ));
        }
        self.out.push_str(&text.replace("%%", "%"));
        Ok(())
    }

    /// What stands outside of quotes at this place; gives how long it is.
    fn code(&mut self, text: &str, at: usize) -> Result<usize, String> {
        let rest = &text[at..];
        let letter = rest.chars().next().unwrap_or_default();
        if self.is_percent() {
            if rest.starts_with("%%") {
                self.out.push('%');
                return Ok(2);
            }
            if rest.starts_with("%s") {
                self.next()?;
                return Ok(2);
            }
            if let Some((name, _)) = rest.strip_prefix("%(").and_then(|rest| rest.split_once(")s")) {
                self.named(name)?;
                return Ok(name.len() + 4);
            }
        } else if letter == '?' {
            self.next()?;
            return Ok(1);
        } else if letter == ':' {
            let name: String = rest[1..].chars().take_while(|letter| is_of_a_name(*letter)).collect();
            if !name.is_empty() {
                self.named(&name)?;
                return Ok(name.len() + 1);
            }
        }
        self.out.push(letter);
        Ok(letter.len_utf8())
    }

    fn next(&mut self) -> Result<(), String> {
        let value = match self.parameters {
            Parameters::List(given) => given.get(self.values.len()).cloned().unwrap_or_default(),
            Parameters::Named(_) | Parameters::None => {
                return Err("has placeholders without a name, and `parameters` is a map: give a list".into());
            }
        };
        self.put(value)
    }

    fn named(&mut self, name: &str) -> Result<(), String> {
        let value = match self.parameters {
            Parameters::Named(given) => given.get(name).cloned(),
            Parameters::List(_) | Parameters::None => {
                return Err(format!("has the placeholder `{name}`, and `parameters` is a list: give a map"));
            }
        };
        let value =
            value.ok_or_else(|| format!("has the placeholder `{name}`, which `parameters` does not have"))?;
        self.put(value)
    }

    fn put(&mut self, value: Value) -> Result<(), String> {
        match self.dialect {
            Dialect::Postgres => self.out.push_str(&literal(&value)?),
            Dialect::MySql | Dialect::Sqlite => self.out.push('?'),
        }
        self.values.push(value);
        Ok(())
    }
}

/// The name of a table or column, its parts parted by dots, as it can stand in a statement. A plain one stays as it
/// is, and what its database makes of its case holds; any other is quoted.
pub(super) fn identifier(name: &str, dialect: Dialect) -> Result<String, String> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < name.len() {
        match dialect.skip(name, at) {
            Some(end) => at = end,
            None if name[at..].starts_with('.') => {
                parts.push(&name[begin..at]);
                at += 1;
                begin = at;
            }
            None => at += name[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    parts.push(&name[begin..]);
    let parts: Result<Vec<_>, String> =
        parts.into_iter().map(|part| quoted_name(part.trim(), dialect)).collect();
    Ok(parts?.join("."))
}

fn quoted_name(part: &str, dialect: Dialect) -> Result<String, String> {
    if part.is_empty() || part.contains('\0') {
        return Err("is no name".into());
    }
    let plain = part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let first_is_letter = !part.starts_with(|first: char| first.is_ascii_digit());
    let quotes = if dialect == Dialect::MySql { '`' } else { '"' };
    let is_quoted = part.len() > 2 && part.starts_with(quotes) && dialect.skip(part, 0) == Some(part.len());
    if (plain && first_is_letter) || (is_quoted && part.ends_with(quotes)) {
        return Ok(part.to_owned());
    }
    Ok(format!("{quotes}{}{quotes}", part.replace(quotes, &format!("{quotes}{quotes}"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes_and_comments() {
        let postgres =
            "select ';', E'\\';', \"a;b\"; -- one; two\n/* a /* ; */ ; */ select $$;$$, $x$ $$; $x$;;";
        assert_eq!(
            split(postgres, Dialect::Postgres),
            ["select ';', E'\\';', \"a;b\"", "-- one; two\n/* a /* ; */ ; */ select $$;$$, $x$ $$; $x$"]
        );
        assert_eq!(split("select '\\';', `;` # ;\n; select 2", Dialect::MySql).len(), 2);
        assert_eq!(split("select '\\'; select [;], `;`", Dialect::Sqlite).len(), 2);
        assert_eq!(split(" ; -- nothing\n;", Dialect::Sqlite), [""; 0]);
        assert_eq!(split("select 'open; é", Dialect::Postgres), ["select 'open; é"]);
    }

    #[test]
    fn what_gives_rows_is_told_from_what_does_not() {
        for (text, gives) in [
            ("-- x\nSELECT 1; ", true),
            ("with a as (select 1) select * from a", true),
            ("insert into t values (1) returning id", true),
            ("insert into t values ('returning')", false),
            ("select 1; update t set a = 1", false),
            ("", false),
        ] {
            assert_eq!(gives_rows(text, Dialect::Postgres), gives, "{text}");
        }
    }

    #[test]
    fn parameters_are_values_and_never_more() {
        let list = Parameters::List(vec![json!("a'; drop table t; --"), json!(5)]);
        let (text, values) =
            place("select %s, '100%%', a %% 2 from t where b = %s", Dialect::Postgres, &list).unwrap();
        assert_eq!(text, "select  E'a''; drop table t; --', '100%', a % 2 from t where b = 5");
        assert_eq!(values.len(), 2);
        let named = Parameters::Named(json!({"a": 1, "b": 2}).as_object().unwrap().clone());
        let (text, values) = place("select %(b)s, %(a)s, %(b)s", Dialect::MySql, &named).unwrap();
        assert_eq!((&*text, values), ("select ?, ?, ?", vec![json!(2), json!(1), json!(2)]));
        let (text, values) = place("select :a, '?', strftime('%s', :b)", Dialect::Sqlite, &named).unwrap();
        assert_eq!((&*text, values), ("select ?, '?', strftime('%s', ?)", vec![json!(1), json!(2)]));
    }

    #[test]
    fn parameters_that_do_not_fit_are_told() {
        let list = Parameters::List(vec![json!(1)]);
        let named = Parameters::Named(Map::new());
        for (text, parameters, said) in [
            ("select 1", &list, "0 placeholders for 1 parameters"),
            ("select %s, %s", &list, "2 placeholders for 1"),
            ("select '%s'", &list, "take the quotes off"),
            ("select %(a)s", &list, "give a map"),
            ("select %s", &named, "give a list"),
            ("select %(a)s", &named, "`a`, which `parameters` does not have"),
        ] {
            let error = place(text, Dialect::Postgres, parameters).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_name_is_never_more_than_a_name() {
        for (name, postgres, mysql) in [
            ("public.Orders", "public.Orders", "public.Orders"),
            ("my table", "\"my table\"", "`my table`"),
            ("a; drop table b", "\"a; drop table b\"", "`a; drop table b`"),
            (
                "x\" (a); drop table b; --\"",
                "\"x\"\" (a); drop table b; --\"\"\"",
                "`x\" (a); drop table b; --\"`",
            ),
        ] {
            assert_eq!(identifier(name, Dialect::Postgres).unwrap(), postgres);
            assert_eq!(identifier(name, Dialect::MySql).unwrap(), mysql);
        }
        assert_eq!(identifier("\"a.b\".c", Dialect::Postgres).unwrap(), "\"a.b\".c");
        assert!(identifier("a..b", Dialect::Sqlite).is_err());
    }
}
