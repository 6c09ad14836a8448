//! The README as a newcomer meets it: its commands, in their order, in a home of their own.
//!
//! `make run` goes on in the background as it would in a first terminal; all other blocks of shell commands are
//! one session in a second. `make test` is left out: it is what runs this.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context, ensure};

use crate::{
    process,
    session::{Home, Server, UNTIL_READ},
};

const SERVER: &str = "make run";
const TESTS: &str = "make test";

/// So long `make run` may take until it is up: it compiles everything.
const BUILD: Duration = Duration::from_secs(40 * 60);

/// Runs the README's commands.
pub fn run() -> anyhow::Result<()> {
    let blocks = blocks(&fs::read_to_string("README.md")?);
    for command in [SERVER, TESTS] {
        ensure!(blocks.iter().any(|block| block == command), "README.md has no block `{command}`");
    }
    let home = Home::make("readme")?;
    let mut server = Server::start(home.command("make").arg("run"))?;
    let time = server.wait_until_up(&home, BUILD)?;
    println!("`make run` is up after {} s", time.as_secs());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_shell_commands_are_commands() {
        let text = "a\n```sh\none\ntwo\n```\nb\n```yaml\nno: 1\n```\n\n```sh\nthree\n```\n";
        assert_eq!(blocks(text), ["one\ntwo", "three"]);
    }
}
