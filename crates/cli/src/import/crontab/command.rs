//! The command of a line: what of it is input, and what it is called.

/// Words before a command that change how it is run, and not what is run.
const WRAPPERS: [&str; 23] = [
    "chronic", "command", "cronic", "do", "else", "env", "exec", "flock", "if", "ionice", "nice", "nohup",
    "setsid", "stdbuf", "sudo", "su", "then", "time", "timeout", "until", "while", "{", "}",
];

/// Commands that only prepare another one.
const PREPARING: [&str; 20] = [
    ".", ":", "[", "[[", "cd", "echo", "exit", "export", "false", "mkdir", "printf", "set", "sleep",
    "source", "test", "true", "ulimit", "umask", "unset", "which",
];

/// Programs that run what they are given.
const INTERPRETERS: [&str; 13] = [
    "bash",
    "dash",
    "java",
    "ksh",
    "node",
    "perl",
    "php",
    "python",
    "python3",
    "ruby",
    "run-parts",
    "sh",
    "zsh",
];

/// What cron makes of the rest of a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// What the shell is given.
    pub command: String,
    /// What it reads from its standard input.
    pub input: Option<String>,
    /// Two backslashes of the command became one, as Debian's cron does it; cronie leaves them.
    pub is_halved: bool,
}

/// Takes the rest of a line apart: `\%` is a percent sign; the first other `%` ends the command, and those
/// behind it are line ends of its input, which ends in one.
pub fn split(rest: &str) -> Split {
    let mut parts = vec![String::new()];
    let (mut escaped, mut is_halved) = (false, false);
    for letter in rest.chars() {
        let is_command = parts.len() == 1;
        let Some(part) = parts.last_mut() else { break };
        match letter {
            '%' if escaped => {
                part.pop();
                part.push('%');
            }
            '%' => parts.push(String::new()),
            '\\' if escaped && is_command => is_halved = true,
            _ => part.push(letter),
        }
        escaped = letter == '\\' && !(escaped && is_command);
    }
    let command = parts.remove(0);
    let mut input = (!parts.is_empty()).then(|| parts.join("\n"));
    if let Some(input) = input.as_mut().filter(|input| !input.is_empty() && !input.ends_with('\n')) {
        input.push('\n');
    }
    Split { command, input, is_halved }
}

/// What a command is called: its program, or the script that its program runs, in letters of which a DAG's name
/// can be made.
pub fn name(command: &str) -> String {
    let commands = simple_commands(command);
    let programs: Vec<String> = commands.iter().filter_map(|words| program(words)).collect();
    let working = programs.iter().find(|name| !PREPARING.contains(&name.as_str()));
    let name = working.or(programs.first()).map(|name| as_id(name)).unwrap_or_default();
    if name.is_empty() { "job".into() } else { name }
}

