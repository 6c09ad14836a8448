//! Which crate may depend on which: the arrows of ARCHITECTURE.md, and what the core may use of others.

use super::{Finding, Project};

/// Every crate of the workspace with the crates that it may depend on, be it only for its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("bundles", &[]),
    ("store", &["core"]),
    ("operators", &["core"]),
    ("streams", &["core"]),
    ("sql", &["core", "streams"]),
    ("worker", &["core", "bundles", "operators", "streams"]),
    ("server", &["core", "bundles", "store", "operators", "streams", "sql"]),
    ("cli", &["core", "bundles", "store", "operators", "streams", "sql", "worker", "server"]),
];

/// The crate that has no clock, no randomness and no IO, and never waits.
const PURE: &str = "core";

/// The crates of others that it may depend on: none of them brings in what it does without. `proptest` is for its
/// tests. What the standard library has of these things, `crates/core/clippy.toml` bans.
const PURE_MAY_USE: &[&str] =
    &["jiff", "minijinja", "proptest", "serde", "serde_json", "strsim", "thiserror"];

/// Crates that only test or measure: they may depend on all others, and nothing else may depend on them.
const TEST_ONLY: &[&str] = &["sim", "bench", "tests"];

/// The project's own tasks: they build without the product.
const TASKS: &str = "xtask";

pub fn check(project: &Project) -> Vec<Finding> {
    let rooms: Vec<&str> = project.packages.iter().map(|package| room(&package.name)).collect();
    let mut findings = Vec::new();
    for package in &project.packages {
        let from = room(&package.name);
        let manifest = format!("{}/Cargo.toml", package.dir);
        let allowed = match ARROWS.iter().find(|(name, _)| *name == from) {
            _ if TEST_ONLY.contains(&from) => continue,
            Some((_, allowed)) => *allowed,
            None if from == TASKS => &[],
            None => {
                let message = format!("the crate `{from}` has no arrows yet: give it a row in {}", file!());
                findings.push(Finding::in_file(&manifest, message));
                continue;
            }
        };
        for to in package.dependencies.iter().filter(|_| from == PURE) {
            // What is ours has its arrows.
            if !rooms.contains(&room(to)) && !PURE_MAY_USE.contains(&&**to) {
                let message = format!(
                    "`{PURE}` must not depend on `{to}`: it has no clock, no randomness and no IO, and never \
                     waits. If `{to}` has none of these either, add it to `PURE_MAY_USE` in {}",
                    file!()
                );
                findings.push(Finding::in_file(&manifest, message));
            }
        }
        for to in package.dependencies.iter().map(|name| room(name)) {
            // A crate names itself to have a feature of its own in its tests; cargo allows it nothing else.
            if to != from && rooms.contains(&to) && !allowed.contains(&to) {
                let message = format!(
                    "`{from}` must not depend on `{to}`: {}. Move what both need to where both may look; \
                     ARCHITECTURE.md draws the arrows",
                    may(allowed)
                );
                findings.push(Finding::in_file(&manifest, message));
            }
        }
    }
    findings
}

fn room(package: &str) -> &str {
    package.strip_prefix("updraft-").unwrap_or(package)
}

fn may(allowed: &[&str]) -> String {
    match allowed {
        [] => "it may depend on no crate of ours".to_owned(),
        allowed => format!("it may depend on {}", allowed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn found(packages: &[(&str, &[&str])]) -> Vec<String> {
        let mut project = Project::of(&[]);
        project.packages = packages
            .iter()
            .map(|(name, dependencies)| Package {
                name: (*name).to_owned(),
                dir: name.replace("updraft-", "crates/"),
                dependencies: dependencies.iter().map(|dependency| (*dependency).to_owned()).collect(),
                targets: Vec::new(),
            })
            .collect();
        check(&project).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_of_the_table_and_crates_of_others_are_fine() {
        let found = found(&[
            ("updraft-core", &["serde"]),
            ("updraft-store", &["updraft-core", "updraft-store"]),
            ("updraft-worker", &["updraft-core", "tokio"]),
            ("updraft-server", &["updraft-core", "updraft-store"]),
            ("updraft-cli", &["updraft-server", "updraft-worker"]),
            ("updraft-sim", &["updraft-core", "updraft-server"]),
            ("xtask", &["toml"]),
        ]);
        assert_eq!(found, <[&str; 0]>::default());
    }

    #[test]
    fn an_arrow_against_the_table_is_found() {
        let found = found(&[
            ("updraft-core", &["updraft-store"]),
            ("updraft-store", &["updraft-core"]),
            ("updraft-worker", &["updraft-store"]),
            ("updraft-tests", &["updraft-store"]),
            ("xtask", &["updraft-core"]),
        ]);
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with(
            "crates/core/Cargo.toml: `core` must not depend on `store`: it may depend on no crate of ours."
        ));
        assert!(found[1].contains(
            "`worker` must not depend on `store`: it may depend on core, bundles, operators, streams."
        ));
        assert!(found[2].starts_with("xtask/Cargo.toml"));
    }

    #[test]
    fn the_core_may_use_no_crate_that_waits_or_draws_random_numbers() {
        let others = ["tokio", "rand", "getrandom", "reqwest", "sqlx", "proptest", "jiff"];
        let found = found(&[("updraft-core", &others), ("updraft-store", &others)]);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].starts_with("crates/core/Cargo.toml: `core` must not depend on `tokio`: it has no"));
    }

    #[test]
    fn nothing_may_depend_on_a_crate_that_only_tests() {
        assert_eq!(found(&[("updraft-sim", &[]), ("updraft-cli", &["updraft-sim"])]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        assert!(found(&[("updraft-utils", &[])])[0].contains("`utils` has no arrows yet"));
    }
}
