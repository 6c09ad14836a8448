//! File names that say what is inside, and mean the same on every system.

use super::{Finding, Project};

/// Names of files and folders that say nothing: what is put there belongs to a module with a name.
const EMPTY_WORDS: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in project.tree.files.iter().filter(|file| !file.is_test_data()) {
        if let Some(message) = problem(&file.path) {
            findings.push(Finding::in_file(&file.path, message));
        }
    }
    findings
}

fn problem(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if !path.chars().all(is_plain) {
        return Some("letters, digits, `.`, `_` and `-` alone in a path".to_owned());
    }
    if name == "mod.rs" {
        return Some("no `mod.rs`: name it `foo.rs`, beside the folder `foo/`".to_owned());
    }
    let stem = name.strip_suffix(".rs").or(name.strip_suffix(".py"));
    if stem.is_some_and(|stem| stem.chars().any(|c| c.is_ascii_uppercase() || matches!(c, '-' | '.'))) {
        return Some("small letters, digits and `_` in the name of a module".to_owned());
    }
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders).split('/');
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    let empty = folders.chain([stem]).find(|word| EMPTY_WORDS.contains(word))?;
    Some(format!("`{empty}` says nothing: name it by what it is about"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn plain_names_are_fine() {
        let good = [
            "README.md",
            ".ci/run",
            "crates/core/src/trigger_rule.rs",
            "web/src/routes/RunList.tsx",
            "crates/a/tests/data/a name.yaml",
        ];
        assert_eq!(places(check, &good.map(|path| (path, ""))), <[&str; 0]>::default());
    }

    #[test]
    fn names_that_mislead_are_found() {
        let bad = [
            "crates/a/src/b/mod.rs",
            "crates/a/src/TaskRun.rs",
            "python/task-run.py",
            "docs/a name.md",
            "crates/a/src/utils.rs",
            "crates/common/src/lib.rs",
            "web/src/helpers.ts",
        ];
        let expected = bad.map(|path| format!("{path}:0"));
        assert_eq!(places(check, &bad.map(|path| (path, ""))), expected);
    }
}
