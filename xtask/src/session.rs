//! Somebody's terminals: a home folder, a server in the one, commands in the other.

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

/// So long a server may take to end after Ctrl-C.
const END: Duration = Duration::from_secs(30);

/// Who types a command only when the server knows the DAG files that are there.
pub const UNTIL_READ: &str = r#"
for file in "$HOME"/.updraft/dags/*.yaml; do
    [ -e "$file" ] || continue
    timeout 60 bash -c 'until updraft dags show "$1" >/dev/null 2>&1; do :; done' - "$(basename "$file" .yaml)" \
        || { echo "the server does not know the DAG of $file after a minute" >&2; exit 1; }
done
"#;

/// A home folder that goes when this does.
pub struct Home(PathBuf);

impl Home {
    /// One for this, a word.
    pub fn make(what: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("updraft-{what}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// The folder.
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// A command of somebody whose home this is, with the Rust that is installed. The port is a free one, since
    /// the usual may be taken.
    pub fn command(&self, program: &str) -> Command {
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

/// A server, in a process group of its own, as a terminal has it.
pub struct Server {
    child: Child,
    called: String,
}

impl Server {
    /// Starts what is one, or becomes one.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let called = process::shown(command);
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start `{called}`"))?, called })
    }

    /// Waits until it listens; how long it took.
    pub fn wait_until_up(&mut self, home: &Home, longest: Duration) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        while !home.address().exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended before it was up ({status})", self.called);
            }
            ensure!(begin.elapsed() < longest, "`{}` is not up after {} s", self.called, longest.as_secs());
            sleep(Duration::from_millis(20));
        }
        Ok(begin.elapsed())
    }

    /// Ctrl-C in its terminal.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("-INT")?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begin.elapsed() < END, "`{}` did not end {} s after Ctrl-C", self.called, END.as_secs());
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        process::run(Command::new("kill").args([signal, "--", &format!("-{}", self.child.id())]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal("-KILL");
            let _ = self.child.wait();
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
}
