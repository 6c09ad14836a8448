//! The documentation in `docs/src`: that its links hold, and that its commands and DAG files do what they say.
//!
//! Each page with commands or DAG files is a session of its own, with a new home folder and a server in it. Its blocks
//! come in their order: the commands of a `sh` block are run, a `yaml` block with a DAG is put among the server's DAG
//! files, checked, and run once by `updraft dags test`. A block `sh,norun` or `yaml,norun` needs something that is not
//! here and says what, in its first line: `# Needs a mail server.` Its DAG is checked all the same.

mod links;
mod page;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::ensure;

use self::page::{Block, Kind, Page};
use crate::{
    process::{self, cargo},
    session::{Home, Server, UNTIL_READ},
};

/// Where the pages are.
const PAGES: &str = "docs/src";

/// So long a server may take to start.
const START: Duration = Duration::from_secs(60);

/// How the program is built that the pages are tried with.
#[derive(Clone, Copy)]
pub enum Profile {
    /// As `cargo build` does.
    Debug,
    /// As `make run` does.
    Release,
}

/// Writes the pages that are made of what the program knows of itself.
pub fn write() -> anyhow::Result<()> {
    for package in ["updraft-cli", "updraft-server"] {
        let mut tests = cargo(&["test", "--quiet", "--package", package, "--locked", "reference::"]);
        process::run(tests.env("UPDRAFT_WRITE_DOCS", "1").stdout(Stdio::null()))?;
    }
    println!("docs/src/reference is up to date");
    Ok(())
}

/// Tries all pages.
pub fn run(profile: Profile) -> anyhow::Result<()> {
    let pages = Page::all(Path::new(PAGES))?;
    links::check(&pages)?;
    let program = built(profile)?;
    let mut failed = Vec::new();
    for page in pages.iter().filter(|page| page.blocks.iter().any(Block::is_tried)) {
        let begin = Instant::now();
        let tried = try_page(page, &program);
        println!("{:>5.1} s  {}", begin.elapsed().as_secs_f64(), page.path.display());
        if let Err(error) = tried {
            println!("{error:#}");
            failed.push(page.path.display().to_string());
        }
    }
    ensure!(failed.is_empty(), "what is above failed in {}", failed.join(", "));
    Ok(())
}

/// The folder with `updraft`.
fn built(profile: Profile) -> anyhow::Result<PathBuf> {
    let (flags, folder): (&[&str], _) = match profile {
        Profile::Debug => (&[], "debug"),
        Profile::Release => (&["--release"], "release"),
    };
    process::run(
        cargo(&["build", "--quiet", "--locked", "--package", "updraft-cli", "--bin", "updraft"]).args(flags),
    )?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(env::current_dir()?.join(target).join(folder))
}

/// Runs the blocks of a page.
fn try_page(page: &Page, program: &Path) -> anyhow::Result<()> {
    let home = Home::make("docs")?;
    let path = env::join_paths(
        [program.to_owned()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    fs::create_dir_all(home.path().join(".updraft/dags"))?;
    let log_file = home.path().join("server.log");
    let log = fs::File::create(&log_file)?;
    let mut standalone = home.command("updraft");
    standalone.arg("standalone").env("PATH", &path).stdout(log.try_clone()?).stderr(log);
    let mut server = Server::start(&mut standalone)?;
    server.wait_until_up(&home, START)?;
    let mut shell = home.command("bash");
    shell.args(["-euo", "pipefail", "-c", &script(page, home.path())?]).env("PATH", &path);
    let output = shell.current_dir(home.path()).stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let stopped = server.stop();
    ensure!(
        output.status.success(),
        "{}\n{}\n--- the server\n{}\nthe page's commands failed ({})",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        fs::read_to_string(&log_file)?,
        output.status
    );
    stopped
}

/// What is typed for a page, its DAG files laid down beside.
fn script(page: &Page, home: &Path) -> anyhow::Result<String> {
    let examples = home.join("examples");
    fs::create_dir_all(&examples)?;
    let mut script = String::new();
    for (number, block) in page.blocks.iter().enumerate() {
        let (dag, known) = match &block.kind {
            Kind::Shell if block.is_run => {
                script.push_str(&format!(
                    "echo '--- line {}'\n{UNTIL_READ}\nset -x\n{}\n{{ set +x; }} 2>&-\n",
                    block.line, block.text
                ));
                continue;
            }
            Kind::Dag(id) => (id, examples.join(format!("{number}.yaml"))),
            Kind::Shell | Kind::Other => continue,
        };
        fs::write(&known, &block.text)?;
        let known = known.display();
        script.push_str(&format!("echo '--- line {}'\nupdraft dags check {known}\n", block.line));
        if block.is_run {
            let file = format!("\"$HOME\"/.updraft/dags/{dag}.yaml");
            script.push_str(&format!("cp {known} {file}\nupdraft dags test --dag {dag} {file}\n"));
        }
    }
    Ok(script)
}
