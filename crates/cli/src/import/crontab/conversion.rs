//! From a line to the DAG that does the same, and what is otherwise about it.

use std::{collections::BTreeMap, path::Path};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::{
    Outcome, command,
    dag::Dag,
    source::{self, Source},
    table::{Form, Job, Line},
};

/// Where cron looks for programs, where a crontab does not say it.
const PATH: &str = "/usr/bin:/bin";

/// What all lines of an import share.
pub struct Converter<'a> {
    /// What the name of each DAG begins with.
    pub prefix: &'a str,
    /// Whose clock lines are read on, where they do not say it.
    pub timezone: TimeZone,
    /// Whether the DAGs begin paused.
    pub is_paused: bool,
    pub now: Timestamp,
    /// The names that were given, and how often.
    pub names: BTreeMap<String, u32>,
}

impl Converter<'_> {
    /// The DAG of a line, not yet written.
    pub fn outcome<'l>(&mut self, source: &'l Source, line: &'l Line) -> Outcome<'l> {
        let mut outcome = Outcome {
            source,
            line,
            dag_id: None,
            schedule: None,
            timezone: None,
            file: None,
            yaml: None,
            done: Ok("read"),
            notes: Vec::new(),
        };
        if let Err(reason) =
            line.job.as_ref().map_err(Clone::clone).and_then(|job| self.convert(job, &mut outcome))
        {
            outcome.done = Err(reason);
        }
        outcome
    }

    fn convert(&mut self, job: &Job, outcome: &mut Outcome<'_>) -> Result<(), String> {
        let Outcome { source, line, notes, .. } = outcome;
        notes.extend(job.notes.iter().cloned());
        let timezone = match job.variables.get("CRON_TZ") {
            Some(name) => source::zone(name)?,
            None => self.timezone.clone(),
        };
        let owner = job.user.as_deref().unwrap_or(&source.owner);
        let run_as_user = match source.form {
            Form::System => Some(owner),
            Form::User => source.run_as_user.as_deref(),
        };
        let (env, folder) = surroundings(job, owner, notes);
        let email = told(job, owner, notes);
        if command::has_word(&job.command, "sudo") {
            notes.push(
                "`sudo` does not work in a guarded task: set `run_as_user`, or worker.guard to off".into(),
            );
        }
        let task_id = command::name(&job.command);
        let dag_id = self.unique(&task_id);
        let zone = timezone.iana_name().unwrap_or("UTC");
        let dag = Dag {
            dag_id: &dag_id,
            task_id: &task_id,
            comments: vec![format!("{}:{}", source.name, line.number), line.text.clone()],
            schedule: &job.when,
            start_date: &self.start_date(&timezone),
            timezone: zone,
            is_paused: self.is_paused,
            email: &email,
            run_as_user,
            command: &job.command,
            input: job.input.as_deref(),
            env: &env,
            folder: folder.as_deref(),
        };
        outcome.yaml = Some(dag.yaml());
        outcome.dag_id = Some(dag_id);
        outcome.schedule = Some(job.when.clone());
        outcome.timezone = Some(zone.to_owned());
        Ok(())
    }

    /// A name that no other line has: numbered from the second of the same on.
    fn unique(&mut self, name: &str) -> String {
        let base = format!("{}{name}", self.prefix);
        // Both are no DAGs to a DAG file.
        let base = if matches!(&*base, "default" | "defaults") { format!("{base}_job") } else { base };
        loop {
            let count = self.names.entry(base.clone()).or_default();
            *count += 1;
            if *count == 1 {
                return base;
            }
            let numbered = format!("{base}_{count}");
            if !self.names.contains_key(&numbered) {
                self.names.insert(numbered.clone(), 1);
                return numbered;
            }
        }
    }

    /// The next whole minute: a start date that has passed would have the last time run at once.
    fn start_date(&self, timezone: &TimeZone) -> String {
        let now = self.now.to_zoned(timezone.clone()).datetime();
        now.saturating_add(1.minute()).strftime("%FT%H:%M:00").to_string()
    }
}

/// The environment that cron makes, and the folder it runs a command in.
fn surroundings(
    job: &Job,
    owner: &str,
    notes: &mut Vec<String>,
) -> (BTreeMap<String, String>, Option<String>) {
    let mut env = job.variables.clone();
    for (name, value) in [("SHELL", "/bin/sh"), ("PATH", PATH)] {
        env.entry(name.into()).or_insert_with(|| value.into());
    }
    // These can't be set in a crontab.
    for name in ["LOGNAME", "USER"] {
        env.insert(name.into(), owner.into());
    }
    match source::home_of(owner) {
        Some(home) => _ = env.entry("HOME".into()).or_insert(home),
        None if env.contains_key("HOME") => {}
        None => notes.push(format!(
            "this machine knows no user `{owner}`: `HOME` is not set, and it runs in a new folder; write `HOME` \
             into `env`, and `cwd`"
        )),
    }
    let home = env.get("HOME").cloned();
    let folder = home.filter(|home| {
        let is_there = Path::new(home).is_dir();
        if !is_there {
            notes.push(format!("there is no folder {home}: it runs in a new one; write `cwd` for another"));
        }
        is_there
    });
    (env, folder)
}

/// Who is told of failures.
fn told(job: &Job, owner: &str, notes: &mut Vec<String>) -> Vec<String> {
    let Some(to) = job.variables.get("MAILTO") else {
        notes.push(format!(
            "cron mails all output to `{owner}` on its machine; here it is in the task's log, and nobody is told"
        ));
        return Vec::new();
    };
    let names = to.split([',', ' ']).filter(|name| !name.is_empty());
    let (addresses, others): (Vec<&str>, Vec<&str>) = names.partition(|name| name.contains('@'));
    if !others.is_empty() {
        notes.push(format!(
            "MAILTO `{}` is no address, and nobody is told; write `email: NAME@HOST` into the DAG file",
            others.join(", ")
        ));
    }
    if !addresses.is_empty() {
        notes.push(format!("cron mails all output to {}; here failures are told", addresses.join(", ")));
    }
    addresses.into_iter().map(str::to_owned).collect()
}
