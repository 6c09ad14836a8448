//! The lines of a crontab, read as Debian's cron and cronie read them.

use std::collections::BTreeMap;

use super::{command, times};

/// Whether the lines have a field for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A user's own: five fields of time, and the command.
    User,
    /// `/etc/crontab` and the files of `/etc/cron.d`: the user comes before the command.
    System,
}

/// A line that asks for something, or that can't be read.
#[derive(Debug)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// As it was written.
    pub text: String,
    /// What it asks for, or what is wrong with it.
    pub job: Result<Job, String>,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// When.
    pub when: String,
    /// As whom, where the line says it.
    pub user: Option<String>,
    /// The command.
    pub command: String,
    /// What it reads from its standard input.
    pub input: Option<String>,
    /// The variables that were set above it.
    pub variables: BTreeMap<String, String>,
    /// What of it is otherwise than it was.
    pub notes: Vec<String>,
}

/// Names for times.
const NAMED: [&str; 8] =
    ["@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Reads a crontab. Comments, empty lines and good variables are not among the lines.
pub fn read(bytes: &[u8], form: Form) -> Vec<Line> {
    let mut variables = BTreeMap::new();
    let mut lines = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let mut add = |job, text: &str| lines.push(Line { number: at + 1, text: text.to_owned(), job });
        let Ok(text) = std::str::from_utf8(line) else {
            let text = String::from_utf8_lossy(line);
            add(Err("it is not UTF-8; save the crontab as UTF-8".into()), &text);
            continue;
        };
        let text = text.strip_suffix('\r').unwrap_or(text).trim_start_matches([' ', '\t']);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match variable(text) {
            Some((name, value)) => match refuse_name(&name) {
                Some(reason) => add(Err(reason), text),
                None => _ = variables.insert(name, value),
            },
            None => add(job(text, form, &variables), text),
        }
    }
    lines
}

/// `NAME = value`; each may be in quotes. `None` where a line is something else.
fn variable(text: &str) -> Option<(String, String)> {
    let (name, rest) = match text.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split_once(text.chars().next()?)?,
        None => text.split_at(text.find(|letter: char| letter.is_ascii_whitespace() || letter == '=')?),
    };
    let value = rest.trim_start().strip_prefix('=')?.trim();
    let value = match value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
        Some(quote) => {
            let (inner, behind) = value[1..].split_once(quote)?;
            behind.is_empty().then_some(inner)?
        }
        None => value,
    };
    (!name.contains('=')).then(|| (name.to_owned(), value.to_owned()))
}

/// Why a task can't have a variable of this name.
fn refuse_name(name: &str) -> Option<String> {
    let kept = ["UPDRAFT", "AIRFLOW_CONN_", "AIRFLOW_VAR_"];
    if name.is_empty() {
        Some("a variable without a name: write NAME=value".into())
    } else if kept.iter().any(|start| name.starts_with(start)) {
        Some(format!("the variable `{name}` is Updraft's own and is set for no task: give it another name"))
    } else {
        None
    }
}

fn job(text: &str, form: Form, variables: &BTreeMap<String, String>) -> Result<Job, String> {
    let mut notes = Vec::new();
    // cronie: nothing is written to the system's log.
    let text = text.strip_prefix('-').unwrap_or(text);
    let (when, mut rest) = match text.starts_with('@') {
        true => named(text)?,
        false => timed(text, &mut notes)?,
    };
    let mut user = None;
    if form == Form::System {
        let (name, behind) = word(rest).ok_or("no user and no command stand behind the time")?;
        if name.starts_with('*') {
            return Err("a sixth field of time stands where the user has to be".into());
        }
        (user, rest) = (Some(name.to_owned()), behind);
    }
    if rest.is_empty() {
        return Err("no command stands behind the time".into());
    }
    match word(rest) {
        Some((star, _)) if star.starts_with('*') => {
            return Err("a sixth field of time stands where the command has to be: cron has five".into());
        }
        Some(("root", behind)) if form == Form::User && !behind.is_empty() => {
            return Err("the command begins with `root`, as in /etc/crontab: say --system for it".into());
        }
        // cronie: mail only where it fails, which is how it is here.
        Some(("-n", behind)) => rest = behind,
        _ => {}
    }
    let command::Split { command, input, is_halved } = command::split(rest);
    if is_halved {
        notes.push("two backslashes are one, as for Debian's cron; cronie passes both on".into());
    }
    if command.trim().is_empty() {
        return Err("the command is empty: a `%` ends it; write `\\%` for a percent sign".into());
    }
    if variables.contains_key("RANDOM_DELAY") {
        notes.push("RANDOM_DELAY: it begins at its time, without a delay".into());
    }
    Ok(Job { when, user, command, input, variables: variables.clone(), notes })
}

/// `@daily` and its like, and what follows.
fn named(text: &str) -> Result<(String, &str), String> {
    let (name, rest) = word(text).unwrap_or((text, ""));
    if !NAMED.contains(&name) {
        let near = NAMED.iter().find(|known| known.eq_ignore_ascii_case(name));
        let mend = near.map_or_else(|| "write five fields".into(), |near| format!("did you mean `{near}`?"));
        return Err(format!("cron knows no time `{name}`; {mend}"));
    }
    Ok((name.to_owned(), rest))
}

