//! The dependency graph: `cargo metadata` tells what it knows of each package, `cargo tree` which of them are used.
//!
//! The graph of `cargo metadata` alone is too large: it has optional packages whose feature nobody turned on, where a
//! weak feature (`name?/feature`) names them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::policy::Targets;
use crate::process::{self, cargo};

/// Every package that a build or a test for one of the targets needs, our own among them.
pub struct Graph {
    pub packages: Vec<Package>,
    /// By the id of a package, the ids of those that it needs.
    needs: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub struct Package {
    id: String,
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Where it came from; none for our own.
    pub source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Graph {
    pub fn read(targets: &Targets) -> anyhow::Result<Self> {
        let mut metadata = cargo(&["metadata", "--locked", "--format-version", "1"]);
        let mut tree = cargo(&["tree", "--locked", "--workspace", "--edges", "normal,build,dev"]);
        tree.args(["--prefix", "none", "--format", "{p}"]);
        for target in &targets.targets {
            metadata.args(["--filter-platform", target]);
            tree.args(["--target", target]);
        }
        if targets.all_features {
            metadata.arg("--all-features");
            tree.arg("--all-features");
        }
        Self::parse(&process::output(&mut metadata)?, &process::output(&mut tree)?)
    }

    /// Puts together what the two commands printed; of the tree, each line begins with `name vVERSION`.
    pub fn parse(metadata: &str, tree: &str) -> anyhow::Result<Self> {
        let metadata: Metadata = serde_json::from_str(metadata)
            .context("`cargo metadata` printed what this program cannot read")?;
        let used: HashSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
        let is_used = |package: &Package| used.contains(&(package.name.as_str(), package.version.as_str()));
        let packages: Vec<Package> = metadata.packages.into_iter().filter(is_used).collect();
        ensure!(used.len() == packages.len(), "`cargo tree` printed what this program cannot read");
        let needs = metadata.resolve.nodes.into_iter().map(|node| (node.id, node.dependencies)).collect();
        Ok(Self { packages, needs })
    }

    /// The packages that need this one, for a person to read.
    pub fn needed_by(&self, package: &Package) -> String {
        let needs =
            |other: &&Package| self.needs.get(&other.id).is_some_and(|needs| needs.contains(&package.id));
        let names: Vec<&str> = self.packages.iter().filter(needs).map(|other| other.name.as_str()).collect();
        names.join(", ")
    }
}

fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" v")?;
    Some((name, rest.split(' ').next().unwrap_or(rest)))
}
