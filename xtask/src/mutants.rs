//! Whether the simulation would notice: a copy of the core, with rules broken on purpose, in its worlds.
//!
//! All mutants of `sim/mutants.toml` are compiled into one program, which is one of them at a time, as an
//! environment variable says. Their seeds are always the same, so that an answer can be had again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::process::{self, cargo};

const LIST: &str = "sim/mutants.toml";
const COPY: &str = "target/mutants";
const PROGRAM: &str = "updraft-sim-mutants";
const CHOICE: &str = "UPDRAFT_SIM_MUTANT";

/// A mutant has to be noticed within so many worlds; the core as it is gets through the first of them.
const WORLDS: u32 = 2000;
const WORLDS_OF_THE_CORE: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutant: Vec<Mutant>,
}

/// A rule of the core, broken on purpose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    /// Below `crates/core/src`.
    file: String,
    from: String,
    to: String,
}

/// Runs every mutant, says when each was noticed, and fails where one was not.
pub fn run() -> anyhow::Result<()> {
    let list: List =
        toml::from_str(&fs::read_to_string(LIST)?).with_context(|| format!("{LIST} is wrong"))?;
    let program = build(&list.mutant)?;
    if let Some(failure) = first_failure(&program, 0, WORLDS_OF_THE_CORE)? {
        bail!("the core as it is fails: {failure}");
    }
    let mut unnoticed = Vec::new();
    for (n, mutant) in list.mutant.iter().enumerate() {
        match first_failure(&program, n + 1, WORLDS)? {
            Some(failure) => println!("noticed  {}\n         {failure}", mutant.name),
            None => {
                println!("UNSEEN   {}", mutant.name);
                unnoticed.push(mutant.name.as_str());
            }
        }
    }
    println!("{} of {} mutants were noticed", list.mutant.len() - unnoticed.len(), list.mutant.len());
    match unnoticed.as_slice() {
        [] => Ok(()),
        some => bail!("in {WORLDS} worlds nobody noticed: {}", some.join("; ")),
    }
}

/// What the worlds of the first seeds say about a mutant; 0 is none of them.
fn first_failure(program: &Path, mutant: usize, worlds: u32) -> anyhow::Result<Option<String>> {
    let worlds = worlds.to_string();
    let mut command = Command::new(program);
    command.args(["--from", "1", "--first", "--worlds", &worlds]).env(CHOICE, mutant.to_string());
    let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let failure = printed.lines().find(|line| line.contains(" fails after ")).map(shortened);
    match (output.status.success(), &failure) {
        (true, None) | (false, Some(_)) => Ok(failure),
        _ => bail!("{} ended with {}: {printed}", program.display(), output.status),
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(140) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

/// Makes the program: a workspace of the simulation and a core with every mutant in it.
fn build(mutants: &[Mutant]) -> anyhow::Result<PathBuf> {
    let copy = Path::new(COPY);
    for folder in ["crates/core/src", "sim/src"] {
        copy_folder(Path::new(folder), &copy.join(folder))?;
    }
    let root = fs::read_to_string("Cargo.toml")?;
    let members =
        root.lines().find(|line| line.starts_with("members = ")).context("Cargo.toml has no members")?;
    write(&copy.join("Cargo.toml"), &root.replace(members, r#"members = ["crates/core", "sim"]"#))?;
    write(&copy.join("Cargo.lock"), &fs::read_to_string("Cargo.lock")?)?;
    write(&copy.join("crates/core/Cargo.toml"), &fs::read_to_string("crates/core/Cargo.toml")?)?;
    let bin =
        format!("publish = false\nautobins = false\n\n[[bin]]\nname = \"{PROGRAM}\"\npath = \"src/main.rs\"");
    let sim = fs::read_to_string("sim/Cargo.toml")?.replace("publish = false", &bin);
    write(&copy.join("sim/Cargo.toml"), &sim)?;

    let source = copy.join("crates/core/src");
    for (n, mutant) in mutants.iter().enumerate() {
        let file = source.join(&mutant.file);
        let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        write(&file, &mutant.put_into(n + 1, &text)?)?;
    }
    let lib = source.join("lib.rs");
    write(&lib, &format!("{}\nmod mutant;\n", fs::read_to_string(&lib)?))?;
    write(&source.join("mutant.rs"), &chooser())?;

    // The dependencies are those of the simulation, compiled already.
    let target = std::env::current_dir()?.join("target");
    let manifest = copy.join("Cargo.toml");
    let mut command =
        cargo(&["build", "--release", "--quiet", "--package", "updraft-sim", "--manifest-path"]);
    command.arg(&manifest).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "--cap-lints allow");
    process::run(&mut command)?;
    Ok(target.join("release").join(PROGRAM))
}

fn chooser() -> String {
    format!(
        "use std::sync::LazyLock;\n\n\
         pub(crate) fn is(mutant: u32) -> bool {{\n    \
             static CHOSEN: LazyLock<u32> = LazyLock::new(|| {{\n        \
                 std::env::var(\"{CHOICE}\").ok().and_then(|n| n.parse().ok()).unwrap_or_default()\n    \
             }});\n    \
             *CHOSEN == mutant\n\
         }}\n"
    )
}

impl Mutant {
    /// Puts this mutant, number `n`, into its file's text, beside what stands there.
    fn put_into(&self, n: usize, text: &str) -> anyhow::Result<String> {
        if text.matches(&self.from).count() != 1 {
            bail!(
                "`{}` of {LIST} breaks what has to stand in {}, once:\n{}",
                self.name,
                self.file,
                self.from
            );
        }
        let (from, to) = (&self.from, &self.to);
        let chosen = format!("if crate::mutant::is({n}) {{ {to} }} else {{ {from} }}");
        let beside = if from.ends_with(';') { chosen } else { format!("({chosen})") };
        Ok(text.replacen(from.as_str(), &beside, 1))
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => write(&target, &fs::read_to_string(entry.path())?)?,
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(from: &str, to: &str) -> Mutant {
        Mutant { name: "m".into(), file: "f.rs".into(), from: from.into(), to: to.into() }
    }

    #[test]
    fn a_mutant_stands_beside_what_it_breaks() {
        let text = "let a = b + c;\nd();\n";
        let of_expression = mutant("b + c", "b").put_into(3, text).unwrap();
        assert_eq!(of_expression, "let a = (if crate::mutant::is(3) { b } else { b + c });\nd();\n");
        let of_statement = mutant("d();", ";").put_into(4, text).unwrap();
        assert_eq!(of_statement, "let a = b + c;\nif crate::mutant::is(4) { ; } else { d(); }\n");
    }

    #[test]
    fn a_mutant_of_what_is_gone_or_there_twice_is_refused() {
        for text in ["nothing", "x x"] {
            let refused = mutant("x", "y").put_into(1, text).unwrap_err().to_string();
            assert!(refused.contains("has to stand in f.rs, once"), "{refused}");
        }
    }
}