/// Five fields, and what follows.
fn timed<'a>(text: &'a str, notes: &mut Vec<String>) -> Result<(String, &'a str), String> {
    let mut fields = [""; 5];
    let mut rest = text;
    for (at, field) in fields.iter_mut().enumerate() {
        (*field, rest) = word(rest).ok_or_else(|| {
            format!("it has {at} fields: a line is NAME=value, or five fields of time and a command")
        })?;
        if at == 0 && field.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            return Err(format!(
                "`{field}` is neither a minute nor a variable; write NAME=value, with a quote at either end or \
                 none"
            ));
        }
    }
    let times = times::read(&fields, text)?;
    notes.extend(times.chosen);
    Ok((times.cron, rest))
}

/// The first word, and what follows behind the white space.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (word, rest.trim_start_matches([' ', '\t'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Vec<Line> {
        read(text.as_bytes(), Form::User)
    }

    fn good(line: &Line) -> &Job {
        line.job.as_ref().unwrap()
    }

    fn error(text: &str, form: Form) -> String {
        let lines = read(text.as_bytes(), form);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].job.as_ref().unwrap_err().clone()
    }

    #[test]
    fn comments_and_empty_lines_ask_for_nothing_and_lines_end_as_they_like() {
        let lines =
            user("# a\n\n  \t # b\r\n \t 5 0 * * *  a  b \r\n\n@daily\tc # no comment\n1 2 3 4 5 last");
        let found: Vec<_> =
            lines.iter().map(|line| (line.number, &*good(line).when, &*good(line).command)).collect();
        assert_eq!(
            found,
            [(4, "5 0 * * *", "a  b "), (6, "@daily", "c # no comment"), (7, "1 2 3 4 5", "last")]
        );
        assert!(user("").is_empty() && user("A=1\n").is_empty());
    }

    #[test]
    fn variables_are_those_above_a_line() {
        let lines = user("A=1\n* * * * * a\nA=2\nB = b\n@daily b\n");
        let variables = |line: usize| good(&lines[line]).variables.iter().map(|(n, v)| format!("{n}={v}"));
        assert_eq!(variables(0).collect::<Vec<_>>(), ["A=1"]);
        assert_eq!(variables(1).collect::<Vec<_>>(), ["A=2", "B=b"]);
    }

    /// As Debian's cron 3.0pl1 passed them on.
    #[test]
    fn variables_are_read_as_cron_reads_them() {
        for (line, name, value) in [
            ("A = \"  spaced value \"", "A", "  spaced value "),
            ("B = unquoted 'x' tail   ", "B", "unquoted 'x' tail"),
            ("E=$HOME/bin", "E", "$HOME/bin"),
            ("PATH=/a:/b # c", "PATH", "/a:/b # c"),
            ("G=\"\"", "G", ""),
            ("F=", "F", ""),
            ("'C D'=quoted name", "C D", "quoted name"),
            ("MAILTO='a=b'", "MAILTO", "a=b"),
            ("1=2", "1", "2"),
        ] {
            assert_eq!(variable(line), Some((name.into(), value.into())), "{line}");
        }
        for line in ["H=\"open", "FOO BAR=1", "A=\"a\" b", "* * * * * A=1 b", "@daily A=1 b", "'A=B'=c", "A"]
        {
            assert_eq!(variable(line), None, "{line}");
        }
    }

    #[test]
    fn a_system_crontab_has_the_user_before_the_command() {
        let lines = read(
            b"17 * * * *\troot    cd / && run-parts /etc/cron.hourly\n@hourly www-data x%in",
            Form::System,
        );
        let found: Vec<_> =
            lines.iter().map(|line| (good(line).user.as_deref(), &*good(line).command)).collect();
        assert_eq!(found, [(Some("root"), "cd / && run-parts /etc/cron.hourly"), (Some("www-data"), "x")]);
        assert_eq!(good(&lines[1]).input.as_deref(), Some("in\n"));
    }

    #[test]
    fn the_marks_of_cronie_are_read() {
        let lines = user("-* * * * * quiet\n-@daily q\n* * * * * -n told\nRANDOM_DELAY=5\n@daily later\n");
        let commands: Vec<_> = lines.iter().map(|line| &*good(line).command).collect();
        assert_eq!(commands, ["quiet", "q", "told", "later"]);
        assert!(good(&lines[3]).notes[0].contains("RANDOM_DELAY"));
    }

    #[test]
    fn a_bad_line_is_told_and_stops_no_other() {
        for (line, form, says) in [
            ("* * * * *", Form::User, "no command"),
            ("* * * *", Form::User, "it has 4 fields"),
            ("@daily", Form::User, "no command"),
            ("@daily", Form::System, "no user"),
            ("* * * * * root", Form::System, "no command"),
            ("* * * * * * x", Form::User, "cron has five"),
            ("* * * * * * x", Form::System, "sixth field"),
            ("* * * * * root x", Form::User, "--system"),
            ("@Daily x", Form::User, "did you mean `@daily`?"),
            ("@every_minute x", Form::User, "write five fields"),
            ("H=\"open", Form::User, "neither a minute nor a variable"),
            ("=x", Form::User, "without a name"),
            ("UPDRAFT__SMTP__URL=x", Form::User, "Updraft's own"),
            ("* * * * * %x", Form::User, "ends it"),
            ("61 * * * * x", Form::User, "is no minute"),
        ] {
            let said = error(line, form);
            assert!(said.contains(says), "{line}: {said}");
        }
        let lines = read(b"* * * * * caf\xe9\nbad\n@daily good\n", Form::User);
        assert!(lines[0].job.as_ref().unwrap_err().contains("UTF-8") && lines[1].job.is_err());
        assert_eq!(good(&lines[2]).command, "good");
    }
}
