//! The files beside a DAG file that a task names.

use serde_json::{Map, Value};

use super::native;
use crate::template::is_template;

/// A file that a task can't begin without. Its path is written out and relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// The argument that names it.
    pub argument: &'a str,
    /// Its path, from the DAG file's folder.
    pub path: &'a str,
    /// Whether it is a template, which is looked for along the DAG's `template_searchpath` as well: Airflow takes each text
    /// with one of the operator's endings for such a file, a command too (`bash run.sh`).
    pub template: bool,
}

/// The files that an operator's arguments name, as far as they say before anything is rendered: scripts, modules with
/// functions, templates. What a Python class does with its arguments, only it knows.
pub fn files<'a>(operator: &str, args: &'a Map<String, Value>) -> Vec<NamedFile<'a>> {
    let mut found = Vec::new();
    let Some(entry) = native(operator) else { return found };
    let ends = entry.ends(args);
    for argument in entry.arguments() {
        let Some((name, value)) = args.get_key_value(argument.name) else { continue };
        // All that are called so name code that lies beside the DAG file.
        if name.ends_with("_file") {
            found.extend(value.as_str().map(|path| NamedFile { argument: name, path, template: false }));
        } else if argument.templated {
            templates(name, value, &ends, &mut found);
        }
    }
    found.retain(|file| !is_template(file.path) && !file.path.starts_with('/') && !file.path.is_empty());
    found
}

fn templates<'a>(argument: &'a str, value: &'a Value, ends: &[&str], found: &mut Vec<NamedFile<'a>>) {
    match value {
        Value::String(text) if ends.iter().any(|end| text.ends_with(end)) => {
            found.push(NamedFile { argument, path: text, template: true });
        }
        Value::Array(items) => items.iter().for_each(|item| templates(argument, item, ends, found)),
        Value::Object(map) => map.values().for_each(|item| templates(argument, item, ends, found)),
        _ => {}
    }
}
