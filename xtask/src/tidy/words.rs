//! Words that belong to no product: the folders of one machine and the hosts of package registries. Whoever has
//! other folders, or a mirror, must find the same project.

use super::{Finding, Project};

/// Folders that are one person's or one build machine's.
const FOLDERS: &[&str] = &["/root/", "/home/", "/Users/", "/work/", "/builds/"];

const HOSTS: &[&str] = &["crates.io", "pypi.org", "pythonhosted.org", "npmjs.org", "npmjs.com"];

/// What cargo writes in its lock file for every crate of the default registry.
const LOCK_LINE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &project.tree.files {
        for (number, line) in file.lines().filter(|(_, line)| *line != LOCK_LINE) {
            if let Some(folder) = FOLDERS.iter().find(|folder| has_folder(line, folder)) {
                let message =
                    format!("`{folder}` is a folder of one machine: make the path relative or a parameter");
                findings.push(Finding::at(&file.path, number, message));
            }
            if let Some(host) = HOSTS.iter().find(|host| has_word(line, host)) {
                let message =
                    format!("`{host}` is a registry's host: name the package alone, its client knows where");
                findings.push(Finding::at(&file.path, number, message));
            }
        }
    }
    findings
}

/// Whether an absolute path in the line begins with the folder.
fn has_folder(line: &str, folder: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | ')' | '/' | '~' | '*');
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(goes_on) || line[..at].ends_with("//"))
}

/// Whether the line has the word, not as part of a longer one.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn relative_paths_and_words_alike_are_fine() {
        let good = [
            ("a.sh", "cd target/work/x; cd \"${DIR}/work/\"; cd ./home/x; ls /usr/lib/root"),
            ("a.md", "the homework/ of mycrates.ioxyz; https://example.com/home/x"),
            ("Cargo.lock", LOCK_LINE),
        ];
        assert_eq!(places(check, &good), <[&str; 0]>::default());
    }

    #[test]
    fn folders_of_one_machine_and_hosts_of_registries_are_found() {
        let bad = [
            ("a.toml", "dir = \"/work/x\"\nhome = '/root/.cache'\nurl = \"sqlite:///home/me/x.db\"\n"),
            ("a.md", "see https://crates.io/crates/x\nand files.pythonhosted.org\n"),
            ("package-lock.json", "\"resolved\": \"https://registry.npmjs.org/x\""),
        ];
        let found = places(check, &bad);
        assert_eq!(found, ["a.toml:1", "a.toml:2", "a.toml:3", "a.md:1", "a.md:2", "package-lock.json:1"]);
    }
}
