//! Running the program `git`: with arguments and never by a shell, with none of the machine's or the user's
//! configuration, with no hooks, no questions and no other transport than the address has.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::{
    Error,
    remote::{Credentials, Remote},
};

/// What of the server's environment `git` gets: where programs, proxies, certificates and `ssh`'s own things are.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Options in place of those that files would set.
const OPTIONS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    // What is left behind would write on while we do.
    ("gc.autoDetach", "false"),
    ("maintenance.autoDetach", "false"),
    // A connection on which nothing moves is given up.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "30"),
];

/// `git` reads it by a shell: what comes from settings is in variables, which a shell does not read as code.
const SSH: &str =
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=2";
const SSH_KEY: &str = " -o IdentitiesOnly=yes -o IdentityAgent=none -i \"$UPDRAFT_GIT_SSH_KEY\"";
const SSH_KNOWN_HOSTS: &str = " -o \"UserKnownHostsFile=\\\"$UPDRAFT_GIT_KNOWN_HOSTS\\\"\"";

/// Of what it says so much is told, from the end.
const MOST_SAID: usize = 1000;

/// What is done in a repository on this machine may take so long.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(600);

/// A repository on this machine that `git` works on.
pub(super) struct Program<'a> {
    pub repository: PathBuf,
    pub remote: &'a Remote,
}

impl Program<'_> {
    /// Fetches the branch or the tag, without what was before it.
    pub async fn fetch(&self, to: &str) -> Result<(), Error> {
        let wanted = format!("+{}:{to}", self.remote.reference);
        let arguments = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--update-shallow",
            "--",
            &self.remote.url,
            &wanted,
        ];
        let command = self.command(&arguments.map(OsStr::new), true);
        run("fetch the repository", command, self.remote.timeout).await.map(drop)
    }

    /// Makes the repository.
    pub async fn init(&self) -> Result<(), Error> {
        let arguments = ["init", "--quiet", "--bare", "--template="].map(OsStr::new);
        run("make a repository", self.command(&arguments, false), LOCAL_TIMEOUT).await.map(drop)
    }

    /// What a name stands for; `None` where it is for nothing that is there.
    pub async fn resolve(&self, name: &str) -> Result<Option<String>, Error> {
        let arguments = ["rev-parse", "--verify", "--quiet", name].map(OsStr::new);
        match run("look into the repository", self.command(&arguments, false), LOCAL_TIMEOUT).await {
            Ok(hash) => Ok(Some(hash.trim().to_owned())),
            Err(Error::Failed { said, .. }) if said.is_empty() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a commit's files into a folder.
    pub async fn check_out(&self, commit: &str, folder: &Path, index: &Path) -> Result<(), Error> {
        let doing = "check out the commit";
        for arguments in [&["read-tree", "--reset", commit][..], &["checkout-index", "--all", "--force"][..]]
        {
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            let mut command = self.command(&arguments, false);
            command.env("GIT_WORK_TREE", folder).env("GIT_INDEX_FILE", index).current_dir(folder);
            run(doing, command, LOCAL_TIMEOUT).await?;
        }
        Ok(())
    }

    fn command(&self, arguments: &[&OsStr], is_remote: bool) -> Command {
        let mut command = Command::new("git");
        command.args(arguments).env_clear();
        command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
            .env("GIT_DIR", &self.repository)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            // What it says is looked into.
            .env("LC_ALL", "C")
            .env("GIT_ALLOW_PROTOCOL", if is_remote { self.remote.protocols } else { "none" });
        let mut options: Vec<(String, String)> =
            OPTIONS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        if is_remote {
            options.extend(self.remote.header());
            let mut ssh = SSH.to_owned();
            if let Credentials::Ssh { key, known_hosts } = &self.remote.credentials {
                if let Some(key) = key {
                    ssh.push_str(SSH_KEY);
                    command.env("UPDRAFT_GIT_SSH_KEY", key);
                }
                if let Some(known_hosts) = known_hosts {
                    ssh.push_str(SSH_KNOWN_HOSTS);
                    command.env("UPDRAFT_GIT_KNOWN_HOSTS", known_hosts);
                }
            }
            command.env("GIT_SSH_COMMAND", ssh);
        }
        command.env("GIT_CONFIG_COUNT", options.len().to_string());
        for (at, (name, value)) in options.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), name).env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command
    }
}