/// The words of each simple command, quotes taken off.
fn simple_commands(command: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = command.chars();
    let mut is_redirected = false;
    while let Some(letter) = letters.next() {
        // The `&` of `2>&1` ends nothing.
        let was_redirected = std::mem::replace(&mut is_redirected, letter == '>');
        match letter {
            _ if quote == Some(letter) => quote = None,
            '\\' if quote != Some('\'') => word.get_or_insert_default().extend(letters.next()),
            _ if quote.is_some() || was_redirected && letter == '&' => {
                word.get_or_insert_default().push(letter);
            }
            '\'' | '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ' ' | '\t' | ';' | '&' | '|' | '(' | ')' | '!' | '`' => {
                let at = commands.len() - 1;
                commands[at].extend(word.take());
                if !matches!(letter, ' ' | '\t' | '!') {
                    commands.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    let at = commands.len() - 1;
    commands[at].extend(word);
    commands
}

/// The program that a simple command is about.
fn program(words: &[String]) -> Option<String> {
    let words = without_redirections(words);
    let mut words = words.iter().copied().skip_while(|word| is_assignment(word));
    let mut first = base(words.next()?);
    while WRAPPERS.contains(&first) {
        let mut behind = words.clone();
        // What they take before the command: the lock, the user.
        let mut operands = usize::from(matches!(first, "flock" | "su"));
        let next = loop {
            let Some(word) = behind.next() else { return Some(first.to_owned()) };
            match word {
                "-c" if matches!(first, "flock" | "su") => return Some(name(behind.next()?)),
                "-u" | "-g" | "--user" | "--group" => _ = behind.next(),
                "-" => {}
                word if word.starts_with('-') || is_assignment(word) || is_duration(word) => {}
                _ if operands > 0 => operands -= 1,
                word => break word,
            }
        };
        (first, words) = (base(next), behind);
    }
    if !INTERPRETERS.contains(&first) {
        return Some(first.to_owned());
    }
    while let Some(word) = words.next() {
        let is_shell = matches!(first, "bash" | "dash" | "ksh" | "sh" | "zsh");
        match word {
            // `bash -lc "…"`
            options if is_shell && options.starts_with('-') && options.ends_with('c') => {
                return words.next().map(name);
            }
            "-m" => return words.next().map(str::to_owned),
            "-c" | "-e" | "-r" => break,
            option if option.starts_with('-') => {}
            script => return Some(base(script).to_owned()),
        }
    }
    Some(first.to_owned())
}

/// The words without `> file`, `2>&1` and their like.
fn without_redirections(words: &[String]) -> Vec<&str> {
    let mut is_file = false;
    let is_other = |word: &&str| {
        let is_named = std::mem::take(&mut is_file);
        let rest = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let is_redirection = rest.starts_with(['>', '<']);
        is_file = is_redirection && rest.ends_with(['>', '<']);
        !is_named && !is_redirection
    };
    words.iter().map(String::as_str).filter(is_other).collect()
}

fn base(word: &str) -> &str {
    word.trim_end_matches('/').rsplit('/').next().unwrap_or(word)
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && is_name(name))
}

/// A number, also with a unit: what `timeout` and `nice` take.
fn is_duration(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_digit())
        && word.trim_end_matches(['s', 'm', 'h', 'd']).parse::<f64>().is_ok()
}

/// Without its ending, and with `_` for what a DAG's name can't have.
fn as_id(name: &str) -> String {
    let endings = [".sh", ".bash", ".py", ".pl", ".rb", ".php", ".js", ".jar"];
    let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    let name: String = name.chars().take(100).map(letter).collect();
    name.trim_matches(['_', '-']).to_owned()
}

/// Whether `sh` and `bash` surely read a command alike. `echo`, braces, `&>` and some variables are what commands
/// come across; what has a sign of them is left to the shell it was written for.
pub fn is_alike_in_bash(command: &str) -> bool {
    const OTHERWISE: [&str; 13] =
        ["\\", "{", "&>", ">&/", ">& ", "((", "[[", "$'", "$\"", "echo -", "$RANDOM", "$UID", "$HOSTNAME"];
    !OTHERWISE.iter().any(|sign| command.contains(sign))
}

/// Whether one of a command's words is this one.
pub fn has_word(command: &str, word: &str) -> bool {
    simple_commands(command).iter().flatten().any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(rest: &str) -> (String, Option<String>) {
        let split = split(rest);
        (split.command, split.input)
    }

    /// What Debian's cron 3.0pl1 did with the same lines.
    #[test]
    fn percent_signs_end_the_command_and_the_lines_of_its_input() {
        let with = |command: &str, input: &str| (command.to_owned(), Some(input.to_owned()));
        assert_eq!(parts("date +\\%F"), ("date +%F".into(), None));
        assert_eq!(parts("cat%one"), with("cat", "one\n"));
        assert_eq!(parts("cat%one%"), with("cat", "one\n"));
        assert_eq!(parts("cat%"), with("cat", ""));
        assert_eq!(
            parts("cat%first%second \\% kept \\\\ two \\x end"),
            with("cat", "first\nsecond % kept \\\\ two \\x end\n")
        );
        assert_eq!(parts("mail joe%Joe,%%Where?%"), with("mail joe", "Joe,\n\nWhere?\n"));
        // An escaped backslash escapes nothing; within the input it does.
        assert_eq!(parts("echo '\\\\%' b"), with("echo '\\", "' b\n"));
        assert_eq!(parts("cat%\\\\%"), with("cat", "\\%\n"));
        assert_eq!(parts("echo 'bs \\\\ \\x'"), ("echo 'bs \\ \\x'".into(), None));
        assert!(split("a \\\\ b").is_halved && !split("a \\x \\% b%c \\\\ d").is_halved);
    }

    #[test]
    fn a_command_is_called_after_what_it_runs() {
        for (command, called) in [
            ("/usr/local/bin/backup.sh --all >> /var/log/b.log 2>&1", "backup"),
            ("cd / && run-parts --report /etc/cron.hourly", "cron_hourly"),
            ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )", "cron_daily"),
            (
                "[ -x /usr/bin/certbot -a \\! -d /run/systemd ] && perl -e 'sleep 1' && certbot -q renew",
                "perl",
            ),
            ("if [ -x /opt/a ]; then /opt/a; fi", "a"),
            ("cd /srv 2>&1 && ./poll", "poll"),
            ("A=1 B=\"x y\" nice -n 10 ionice -c3 python3 -u /opt/etl/load_day.py --day 1", "load_day"),
            ("python3 -m etl.load", "etl_load"),
            ("php /var/www/artisan schedule:run", "artisan"),
            ("java -jar /opt/report.jar", "report"),
            ("sudo -u www-data flock -n /tmp/lock timeout 60s /opt/x.sh", "x"),
            ("flock -w 5 /tmp/lock -c '/opt/y.sh --now'", "y"),
            ("su - bob -c \"cd /srv; ./nightly.sh\"", "nightly"),
            ("bash -lc 'cd /srv && bin/rake db:clean'", "rake"),
            ("/usr/bin/env FOO=1 node /srv/app.js", "app"),
            ("echo hello | mail -s x root", "mail"),
            ("echo hello > /tmp/x", "echo"),
            ("/opt/Größe", "Gr__e"),
            ("\"/opt/my tool/run it\"", "run_it"),
            ("> /tmp/x", "job"),
            ("'unended", "unended"),
            ("sh", "sh"),
            ("sudo", "sudo"),
            ("env > /tmp/x", "env"),
            ("> /tmp/x 2>&1 /opt/a", "a"),
            ("{ cd /srv; ./a; } >/dev/null", "a"),
            ("echo {a,b}", "echo"),
            ("...", "job"),
        ] {
            assert_eq!(name(command), called, "{command}");
        }
    }

    #[test]
    fn what_sh_and_bash_may_read_otherwise_is_known() {
        for command in ["/opt/a.sh >> /x 2>&1", "cd /x && ./y | z > \"$HOME/q\"", "a `b` $(c) ; d"] {
            assert!(is_alike_in_bash(command), "{command}");
        }
        for command in ["echo 'a\\tb'", "rm /tmp/{a,b}", "x &>/dev/null", "x >& /y", "echo -e a", "echo $'a'"]
        {
            assert!(!is_alike_in_bash(command), "{command}");
        }
    }
}
