//! A ratchet on long files: what is longer than the limit is listed with a ceiling that only goes down.
//!
//! Long functions are clippy's affair (`too_many_lines`).

use super::tree::File;
use super::{Finding, Project, config};

/// The longest file that needs no reason.
const LIMIT: usize = 600;

/// How far a file may fall below its ceiling before the ceiling must follow, so that not every change moves it.
const SLACK: usize = 25;

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in project.tree.files.iter().filter(|file| is_source(file)) {
        let lines = file.lines().count();
        let entry = project.config.long_file.iter().find(|entry| entry.path == file.path);
        let message = match entry.map(|entry| entry.lines) {
            None if lines > LIMIT => format!(
                "{lines} lines: split it, or list it with the reason in {} ({LIMIT} lines need none)",
                config::PATH
            ),
            Some(_) if lines <= LIMIT => {
                format!("{lines} lines are not long: remove its entry from {}", config::PATH)
            }
            Some(ceiling) if lines > ceiling => {
                format!("{lines} lines, over its ceiling of {ceiling}, which only goes down: split it")
            }
            Some(ceiling) if lines + SLACK < ceiling => {
                format!("{lines} lines: lower its ceiling in {} from {ceiling} to that", config::PATH)
            }
            None | Some(_) => continue,
        };
        findings.push(Finding::in_file(&file.path, message));
    }
    for entry in &project.config.long_file {
        if !project.tree.files.iter().any(|file| file.path == entry.path) {
            let message = format!("{} does not exist: remove its entry", entry.path);
            findings.push(Finding::in_file(config::PATH, message));
        }
    }
    findings
}

fn is_source(file: &File) -> bool {
    let ending = file.path.rsplit_once('.').map_or("", |(_, ending)| ending);
    matches!(ending, "rs" | "py" | "sh" | "ts" | "tsx" | "js" | "css") && !file.is_test_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::config::LongFile;

    fn found(lines: usize, ceiling: Option<usize>) -> Option<String> {
        let mut project = Project::of(&[("a.rs", &"\n".repeat(lines))]);
        project.config.long_file = ceiling
            .map(|lines| LongFile { path: "a.rs".to_owned(), lines, reason: "one table".to_owned() })
            .into_iter()
            .collect();
        check(&project).first().map(ToString::to_string)
    }

    #[test]
    fn short_files_and_listed_long_files_are_fine() {
        assert_eq!(found(600, None), None);
        assert_eq!(found(700, Some(700)), None);
        assert_eq!(found(680, Some(700)), None);
    }

    #[test]
    fn a_long_file_without_an_entry_or_over_its_ceiling_is_found() {
        assert!(found(601, None).is_some_and(|message| message.starts_with("a.rs: 601 lines: split it")));
        assert!(found(701, Some(700)).is_some_and(|message| message.contains("over its ceiling of 700")));
    }

    #[test]
    fn a_ceiling_must_follow_its_file_down() {
        assert!(found(650, Some(700)).is_some_and(|message| message.contains("from 700 to that")));
        assert!(found(600, Some(700)).is_some_and(|message| message.contains("remove its entry")));
    }

    #[test]
    fn an_entry_of_a_file_that_is_gone_is_found() {
        let mut project = Project::of(&[]);
        project.config.long_file =
            vec![LongFile { path: "a.rs".to_owned(), lines: 700, reason: "x".to_owned() }];
        assert_eq!(check(&project)[0].to_string(), "xtask/tidy.toml: a.rs does not exist: remove its entry");
    }

    #[test]
    fn documents_and_test_data_may_be_long() {
        let long = "\n".repeat(1000);
        let project = Project::of(&[("a.md", &long), ("tests/data/a.py", &long)]);
        assert_eq!(check(&project), []);
    }
}
