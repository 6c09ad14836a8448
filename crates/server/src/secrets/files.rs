//! Secrets in files: one file with all, as Airflow's `LocalFilesystemBackend` has it ("Local Filesystem Secrets
//! Backend"), or a folder with a file for each, as Kubernetes and Docker mount them. They are read at each look-up.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use updraft_core::protocol::Connection;

use super::{
    backend::{Backend, BackendError},
    environment::parse_connection,
};

/// A file with more is no file of secrets.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Where the files are. What is not set has nothing.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// A file with connections: `.json`, `.yaml`, `.yml` or `.env`.
    pub connections_file: Option<PathBuf>,
    /// A file with variables, likewise.
    pub variables_file: Option<PathBuf>,
    /// A folder with a file for each connection, named as it is.
    pub connections_folder: Option<PathBuf>,
    /// A folder with a file for each variable.
    pub variables_folder: Option<PathBuf>,
}

#[async_trait]
impl Backend for Files {
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, BackendError> {
        let Some((path, value)) = look_up(&self.connections_folder, &self.connections_file, conn_id).await?
        else {
            return Ok(None);
        };
        connection(&path, conn_id, value).map(Some)
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, BackendError> {
        let found = look_up(&self.variables_folder, &self.variables_file, key).await?;
        Ok(found.map(|(_, value)| match value {
            Value::String(text) => text,
            other => other.to_string(),
        }))
    }
}

/// All connections of one file: `.json`, `.yaml`, `.yml` or `.env`, as Airflow's `connections export` writes them.
///
/// # Errors
///
/// Where the file can't be read, or one of them: it is named, and what it says is not.
pub fn connections_in(path: &Path) -> Result<Vec<Connection>, BackendError> {
    let text = read(path)?.ok_or_else(|| fault(path, "it is not there"))?;
    let found = all(path, &text)?.into_iter();
    found.map(|(conn_id, value)| connection(path, &conn_id, value)).collect()
}

/// All variables of one file: `.json`, `.yaml`, `.yml` or `.env`. One with a description is an object with both.
///
/// # Errors
///
/// Where the file can't be read.
pub fn variables_in(path: &Path) -> Result<Map<String, Value>, BackendError> {
    all(path, &read(path)?.ok_or_else(|| fault(path, "it is not there"))?)
}

fn connection(path: &Path, conn_id: &str, value: Value) -> Result<Connection, BackendError> {
    let wrong = |why: String| fault(path, format!("`{conn_id}` is no connection: {why}"));
    // Airflow lets a list stand for its one element.
    let value = match value {
        Value::Array(mut list) if list.len() == 1 => list.remove(0),
        other => other,
    };
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Object(fields) => Value::Object(with_extra(fields)).to_string(),
        _ => return Err(wrong("write a URI, or an object with its fields".into())),
    };
    parse_connection(conn_id, &text).map_err(|fault| wrong(fault.to_string()))
}

/// Airflow takes `extra_dejson` for `extra` in files.
fn with_extra(mut fields: Map<String, Value>) -> Map<String, Value> {
    if let Some(extra) = fields.remove("extra_dejson") {
        fields.insert("extra".into(), extra);
    }
    // The name is the key that led here.
    fields.remove("conn_id");
    fields
}

fn fault(path: &Path, why: impl Into<String>) -> BackendError {
    BackendError { backend: format!("the file of secrets {}", path.display()), why: why.into() }
}

/// What stands under a name, and in which file.
async fn look_up(
    folder: &Option<PathBuf>,
    file: &Option<PathBuf>,
    name: &str,
) -> Result<Option<(PathBuf, Value)>, BackendError> {
    let (folder, file, name) = (folder.clone(), file.clone(), name.to_owned());
    let look = move || {
        if let Some(folder) = folder
            && let Some(found) = in_folder(&folder, &name)?
        {
            return Ok(Some(found));
        }
        let Some(file) = file else { return Ok(None) };
        let text = read(&file)?.ok_or_else(|| fault(&file, "it is not there: make it, or set another"))?;
        Ok(all(&file, &text)?.remove(&name).map(|value| (file, value)))
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(found) => found,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(None),
        },
    }
}

fn in_folder(folder: &Path, name: &str) -> Result<Option<(PathBuf, Value)>, BackendError> {
    // A name that leads elsewhere is no file's name; what begins with a dot is Kubernetes' own.
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Ok(None);
    }
    let path = folder.join(name);
    let text = read(&path)?;
    // Most who write a file end it with a new line, which is not of the secret.
    Ok(text.map(|text| (path, text.strip_suffix('\n').unwrap_or(&text).to_owned().into())))
}

/// The text of a file; `None` where it is not there.
fn read(path: &Path) -> Result<Option<String>, BackendError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => fault(path, "it is not UTF-8: write it as text"),
        io::ErrorKind::PermissionDenied => fault(path, "permission denied: let the server's user read it"),
        _ => fault(path, format!("it can't be read: {error}")),
    };
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    match text.len() as u64 > MOST_BYTES {
        true => Err(fault(path, format!("it has more than {MOST_BYTES} bytes: split it"))),
        false => Ok(Some(text)),
    }
}

