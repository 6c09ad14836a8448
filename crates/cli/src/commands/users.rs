//! `updraft users`: accounts.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::{Ask, Limit, Session};
use crate::output::{Columns, confirm, secret};

/// What can be done with accounts.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List accounts.
    #[command(after_help = "Example:\n  updraft users list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Make an account; its password is asked for, or read from standard input.
    #[command(after_help = "Examples:\n  updraft users create ada --role op\n  \
                            updraft users create ci --role user --of-namespace team < password.txt")]
    Create {
        /// Its name.
        username: String,
        /// What it may: look (viewer), run (user), look after pools, connections and variables (op), all (admin).
        #[arg(short, long, value_parser = ["viewer", "user", "op", "admin"])]
        role: String,
        /// The only namespace that it may see [default: all].
        #[arg(long, value_name = "NAME")]
        of_namespace: Option<String>,
    },
    /// Delete an account with its tokens.
    #[command(after_help = "Example:\n  updraft users delete ada --yes")]
    Delete {
        /// The account.
        username: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Give an account a new password, or yourself: asked for, or read from standard input.
    #[command(after_help = "Examples:\n  updraft users password ada\n  updraft users password")]
    Password {
        /// The account [default: your own, whose password up to now is asked for first].
        username: Option<String>,
    },
}

const LISTED: Columns = &[
    ("USER", "/username"),
    ("ROLE", "/role"),
    ("NAMESPACE", "/namespace"),
    ("DISABLED", "/disabled"),
    ("SINCE", "/created_at"),
];

impl Ask for Command {
    async fn ask(self, session: &Session) -> Result<()> {
        let Session { client, format, .. } = session;
        match self {
            Self::List { limit } => {
                format.list(&client.list(&["v1", "users"], &[], "users", limit.rows()).await?, LISTED)
            }
            Self::Create { username, role, of_namespace } => {
                let password = secret(&format!("Password of {username}"))?;
                let body = json!({
                    "username": &username,
                    "password": password,
                    "role": role,
                    "namespace": of_namespace,
                });
                let made = client.post(&["v1", "users"], body).await?;
                eprintln!("the account `{username}` is made");
                session.echo(&made)
            }
            Self::Delete { username, yes } => {
                confirm(&format!("the account `{username}` goes with its tokens"), yes)?;
                client.delete(&["v1", "users", &username]).await?;
                eprintln!("the account `{username}` is deleted");
                Ok(())
            }
            Self::Password { username: Some(username) } => {
                let password = secret(&format!("New password of {username}"))?;
                client.patch(&["v1", "users", &username], json!({ "password": password })).await?;
                eprintln!("the password of `{username}` is changed");
                Ok(())
            }
            Self::Password { username: None } => {
                let old = secret("Your password up to now")?;
                let body = json!({ "old_password": old, "new_password": secret("Your new password")? });
                client.call(Method::PUT, &["v1", "whoami", "password"], &[], Some(body)).await?;
                eprintln!("your password is changed");
                Ok(())
            }
        }
    }
}
