//! The lines of an iCalendar file: `NAME;PARAMETER=value:VALUE`, long ones folded (RFC 5545, 3.1).

use super::BadCalendar;

/// A line, unfolded.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Which it is in the file, from 1; of a folded one the first.
    pub number: u32,
    /// In capitals.
    pub name: String,
    /// Names in capitals and values without quotes.
    pub parameters: Vec<(String, String)>,
    pub value: String,
}

impl Line {
    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// What is wrong with this line.
    pub fn wrong(&self, message: impl std::fmt::Display) -> BadCalendar {
        BadCalendar::new(self.number, format!("{}: {message}", self.name))
    }
}

/// The lines of a text.
pub(super) fn read(text: &str) -> impl Iterator<Item = Result<Line, BadCalendar>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().zip(1..).peekable();
    let unfolded = std::iter::from_fn(move || {
        let (line, number) = lines.next()?;
        let mut line = line.to_owned();
        while let Some((more, _)) = lines.next_if(|(more, _)| more.starts_with([' ', '\t'])) {
            line.push_str(&more[1..]);
        }
        Some((number, line))
    });
    unfolded.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| parse(number, &line))
}

fn parse(number: u32, line: &str) -> Result<Line, BadCalendar> {
    let mut parts = Vec::new();
    let (mut begin, mut quoted, mut value) = (0, false, None);
    for (at, letter) in line.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ';' | ':' if !quoted => {
                parts.push(&line[begin..at]);
                begin = at + 1;
                if letter == ':' {
                    value = Some(&line[begin..]);
                    break;
                }
            }
            _ => {}
        }
    }
    let Some(value) = value else {
        let shown: String = line.chars().take(40).collect();
        return Err(BadCalendar::new(
            number,
            format!("`{shown}` is no line of an iCalendar file: it has no value after a colon"),
        ));
    };
    let parameter = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.trim().to_ascii_uppercase(), value.replace('"', ""))
    };
    let (name, parameters) = parts.split_first().unwrap_or((&"", &[]));
    Ok(Line {
        number,
        name: name.trim().to_ascii_uppercase(),
        parameters: parameters.iter().map(parameter).collect(),
        value: value.trim().to_owned(),
    })
}
