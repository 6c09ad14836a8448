//! `xtask/tidy.toml`: what breaks a rule for a good reason.

use std::fs;

use anyhow::{Context, bail};
use serde::Deserialize;

pub const PATH: &str = "xtask/tidy.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files longer than the limit, with a ceiling that follows them down.
    #[serde(default)]
    pub long_file: Vec<LongFile>,
    /// Files that a rule leaves alone.
    #[serde(default)]
    pub except: Vec<Except>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongFile {
    pub path: String,
    pub lines: usize,
    pub reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Except {
    pub rule: String,
    pub path: String,
    pub reason: String,
}

impl Config {
    pub fn read() -> anyhow::Result<Self> {
        let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
        Self::parse(&text).with_context(|| format!("cannot use {PATH}"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        let long_files = config.long_file.iter().map(|long| (&long.path, &long.reason));
        let exceptions = config.except.iter().map(|except| (&except.path, &except.reason));
        if let Some((path, _)) = long_files.chain(exceptions).find(|(_, reason)| reason.trim().is_empty()) {
            bail!("the entry for {path} gives no reason");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        let text = "[[except]]\nrule = \"words\"\npath = \"a.rs\"\nreason = \" \"\n";
        assert_eq!(Config::parse(text).unwrap_err().to_string(), "the entry for a.rs gives no reason");
        assert!(Config::parse(&text.replace("\" \"", "\"it names them\"")).is_ok());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(Config::parse("[[long_files]]\npath = \"a.rs\"\n").is_err());
    }
}