/// All that a file has, by its name's ending as Airflow reads it. An error never quotes the text.
fn all(path: &Path, text: &str) -> Result<Map<String, Value>, BackendError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let value = match ending {
        "json" => serde_json::from_str(text).map_err(|error| {
            fault(path, format!("no JSON at line {} column {}", error.line(), error.column()))
        })?,
        "yaml" | "yml" => serde_saphyr::from_str(text).map_err(|error| {
            let at = error.location().map(|at| format!(" at line {}", at.line())).unwrap_or_default();
            fault(path, format!("no YAML{at}"))
        })?,
        "env" => return lines(path, text),
        _ => return Err(fault(path, "its name has to end with .json, .yaml, .yml or .env")),
    };
    match value {
        Value::Object(all) => Ok(all),
        Value::Null => Ok(Map::new()),
        _ => Err(fault(path, "it has to be an object: `name: value`")),
    }
}

/// `NAME=value` on each line, or `export NAME=value` as shells read it; `#` begins a line that is none.
fn lines(path: &Path, text: &str) -> Result<Map<String, Value>, BackendError> {
    let mut all = Map::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| fault(path, format!("line {number} is not `NAME=value`")))?;
        let name = name.trim();
        let name = name.strip_prefix("export ").map_or(name, str::trim_start);
        all.insert(name.into(), value.trim().into());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(folder: &Path, name: &str, text: &str) -> Files {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        Files { connections_file: Some(path.clone()), variables_file: Some(path), ..Files::default() }
    }

    #[tokio::test]
    async fn airflows_files_are_read_in_all_their_forms() {
        let folder = tempfile::tempdir().unwrap();
        let object = r#"{"shop": {"conn_type": "http", "host": "h", "password": "p", "port": 80, "extra_dejson": {"a": 1}}, "list": ["smtp://l"]}"#;
        let yaml = "shop:\n  conn_type: http\n  host: h\n  password: p\n  port: 80\n  extra: '{\"a\": 1}'\nlist: ['smtp://l']\n";
        let env = "# a comment\nexport shop=http://:p@h:80?a=1\n\nlist=smtp://l\n";
        for (name, text) in [("a.json", object), ("a.yaml", yaml), ("a.yml", yaml), ("a.env", env)] {
            let files = in_file(folder.path(), name, text);
            let shop = files.connection("shop").await.unwrap().unwrap();
            let fields = (shop.conn_id.as_str(), shop.host.as_deref(), shop.password.as_deref(), shop.port);
            assert_eq!(fields, ("shop", Some("h"), Some("p"), Some(80)), "{name}");
            assert!(shop.extra.contains_key("a"), "{name}");
            assert_eq!(files.connection("list").await.unwrap().unwrap().conn_type, "smtp");
            assert_eq!(files.connection("none").await, Ok(None));
        }
        let files = in_file(folder.path(), "v.json", r#"{"text": "t", "number": 1, "object": {"a": [1]}}"#);
        for (key, value) in
            [("text", Some("t")), ("number", Some("1")), ("object", Some(r#"{"a":[1]}"#)), ("x", None)]
        {
            assert_eq!(files.variable(key).await.unwrap().as_deref(), value, "{key}");
        }
    }

    #[tokio::test]
    async fn a_folder_has_a_file_for_each_and_nothing_outside_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        std::fs::create_dir_all(secrets.join("..data")).unwrap();
        std::fs::write(secrets.join("..data/shop"), "http://:p@h\n").unwrap();
        std::os::unix::fs::symlink("..data/shop", secrets.join("shop")).unwrap();
        std::fs::write(folder.path().join("outside"), "o").unwrap();
        let files = Files {
            connections_folder: Some(secrets.clone()),
            variables_folder: Some(secrets),
            ..Files::default()
        };
        assert_eq!(files.connection("shop").await.unwrap().unwrap().password.as_deref(), Some("p"));
        assert_eq!(files.variable("shop").await.unwrap().as_deref(), Some("http://:p@h"));
        for name in ["", "../outside", "..", "..data", "..data/shop", "none", "a\0b"] {
            assert_eq!(files.variable(name).await, Ok(None), "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_without_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.json", "{\"shop\": \"s3cret"),
            ("a.yaml", "shop: [s3cret"),
            ("a.yaml", "- s3cret"),
            ("a.env", "s3cret"),
            ("a.json", r#"{"shop": "s3cret"}"#),
            ("a.json", r#"{"shop": {"pass": "s3cret"}}"#),
            ("a.json", r#"{"shop": ["s3cret", "s3cret"]}"#),
            ("a.txt", "s3cret"),
        ] {
            let error = in_file(folder.path(), name, text).connection("shop").await.unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
        }
        let gone = Files { variables_file: Some(folder.path().join("gone.json")), ..Files::default() };
        assert!(gone.variable("x").await.unwrap_err().to_string().contains("is not there"));
    }
}
