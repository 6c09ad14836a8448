//! A repository with a branch `main`, and a work tree that pushes to it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(repository.outside()).unwrap();
        run(repository.folder.path(), &["init", "--quiet", "--bare", "-b", "main", "dags.git"]);
        run(repository.folder.path(), &["init", "--quiet", "-b", "main", "work"]);
        run(&repository.folder.path().join("dags.git"), &["config", "receive.denyDeleteCurrent", "ignore"]);
        repository.git(&["remote", "add", "origin", "../dags.git"]);
        repository
    }

    /// The folder that holds the repository, `dags.git`.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A folder beside it, for what tasks wait for.
    pub fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.folder.path().join("dags.git").display())
    }

    /// Runs `git` in the work tree, and gives what it prints.
    pub fn git(&self, arguments: &[&str]) -> String {
        run(&self.work(), arguments)
    }

    /// Writes these files, commits all there is, and pushes it whatever the branch was; the commit.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        for (name, text) in files {
            let file = self.work().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            if name.ends_with(".sh") {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "a change"]);
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

/// Runs `git` as nobody's configuration has it.
pub fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Test", "-c", "user.email=test@example.org"]).args(arguments);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
