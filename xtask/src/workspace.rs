//! The workspace's own packages, as `cargo metadata` tells them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::process;

/// One package of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name, as in `updraft-core`.
    pub name: String,
    /// Its folder, relative to the root.
    pub dir: String,
    /// The names of the packages that it depends on: normally, for building and for testing.
    pub dependencies: Vec<String>,
    /// The root source files of its targets, relative to the root.
    pub targets: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<MetadataDependency>,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
}

#[derive(Deserialize)]
struct MetadataTarget {
    src_path: PathBuf,
}

/// Asks cargo for the packages of the workspace that this program runs in.
pub fn packages() -> anyhow::Result<Vec<Package>> {
    let printed = process::output(&mut process::cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    parse(&printed)
}

fn parse(printed: &str) -> anyhow::Result<Vec<Package>> {
    let metadata: Metadata =
        serde_json::from_str(printed).context("`cargo metadata` printed what this program cannot read")?;
    let relative = |path: &Path| -> anyhow::Result<String> {
        let path =
            path.strip_prefix(&metadata.workspace_root).context("a package lies outside of the workspace")?;
        Ok(path.to_str().context("a path is no UTF-8")?.to_owned())
    };
    let mut packages = Vec::new();
    for package in &metadata.packages {
        packages.push(Package {
            name: package.name.clone(),
            dir: relative(package.manifest_path.parent().context("a manifest without a folder")?)?,
            dependencies: package.dependencies.iter().map(|dependency| dependency.name.clone()).collect(),
            targets: package.targets.iter().map(|t| relative(&t.src_path)).collect::<anyhow::Result<_>>()?,
        });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_with_paths_relative_to_the_root() {
        let printed = r#"{"workspace_root": "/r", "packages": [{"name": "updraft-core",
            "manifest_path": "/r/crates/core/Cargo.toml", "dependencies": [{"name": "jiff"}],
            "targets": [{"src_path": "/r/crates/core/src/lib.rs"}]}]}"#;
        let packages = parse(printed).unwrap();
        assert_eq!(packages[0].dir, "crates/core");
        assert_eq!(packages[0].dependencies, ["jiff"]);
        assert_eq!(packages[0].targets, ["crates/core/src/lib.rs"]);
    }
}
