//! `updraft import crontab`: each line of a crontab as a DAG file.
//!
//! Crontabs are read as crontab(5) of Debian's cron and of cronie say it (`table`, `times`, `command`), and a DAG
//! is written that does the same (`dag`). What differs is noted at each line (`conversion`); nothing is left out
//! in silence.

mod command;
mod conversion;
mod dag;
mod source;
mod table;
mod times;

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use updraft_core::DagId;

use self::{conversion::Converter, source::Source};
use crate::{
    config::Config,
    dag_files::{self, named_in, read},
    output::{Columns, Format, Printing, print, table_of},
};

/// Which crontab, and where its DAGs go.
#[derive(clap::Args)]
pub struct Crontab {
    /// Files, folders as /etc/cron.d, or `-` for standard input [default: what `crontab -l` prints].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A field with the user stands before the command, as in /etc/crontab and /etc/cron.d, where this needs no saying.
    #[arg(long)]
    system: bool,
    /// Whose crontab it is, and as whom its tasks run [default: yours, as whom the server runs].
    #[arg(long, value_name = "NAME", conflicts_with = "system")]
    user: Option<String>,
    /// The folder for the DAG files [default: that of the server].
    #[arg(long, value_name = "DIR")]
    dags: Option<PathBuf>,
    /// What the name of each DAG begins with.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Whose clock the lines are read on, where CRON_TZ does not say it [default: that of this machine].
    #[arg(long, value_name = "ZONE", value_parser = source::zone)]
    timezone: Option<TimeZone>,
    /// Have the DAGs begin paused, for the crontab to go on until they are let go.
    #[arg(long)]
    paused: bool,
    /// Write over DAG files that are there.
    #[arg(long)]
    force: bool,
    /// Print the DAG files and write none.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    printing: Printing,
}

/// What became of a line.
struct Outcome<'a> {
    source: &'a Source,
    line: &'a table::Line,
    dag_id: Option<String>,
    schedule: Option<String>,
    timezone: Option<String>,
    file: Option<PathBuf>,
    yaml: Option<String>,
    /// What was done, or why nothing was.
    done: Result<&'static str, String>,
    notes: Vec<String>,
}

const DONE: Columns = &[
    ("LINE", "/at"),
    ("OUTCOME", "/outcome"),
    ("DAG", "/dag_id"),
    ("SCHEDULE", "/schedule"),
    ("ZONE", "/timezone"),
];
const NOTED: Columns = &[("LINE", "/at"), ("WHAT IS OTHERWISE", "/note")];

impl Crontab {
    /// Reads the crontabs, writes the DAGs, and says what became of each line.
    pub fn main(self, home: PathBuf) -> Result<()> {
        let folder = match &self.dags {
            Some(folder) => folder.clone(),
            None => dag_files::folder_of(&home, &Config::read(&home)?)?,
        };
        let (sources, mut passed_over) = source::read(&self.files, self.system, self.user.as_deref())?;
        let lines: Vec<(&Source, Vec<table::Line>)> =
            sources.iter().map(|source| (source, table::read(&source.bytes, source.form))).collect();
        let mut converter = Converter {
            prefix: &self.prefix,
            timezone: self.timezone.clone().unwrap_or_else(source::local_zone),
            is_paused: self.paused,
            now: Timestamp::now(),
            names: BTreeMap::new(),
        };
        let others = named_in(&folder);
        let mut outcomes = Vec::new();
        for (source, line) in
            lines.iter().flat_map(|(source, lines)| lines.iter().map(move |line| (*source, line)))
        {
            let mut outcome = converter.outcome(source, line);
            if outcome.done.is_ok() {
                outcome.done = self.put(&mut outcome, &folder, &others);
            }
            outcomes.push(outcome);
        }
        self.tell(&outcomes, &mut passed_over)?;
        let bad = outcomes.iter().filter(|outcome| outcome.done.is_err()).count();
        match (outcomes.len(), bad) {
            (0, _) => bail!("no line of it asks for anything"),
            (_, 0) => Ok(()),
            (1, _) => bail!("the line was not imported"),
            (all, bad) => bail!("{bad} of {all} lines were not imported"),
        }
    }

