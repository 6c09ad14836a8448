//! The first account.

use std::{io, path::Path, path::PathBuf};

use serde_json::json;
use updraft_store::{NewAccount, Store, Window};

use super::{Denied, Hashing, Role, audit, hex};
use crate::secrets::{random, write_private};

/// The name of the first account.
pub(super) const FIRST: &str = "admin";

/// Why the first account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FirstError {
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] updraft_store::Error),
    /// The password can't be kept.
    #[error("the password of `admin` can't be written to {path}: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No password can be made.
    #[error(transparent)]
    Password(#[from] Denied),
}

/// Makes the account `admin` where there is no account at all, with a random password that is kept in
/// `$UPDRAFT_HOME/admin-password` for its owner alone, and returned to be printed once. `None` where
/// somebody can log in already.
pub async fn ensure_admin(store: &dyn Store, home: &Path) -> Result<Option<String>, FirstError> {
    let one = Window { limit: 1, count_to: 1, ..Window::default() };
    if store.accounts(&Default::default(), one).await?.total > 0 {
        return Ok(None);
    }
    let password = password()?;
    let account = NewAccount {
        username: FIRST.into(),
        password_hash: Hashing::new().hash(&password).await?,
        role: Role::Admin.as_str().into(),
        namespace: None,
        disabled: false,
    };
    // The file comes first: an account whose password nobody knows would lock everybody out.
    let path = keep(home, &password)?;
    let audit = audit("updraft", "create_account", json!({ "username": FIRST }));
    if store.create_account(&account, &audit).await?.is_some() {
        return Ok(Some(password));
    }
    // Another server was first: its password counts, and it has told it.
    std::fs::remove_file(&path).map_err(|source| FirstError::File { path, source })?;
    Ok(None)
}

/// A password that nobody guesses.
pub(super) fn password() -> Result<String, Denied> {
    Ok(hex(&random::<12>()?))
}

/// Writes the password of the first account where whoever starts Updraft finds it; where that is.
pub(super) fn keep(home: &Path, password: &str) -> Result<PathBuf, FirstError> {
    let path = home.join("admin-password");
    let written = match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => write_private(&path, &format!("{password}\n")),
    };
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(FirstError::File { path, source }),
    }
}
