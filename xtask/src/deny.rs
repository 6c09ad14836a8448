//! The check of the dependency graph against `deny.toml`: by cargo-deny where it is installed, else by this program,
//! which knows as much of it as our `deny.toml` says.

mod graph;
mod licence;
mod policy;

use std::fs;

use anyhow::{Context, bail};

use crate::process::{self, cargo};
use graph::Graph;
use policy::Policy;

const PATH: &str = "deny.toml";

/// Runs the check and says which of the two programs made it, and whether known advisories were part of it.
pub fn run() -> anyhow::Result<()> {
    if !process::is_there(&mut cargo(&["deny", "--version"])) {
        println!(
            "cargo-deny is not installed (`cargo install cargo-deny --locked` takes some minutes):\n\
             this program checks bans, licences and sources itself; advisories are not checked"
        );
        return check_here();
    }
    process::run(&mut cargo(&["fetch", "--locked"]))?;
    println!("cargo-deny checks bans, licences and sources");
    process::run(&mut cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))?;

    // Its database lies on a host that not every build machine reaches; a server that says nothing must not hold us up.
    let mut fetch = cargo(&["deny", "fetch", "db"]);
    fetch.env("GIT_HTTP_LOW_SPEED_LIMIT", "1000").env("GIT_HTTP_LOW_SPEED_TIME", "20");
    if process::is_there(&mut fetch) {
        println!("cargo-deny checks advisories");
        process::run(&mut cargo(&["deny", "--offline", "check", "advisories"]))
    } else {
        println!("advisories are not checked: `cargo deny fetch db` cannot fetch their database here");
        Ok(())
    }
}

fn check_here() -> anyhow::Result<()> {
    let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    let policy = Policy::parse(&text).with_context(|| {
        format!(
            "cannot use {PATH}; if cargo-deny can, install that, or teach xtask/src/deny/policy.rs the key"
        )
    })?;
    let graph = Graph::read(&policy.graph)?;
    let report = policy.check(&graph);
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for error in &report.errors {
        println!("error: {error}");
    }
    match report.errors.len() {
        0 => {
            println!("bans, licences and sources hold over {} packages", graph.packages.len());
            Ok(())
        }
        count => bail!("{count} error(s) against {PATH}"),
    }
}
