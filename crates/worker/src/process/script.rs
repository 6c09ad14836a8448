//! Scripts: their `#!` line, their line ends, and programs looked up before they are executed.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::SpawnError;

const BYTE_ORDER_MARK: char = '\u{feff}';
/// What runs a script that does not say, as `execvp(3)` has it.
const DEFAULT_INTERPRETER: &str = "sh";

/// A script's text as it is written to its file: web forms and Windows editors send a byte order mark and CR
/// LF, with which neither the kernel nor a shell can do anything.
pub(super) fn normalised(body: &str) -> Cow<'_, str> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let first_line = body.split_once('\n').map_or(body, |(line, _)| line);
    if first_line.ends_with('\r') { Cow::Owned(body.replace("\r\n", "\n")) } else { Cow::Borrowed(body) }
}

/// The interpreter and its arguments, as execve(2) reads the `#!` line on Linux: a path, then all the rest of
/// the line as one argument.
pub(super) fn interpreter(body: &str, path: &OsStr) -> Result<Vec<String>, SpawnError> {
    let line = body.lines().next().unwrap_or_default();
    let Some(rest) = line.strip_prefix("#!") else { return Ok(vec![DEFAULT_INTERPRETER.to_owned()]) };
    let blank = |character| character == ' ' || character == '\t';
    let rest = rest.trim_matches(blank);
    let (interpreter, argument) = rest.split_once(blank).unwrap_or((rest, ""));
    let argument = argument.trim_start_matches(blank);
    let bad = |why| SpawnError::BadShebang { line: line.to_owned(), why };
    if interpreter.is_empty() {
        return Err(bad("it names no interpreter; write one, such as #!/bin/sh"));
    }
    let missing = |program: &str, error| missing_interpreter(program, line, error);
    find(interpreter, path, 1).map_err(|error| missing(interpreter, error))?;
    if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
        if !argument.starts_with('-') && argument.contains(blank) {
            return Err(bad(
                "env takes all after it for one program name; write #!/usr/bin/env -S and then the program and its arguments",
            ));
        }
        if let Some(program) = program_of_env(argument) {
            find(program, path, 1).map_err(|error| missing(program, error))?;
        }
    }
    let argument = (!argument.is_empty()).then(|| argument.to_owned());
    Ok([interpreter.to_owned()].into_iter().chain(argument).collect())
}

/// The program that `env` is going to run, as far as that is plain: behind options and assignments, and
/// neither behind an option that takes the next word nor with quotes or escapes, which are env's own to read.
fn program_of_env(argument: &str) -> Option<&str> {
    for word in argument.split_ascii_whitespace() {
        match word {
            "-u" | "-C" | "--unset" | "--chdir" => return None,
            _ if word.starts_with('-') || word.contains('=') => {}
            _ => {
                let is_plain =
                    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./_-+".contains(&byte));
                return is_plain.then_some(word);
            }
        }
    }
    None
}

fn missing_interpreter(program: &str, line: &str, error: SpawnError) -> SpawnError {
    match error {
        SpawnError::ProgramMissing { searched, .. } => SpawnError::InterpreterMissing {
            interpreter: program.to_owned(),
            line: line.to_owned(),
            searched,
        },
        other => other,
    }
}

/// The files that a program's name may stand for, at most so many: the first that a user may execute is the one.
/// Never none. A relative name with a slash is left to the child, whose folder it is relative to.
pub(super) fn find(program: &str, path: &OsStr, most: usize) -> Result<Vec<PathBuf>, SpawnError> {
    if program.is_empty() {
        return Err(SpawnError::NoProgram);
    }
    if program.contains('/') {
        let file = PathBuf::from(program);
        if file.is_relative() {
            return Ok(vec![file]);
        }
        return match executable(&file) {
            Ok(()) => Ok(vec![file]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SpawnError::ProgramMissing {
                program: program.to_owned(),
                searched: "no such file".to_owned(),
            }),
            Err(source) => Err(SpawnError::NotExecutable { path: file, source }),
        };
    }
    let mut found = Vec::new();
    let mut refused = None;
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        let file = folder.join(program);
        match executable(&file) {
            Ok(()) => found.push(file),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some((file, error)),
            Err(_) => {}
        }
        if found.len() == most {
            break;
        }
    }
    match refused {
        _ if !found.is_empty() => Ok(found),
        Some((path, source)) => Err(SpawnError::NotExecutable { path, source }),
        None => {
            let searched = format!("PATH is {}", path.display());
            Err(SpawnError::ProgramMissing { program: program.to_owned(), searched })
        }
    }
}

fn executable(file: &Path) -> io::Result<()> {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK)?;
    // A folder can be "executed" too, which means entered.
    if file.is_dir() { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

/// A file that execve did not find although it is there: its own `#!` line names what is missing.
pub(super) fn explain_not_found(file: &Path) -> Option<SpawnError> {
    // It was no pipe when it was executed, and may be one now: that would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut opened = std::fs::File::from(rustix::fs::open(file, flags, Mode::empty()).ok()?);
    let mut head = [0; 256];
    let read = io::Read::read(&mut opened, &mut head).ok()?;
    let line = head[..read].split(|byte| *byte == b'\n').next()?;
    let name =
        line.strip_prefix(b"#!")?.trim_ascii_start().split(|byte| *byte == b' ' || *byte == b'\t').next()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let searched = if name.ends_with(b"\r") {
        "the line ends in CR LF: save the file with Unix line ends".to_owned()
    } else {
        "no such file".to_owned()
    };
    Some(SpawnError::InterpreterMissing { interpreter: text(name), line: text(line), searched })
}

/// A text for the system, which ends texts at NUL.
pub(super) fn c_string(text: impl Into<OsString>, what: &str) -> Result<std::ffi::CString, SpawnError> {
    let text: OsString = text.into();
    std::ffi::CString::new(text.as_bytes()).map_err(|_| SpawnError::Nul { what: what.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_program_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(explain_not_found(&pipe).is_none());
    }
}
