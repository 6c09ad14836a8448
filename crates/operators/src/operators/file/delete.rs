//! `DeleteFilesOperator`: files of this machine go.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use serde_json::json;
use updraft_core::TaskKind;

use super::named;
use crate::{
    Files, Refused, Work,
    catalog::{Entry, argument::arguments},
    files::Unwritable,
    operators::local,
    prepare::Job,
};

arguments! {
    /// The arguments of `DeleteFilesOperator`.
    struct DeleteArgs {
        /// The file, or all that `*`, `?` and `[…]` stand for; `**` stands for any number of folders. A relative path
        /// starts at the folder for what tasks write (`UPDRAFT_FILES`). Folders stay, and none is gone into by a link
        /// that a pattern stands for. What begins with a dot has to be named with it.
        templated path: String,
        /// Whether it is no error where there is nothing to delete.
        plain missing_ok: bool = false,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "DeleteFilesOperator",
    aliases: &["delete_files"],
    doc: "Deletes files of this machine. The result is how many there were.",
    takes_results: None,
    arguments: &[DeleteArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

/// So many are deleted before it is looked whether the task is to end.
const AT_ONCE: usize = 256;

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(DeleteArgs::read)?;
    let parts = named(&args.path).and_then(|()| parts_of(Path::new(&args.path)));
    let parts = parts.map_err(|why| job.bad((Some("path"), why)))?;
    let (files, base) = (job.host.files()?.clone(), job.written("")?);
    let (path, missing_ok) = (job.written(&args.path)?, args.missing_ok);
    Ok(local::work(job, move |context| async move {
        let guard = files.clone();
        let found = local::blocking(move || {
            let mut found = Vec::new();
            find(&guard, base, &parts, &mut found).map(|()| found)
        })
        .await?;
        let mut deleted = 0;
        for some in found.chunks(AT_ONCE) {
            let (files, some) = (files.clone(), some.to_vec());
            deleted += local::blocking(move || delete(&files, &some)).await?;
        }
        if deleted == 0 && !missing_ok {
            let shown = path.display();
            return Err(match tokio::fs::symlink_metadata(&path).await {
                Ok(_) => format!("{shown} is a folder, which stays: write {shown}/* for the files in it"),
                Err(_) => format!(
                    "there is no file {shown} to be deleted: check `path`, or set `missing_ok: true` where that is well"
                ),
            });
        }
        context.log.line(&format!("deleted {deleted} files"));
        Ok(json!(deleted))
    }))
}

fn delete(files: &Files, some: &[PathBuf]) -> Result<usize, String> {
    let mut deleted = 0;
    for path in some {
        deleted += usize::from(files.delete(path).map_err(|error| error.to_string())?);
    }
    Ok(deleted)
}

/// A part of a path.
#[derive(Clone, Debug)]
enum Part {
    Plain(PathBuf),
    Pattern(Pattern),
    /// `**`
    Folders,
}

fn parts_of(path: &Path) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    for component in path.components() {
        let text = component.as_os_str().to_string_lossy();
        let is_pattern = matches!(component, Component::Normal(_)) && text.contains(['*', '?', '[']);
        match &*text {
            "**" if matches!(parts.last(), Some(Part::Folders)) => {}
            "**" => parts.push(Part::Folders),
            text if is_pattern => {
                let pattern = Pattern::new(text).map_err(|error| format!("is no pattern: {error}"))?;
                parts.push(Part::Pattern(pattern));
            }
            text => parts.push(Part::Plain(text.into())),
        }
    }
    if matches!(parts.last(), Some(Part::Folders)) {
        return Err("ends with `**`, which stands for folders: write `**/*` for all files below".into());
    }
    Ok(parts)
}

const AS_SHELLS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Finds the files that the parts stand for, below a folder.
fn find(files: &Files, at: PathBuf, parts: &[Part], found: &mut Vec<PathBuf>) -> Result<(), String> {
    match parts {
        [] => {
            match at.symlink_metadata() {
                Ok(about) if about.is_dir() => {}
                Err(error) if is_missing(&error) => {}
                // What can't be looked at, deleting tells of.
                Ok(_) | Err(_) => found.push(at),
            }
            Ok(())
        }
        [Part::Plain(name), rest @ ..] => find(files, at.join(name), rest, found),
        [Part::Pattern(pattern), rest @ ..] => {
            for (path, is_folder) in entries(files, &at)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if pattern.matches_with(&name, AS_SHELLS) && is_folder != rest.is_empty() {
                    find(files, path, rest, found)?;
                }
            }
            Ok(())
        }
        [Part::Folders, rest @ ..] => {
            for (path, is_folder) in entries(files, &at)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if is_folder && !name.starts_with('.') {
                    find(files, path, parts, found)?;
                }
            }
            find(files, at, rest, found)
        }
    }
}

/// What is in a folder, in order, and whether each is a folder itself; nothing where there is none.
fn entries(files: &Files, folder: &Path) -> Result<Vec<(PathBuf, bool)>, String> {
    let failed = |error: std::io::Error| format!("{} can't be looked through: {error}", folder.display());
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    if !files.may_be_changed(folder).map_err(failed)? {
        return Err(Unwritable::Kept(folder.to_owned()).to_string());
    }
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.path(), entry.file_type()?.is_dir()))
    };
    let mut entries = entries.map(entry).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort();
    Ok(entries)
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}
