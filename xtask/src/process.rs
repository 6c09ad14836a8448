//! Running other programs, cargo above all.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, bail};

/// The cargo that runs this program, so that a chosen toolchain stays chosen.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(arguments);
    command
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Runs the command with this program's own output; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    succeeded(command, status)
}

/// An exit code other than 0 as an error that names the command.
pub fn succeeded(command: &Command, status: ExitStatus) -> anyhow::Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs the command quietly and gives its standard output; its complaints still reach the terminal.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    succeeded(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", shown(command)))
}

/// Whether the command can be started and ends well: how an installed cargo plugin is told from a missing one.
pub fn is_there(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs the command, shows its output as it comes, and gives all of it, without colours.
pub fn tee(command: &mut Command) -> anyhow::Result<(ExitStatus, String)> {
    if io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let stdout = child.stdout.take().context("the child's standard output is not piped")?;
    let stderr = child.stderr.take().context("the child's standard error is not piped")?;
    let (from_stdout, from_stderr) = thread::scope(|scope| {
        let reader = scope.spawn(|| copy_lines(stdout, io::stdout()));
        let from_stderr = copy_lines(stderr, io::stderr());
        (reader.join(), from_stderr)
    });
    let from_stdout =
        from_stdout.map_err(|_| anyhow::anyhow!("the thread that reads the output panicked"))?;
    let text = without_colours(&(from_stdout? + &from_stderr?));
    Ok((child.wait()?, text))
}

fn copy_lines(from: impl Read, mut to: impl Write) -> io::Result<String> {
    let mut reader = BufReader::new(from);
    let mut all = Vec::new();
    loop {
        let start = all.len();
        if reader.read_until(b'\n', &mut all)? == 0 {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
        to.write_all(&all[start..])?;
        to.flush()?;
    }
}

/// Takes out the escape sequences that set colours (`ESC [ ... m`).
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_of_a_command_are_kept_and_its_exit_code_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let (status, text) = tee(&mut command).unwrap();
        assert_eq!(text, "out\nerr\n");
        assert_eq!(
            succeeded(&command, status).unwrap_err().to_string(),
            "`sh -c echo out; echo err >&2; exit 3` failed (exit status: 3)"
        );
    }

    #[test]
    fn colours_are_taken_out_and_text_stays() {
        assert_eq!(without_colours("\u{1b}[32;1m Summary\u{1b}[0m [ 1s] 2 tests"), " Summary [ 1s] 2 tests");
    }

    #[test]
    fn a_command_that_is_not_installed_is_not_there() {
        assert!(!is_there(&mut Command::new("a-program-that-nobody-has")));
        assert!(is_there(&mut Command::new("true")));
    }
}
