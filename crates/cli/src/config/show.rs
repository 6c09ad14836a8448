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
        for (key, value) in settings("", &json!(Config::read(home)?)) {
            let value = without_secret(&key, &value);
            rows.push(json!({ "from": from(&sources, &key), "key": key, "value": value }));
        }
        self.printing.format().list(&rows, SETTINGS)
    }
}

/// All settings in a section and in those in it.
fn settings(section: &str, value: &Value) -> Vec<(String, Value)> {
    let Some(keys) = value.as_object() else { return vec![(section.into(), value.clone())] };
    let inside = |(key, value): (&String, &Value)| match section {
        "" => settings(key, value),
        section => settings(&format!("{section}.{key}"), value),
    };
    keys.iter().flat_map(inside).collect()
}

/// What has such a name is nobody's to see.
const SECRETS: &[&str] = &["token", "secret", "secret_id", "secret_access_key", "password"];

fn without_secret(key: &str, value: &Value) -> Value {
    let name = key.rsplit('.').next().unwrap_or_default();
    match SECRETS.iter().any(|secret| name.ends_with(secret)) && !value.is_null() {
        true => "***".into(),
        false => without_password(value),
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
    fn a_setting_that_is_called_a_secret_is_not_shown() {
        let value = json!({ "blob": { "secret_access_key": "s" }, "dags": { "folder": null, "git": { "token": "t", "webhook_secret": null } } });
        let shown: Vec<_> = settings("", &value)
            .into_iter()
            .map(|(key, value)| (without_secret(&key, &value), key))
            .collect();
        let expected = [
            ("***".into(), "blob.secret_access_key"),
            (Value::Null, "dags.folder"),
            ("***".into(), "dags.git.token"),
            (Value::Null, "dags.git.webhook_secret"),
        ];
        assert_eq!(shown, expected.map(|(value, key)| (value, key.to_owned())));
    }

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
