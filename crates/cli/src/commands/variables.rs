//! `updraft variables`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use updraft_server::secrets::variables_in;

use super::{Ask, Limit, Session};
use crate::{
    failure::{Exit, Failure},
    output::{Columns, MASK, count, export_all, print, read},
};

/// What can be done with variables.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List variables, by key. What has a telling name is shown as `***`.
    #[command(after_help = "Example:\n  updraft variables list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Print a variable's value. What has a telling name (`api_key`, `password`) is shown to nobody, as `***`;
    /// tasks get it.
    #[command(after_help = "Example:\n  updraft variables get region")]
    Get {
        /// Its key.
        key: String,
    },
    /// Make a variable, or give it another value.
    #[command(after_help = "Examples:\n  updraft variables set region eu-west-1\n  \
                            updraft variables set api_key - < key.txt")]
    Set {
        /// Its key.
        key: String,
        /// Its value; `-` reads it from standard input, where no other process sees it.
        value: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Delete a variable.
    #[command(after_help = "Example:\n  updraft variables delete region")]
    Delete {
        /// Its key.
        key: String,
    },
    /// Set all variables of a file, as Airflow exports them: `{"key": value}` as JSON or YAML, or `KEY=value` on each
    /// line of a `.env`.
    #[command(after_help = "Examples:\n  updraft variables import variables.json\n  \
                            updraft variables import variables.yaml --action-on-existing-key skip")]
    Import {
        /// The file; `-` for JSON from standard input.
        file: PathBuf,
        /// What becomes of those that are there already; `fail` sets none where one is.
        #[arg(short, long, value_enum, default_value_t)]
        action_on_existing_key: OnExisting,
    },
    /// Write all variables into a JSON file, but for those that are secret.
    #[command(
        after_help = "Examples:\n  updraft variables export variables.json\n  updraft variables export -"
    )]
    Export {
        /// The file; `-` for standard output.
        file: PathBuf,
    },
}

/// What becomes of variables that are there already.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExisting {
    #[default]
    Overwrite,
    Fail,
    Skip,
}

const LISTED: Columns = &[("KEY", "/key"), ("VALUE", "/value"), ("DESCRIPTION", "/description")];

const PATH: [&str; 2] = ["v2", "variables"];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { limit } => {
                format.list(&client.list(&PATH, &[], "variables", limit.rows()).await?, LISTED)
            }
            Self::Get { key } => {
                let variable = client.get(&[PATH[0], PATH[1], &key]).await?;
                match session.is_for_programs() {
                    true => format.value(&variable),
                    false => {
                        let value = variable["value"].as_str().unwrap_or_default();
                        if value == MASK {
                            eprintln!(
                                "`{key}` is secret by its name: tasks get its value, and nobody is shown it"
                            );
                        }
                        print(value)
                    }
                }
            }
            Self::Set { key, value, description } => {
                let value = match value.as_str() {
                    "-" => read(Path::new("-"))?.trim_end_matches('\n').to_owned(),
                    _ => value,
                };
                let was_there = set(session, &key, value.into(), description.map(Value::from)).await?;
                eprintln!("`{key}` is {}", if was_there { "changed" } else { "made" });
                Ok(())
            }
            Self::Delete { key } => {
                client.delete(&[PATH[0], PATH[1], &key]).await?;
                eprintln!("`{key}` is deleted");
                Ok(())
            }
            Self::Import { file, action_on_existing_key: on_existing } => {
                import(session, &file, on_existing).await
            }
            Self::Export { file } => export(session, &file).await,
        }
    }
}

/// Whether it was there.
async fn set(session: &Session, key: &str, value: Value, description: Option<Value>) -> Result<bool> {
    let mut body = json!({ "key": key, "value": value });
    if let Some(description) = description {
        body["description"] = description;
    }
    session.client.put(&PATH, key, body).await
}

async fn import(session: &Session, file: &Path, on_existing: OnExisting) -> Result<()> {
    let variables = match file.as_os_str() == "-" {
        true => serde_json::from_str(&read(file)?)
            .map_err(|error| format!("standard input is no JSON object of variables: {error}")),
        false => variables_in(file).map_err(|error| error.to_string()),
    };
    let mut variables = variables.map_err(|message| Failure::new(Exit::Usage, message))?;
    if on_existing != OnExisting::Overwrite {
        let there = session.client.list(&PATH, &[], "variables", None).await?;
        let keys = there.iter().filter_map(|variable| variable["key"].as_str());
        let both: Vec<&str> = keys.filter(|key| variables.remove(*key).is_some()).collect();
        match (both.is_empty(), on_existing) {
            (false, OnExisting::Fail) => {
                bail!("nothing is set: these are there already: {}", both.join(", "))
            }
            (false, _) => eprintln!("these are there already and stay as they are: {}", both.join(", ")),
            (true, _) => {}
        }
    }
    for (key, value) in &variables {
        // As Airflow writes one with a description.
        let described = value.as_object().filter(|object| object.contains_key("value"));
        let done = match described {
            Some(object) => {
                set(session, key, object["value"].clone(), object.get("description").cloned()).await
            }
            None => set(session, key, value.clone(), None).await,
        };
        done.with_context(|| format!("the variable `{key}`"))?;
    }
    eprintln!("{}", count(variables.len(), "variable is set", "variables are set"));
    Ok(())
}

async fn export(session: &Session, file: &Path) -> Result<()> {
    let mut exported = Map::new();
    let mut secret = Vec::new();
    for variable in session.client.list(&PATH, &[], "variables", None).await? {
        let key = variable["key"].as_str().unwrap_or_default().to_owned();
        let text = variable["value"].as_str().unwrap_or_default();
        if text.contains(MASK) {
            secret.push(key);
            continue;
        }
        let value = match serde_json::from_str(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
            Ok(_) | Err(_) => text.into(),
        };
        let has_own = value.get("value").is_some();
        let value = match &variable["description"] {
            Value::Null if !has_own => value,
            description => json!({ "value": value, "description": description }),
        };
        exported.insert(key, value);
    }
    export_all(file, "variable", &exported, &secret)
}
