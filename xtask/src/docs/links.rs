//! That links between pages lead somewhere, and that the summary names every page.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use anyhow::bail;

use super::{PAGES, page::Page};

/// Fails where a link within the documentation leads nowhere, or where no way leads to a page.
pub fn check(pages: &[Page]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    let summary = Path::new(PAGES).join("SUMMARY.md");
    let mut named = BTreeSet::from([summary.clone()]);
    for page in pages {
        for link in links(&page.text).filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.path.clone() } else { joined(&page.path, file) };
            if page.path == summary {
                named.insert(target.clone());
            }
            match pages.iter().find(|other| other.path == target) {
                Some(other) if anchor.is_empty() || anchors(&other.text).any(|known| known == anchor) => {}
                Some(_) => wrong.push(format!("{}: `{link}`: there is no such heading", page.path.display())),
                None if file.ends_with(".md") || !target.exists() => {
                    wrong.push(format!("{}: `{link}`: there is no such page", page.path.display()));
                }
                None => {}
            }
        }
    }
    let lost = pages.iter().filter(|page| !named.contains(&page.path));
    wrong.extend(lost.map(|page| format!("{} is not in SUMMARY.md", page.path.display())));
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("links of the documentation are wrong:\n{}", wrong.join("\n"))
    }
}

/// A path relative to a page, without `..` where that can be.
fn joined(page: &Path, file: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in page.parent().unwrap_or(Path::new("")).join(file).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// A text without its blocks of code, by lines.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Where the links of a text lead. A link is on one line.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| {
        line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
    })
}

/// The anchors of a text's headings, as mdBook makes them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text)
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings.map(|heading| {
        let letters =
            heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        letters.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Page {
        Page { path: path.into(), text: text.into(), blocks: Vec::new() }
    }

    #[test]
    fn a_link_that_leads_nowhere_and_a_page_that_nobody_finds_are_told() {
        let summary = page("docs/src/SUMMARY.md", "- [A](a.md)\n- [B](in/b.md)\n");
        let good =
            page("docs/src/in/b.md", "# B\n[a](../a.md#the-first-one) [x](https://x.example/#y) [own](#b)\n");
        let first = || page("docs/src/a.md", "# A\n## The first, one\n```text\n[no](link.md)\n```\n");
        check(&[summary, first(), good]).unwrap();
        let summary = page("docs/src/SUMMARY.md", "- [A](a.md)\n");
        let bad = page("docs/src/b.md", "[c](c.md) [a](a.md#nowhere)\n");
        let told = check(&[summary, first(), bad]).unwrap_err().to_string();
        assert_eq!(
            told.lines().skip(1).collect::<Vec<_>>(),
            [
                "docs/src/b.md: `c.md`: there is no such page",
                "docs/src/b.md: `a.md#nowhere`: there is no such heading",
                "docs/src/b.md is not in SUMMARY.md"
            ]
        );
    }
}
