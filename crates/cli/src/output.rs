//! What is printed: tables for people, the API's own objects for programs.

use std::{
    io::{IsTerminal, Write, stdin, stdout},
    path::Path,
};

use anyhow::{Context, Result};
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::{Exit, Failure};

/// What is no wider than this is never broken into lines: states are as wide.
const WIDEST_WHOLE: u16 = 16;

/// How results are printed.
#[derive(clap::Args)]
pub struct Printing {
    /// How results are printed; JSON and YAML are the API's own objects [default: table].
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value = "table")]
    #[arg(value_name = "table|json|yaml", hide_possible_values = true, hide_default_value = true)]
    output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The columns of a table: a title, and where in an object its value is (a JSON pointer).
pub type Columns = &'static [(&'static str, &'static str)];

impl Printing {
    pub fn format(&self) -> Format {
        self.output
    }
}

impl Format {
    /// Prints rows.
    pub fn list(self, rows: &[Value], columns: Columns) -> Result<()> {
        if self != Self::Table {
            return self.value(&rows);
        }
        if rows.is_empty() {
            eprintln!("there are none");
            return Ok(());
        }
        print(&table_of(rows, columns))
    }

    /// Prints one object: a line for each field.
    pub fn show(self, object: &Value, fields: Columns) -> Result<()> {
        if self != Self::Table {
            return self.value(object);
        }
        let mut table = plain_table();
        let told = fields.iter().map(|(title, at)| (title, cell(object, at)));
        for (title, text) in told.filter(|(_, text)| !text.is_empty()) {
            table.add_row([(*title).to_owned(), text]);
        }
        print(&fitted(table))
    }

    /// Prints a value that is no table: as JSON where no YAML is asked for.
    pub fn value(self, value: &impl Serialize) -> Result<()> {
        match self {
            Self::Table | Self::Json => print(&serde_json::to_string_pretty(value)?),
            Self::Yaml => print(yaml(value)?.trim_end()),
        }
    }
}

/// A value as YAML.
pub fn yaml(value: &impl Serialize) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).context("can't write this as YAML")
}

/// What is shown in the place of a secret.
pub const MASK: &str = "***";

/// Prints a line, or several.
pub fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// No frames; as wide as the terminal, or as it needs where that is none.
fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let width = stdout().is_terminal().then(|| console::Term::stdout().size_checked()).flatten();
    match width {
        Some((_, columns)) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

/// Rows as a table.
pub fn table_of(rows: &[Value], columns: Columns) -> String {
    let mut table = plain_table();
    table.set_header(columns.iter().map(|(title, _)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(_, at)| cell(row, at)));
    }
    fitted(table)
}

fn fitted(mut table: Table) -> String {
    let widths = table.column_max_content_widths();
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, 2));
        if width <= WIDEST_WHOLE {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

/// What a table shows of a value: nothing for what is not there, nor for the place of a task among its copies
/// where it has none.
fn cell(row: &Value, at: &str) -> String {
    let shown = row.pointer(at).filter(|value| !(at.ends_with("/map_index") && **value == -1));
    shown.map(text).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            // In a narrow table it is broken at the space.
            Ok(time) => time.strftime("%F %TZ").to_string(),
            // What others wrote must not move this terminal's cursor.
            Err(_) => text.replace(|letter: char| letter.is_control() && letter != '\n', " "),
        },
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => {
                format!("{:.3}", float).trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => number.to_string(),
        },
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Object(_) => value.to_string(),
    }
}

/// A length of time for people: its two largest parts.
pub fn length(seconds: f64) -> String {
    // What is too long for this is as long as can be; less than nothing is nothing.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// So many of something, in the words for one of it and for several.
pub fn count(number: impl TryInto<u64>, one: &str, several: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        number => format!("{number} {several}"),
    }
}

