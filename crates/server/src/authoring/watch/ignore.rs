//! `.airflowignore` and `.updraftignore`: what in a folder is not looked at, by globs as Airflow 3 and Git
//! have them.

use std::path::Path;

/// The patterns of one folder, relative to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    list: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// The parts between slashes.
    parts: Vec<String>,
    /// Whether it is bound to the folder; else it may match at any depth.
    bound: bool,
    folders_only: bool,
    /// `!`: what matches is looked at after all.
    negated: bool,
}

pub(super) const FILES: [&str; 2] = [".airflowignore", ".updraftignore"];

impl Patterns {
    /// The patterns of a text, one a line; `#` begins a comment.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let pattern = |line: &str| {
            let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
            let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
            let bound = line.contains('/');
            let parts = line.trim_start_matches('/').split('/').map(str::to_owned).collect();
            Pattern { parts, bound, folders_only, negated }
        };
        Self { list: lines.filter(|line| !line.is_empty()).map(pattern).collect() }
    }

    /// What the last pattern says that matches: whether to ignore; `None` where none matches.
    pub fn ignores(&self, relative: &Path, is_folder: bool) -> Option<bool> {
        let parts: Vec<&str> = relative.iter().filter_map(|part| part.to_str()).collect();
        let matches = |pattern: &&Pattern| {
            if pattern.folders_only && !is_folder {
                return false;
            }
            let wanted: Vec<&str> = pattern.parts.iter().map(String::as_str).collect();
            if pattern.bound {
                path(&wanted, &parts)
            } else {
                path(&wanted, &parts[parts.len().saturating_sub(1)..])
            }
        };
        self.list.iter().rev().find(matches).map(|pattern| !pattern.negated)
    }
}

fn path(pattern: &[&str], parts: &[&str]) -> bool {
    match (pattern, parts) {
        ([], []) => true,
        (["**"], _) => !parts.is_empty(),
        (["**", rest @ ..], _) => (0..=parts.len()).any(|skipped| path(rest, &parts[skipped..])),
        ([first, rest @ ..], [part, parts @ ..]) => name(first, part) && path(rest, parts),
        ([], _) | (_, []) => false,
    }
}

/// One name by `*` and `?`, in time proportional to both lengths at worst.
fn name(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut on, mut star) = (0, 0, None);
    while on < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, on));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[on] => {
                at += 1;
                on += 1;
            }
            Some(_) | None => match star {
                Some((place, from)) => {
                    star = Some((place, from + 1));
                    (at, on) = (place + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(patterns: &str, file: &str) -> bool {
        Patterns::parse(patterns).ignores(Path::new(file), false).unwrap_or(false)
    }

    #[test]
    fn a_pattern_without_a_slash_matches_at_any_depth() {
        assert!(ignored("test_*.yml", "a/b/test_x.yml"));
        assert!(!ignored("test_*.yml", "a/b/x_test_.yml2"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_bound_to_its_folder() {
        assert!(ignored("drafts/*.yml", "drafts/a.yml"));
        assert!(!ignored("drafts/*.yml", "old/drafts/a.yml"));
        assert!(ignored("old/**/a.yml", "old/x/y/a.yml"));
        assert!(ignored("/a.yml", "a.yml"));
    }

    #[test]
    fn the_last_match_decides_and_comments_say_nothing() {
        assert!(!ignored("*.yml # all\n!keep.yml", "keep.yml"));
        assert!(ignored("*.yml # all\n!keep.yml", "other.yml"));
        assert!(!ignored("# *.yml\n\n", "a.yml"));
    }

    #[test]
    fn a_pattern_for_folders_leaves_files_alone() {
        let patterns = Patterns::parse("drafts/");
        assert_eq!(patterns.ignores(Path::new("drafts"), true), Some(true));
        assert_eq!(patterns.ignores(Path::new("drafts"), false), None);
    }
}
