//! `updraft config`: what is set, and where.

use std::path::Path;

use anyhow::Result;
use figment::{Figment, Source};
use reqwest::Url;
use serde_json::{Value, json};

use super::{Config, sources};
use crate::output::{Columns, Printing};

/// What is set.
#[derive(clap::Args)]
pub struct Show {
    #[command(flatten)]
    printing: Printing,
}

const SETTINGS: Columns = &[("KEY", "/key"), ("VALUE", "/value"), ("FROM", "/from")];

impl Show {
    /// Prints all settings. The arguments of `standalone` come before them.
    pub fn main(self, home: &Path) -> Result<()> {
        let sources = sources(home);
        let mut rows = Vec::new();
        for (section, keys) in json!(Config::read(home)?).as_object().into_iter().flatten() {
            for (key, value) in keys.as_object().into_iter().flatten() {
                let key = format!("{section}.{key}");
                rows.push(
                    json!({ "from": from(&sources, &key), "key": key, "value": without_password(value) }),
                );
            }
        }
        self.printing.format().list(&rows, SETTINGS)
    }
}

/// Where a setting comes from: the file, the variable, or nowhere.
fn from(sources: &Figment, key: &str) -> String {
    match sources.find_metadata(key) {
        Some(metadata) if metadata.name.contains("environment") => {
            format!("UPDRAFT__{}", key.replace('.', "__").to_uppercase())
        }
        Some(metadata) => match &metadata.source {
            Some(Source::File(path)) => path.display().to_string(),
            _ => "default".into(),
        },
        None => "default".into(),
    }
}

/// The password in a URL is nobody's to see.
fn without_password(value: &Value) -> Value {
    match value.as_str().and_then(|text| Url::parse(text).ok()) {
        Some(mut url) if url.password().is_some() => match url.set_password(Some("***")) {
            Ok(()) => url.as_str().into(),
            Err(()) => "***".into(),
        },
        Some(_) | None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let shown = without_password(&json!("postgres://me:s%40cret@db.example/updraft?sslmode=require"));
        assert_eq!(shown, "postgres://me:***@db.example/updraft?sslmode=require");
        assert_eq!(
            without_password(&json!("smtps://:secret@mail.example:465")),
            "smtps://:***@mail.example:465"
        );
        assert_eq!(without_password(&json!("sqlite:///var/a.db")), "sqlite:///var/a.db");
        assert_eq!(without_password(&json!(8080)), 8080);
    }
}
