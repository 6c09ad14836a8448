//! A page, and the blocks of code in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

/// What a block is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// Commands for a shell.
    Shell,
    /// A DAG file, with the id of its first DAG.
    Dag(String),
    /// What is only read.
    Other,
}

/// A block of code.
#[derive(Debug)]
pub struct Block {
    pub kind: Kind,
    pub text: String,
    /// The line that it begins at, from 1.
    pub line: usize,
    /// Whether it can be run here.
    pub is_run: bool,
}

impl Block {
    /// Whether there is something to try with it.
    pub fn is_tried(&self) -> bool {
        match self.kind {
            Kind::Shell => self.is_run,
            Kind::Dag(_) => true,
            Kind::Other => false,
        }
    }
}

/// A page.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
    pub blocks: Vec<Block>,
}

impl Page {
    /// All pages in a folder and below it, by their paths.
    pub fn all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut pages = Vec::new();
        let mut entries: Vec<_> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .with_context(|| format!("cannot read {}", folder.display()))?;
        entries.sort();
        for path in entries {
            if path.is_dir() {
                pages.extend(Self::all(&path)?);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path)?;
                let blocks = blocks(&text).with_context(|| path.display().to_string())?;
                pages.push(Self { path, text, blocks });
            }
        }
        Ok(pages)
    }
}

/// The blocks of code of a Markdown text.
fn blocks(text: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let inside: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let line = number + 1;
        let (language, is_run) = match info.split_once(',') {
            Some((language, "norun")) => (language, false),
            Some(_) => bail!("line {line}: `{info}` is not known: a block is run, or is `norun`"),
            None => (info, true),
        };
        ensure!(
            is_run || inside.first().is_some_and(|first| first.starts_with("# Needs ")),
            "line {line}: a block that is not run says why in its first line: `# Needs …`"
        );
        let text = inside.join("\n") + "\n";
        let kind = match language {
            "sh" => Kind::Shell,
            "yaml" => dag_id(&text).map_or(Kind::Other, Kind::Dag),
            _ => Kind::Other,
        };
        blocks.push(Block { kind, text, line, is_run });
    }
    Ok(blocks)
}

/// The id of the first DAG of a YAML text, where it has tasks.
fn dag_id(text: &str) -> Option<String> {
    let key = |line: &'_ &str| line.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let mut id = None;
    for line in text.lines() {
        if key(&line) {
            id = line.strip_suffix(':').filter(|id| *id != "default");
        } else if line.trim_end() == "  tasks:" {
            return id.map(str::to_owned);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_commands_or_a_dag_or_only_read() {
        let text = "a\n```sh\none\n```\n```yaml\n# b\ndefault:\n  x: 1\nmine:\n  schedule: none\n  tasks:\n```\n\
                    ```yaml\ntasks: 1\n```\n```text\nsh\n```\n```yaml,norun\n# Needs Vault.\nit:\n  tasks:\n```\n";
        let blocks = blocks(text).unwrap();
        let told: Vec<_> = blocks.iter().map(|block| (&block.kind, block.line, block.is_run)).collect();
        let (mine, it) = (Kind::Dag("mine".into()), Kind::Dag("it".into()));
        let expected = [
            (&Kind::Shell, 2, true),
            (&mine, 5, true),
            (&Kind::Other, 13, true),
            (&Kind::Other, 16, true),
            (&it, 19, false),
        ];
        assert_eq!(told, expected);
        assert_eq!(blocks[0].text, "one\n");
    }

    #[test]
    fn a_block_that_is_not_run_says_why() {
        let error = |text| blocks(text).unwrap_err().to_string();
        assert!(error("```sh,norun\nsystemctl start it\n```\n").contains("line 1"));
        assert!(error("\n```sh,no\n# Needs it.\n```\n").contains("`sh,no` is not known"));
    }
}
