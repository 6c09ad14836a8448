//! A new password for who has lost the old one, by whoever has the store.

use std::path::{Path, PathBuf};

use serde_json::json;
use updraft_store::{Store, Window};

use super::{
    Denied, FirstError, Hashing, audit,
    first::{FIRST, keep, password},
};

/// So many accounts are named to who names none.
const NAMED: u64 = 20;

/// Why an account could not be given a new password.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// There is no such account.
    #[error("there is no account `{username}`: there is {there}")]
    Unknown {
        /// The one that was named.
        username: String,
        /// Those there are.
        there: String,
    },
    /// The password can't be made or kept, or the store can't be read or written.
    #[error(transparent)]
    Failed(#[from] FirstError),
}

impl From<updraft_store::Error> for ResetError {
    fn from(error: updraft_store::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Denied> for ResetError {
    fn from(error: Denied) -> Self {
        Self::Failed(error.into())
    }
}

/// What an account was given.
#[derive(Debug)]
pub struct Reset {
    /// The new password.
    pub password: String,
    /// Where it is kept, if it is the first account's.
    pub kept: Option<PathBuf>,
    /// How many tokens were ended, logins not counted.
    pub tokens: usize,
    /// The account can't log in all the same.
    pub disabled: bool,
}

/// Gives an account a new random password, and ends its logins and its tokens. The first account's password is kept
/// in `$UPDRAFT_HOME/admin-password`, as at the first start.
pub async fn reset_password(store: &dyn Store, home: &Path, username: &str) -> Result<Reset, ResetError> {
    let Some(mut row) = store.find_account(username).await? else {
        return Err(ResetError::Unknown { username: username.into(), there: there(store).await? });
    };
    let password = password()?;
    row.account.password_hash = Hashing::new().hash(&password).await?;
    // The file comes first, as with the first password.
    let kept = (username == FIRST).then(|| keep(home, &password)).transpose()?;
    let detail = json!({ "username": username, "password": true });
    store.update_account(row.id, &row.account, &audit("updraft", "update_account", detail)).await?;
    let tokens = store.tokens(Some(row.id), Window::ALL).await?.rows;
    for token in &tokens {
        let audit = audit("updraft", "delete_token", json!({ "name": token.token.name }));
        store.delete_token(token.id, &audit).await?;
    }
    Ok(Reset { password, kept, tokens: tokens.len(), disabled: row.account.disabled })
}

/// Which accounts there are, for a sentence.
async fn there(store: &dyn Store) -> Result<String, ResetError> {
    let page = store.accounts(&Default::default(), Window { limit: NAMED, ..Window::ALL }).await?;
    let names: Vec<String> = page.rows.iter().map(|row| format!("`{}`", row.account.username)).collect();
    Ok(match page.total - page.rows.len() as u64 {
        0 if names.is_empty() => "none, and the server makes `admin` when it starts".into(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    })
}