/// Runs the program to its end, and gives what it prints. What it has started ends with it.
async fn run(doing: &'static str, mut command: Command, timeout: Duration) -> Result<String, Error> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoProgram,
        _ => files(error),
    })?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut group = Group(group);
    let ended = tokio::time::timeout(timeout, child.wait_with_output()).await;
    if ended.is_ok() {
        group.0 = None;
    }
    match ended {
        Err(_) => Err(Error::TimedOut { doing, timeout }),
        Ok(Err(source)) => Err(files(source)),
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Ok(output)) => {
            let said = short(&String::from_utf8_lossy(&output.stderr));
            let mend = mend(&said);
            Err(Error::Failed { doing, said, mend })
        }
    }
}

/// The processes of a run of the program that is not over: the transports have their own.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Where all have ended there is nobody to tell.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The end of what it said, on one line.
fn short(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let all = lines.join("; ");
    let skipped = all.chars().count().saturating_sub(MOST_SAID);
    all.chars().skip(skipped).collect()
}

/// What helps against what it said.
fn mend(said: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["couldn't find remote ref"]) {
        Some("Set `dags.git.branch` to a branch or a tag that is there")
    } else if says(&["Host key verification failed"]) {
        Some(
            "Check the Git server's key, and add it to ~/.ssh/known_hosts of the user that runs Updraft, or to \
             `dags.git.ssh_known_hosts_file` (`ssh-keyscan` prints it)",
        )
    } else if says(&["could not read Username", "Authentication failed", "error: 401", "error: 403"]) {
        Some("Set `dags.git.token` to a token that may read the repository")
    } else if says(&["Permission denied (", "bad permissions"]) {
        Some("Set `dags.git.ssh_key_file` to a key that may read the repository, readable by its owner alone")
    } else if says(&["not found", "does not appear to be a git repository", "error: 404"]) {
        Some(
            "Set `dags.git.url` to a repository that is there, and see whether the token or the key may read it",
        )
    } else {
        None
    }
}

impl Error {
    /// Whether the repository on this machine is in disorder, as after a crash: it is made anew then.
    pub(super) fn is_of_own_repository(&self) -> bool {
        let words = [
            ".lock': File exists",
            "not a git repository",
            "bad object",
            "corrupt",
            "is empty",
            "shallow file has changed",
        ];
        matches!(self, Self::Failed { said, .. } if words.iter().any(|words| said.contains(words)))
    }
}

/// An error with the program itself.
fn files(source: std::io::Error) -> Error {
    updraft_bundles::Error::Files { path: "the program `git`".into(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_has_its_mend() {
        for (said, expected) in [
            ("fatal: couldn't find remote ref nope", "dags.git.branch"),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", "dags.git.token"),
            ("git@h: Permission denied (publickey).", "dags.git.ssh_key_file"),
            ("Host key verification failed.", "known_hosts"),
            ("fatal: repository 'http://h/x/' not found", "dags.git.url"),
        ] {
            assert!(mend(said).unwrap().contains(expected), "{said}");
        }
        assert_eq!(mend("fatal: unable to access: Could not resolve host: h"), None);
    }

    #[test]
    fn of_much_that_is_said_the_end_is_told() {
        let said = format!("{}\n\n  the end \n", "x".repeat(5000));
        assert!(short(&said).ends_with("x; the end") && short(&said).len() == MOST_SAID);
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $! > \"$1\"; wait", "sh"]).arg(&pid);
        let timeout = Duration::from_millis(300);
        let error = run("wait", command, timeout).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let began = std::time::Instant::now();
        // Gone, or only waiting for its new parent to take note.
        let is_over = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z"),
            Err(_) => true,
        };
        while !is_over() {
            assert!(began.elapsed() < Duration::from_secs(10), "{pid} goes on");
            tokio::task::yield_now().await;
        }
    }
}
