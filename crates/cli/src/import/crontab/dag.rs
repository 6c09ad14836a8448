//! A line of a crontab as a DAG file.

use std::{collections::BTreeMap, fmt::Write as _};

use super::command::is_alike_in_bash;

/// A DAG of one task.
#[derive(Debug)]
pub struct Dag<'a> {
    pub dag_id: &'a str,
    pub task_id: &'a str,
    /// What stands above it as comments.
    pub comments: Vec<String>,
    pub schedule: &'a str,
    /// From when on: a date and time without a zone.
    pub start_date: &'a str,
    pub timezone: &'a str,
    pub is_paused: bool,
    /// Who is told where it fails.
    pub email: &'a [String],
    pub run_as_user: Option<&'a str>,
    pub command: &'a str,
    pub input: Option<&'a str>,
    pub env: &'a BTreeMap<String, String>,
    /// The folder it runs in.
    pub folder: Option<&'a str>,
}

impl Dag<'_> {
    /// The DAG file's text.
    ///
    /// A command for bash becomes a `BashOperator`, and so does one for sh that bash reads alike. Any other is a
    /// script for the shell that it was written for, as is one that reads an input.
    pub fn yaml(&self) -> String {
        let mut yaml = String::new();
        // What is written to a `String` can't fail.
        let mut line = |indent: usize, text: &str| _ = writeln!(yaml, "{:indent$}{text}", "");
        for comment in &self.comments {
            line(0, &format!("# {}", comment.replace(char::is_control, " ")));
        }
        line(0, &format!("{}:", quoted(self.dag_id)));
        line(2, &format!("schedule: {}", quoted(self.schedule)));
        line(2, &format!("{START}{}", self.start_date));
        line(2, &format!("timezone: {}", quoted(self.timezone)));
        if self.is_paused {
            line(2, "is_paused_upon_creation: true");
        }
        line(2, "tags: [crontab]");
        line(2, "tasks:");
        line(4, &format!("{}:", quoted(self.task_id)));
        let command = escaped(self.command);
        if self.is_bash() {
            // What ends in `.sh` would be the name of a file with a template.
            let space = if is_file(&command) { " " } else { "" };
            line(6, "operator: bash");
            line(6, &format!("bash_command: {}", quoted(&format!("{command}{space}"))));
        } else {
            line(6, "operator: script");
            line(6, &format!("interpreter: {}", quoted(&escaped(self.shell()))));
            line(6, &format!("script: {}", quoted(&command)));
            if let Some(input) = self.input {
                line(6, &format!("stdin: {}", quoted(&escaped(input))));
            }
        }
        if let Some(user) = self.run_as_user {
            line(6, &format!("run_as_user: {}", quoted(user)));
        }
        if let Some(folder) = self.folder {
            line(6, &format!("cwd: {}", quoted(&escaped(folder))));
        }
        line(6, "append_env: false");
        line(6, "env:");
        for (name, value) in self.env {
            line(8, &format!("{}: {}", quoted(name), quoted(&escaped(value))));
        }
        if !self.email.is_empty() {
            let all: Vec<String> = self.email.iter().map(|address| quoted(address)).collect();
            line(6, &format!("email: [{}]", all.join(", ")));
        }
        yaml
    }

    fn shell(&self) -> &str {
        self.env.get("SHELL").map_or("/bin/sh", String::as_str)
    }

    fn is_bash(&self) -> bool {
        let is_read = match self.shell() {
            "/bin/bash" | "/usr/bin/bash" => true,
            "/bin/sh" | "/usr/bin/sh" => is_alike_in_bash(self.command),
            _ => false,
        };
        is_read && self.input.is_none() && !self.env.values().any(|value| is_file(value))
    }
}

/// How the line with the start date begins: it tells when a file was written, and nothing else of it changes.
const START: &str = "start_date: ";

/// Whether two DAG files differ in nothing but when they were written.
pub fn is_same(one: &str, other: &str) -> bool {
    let lines = |text| str::lines(text).filter(|line: &&str| !line.trim_start().starts_with(START));
    lines(one).eq(lines(other))
}

/// Whether `BashOperator` takes a text for the name of a file with a template.
fn is_file(text: &str) -> bool {
    text.ends_with(".sh") || text.ends_with(".bash")
}

/// A text that Jinja makes this text of.
fn escaped(text: &str) -> String {
    if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        let inner = text.replace("endraw", "{% endraw %}endraw{% raw %}");
        return format!("{{% raw %}}{inner}{{% endraw %}}");
    }
    // It takes off one line end.
    if text.ends_with('\n') { format!("{text}\n") } else { text.to_owned() }
}

