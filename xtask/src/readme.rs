//! The README as a newcomer meets it: its commands, in their order, in a home of their own.
//!
//! `make run` goes on in the background as it would in a first terminal; all other blocks of shell commands are
//! one session in a second. `make test` is left out: it is what runs this.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::process;

const SERVER: &str = "make run";
const TESTS: &str = "make test";

/// So long `make run` may take until it is up: it compiles everything.
const BUILD: Duration = Duration::from_secs(40 * 60);
/// So long it may take to end after Ctrl-C.
const END: Duration = Duration::from_secs(30);

/// Who types a command only when the server knows the DAG files that are there.
const UNTIL_READ: &str = r#"
for file in "$HOME"/.updraft/dags/*.yaml; do
    timeout 60 bash -c 'until updraft dags show "$1" >/dev/null 2>&1; do :; done' - "$(basename "$file" .yaml)" \
        || { echo "the server does not know the DAG of $file after a minute" >&2; exit 1; }
done
"#;

/// Runs the README's commands.
pub fn run() -> anyhow::Result<()> {
    let blocks = blocks(&fs::read_to_string("README.md")?);
    for command in [SERVER, TESTS] {
        ensure!(blocks.iter().any(|block| block == command), "README.md has no block `{command}`");
    }
    let home = Home::make()?;
    let mut server = Server::start(&home)?;
    server.wait_until_up(&home)?;
    let session: Vec<String> = blocks.into_iter().filter(|block| block != SERVER && block != TESTS).collect();
    ensure!(!session.is_empty(), "README.md has no commands for a second terminal");
    // What a block writes is read before the next begins. The first makes `updraft` known to the others.
    let first = format!("(PATH=\"$PWD/target/release:$PATH\"{UNTIL_READ})\n");
    let script = first + &session.join(UNTIL_READ);
    let mut shell = home.command("bash");
    shell.args(["-euxo", "pipefail", "-c", &script]).stdin(Stdio::null());
    let ended = process::run(&mut shell);
    let stopped = server.stop();
    ended.context("a command of README.md failed")?;
    stopped
}

/// The blocks of shell commands of a Markdown text.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == "```sh") {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
    }
    blocks
}

/// A home folder that goes when this does.
struct Home(PathBuf);

impl Home {
    fn make() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("updraft-readme-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// A command of somebody whose home this is, with the Rust that is installed. The port is a free one, since
    /// the usual may be taken.
    fn command(&self, program: &str) -> Command {
        let real = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let mut command = Command::new(program);
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if std::env::var_os(name).is_none() {
                command.env(name, real.join(folder));
            }
        }
        command.env("HOME", &self.0).env("UPDRAFT__SERVER__PORT", "0").env_remove("UPDRAFT_HOME");
        command
    }

    fn address(&self) -> PathBuf {
        self.0.join(".updraft/run/address")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `make run`, in a process group of its own, as a terminal has it.
struct Server(Child);

impl Server {
    fn start(home: &Home) -> anyhow::Result<Self> {
        let mut make = home.command("make");
        make.arg("run").stdin(Stdio::null()).process_group(0);
        Ok(Self(make.spawn().context("cannot start `make run`")?))
    }

    fn wait_until_up(&mut self, home: &Home) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !home.address().exists() {
            if let Some(status) = self.0.try_wait()? {
                bail!("`make run` ended before it was up ({status})");
            }
            ensure!(begin.elapsed() < BUILD, "`make run` is not up after {} s", BUILD.as_secs());
            sleep(Duration::from_millis(100));
        }
        println!("`make run` is up after {} s", begin.elapsed().as_secs());
        Ok(())
    }

    /// Ctrl-C in its terminal.
    fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("-INT")?;
        let begin = Instant::now();
        while self.0.try_wait()?.is_none() {
            ensure!(begin.elapsed() < END, "`make run` did not end {} s after Ctrl-C", END.as_secs());
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        process::run(Command::new("kill").args([signal, "--", &format!("-{}", self.0.id())]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.signal("-KILL");
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_dag_that_is_never_known_ends_the_session() {
        let home = std::env::temp_dir().join(format!("updraft-until-read-{}", std::process::id()));
        let (dags, bin) = (home.join(".updraft/dags"), home.join("bin"));
        fs::create_dir_all(&dags).unwrap();
        fs::create_dir_all(&bin).unwrap();
        fs::write(dags.join("lost.yaml"), "").unwrap();
        // Nobody waits for a whole minute.
        for (name, script) in [("updraft", "exit 3"), ("timeout", "shift; exec /usr/bin/timeout 0.2 \"$@\"")]
        {
            fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", UNTIL_READ]).env("HOME", &home).env("PATH", path);
        let output = shell.output().unwrap();
        fs::remove_dir_all(&home).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("lost.yaml"));
    }

    #[test]
    fn only_blocks_of_shell_commands_are_commands() {
        let text = "a\n```sh\none\ntwo\n```\nb\n```yaml\nno: 1\n```\n\n```sh\nthree\n```\n";
        assert_eq!(blocks(text), ["one\ntwo", "three"]);
    }
}
