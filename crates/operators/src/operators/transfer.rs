//! What the operators that move files have in common: which way, which files, and the names of those that are not
//! whole yet.

use std::path::PathBuf;

use serde_json::Value;

use crate::{
    Refused,
    catalog::{
        Written,
        argument::{BadArgument, FromArgument, OneOrMore, found},
    },
    prepare::Job,
};

/// Which way files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// From here to there.
    Put,
    /// From there to here.
    Get,
    /// They go away there.
    Delete,
}

impl FromArgument for Operation {
    const EXPECTS: &'static str = "put, get or delete";
    const TYPES: &'static [&'static str] = &["string"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::to_lowercase).as_deref() {
            Some("put") => Ok(Self::Put),
            Some("get") => Ok(Self::Get),
            Some("delete") => Ok(Self::Delete),
            _ => Err(format!("must be {}; {}", Self::EXPECTS, found(value))),
        }
    }
}

/// What is to be done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Put { local: PathBuf, remote: String },
    Get { remote: String, local: PathBuf },
    Delete { remote: String },
}

/// Refuses what is written down where it can already be seen that it will not do.
pub(super) fn check(written: &Written<'_>) -> Result<(), BadArgument> {
    let operation = written.literal("operation").map(Operation::from_argument);
    let deletes = matches!(operation, Some(Ok(Operation::Delete)));
    if deletes || written.may_have("local_filepath") {
        return Ok(());
    }
    Err((Some("local_filepath"), "is required, unless `operation` is delete".into()))
}

/// What is to be done, file by file.
pub(super) fn steps(
    job: &Job<'_>,
    operation: Operation,
    local: Option<OneOrMore>,
    remote: OneOrMore,
) -> Result<Vec<Step>, Refused> {
    let (local, remote) = (local.unwrap_or_default().0, remote.0);
    if let Some(folder) = remote.iter().find(|path| path.is_empty() || path.ends_with('/')) {
        return Err(job.bad((Some("remote_filepath"), format!("has {folder:?}, which names no file"))));
    }
    if operation == Operation::Delete {
        if !local.is_empty() {
            let why = "has no meaning with `operation: delete`: leave it out";
            return Err(job.bad((Some("local_filepath"), why.into())));
        }
        return Ok(remote.into_iter().map(|remote| Step::Delete { remote }).collect());
    }
    if local.len() != remote.len() {
        let why = format!(
            "has {} paths, and `remote_filepath` has {}: each file needs one of both",
            local.len(),
            remote.len()
        );
        return Err(job.bad((Some("local_filepath"), why)));
    }
    let step = |(local, remote): (String, String)| {
        Ok(match operation {
            Operation::Put => Step::Put { local: job.found(local)?, remote },
            Operation::Get | Operation::Delete => Step::Get { remote, local: job.written(local)? },
        })
    };
    local.into_iter().zip(remote).map(step).collect()
}

/// The name that a remote file has until it is whole.
pub(super) fn half_name(remote: &str, mark: &str) -> String {
    match remote.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.{mark}.half"),
        None => format!(".{remote}.{mark}.half"),
    }
}

/// The folders that a remote path is below, the outermost first.
pub(super) fn folders_of(remote: &str) -> Vec<&str> {
    let ends = remote.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.map(|at| &remote[..at]).filter(|folder| !folder.ends_with('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_a_path_come_from_the_outermost_on() {
        assert_eq!(folders_of("/a/b/c.csv"), ["/a", "/a/b"]);
        assert_eq!(folders_of("a//b/c.csv"), ["a", "a//b"]);
        assert_eq!(folders_of("c.csv"), Vec::<&str>::new());
        assert_eq!(folders_of("/c.csv"), Vec::<&str>::new());
    }

    #[test]
    fn a_file_that_is_not_whole_lies_beside_its_place() {
        assert_eq!(half_name("/in/a.csv", "1-2"), "/in/.a.csv.1-2.half");
        assert_eq!(half_name("a.csv", "1-2"), ".a.csv.1-2.half");
        assert_eq!(half_name("/a.csv", "1-2"), "/.a.csv.1-2.half");
    }
}