/// A text in quotes, as YAML has it, in which no variable of the server's environment is put.
fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/_-.@".contains(letter));
    if is_plain && !is_word_of_yaml(text) {
        return text.to_owned();
    }
    let mut after_dollar = text.split('$').skip(1);
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '{');
    let has_variable = after_dollar.any(|rest| rest.starts_with(is_name));
    if !has_variable && !text.chars().any(|letter| letter.is_control() || is_odd(letter)) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // `$NAME` in a DAG file is the server's variable.
            '$' => quoted.push_str("\\x24"),
            letter if letter.is_control() || is_odd(letter) => {
                _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// What YAML 1.1 reads as something else than a text.
fn is_word_of_yaml(text: &str) -> bool {
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// Letters that YAML takes for line ends, or for the beginning of a document.
fn is_odd(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dag_files::read;

    fn yaml(command: &str, input: Option<&str>, variables: &[(&str, &str)]) -> String {
        let env = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let dag = Dag {
            dag_id: "night",
            task_id: "night",
            comments: vec!["crontab:3".into(), command.into()],
            schedule: "0 3 * * *",
            start_date: "2026-01-01T00:00:00",
            timezone: "Europe/Berlin",
            is_paused: true,
            email: &["ops@example.com".into()],
            run_as_user: Some("www-data"),
            command,
            input,
            env: &env,
            folder: Some("/srv"),
        };
        dag.yaml()
    }

    /// The operator and the argument of that name which a server reads.
    fn argument(yaml: &str, name: &str) -> (String, String) {
        let reading = read(Path::new("night.yaml"), yaml);
        assert!(reading.errors.is_empty(), "{:?}\n{yaml}", reading.errors);
        assert!(reading.dags[0].warnings.is_empty(), "{:?}\n{yaml}", reading.dags[0].warnings);
        let task = &reading.dags[0].spec.tasks[0];
        (task.operator.to_string(), task.args[name].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn every_text_comes_back_from_yaml_as_it_was() {
        for text in [
            "plain",
            "it's \"so\" \\ here",
            "$HOME/bin ${HOME} $ $1",
            "a: b # c",
            "- x",
            "y",
            "NO",
            "null",
            "1e3",
            "0x10",
            " lead",
            "trail ",
            "tab\there",
            "esc \u{1b}[31m \u{85} \u{2028} \u{feff}",
            "ü 💥",
            "%x",
            "@y",
            "",
            "*a",
            "&b",
            "!c",
            "| d",
            "2026-01-01",
            "'",
            "'\"$HOME\"'",
            "a\nb",
        ] {
            let yaml = yaml("x", None, &[("V", text), ("HOME", "/h")]);
            let reading = read(Path::new("night.yaml"), &yaml);
            assert!(reading.errors.is_empty(), "{text:?}: {:?}\n{yaml}", reading.errors);
            assert_eq!(reading.dags[0].spec.tasks[0].args["env"]["V"], text, "{yaml}");
        }
    }

    #[test]
    fn a_dag_has_its_schedule_its_zone_and_who_is_told() {
        let reading = read(Path::new("night.yaml"), &yaml("/opt/x", None, &[]));
        let spec = &reading.dags[0].spec;
        assert_eq!(spec.is_paused_upon_creation, Some(true));
        assert_eq!(spec.start_date.unwrap().to_string(), "2025-12-31T23:00:00Z");
        assert!(format!("{:?}", spec.schedule).contains("Europe/Berlin"), "{:?}", spec.schedule);
        assert_eq!(spec.tasks[0].run_as_user.as_deref(), Some("www-data"));
        assert!(format!("{:?}", spec.tasks[0].alerts).contains("ops@example.com"), "{:?}", spec.tasks[0]);
    }

    #[test]
    fn a_command_for_bash_is_run_by_bash_and_any_other_by_its_shell() {
        let bash = ("BashOperator".to_owned(), "/opt/x".to_owned());
        assert_eq!(argument(&yaml("/opt/x", None, &[]), "bash_command"), bash);
        assert_eq!(argument(&yaml("/opt/x", None, &[("SHELL", "/bin/bash")]), "bash_command"), bash);
        let script = |command: &str| ("ScriptOperator".to_owned(), command.to_owned());
        for (command, input, shell) in [
            ("rm /tmp/{a,b}", None, "/bin/sh"),
            ("/opt/x", None, "/usr/bin/zsh"),
            ("cat", Some("in\n"), "/bin/bash"),
        ] {
            let yaml = yaml(command, input, &[("SHELL", shell)]);
            assert_eq!(argument(&yaml, "script"), script(command));
            assert_eq!(argument(&yaml, "interpreter").1, shell);
        }
        // Its one line end is taken off again.
        assert_eq!(argument(&yaml("cat", Some("in\n"), &[]), "stdin").1, "in\n\n");
    }

    #[test]
    fn what_would_be_read_as_a_template_is_not() {
        assert_eq!(argument(&yaml("/opt/x.sh", None, &[]), "bash_command").1, "/opt/x.sh ");
        assert_eq!(argument(&yaml("/opt/x", None, &[("BASH_ENV", "/a.sh")]), "script").1, "/opt/x");
        let marked =
            argument(&yaml("a '{{.Names}}' {% endraw %}", None, &[("SHELL", "/bin/bash")]), "bash_command").1;
        assert_eq!(marked, "{% raw %}a '{{.Names}}' {% {% endraw %}endraw{% raw %} %}{% endraw %}");
    }

    #[test]
    fn two_files_that_were_written_at_two_times_are_the_same() {
        let one = yaml("x", None, &[]);
        assert!(is_same(&one, &one.replace("2026-01-01T00:00:00", "2027-01-01T00:00:00")));
        assert!(!is_same(&one, &one.replace("0 3 * * *", "0 4 * * *")));
    }
}
