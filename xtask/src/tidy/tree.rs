//! The files that git knows, or would add: what is ignored is nobody's style.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::rust::Rust;
use crate::process;

pub struct Tree {
    pub files: Vec<File>,
}

pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// None where the content is no UTF-8.
    pub text: Option<String>,
    /// Of a Rust source file: which parts of the text are code.
    pub rust: Option<Rust>,
}

impl Tree {
    /// Reads the tree whose root is `dir`.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let mut list = Command::new("git");
        list.current_dir(dir).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let list = process::output(&mut list).context("the style rules need the clone's git")?;
        let mut files = Vec::new();
        for path in list.split_terminator('\0') {
            let bytes = match fs::read(dir.join(path)) {
                // Removed, and not yet told to git; or a link to a folder.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
                    continue;
                }
                bytes => bytes.with_context(|| format!("cannot read {path}"))?,
            };
            files.push(File::new(path, String::from_utf8(bytes).ok()));
        }
        Ok(Self { files })
    }

    /// The Rust sources, with their text.
    pub fn rust(&self) -> impl Iterator<Item = (&File, &Rust)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?)))
    }
}

impl File {
    pub fn new(path: &str, text: Option<String>) -> Self {
        let rust = text.as_deref().filter(|_| path.ends_with(".rs")).map(Rust::new);
        Self { path: path.to_owned(), text, rust }
    }

    /// The lines of a text with their numbers, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(self.text.as_deref().unwrap_or_default())
    }

    /// The folders that the file lies in, from the root.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.path
            .rsplit_once('/')
            .map_or("", |(folders, _)| folders)
            .split('/')
            .filter(|name| !name.is_empty())
    }

    /// The name without its last ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// Whether all of the file is test code.
    pub fn is_test(&self) -> bool {
        self.folders().any(|folder| folder == "tests")
            || self.stem() == "tests"
            || self.stem().ends_with("_tests")
    }

    /// Whether the file is what tests read: it may look like nothing that we would write.
    pub fn is_test_data(&self) -> bool {
        self.folders().any(|folder| matches!(folder, "testdata" | "fixtures" | "snapshots"))
            || (self.is_test() && self.folders().any(|folder| folder == "data"))
    }

    /// Whether a tool wrote the file and nobody reads it.
    pub fn is_lock(&self) -> bool {
        matches!(self.path.rsplit('/').next(), Some("Cargo.lock" | "package-lock.json"))
    }
}

/// Lines with their numbers, counted from 1.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().zip(1..).map(|(line, number)| (number, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> File {
        File::new(path, Some(String::new()))
    }

    #[test]
    fn test_code_is_known_by_its_place_and_name() {
        for path in
            ["crates/a/tests/it/main.rs", "tests/kill.rs", "crates/a/src/b/tests.rs", "src/b/cron_tests.rs"]
        {
            assert!(file(path).is_test(), "{path}");
        }
        for path in ["crates/a/src/lib.rs", "crates/a/src/attests.rs", "xtask/src/tests_run.rs"] {
            assert!(!file(path).is_test(), "{path}");
        }
    }

    #[test]
    fn test_data_is_known_by_its_folder() {
        assert!(file("crates/a/tests/data/bad.yaml").is_test_data());
        assert!(file("crates/a/src/snapshots/x.snap").is_test_data());
        assert!(!file("crates/a/src/data/model.rs").is_test_data());
    }

    #[test]
    fn git_tells_which_files_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let status = Command::new("git").args(arguments).current_dir(dir.path()).status().unwrap();
            assert!(status.success());
        };
        git(&["init", "--quiet"]);
        for (path, content) in
            [(".gitignore", "ignored\n"), ("ignored", ""), ("new.rs", "fn a() {}"), ("removed", "")]
        {
            fs::write(dir.path().join(path), content).unwrap();
        }
        fs::write(dir.path().join("binary"), b"\xff").unwrap();
        git(&["add", "removed"]);
        fs::remove_file(dir.path().join("removed")).unwrap();

        let tree = Tree::read(dir.path()).unwrap();
        let paths: Vec<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", "binary", "new.rs"]);
        assert!(tree.files[1].text.is_none());
        assert_eq!(tree.rust().count(), 1);
    }
}
