//! The page of settings: their names and defaults from the configuration itself, what they mean from its documentation.

use std::fmt::Write as _;

use serde_json::Value;

use super::{MADE, cell, keep};
use crate::config::Config;

const ABOUT: &str = "
# Settings

What can be set, with the defaults. A setting stands in `updraft.toml` in the home folder (`~/.updraft`), or in the
environment as `UPDRAFT__SECTION__KEY`, which counts where both say something. An unknown key is an error.

```toml
[server]
port = 9090

[secrets.vault]
url = \"https://vault.example.com\"
```

is the same as `UPDRAFT__SERVER__PORT=9090` and `UPDRAFT__SECRETS__VAULT__URL=https://vault.example.com`. A list is
written like one in TOML: `UPDRAFT__WORKER__QUEUES=[\"default\", \"big\"]`. `updraft config` says what is set, and where.
";

#[test]
fn the_page_of_settings_is_up_to_date() {
    let schema = schemars::schema_for!(Config).to_value();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut page = format!("{MADE}{ABOUT}");
    section(&schema, &schema, &defaults, "", &mut page);
    keep("configuration.md", &page);
}

/// What a schema is that may stand elsewhere in the whole.
fn resolved<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    name.and_then(|path| whole.pointer(path)).unwrap_or(schema)
}

/// Tells of the settings in a section, and then of the sections in it.
fn section(whole: &Value, schema: &Value, defaults: &Value, name: &str, page: &mut String) {
    let is_section = |key: &str| resolved(whole, &schema["properties"][key])["properties"].is_object();
    let all = defaults.as_object().expect("a section has keys").iter();
    let (sections, keys): (Vec<_>, Vec<_>) = all.partition(|(key, _)| is_section(key));
    if !keys.is_empty() {
        let about = schema["description"].as_str().unwrap_or_default();
        let _ = write!(page, "\n## {name}\n\n{about}\n\n| key | default | meaning |\n|---|---|---|\n");
    }
    for (key, default) in keys {
        let doc = resolved(whole, &schema["properties"][key])["description"].as_str();
        let doc = schema["properties"][key]["description"].as_str().or(doc);
        let doc = doc.unwrap_or_else(|| panic!("{name}.{key} has no documentation"));
        let _ = writeln!(page, "| `{key}` | {} | {} |", shown(default), cell(doc));
    }
    for (key, defaults) in sections {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        section(whole, resolved(whole, &schema["properties"][key]), defaults, &name, page);
    }
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}
