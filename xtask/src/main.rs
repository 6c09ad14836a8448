//! The project's own tasks. `cargo xtask ci` is the one entry to every check: it runs the stages of
//! [`ci::STAGES`] in order, stops at the first that fails, and says how long each took.
//!
//! This program is compiled in every CI run, so it has few dependencies and no argument parser.

mod ci;
mod deny;
mod docs;
mod mutants;
mod process;
mod readme;
mod session;
mod tests_run;
mod tidy;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

const USAGE: &str = "\
Usage: cargo xtask ci [--only STAGE[,STAGE...]] [--list]
       cargo xtask mutants
       cargo xtask docs [--check]

  --only STAGE,...  run these stages alone, in the table's order
  --list            print the stages and what each does

`mutants` asks the simulation about each rule of sim/mutants.toml, broken on purpose.
`docs` writes the pages of docs/src/reference anew; `docs --check` tries the commands and DAG files of all pages.";

fn main() -> ExitCode {
    if let Err(error) = enter_root() {
        return usage_error(&error.to_string());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["ci"] => ci::run(&ci::STAGES.iter().collect::<Vec<_>>()),
        ["ci", "--list"] => {
            ci::list();
            ExitCode::SUCCESS
        }
        ["ci", "--only", names] => match ci::select(names) {
            Ok(stages) => ci::run(&stages),
            Err(error) => usage_error(&error.to_string()),
        },
        ["mutants"] => done(mutants::run()),
        ["docs"] => done(docs::write()),
        ["docs", "--check"] => done(docs::run(docs::Profile::Debug)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [] => usage_error("no command given"),
        other => usage_error(&format!("`{}` is not a command", other.join(" "))),
    }
}

fn done(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the root of the workspace the current folder, so that every path can be relative to it.
fn enter_root() -> anyhow::Result<()> {
    // The value that cargo gives at run time: the one at compile time may name another clone.
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").context("start it as `cargo xtask`")?;
    let root = Path::new(&manifest_dir).parent().context("this package lies in no workspace")?;
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))
}

fn usage_error(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\n{USAGE}");
    ExitCode::from(2)
}
