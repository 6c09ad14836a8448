//! Style as a test: rules that no compiler and no linter checks, each in a module of its own.
//!
//! A rule is a function from the project to its findings, with an entry in [`RULES`]. What breaks a rule for a
//! good reason is listed with that reason in `xtask/tidy.toml`.

mod arrows;
mod attributes;
mod config;
mod dead_files;
mod english;
mod length;
mod markers;
mod names;
mod rust;
mod sleeps;
mod tree;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::bail;

use crate::workspace::{self, Package};
use config::Config;
use tree::Tree;

/// What the rules look at.
struct Project {
    tree: Tree,
    packages: Vec<Package>,
    config: Config,
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from 1; none where the whole file is meant.
    line: Option<usize>,
    /// What is wrong and how to mend it.
    message: String,
}

impl Finding {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.path, self.message),
            None => write!(out, "{}: {}", self.path, self.message),
        }
    }
}

struct Rule {
    /// What `tidy.toml` calls it.
    name: &'static str,
    check: fn(&Project) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    Rule { name: "arrows", check: arrows::check },
    Rule { name: "attributes", check: attributes::check },
    Rule { name: "dead-files", check: dead_files::check },
    Rule { name: "english", check: english::check },
    Rule { name: "length", check: length::check },
    Rule { name: "markers", check: markers::check },
    Rule { name: "names", check: names::check },
    Rule { name: "sleeps", check: sleeps::check },
    Rule { name: "words", check: words::check },
];

/// Checks every rule over the project in the current folder and prints what it finds.
pub fn run() -> anyhow::Result<()> {
    let project = Project {
        tree: Tree::read(Path::new("."))?,
        packages: workspace::packages()?,
        config: Config::read()?,
    };
    let findings = findings(&project);
    for (rule, finding) in &findings {
        println!("{finding} [{rule}]");
    }
    match findings.len() {
        0 => {
            println!("{} rules hold over {} files", RULES.len(), project.tree.files.len());
            Ok(())
        }
        count => bail!("{count} finding(s); what each rule wants and why stands in CONTRIBUTING.md"),
    }
}

/// What the rules find, less the exceptions; an exception that excuses nothing is a finding itself.
fn findings(project: &Project) -> Vec<(&'static str, Finding)> {
    let mut used = vec![false; project.config.except.len()];
    let mut findings = Vec::new();
    for rule in RULES {
        for finding in (rule.check)(project) {
            let exception =
                project.config.except.iter().position(|e| e.rule == rule.name && e.path == finding.path);
            match exception {
                Some(index) => used[index] = true,
                None => findings.push((rule.name, finding)),
            }
        }
    }
    for (exception, _) in project.config.except.iter().zip(used).filter(|(_, used)| !used) {
        let message = format!(
            "the exception of {} from `{}` excuses nothing: remove it",
            exception.path, exception.rule
        );
        findings.push(("exceptions", Finding::in_file(config::PATH, message)));
    }
    findings.sort_by(|a, b| a.1.cmp(&b.1));
    findings
}

/// What the tests of the rules share: a project of a few files.
#[cfg(test)]
impl Project {
    fn of(files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, text)| tree::File::new(path, Some((*text).to_owned()))).collect();
        Self { tree: Tree { files }, packages: Vec::new(), config: Config::default() }
    }
}

/// The places that a rule finds, as `path:line`.
#[cfg(test)]
fn places(check: fn(&Project) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let place = |finding: Finding| format!("{}:{}", finding.path, finding.line.unwrap_or_default());
    check(&Project::of(files)).into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Except;

    fn except(rule: &str, path: &str) -> Except {
        Except { rule: rule.to_owned(), path: path.to_owned(), reason: "a reason".to_owned() }
    }

    #[test]
    fn an_exception_excuses_one_rule_in_one_file() {
        let bad = "Привет";
        let mut project = Project::of(&[("a.md", bad), ("b.md", bad)]);
        project.config.except = vec![except("english", "a.md")];
        let found: Vec<String> = findings(&project).iter().map(|(_, finding)| finding.path.clone()).collect();
        assert_eq!(found, ["b.md"]);
    }

    #[test]
    fn an_exception_that_excuses_nothing_is_a_finding() {
        let mut project = Project::of(&[("a.md", "fine")]);
        project.config.except = vec![except("english", "a.md")];
        let found = findings(&project);
        assert_eq!(found.len(), 1);
        assert!(found[0].1.to_string().contains("excuses nothing"), "{}", found[0].1);
    }
}