/// What an answer with so many task instances leads to, with ` of …` where that is to be said.
pub fn begin_anew(answer: &Value, of: &str) -> String {
    let (one, several) = (format!("task instance{of} begins anew"), format!("task instances{of} begin anew"));
    count(answer["total_entries"].as_u64().unwrap_or(0), &one, &several)
}

/// Puts into an answer about progress how far something is, and how long it will take, as people read it.
pub fn tell_progress(shown: &mut Value, progress: &Value) {
    if let Some(percent) = progress["percent"].as_f64() {
        shown["done"] = format!("{percent:.0} %").into();
    }
    if let Some(seconds) = progress["seconds_left"].as_f64() {
        shown["time_left"] = length(seconds).into();
    }
}

/// Asks whether that is meant, unless it was said already.
pub fn confirm(what: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        let message = format!("{what}: say --yes, since nobody is there to be asked");
        return Err(Failure::new(Exit::Usage, message).into());
    }
    eprint!("{what}. Go on? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("can't read the answer")?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "nothing was done").into()),
    }
}

/// Reads a secret: without showing it where somebody types it, else the first line of standard input.
pub fn secret(prompt: &str) -> Result<String> {
    let text = if stdin().is_terminal() {
        eprint!("{prompt}: ");
        let text = console::Term::stderr().read_secure_line();
        text.context("can't read from the terminal")?
    } else {
        let mut line = String::new();
        stdin().read_line(&mut line).context("can't read standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    match text.is_empty() {
        false => Ok(text),
        true => Err(Failure::new(Exit::Usage, format!("{prompt}: nothing was given")).into()),
    }
}

/// A file's text, or that of standard input where its name is `-`.
pub fn read(path: &Path) -> Result<String> {
    match path.as_os_str() == "-" {
        true => std::io::read_to_string(stdin()).context("can't read standard input"),
        false => std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display())),
    }
}

/// Writes all of one kind (`pool`), by name, into a JSON file, or prints them where its name is `-`; `secret` names what is left out.
pub fn export_all(path: &Path, kind: &str, all: &Map<String, Value>, secret: &[String]) -> Result<()> {
    let text = serde_json::to_string_pretty(all)?;
    match path.as_os_str() == "-" {
        true => print(&text)?,
        false => std::fs::write(path, format!("{text}\n"))
            .with_context(|| format!("can't write {}", path.display()))?,
    }
    eprintln!("{}", count(all.len(), &format!("{kind} is exported"), &format!("{kind}s are exported")));
    if !secret.is_empty() {
        eprintln!("the server shows these to nobody, so that they are left out: {}", secret.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_are_read_by_people() {
        let lengths = [0.0, 59.9, 99.7, 3600.0, 7384.0, 90_000.0, -1.0].map(length);
        assert_eq!(lengths, ["0s", "59s", "1m 39s", "1h 0m", "2h 3m", "1d 1h", "0s"]);
    }

    #[test]
    fn a_table_shows_values_in_few_letters() {
        let row = json!({
            "at": "2026-11-21T03:48:10.123456Z", "run": "manual__2026-11-21T03:48:10.123456Z", "took": 1.50049,
            "n": -1, "map_index": -1, "none": null, "of": ["a", "b"], "forged": "a\u{1b}[2J\tb", "conf": {"x": 1}, "long": 2.0,
        });
        let shown = |field: &str| cell(&row, &format!("/{field}"));
        assert_eq!(shown("at"), "2026-11-21 03:48:10Z");
        assert_eq!(shown("run"), "manual__2026-11-21T03:48:10.123456Z");
        assert_eq!((shown("took"), shown("n"), shown("long")), ("1.5".into(), "-1".into(), "2".into()));
        assert_eq!(
            (shown("none"), shown("missing"), shown("map_index"), shown("of")),
            (String::new(), String::new(), String::new(), "a, b".into())
        );
        assert_eq!((shown("forged"), shown("conf")), ("a [2J b".into(), "{\"x\":1}".into()));
    }
}
