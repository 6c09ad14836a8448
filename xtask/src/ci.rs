//! The stages of `cargo xtask ci`.
//!
//! To add one, give it an entry in [`STAGES`]: it prints what it likes, fails by an error, and adds the tests
//! that it ran to the count.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::process::{self, cargo};
use crate::tests_run::TestsRun;
use crate::{deny, docs, mutants, readme, tidy};

/// One stage of the check.
pub struct Stage {
    /// What `--only` calls it: one word.
    name: &'static str,
    /// What it does, for `--list`.
    about: &'static str,
    run: fn(&mut TestsRun) -> anyhow::Result<()>,
}

/// All stages, in the order in which they run: what fails fastest comes first.
pub const STAGES: &[Stage] = &[
    Stage { name: "fmt", about: "the formatting of every crate", run: |_| fmt() },
    Stage { name: "tidy", about: "the style rules of xtask/src/tidy", run: |_| tidy::run() },
    Stage {
        name: "deny",
        about: "licences, bans and sources of dependencies, by deny.toml",
        run: |_| deny::run(),
    },
    Stage { name: "clippy", about: "compiler and clippy warnings, as errors", run: |_| clippy() },
    Stage { name: "doc", about: "rustdoc's warnings, as errors", run: |_| doc() },
    Stage { name: "test", about: "every test but doctests", run: test },
    Stage { name: "sim", about: "a minute of simulated worlds with fresh seeds", run: |_| sim() },
    Stage {
        name: "mutants",
        about: "whether the simulation notices each broken rule of sim/mutants.toml",
        run: |_| mutants::run(),
    },
    Stage { name: "readme", about: "the README's commands, `make run` among them", run: |_| readme::run() },
    Stage {
        name: "docs",
        about: "the commands, DAG files and links of docs/",
        run: |_| docs::run(docs::Profile::Release),
    },
    Stage { name: "doctest", about: "the examples in the documentation of libraries", run: doctest },
];

fn fmt() -> anyhow::Result<()> {
    process::run(&mut cargo(&["fmt", "--all", "--check"]))
        .map_err(|error| error.context("mend it with `make fmt`"))
}

fn clippy() -> anyhow::Result<()> {
    process::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    // Whoever needs few of them can build them alone.
    let bare = ["clippy", "--package", "updraft-operators", "--no-default-features", "--locked"];
    process::run(cargo(&bare).args(["--", "-D", "warnings"]))
}

fn doc() -> anyhow::Result<()> {
    process::run(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn test(tests: &mut TestsRun) -> anyhow::Result<()> {
    if process::is_there(&mut cargo(&["nextest", "--version"])) {
        return tests.count(&mut cargo(&["nextest", "run", "--workspace", "--locked"]));
    }
    println!(
        "cargo-nextest is not installed: `cargo test` runs the tests, one crate after the other and without a limit\n\
         on the time of each. To have both: `cargo install cargo-nextest --locked` (takes some minutes)."
    );
    tests.count(&mut cargo(&["test", "--workspace", "--tests", "--no-fail-fast", "--locked"]))
}

fn sim() -> anyhow::Result<()> {
    process::run(&mut cargo(&[
        "run",
        "--release",
        "--quiet",
        "--locked",
        "--package",
        "updraft-sim",
        "--",
        "--seconds",
        "60",
    ]))
}

fn doctest(tests: &mut TestsRun) -> anyhow::Result<()> {
    tests.count(&mut cargo(&["test", "--workspace", "--doc", "--no-fail-fast", "--locked"]))
}

/// The stages that a list of names, divided by commas, chooses.
pub fn select(names: &str) -> anyhow::Result<Vec<&'static Stage>> {
    let names: Vec<&str> = names.split(',').collect();
    if let Some(unknown) = names.iter().find(|name| STAGES.iter().all(|stage| stage.name != **name)) {
        let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        bail!("`{unknown}` is no stage; the stages are {}", known.join(", "));
    }
    Ok(STAGES.iter().filter(|stage| names.contains(&stage.name)).collect())
}

/// Prints the stages and what each does.
pub fn list() {
    for stage in STAGES {
        println!("{:<10}{}", stage.name, stage.about);
    }
}

/// Runs the stages in order, up to the first that fails; prints the table of times and the count of tests.
///
/// The count stands alone on the last line (`N passed, N failed, N skipped`), for whoever reads the output by machine.
pub fn run(stages: &[&Stage]) -> ExitCode {
    let mut ended = Vec::new();
    let mut tests = TestsRun::default();
    let mut failure = None;
    for stage in stages {
        println!("\n== {}: {}", stage.name, stage.about);
        let start = Instant::now();
        let result = (stage.run)(&mut tests);
        ended.push(start.elapsed());
        if let Err(error) = result {
            failure = Some(format!("stage `{}` failed: {error:#}", stage.name));
            break;
        }
    }
    println!("\n{}", table(stages, &ended, failure.is_some()));
    if let Some(failure) = &failure {
        println!("{failure}");
    }
    if tests != TestsRun::default() {
        println!("{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped);
    }
    if failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One row for each stage with its result and time; of the stages that ended, the last one failed if any did.
fn table(stages: &[&Stage], ended: &[Duration], failed: bool) -> String {
    let mut table = format!("{:<10}{:<9}{:>8}\n", "stage", "result", "time");
    for (index, stage) in stages.iter().enumerate() {
        let (result, time) = match ended.get(index) {
            None => ("not run", String::new()),
            Some(time) if failed && index + 1 == ended.len() => ("FAILED", minutes(*time)),
            Some(time) => ("ok", minutes(*time)),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{:<10}{result:<9}{time:>8}", stage.name);
    }
    let _ = writeln!(table, "{:<10}{:<9}{:>8}", "total", "", minutes(ended.iter().sum()));
    table
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000);
    format!("{}m {:02}s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Stage = Stage { name: "good", about: "ends well", run: |_| Ok(()) };
    const BAD: Stage = Stage { name: "bad", about: "ends badly", run: |_| bail!("a reason") };
    const NEVER: Stage = Stage { name: "never", about: "must not start", run: |_| panic!("it started") };

    #[test]
    fn the_first_failure_ends_the_run() {
        assert_eq!(run(&[&GOOD, &BAD, &NEVER]), ExitCode::FAILURE);
        assert_eq!(run(&[&GOOD]), ExitCode::SUCCESS);
    }

    #[test]
    fn the_table_tells_result_and_time_of_each_stage() {
        let ended = [Duration::from_millis(1), Duration::from_millis(83_500)];
        let expected = "\
stage     result       time
good      ok         0m 01s
bad       FAILED     1m 24s
never     not run          \n\
total                1m 24s
";
        assert_eq!(table(&[&GOOD, &BAD, &NEVER], &ended, true), expected);
    }

    #[test]
    fn a_choice_keeps_the_order_of_the_table_and_refuses_unknown_names() {
        let names: Vec<&str> = select("tidy,fmt").unwrap().iter().map(|stage| stage.name).collect();
        assert_eq!(names, ["fmt", "tidy"]);
        let refused = select("fmt,tidi").err().map(|error| error.to_string());
        assert!(
            refused
                .is_some_and(|message| message.starts_with("`tidi` is no stage; the stages are fmt, tidy"))
        );
    }

    #[test]
    fn every_stage_has_a_name_of_its_own() {
        for (index, stage) in STAGES.iter().enumerate() {
            assert!(STAGES[..index].iter().all(|other| other.name != stage.name), "{} twice", stage.name);
        }
    }
}
