//! `updraft deploy` and `updraft deployments`: a folder of DAG files as a whole, in a namespace.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use updraft_bundles::archive;

use super::{Ask, Limit, Session};
use crate::{
    failure::{Exit, Failure},
    output::Columns,
};

/// What is deployed.
#[derive(clap::Args)]
pub struct Deploy {
    /// The folder, with all that its DAGs need beside them. Left out are `.git`, `.venv`, caches of Python and the like.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// What you say of it, as `deployments list` shows it.
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Also where DAG files are wrong: the DAGs that these have stay as they are.
    #[arg(long)]
    force: bool,
}

impl Ask for Deploy {
    async fn ask(self, session: &Session) -> Result<()> {
        let folder = &self.folder;
        if !folder.is_dir() {
            let message = format!("{} is no folder: name the one with the DAG files", folder.display());
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let mut packed = Vec::new();
        archive::pack(folder, &mut packed).with_context(|| format!("can't pack {}", folder.display()))?;
        let mut query = vec![("force", self.force.to_string())];
        query.extend(self.message.map(|message| ("message", message)));
        let made = session.client.upload(&["v1", "deployments"], &query, packed).await?;
        told(session, &made)
    }
}

/// What can be done with deployments.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List what was deployed into a namespace, the latest, which counts, first.
    #[command(after_help = "Example:\n  updraft deployments list --namespace prod")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Deploy anew what an earlier deployment had. Runs that are not over go on as they began.
    #[command(after_help = "Examples:\n  updraft deployments rollback --namespace prod\n  \
                            updraft deployments rollback --namespace prod --to 3")]
    Rollback {
        /// Its number in `deployments list` [default: the one before what counts now].
        #[arg(long, value_name = "NUMBER")]
        to: Option<u32>,
    },
}

const LISTED: Columns = &[
    ("NUMBER", "/number"),
    ("AT", "/created_at"),
    ("BY", "/account"),
    ("FILES", "/files"),
    ("BYTES", "/bytes"),
    ("BACK TO", "/rolled_back_to"),
    ("MESSAGE", "/message"),
    ("HASH", "/hash"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        match self {
            Self::List { limit } => {
                let path = ["v1", "deployments"];
                let rows = session.client.list(&path, &[], "deployments", limit.rows()).await?;
                session.format.list(&rows, LISTED)
            }
            Self::Rollback { to } => {
                let body = json!({ "number": to });
                let made = session.client.post(&["v1", "deployments", "rollback"], body).await?;
                told(session, &made)
            }
        }
    }
}

/// Says what was deployed.
fn told(session: &Session, made: &Value) -> Result<()> {
    if session.is_for_programs() {
        return session.format.value(made);
    }
    let texts = |key: &str| -> Vec<&str> {
        made[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    for error in texts("import_errors") {
        eprintln!("error: {error}");
    }
    let namespace = made["namespace"].as_str().unwrap_or_default();
    let back = made["rolled_back_to"].as_u64().map(|number| format!(", which is what {number} was"));
    println!(
        "deployment {} of `{namespace}` counts{}: {}",
        made["number"],
        back.unwrap_or_default(),
        texts("dags").join(", ")
    );
    if made["in_place"] == false {
        eprintln!(
            "not all of its DAGs are there yet: see `updraft dags list` and `updraft dags list-import-errors`"
        );
    }
    Ok(())
}