    /// Writes the DAG file of a line.
    fn put(
        &self,
        outcome: &mut Outcome<'_>,
        folder: &Path,
        others: &BTreeMap<DagId, PathBuf>,
    ) -> Result<&'static str, String> {
        let (Some(dag_id), Some(yaml)) = (&outcome.dag_id, &outcome.yaml) else { return Ok("nothing") };
        let path = folder.join(format!("{dag_id}.yaml"));
        if let Some(error) = read(&path, yaml).errors.first() {
            return Err(format!("the DAG is not accepted: {error}"));
        }
        if let Some(other) = others.get(&DagId::from(&**dag_id)).filter(|other| **other != path) {
            let other = other.display();
            return Err(format!("a DAG `{dag_id}` is in {other} already: say --prefix for another name"));
        }
        let written = std::fs::read_to_string(&path);
        let is_same = written.as_ref().is_ok_and(|written| dag::is_same(written, yaml));
        let is_there = !written.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        outcome.file = Some(path.clone());
        if is_there && !is_same && !self.force {
            return Err(format!(
                "{} is there already: say --force to write over it, or --prefix",
                path.display()
            ));
        }
        match (is_same, self.dry_run) {
            (true, _) => return Ok("unchanged"),
            (false, true) => return Ok("to be written"),
            (false, false) => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).truncate(true).create(is_there).create_new(!is_there);
        std::fs::create_dir_all(folder)
            .and_then(|()| options.open(&path)?.write_all(yaml.as_bytes()))
            .map_err(|error| format!("{} can't be written: {error}", path.display()))?;
        Ok("written")
    }

    /// Prints what became of each line, and then what is otherwise than it was.
    fn tell(&self, outcomes: &[Outcome<'_>], passed_over: &mut Vec<Value>) -> Result<()> {
        let format = self.printing.format();
        if format != Format::Table {
            let rows: Vec<Value> = outcomes.iter().map(Outcome::as_json).collect();
            return format.value(&rows);
        }
        let mut told = String::new();
        let done: Vec<Value> = outcomes.iter().map(Outcome::as_json).collect();
        if !done.is_empty() {
            told += &table_of(&done, DONE);
        }
        let mut noted = notes(outcomes);
        noted.append(passed_over);
        if !noted.is_empty() {
            told += &format!("\n\n{}", table_of(&noted, NOTED));
        }
        if self.dry_run {
            for yaml in outcomes.iter().filter_map(|outcome| outcome.yaml.as_deref()) {
                print(yaml)?;
            }
            eprintln!("{told}");
            return Ok(());
        }
        print(told.trim())?;
        if outcomes.iter().any(|outcome| outcome.done == Ok("written")) && !self.paused {
            eprintln!("\nCron goes on running what it has: take these lines out of the crontab.");
        }
        Ok(())
    }
}

impl Outcome<'_> {
    fn as_json(&self) -> Value {
        json!({
            "source": self.source.name,
            "line": self.line.number,
            "at": format!("{}:{}", self.source.name, self.line.number),
            "text": self.line.text,
            "dag_id": self.dag_id,
            "schedule": self.schedule,
            "timezone": self.timezone,
            "file": self.file,
            "yaml": self.yaml,
            "outcome": self.done.as_deref().unwrap_or("not imported"),
            "error": self.done.as_ref().err(),
            "notes": self.notes,
        })
    }
}

/// What is otherwise than it was: a row for each reason, with the lines that it is about.
fn notes(outcomes: &[Outcome<'_>]) -> Vec<Value> {
    let mut rows: Vec<(&str, &str, Vec<usize>)> = Vec::new();
    for outcome in outcomes {
        let error = outcome.done.as_ref().err();
        for note in error.into_iter().chain(&outcome.notes) {
            let (source, number) = (outcome.source.name.as_str(), outcome.line.number);
            match rows.iter_mut().find(|(of, known, _)| *of == source && known == note) {
                Some((_, _, lines)) => lines.push(number),
                None => rows.push((source, note, vec![number])),
            }
        }
    }
    let row = |(source, note, lines): (&str, &str, Vec<usize>)| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        json!({ "at": format!("{source}:{}", lines.join(",")), "note": note })
    };
    rows.into_iter().map(row).collect()
}
