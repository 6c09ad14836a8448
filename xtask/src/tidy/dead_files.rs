//! Source files that no `mod` declares: nothing compiles them, so they rot.

use std::collections::BTreeSet;

use super::rust::Rust;
use super::{Finding, Project};

pub fn check(project: &Project) -> Vec<Finding> {
    let roots: Vec<&str> = project.packages.iter().flat_map(|p| &p.targets).map(String::as_str).collect();
    let mut alive: BTreeSet<String> = roots.iter().map(|root| (*root).to_owned()).collect();
    let mut to_read: Vec<String> = alive.iter().cloned().collect();
    let mut findings = Vec::new();
    while let Some(path) = to_read.pop() {
        let Some((_, rust)) = project.tree.rust().find(|(file, _)| file.path == path) else { continue };
        for byte in rust.find("#[path") {
            let message = "no `#[path]`: let the file lie where the module's name says";
            findings.push(Finding::at(&path, rust.line(byte), message));
        }
        let folder =
            if roots.contains(&path.as_str()) { parent(&path) } else { path.trim_end_matches(".rs") };
        for module in declared(rust) {
            let child =
                if folder.is_empty() { format!("{module}.rs") } else { format!("{folder}/{module}.rs") };
            if alive.insert(child.clone()) {
                to_read.push(child);
            }
        }
    }
    for (file, _) in
        project.tree.rust().filter(|(file, _)| !alive.contains(&file.path) && !file.is_test_data())
    {
        findings.push(Finding::in_file(&file.path, "no `mod` declares this file: declare it or remove it"));
    }
    findings
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The modules that a source declares in files of their own; one inside a module with a body as `outer/inner`.
fn declared(rust: &Rust) -> Vec<String> {
    let mut words = Words { rest: &rust.code };
    let mut declared = Vec::new();
    // For each open brace, the module whose body it opened.
    let mut open: Vec<Option<&str>> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "mod" => {
                let (Some(name), Some(end)) = (words.next(), words.next()) else { break };
                if end == "{" {
                    open.push(Some(name));
                } else {
                    let outer = open.iter().flatten().copied();
                    declared.push(outer.chain([name]).collect::<Vec<_>>().join("/"));
                }
            }
            "{" => open.push(None),
            "}" => drop(open.pop()),
            _ => {}
        }
    }
    declared
}

/// Words and single signs of code.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let first = rest.chars().next()?;
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (next, rest) = rest.split_at(word.max(first.len_utf8()));
        self.rest = rest;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn found(targets: &[&str], files: &[(&str, &str)]) -> Vec<String> {
        let mut project = Project::of(files);
        project.packages = vec![Package {
            name: "updraft-a".to_owned(),
            dir: "a".to_owned(),
            dependencies: Vec::new(),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        }];
        check(&project).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn modules_are_followed_from_the_roots() {
        let files = [
            ("a/src/lib.rs", "pub mod b;\nmod c { mod d; fn x() { if y {} } mod e; }\n"),
            ("a/src/b.rs", "#[cfg(test)]\nmod tests;"),
            ("a/src/b/tests.rs", ""),
            ("a/src/c/d.rs", ""),
            ("a/src/c/e.rs", ""),
            ("a/tests/it/main.rs", "mod f;"),
            ("a/tests/it/f.rs", ""),
            ("a/tests/data/sample.rs", ""),
            ("a/build.rs", ""),
        ];
        let targets = ["a/src/lib.rs", "a/tests/it/main.rs", "a/build.rs"];
        assert_eq!(found(&targets, &files), <[&str; 0]>::default());
    }

    #[test]
    fn a_file_that_no_module_declares_is_found() {
        let files =
            [("a/src/lib.rs", "// mod b;\nmod c;"), ("a/src/c.rs", ""), ("a/src/b.rs", ""), ("x.rs", "")];
        let found = found(&["a/src/lib.rs"], &files);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("a/src/b.rs: no `mod` declares this file"));
        assert!(found[1].starts_with("x.rs: "));
    }

    #[test]
    fn a_module_with_a_path_of_its_own_is_found() {
        let files = [("a/src/lib.rs", "#[path = \"x.rs\"]\nmod b;"), ("a/src/b.rs", "")];
        assert!(found(&["a/src/lib.rs"], &files)[0].starts_with("a/src/lib.rs:1: no `#[path]`"));
    }
}
