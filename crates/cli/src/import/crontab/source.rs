//! Where crontabs are read, and what this machine says of their users and its clock.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;
use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use super::table::Form;
use crate::failure::{Exit, Failure};

/// A crontab.
#[derive(Debug)]
pub struct Source {
    /// What it is called: a path.
    pub name: String,
    pub bytes: Vec<u8>,
    pub form: Form,
    /// Whose it is, where its lines do not say it.
    pub owner: String,
    /// As whom its tasks run, where that is another than who imports it.
    pub run_as_user: Option<String>,
}

/// Reads the crontabs that are meant, and tells of the files that cron passes over.
pub fn read(files: &[PathBuf], is_system: bool, user: Option<&str>) -> Result<(Vec<Source>, Vec<Value>)> {
    let me = User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name);
    let me = me.unwrap_or_else(|| Uid::effective().to_string());
    let source = |name: String, bytes, is_system| Source {
        name,
        bytes,
        form: if is_system { Form::System } else { Form::User },
        owner: user.unwrap_or(&me).to_owned(),
        run_as_user: user.filter(|user| *user != me).map(str::to_owned),
    };
    let (mut sources, mut passed_over) = (Vec::new(), Vec::new());
    if files.is_empty() {
        let name = user.map_or_else(|| "crontab".into(), |user| format!("crontab of {user}"));
        sources.push(source(name, installed(user)?, is_system));
    }
    for file in files {
        if file.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("can't read standard input")?;
            sources.push(source("stdin".into(), bytes, is_system));
            continue;
        }
        for path in files_of(file, &mut passed_over)? {
            let bytes = std::fs::read(&path)
                .with_context(|| format!("can't read {}", path.display()))
                .map_err(missing)?;
            let name = path.display().to_string();
            sources.push(source(name, bytes, is_system || is_of_system(&path)));
        }
    }
    Ok((sources, passed_over))
}

/// A file itself, or those of a folder that cron reads.
fn files_of(path: &Path, passed_over: &mut Vec<Value>) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.with_context(|| format!("can't read the folder {}", path.display()))?;
    let mut files: Vec<PathBuf> =
        entries.iter().map(std::fs::DirEntry::path).filter(|path| path.is_file()).collect();
    files.sort();
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_read = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
        if !is_read && name != ".placeholder" {
            let note = "not read: cron passes over names with more than letters, digits, `-` and `_`";
            passed_over.push(json!({ "at": file, "note": note }));
        }
        is_read
    });
    Ok(files)
}

fn is_of_system(path: &Path) -> bool {
    path == Path::new("/etc/crontab") || path.parent().is_some_and(|folder| folder.ends_with("cron.d"))
}

/// What `crontab -l` prints.
fn installed(user: Option<&str>) -> Result<Vec<u8>> {
    let mut command = Command::new("crontab");
    command.arg("-l").stdin(Stdio::null());
    if let Some(user) = user {
        command.args(["-u", user]);
    }
    let output =
        command.output().context("can't run `crontab -l`; name the file to import").map_err(missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("`crontab -l` says: {}; name the file to import", said.trim());
    Err(Failure::new(Exit::NotFound, message).into())
}

/// What is not there has an exit code of its own.
fn missing(error: anyhow::Error) -> anyhow::Error {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    match kind == Some(std::io::ErrorKind::NotFound) {
        true => Failure::new(Exit::NotFound, format!("{error:#}")).into(),
        false => error,
    }
}

/// The folder of a user.
pub fn home_of(user: &str) -> Option<String> {
    Some(User::from_name(user).ok()??.dir.to_string_lossy().into_owned())
}

/// A zone by its IANA name.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .ok()
        .filter(|zone| zone.iana_name().is_some())
        .ok_or_else(|| format!("there is no time zone `{name}`: write an IANA name, like Europe/Berlin"))
}

/// The zone of this machine, which is cron's.
pub fn local_zone() -> TimeZone {
    let link = std::fs::read_link("/etc/localtime").unwrap_or_default();
    let linked = link.to_string_lossy().split_once("zoneinfo/").map(|(_, name)| name.to_owned());
    let written = || std::fs::read_to_string("/etc/timezone").ok();
    let name = linked.filter(|name| zone(name).is_ok()).or_else(written);
    name.and_then(|name| zone(name.trim()).ok()).unwrap_or(TimeZone::UTC)
}
