//! The part of `deny.toml` that this program knows. A key that it does not know is an error: a check that it left
//! out must not look like one that was made.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde::Deserialize;

use super::graph::{Graph, Package};
use super::licence;

/// How cargo names the default registry.
const DEFAULT_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub graph: Targets,
    licenses: Licences,
    bans: Bans,
    sources: Sources,
    #[expect(dead_code, reason = "advisories are known to cargo-deny alone")]
    #[serde(default)]
    advisories: Advisories,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisories {
    #[expect(dead_code, reason = "advisories are known to cargo-deny alone")]
    ignore: Vec<Excused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "advisories are known to cargo-deny alone")]
struct Excused {
    id: String,
    reason: String,
}

/// For what the graph is drawn.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Targets {
    pub targets: Vec<String>,
    pub all_features: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Licences {
    allow: Vec<String>,
    include_dev: bool,
    #[expect(
        dead_code,
        reason = "an allowed licence that nothing uses is no finding here, whatever cargo-deny is told"
    )]
    unused_allowed_license: Level,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    multiple_versions: Level,
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Level,
    unknown_git: Level,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Allow,
    Warn,
    Deny,
}

#[derive(Default)]
pub struct Report {
    pub warnings: Vec<String>,
    pub errors: Vec<String>,
}

impl Report {
    fn add(&mut self, level: Level, message: String) {
        match level {
            Level::Allow => {}
            Level::Warn => self.warnings.push(message),
            Level::Deny => self.errors.push(message),
        }
    }
}

impl Policy {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let policy: Self = toml::from_str(text)?;
        ensure!(policy.licenses.include_dev, "licenses.include-dev = false: this program checks them all");
        for ban in &policy.bans.deny {
            let is_name = ban.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            ensure!(
                is_name,
                "`{}` is no name of a crate: this program bans all versions of a crate or none",
                ban.name
            );
        }
        Ok(policy)
    }

    pub fn check(&self, graph: &Graph) -> Report {
        let mut report = Report::default();
        for package in &graph.packages {
            self.check_ban(package, graph, &mut report);
            self.check_licence(package, &mut report);
            self.check_source(package, &mut report);
        }
        self.check_versions(graph, &mut report);
        report
    }

    fn check_ban(&self, package: &Package, graph: &Graph, report: &mut Report) {
        for ban in self.bans.deny.iter().filter(|ban| ban.name == package.name) {
            let message =
                format!("{} is banned ({}); needed by {}", ban.name, ban.reason, graph.needed_by(package));
            report.errors.push(message);
        }
    }

    fn check_licence(&self, package: &Package, report: &mut Report) {
        let Package { name, version, license, .. } = package;
        let Some(expression) = license else {
            report.errors.push(format!("{name} {version} names no licence in its manifest"));
            return;
        };
        match licence::is_allowed(expression, &self.licenses.allow) {
            Ok(true) => {}
            Ok(false) => report
                .errors
                .push(format!("{name} {version} has a licence that is not allowed: {expression}")),
            Err(error) => report.errors.push(format!("{name} {version}: {error}")),
        }
    }

    fn check_source(&self, package: &Package, report: &mut Report) {
        let Some(source) = package.source.as_deref().filter(|source| *source != DEFAULT_REGISTRY) else {
            return;
        };
        let level =
            if source.starts_with("git+") { self.sources.unknown_git } else { self.sources.unknown_registry };
        report.add(level, format!("{} {} comes from {source}", package.name, package.version));
    }

    fn check_versions(&self, graph: &Graph, report: &mut Report) {
        let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
        for package in &graph.packages {
            versions.entry(&package.name).or_default().push(package);
        }
        for (name, packages) in versions.into_iter().filter(|(_, packages)| packages.len() > 1) {
            let copy = |package: &&Package| format!("{} (for {})", package.version, graph.needed_by(package));
            let copies: Vec<String> = packages.iter().map(copy).collect();
            let message = format!("more than one copy of {name}: {}", copies.join(" and "));
            report.add(self.bans.multiple_versions, message);
        }
    }
}

#[cfg(test)]
mod tests;
