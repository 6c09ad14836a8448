//! No marks for later in the tree: what is left to do is an issue, where somebody sees it.

use super::{Finding, Project, words};

const MARKERS: &[&str] = &["TODO", "FIXME", "XXX"];

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in project.tree.files.iter().filter(|file| !file.is_lock() && !file.is_test_data()) {
        for (number, line) in file.lines() {
            if let Some(marker) = MARKERS.iter().find(|marker| words::has_word(line, marker)) {
                let message = format!("no `{marker}`: do it now, or open an issue");
                findings.push(Finding::at(&file.path, number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn longer_words_are_fine() {
        assert_eq!(places(check, &[("a.sh", "mktemp /tmp/a.XXXXXX\nTODOS todo\n")]), <[&str; 0]>::default());
    }

    #[test]
    fn a_mark_for_later_is_found_in_any_text() {
        let bad = [("a.rs", "fn a() {}\n// TODO(me): more\n"), ("a.md", "FIXME"), ("a.py", "# XXX")];
        assert_eq!(places(check, &bad), ["a.rs:2", "a.md:1", "a.py:1"]);
    }
}
