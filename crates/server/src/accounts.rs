//! Who may do what: accounts with passwords, tokens, and the roles.
//!
//! The roles are those of Airflow's simple auth manager: each may do what the one before it may. An account
//! may be bound to one namespace and then sees no other.

mod first;
mod password;
mod reset;
mod throttle;
mod token;

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use updraft_core::{Namespace, record::AuditRow};
use updraft_store::{AccountId, AccountRow, NewToken, Store, TokenId, TokenKind};
use utoipa::ToSchema;

pub(crate) use self::password::{Hashing, MIN_PASSWORD};
pub use self::{
    first::{FirstError, ensure_admin},
    reset::{Reset, ResetError, reset_password},
};
use self::{throttle::Throttle, token::Signer};
use crate::{
    leader::now,
    secrets::{KeyError, Keys, random},
};

/// What a personal token begins with, so that scanners find one that leaked.
const PERSONAL: &str = "updraft_pat_";
/// What a token to join with as a worker begins with.
const JOIN: &str = "updraft_join_";

/// What an account may do. Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See DAGs, runs, logs, pools.
    Viewer,
    /// Also trigger, clear, mark, pause.
    User,
    /// Also change pools, connections, variables.
    Op,
    /// Also accounts, and DAGs put by the API.
    Admin,
}

impl Role {
    /// Its name in the store and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::Op => "op",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let roles = [Self::Viewer, Self::User, Self::Op, Self::Admin];
        roles.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.into()))
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role `{0}`: it is one of viewer, user, op, admin")]
pub struct UnknownRole(String);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The account.
    pub id: AccountId,
    /// Its name.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The only namespace it may see; all where none is named.
    pub namespace: Option<Namespace>,
}

/// A token with which workers join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// What it is kept as.
    pub hash: String,
    /// The only namespace that it is for; all where none is named.
    pub namespace: Option<Namespace>,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Name or password are wrong; which of them is not said.
    #[error("Invalid credentials")]
    Credentials,
    /// Too many wrong passwords: wait.
    #[error("too many failed logins: try again in {} seconds", .0.as_secs().max(1))]
    Throttled(Duration),
    /// The token has run out.
    #[error("Token Expired")]
    Expired,
    /// The token is none of ours, or no longer valid.
    #[error("Invalid JWT token")]
    Token,
    /// The account may not log in.
    #[error("this account is disabled: ask an administrator")]
    Disabled,
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] updraft_store::Error),
    /// The system gives no random bytes, or no thread.
    #[error("{0}")]
    System(String),
}

impl From<KeyError> for Denied {
    fn from(error: KeyError) -> Self {
        Self::System(error.to_string())
    }
}

impl From<getrandom::Error> for Denied {
    fn from(error: getrandom::Error) -> Self {
        Self::System(format!("the system gives no random numbers: {error}"))
    }
}

/// Lets people and programs in.
pub struct Accounts {
    store: Arc<dyn Store>,
    hashing: Hashing,
    signer: Signer,
    throttle: Throttle,
}

impl Accounts {
    /// Over the accounts in the store; tokens are signed with a key made of these.
    pub fn new(store: Arc<dyn Store>, keys: &Keys) -> Self {
        Self { store, hashing: Hashing::new(), signer: Signer::new(keys), throttle: Throttle::default() }
    }

    /// Checks a password. Takes as long for a name that nobody has as for one that somebody has.
    pub async fn log_in(
        &self,
        username: &str,
        password: &str,
        from: Option<IpAddr>,
    ) -> Result<AccountRow, Denied> {
        let attempt = self.throttle.begin(username, from).map_err(Denied::Throttled)?;
        let account = self.store.find_account(username).await?;
        let hash = account.as_ref().map(|row| row.account.password_hash.clone());
        let matches = self.hashing.verify(password, hash).await?;
        match account {
            Some(account) if matches => {
                attempt.succeeded();
                if account.account.disabled { Err(Denied::Disabled) } else { Ok(account) }
            }
            Some(_) | None => Err(Denied::Credentials),
        }
    }

    /// A token for the API that stands for this account as long as its password stays the same.
    pub fn issue(&self, account: &AccountRow, lifetime: Duration) -> Result<String, Denied> {
        self.signer.issue(account, lifetime)
    }

    /// Whose token this is.
    pub async fn identify(&self, token: &str) -> Result<Who, Denied> {
        let account = if token.starts_with(PERSONAL) {
            let found = self.store.find_token(&digest(token)).await?.ok_or(Denied::Token)?;
            if found.token.expires_at.is_some_and(|at| at <= now()) {
                return Err(Denied::Expired);
            }
            let TokenKind::Api(account) = found.token.kind else { return Err(Denied::Token) };
            self.store.account(account).await?.ok_or(Denied::Token)?
        } else {
            let claims = self.signer.read(token)?;
            let account = self.store.account(claims.account()?).await?.ok_or(Denied::Token)?;
            if !claims.is_of(&account) {
                return Err(Denied::Token);
            }
            account
        };
        if account.account.disabled {
            return Err(Denied::Disabled);
        }
        Ok(Who {
            id: account.id,
            name: account.account.username.as_str().into(),
            // A role that this program does not know may nothing that needs one.
            role: account.account.role.parse().map_err(|_| Denied::Token)?,
            namespace: account.account.namespace,
        })
    }

    /// What one may join as a worker with; `None` where this is no such token, or one that has run out.
    pub async fn may_join(&self, token: &str) -> Result<Option<JoinToken>, Denied> {
        if !token.starts_with(JOIN) {
            return Ok(None);
        }
        let found = self.store.find_token(&digest(token)).await?;
        let valid = found.filter(|row| row.token.expires_at.is_none_or(|at| at > now()));
        Ok(valid.and_then(|row| match row.token.kind {
            TokenKind::Join(namespace) => Some(JoinToken { hash: row.token.hash, namespace }),
            TokenKind::Api(_) => None,
        }))
    }

    /// Whether such a token was revoked since.
    pub(crate) async fn is_revoked(&self, token: &JoinToken) -> Result<bool, Denied> {
        Ok(self.store.find_token(&token.hash).await?.is_none())
    }

    /// Makes a token that is shown once and kept as a hash. `None` where the account is gone.
    pub async fn create_token(
        &self,
        by: &str,
        kind: TokenKind,
        name: String,
        expires_at: Option<Timestamp>,
    ) -> Result<Option<(TokenId, String)>, Denied> {
        let prefix = match kind {
            TokenKind::Api(_) => PERSONAL,
            TokenKind::Join(_) => JOIN,
        };
        let token = format!("{prefix}{}", hex(&random::<32>()?));
        let audit = audit(by, "create_token", json!({ "name": name }));
        let row = NewToken { kind, hash: digest(&token), name, expires_at };
        Ok(self.store.create_token(&row, &audit).await?.map(|id| (id, token)))
    }

    pub(crate) fn hashing(&self) -> &Hashing {
        &self.hashing
    }
}

/// A line of the audit log about what belongs to no namespace.
pub(crate) fn audit(by: &str, action: &str, detail: serde_json::Value) -> AuditRow {
    let (at, user, action) = (now(), by.into(), action.into());
    AuditRow { at, user, action, namespace: None, dag: None, run: None, detail }
}

/// SHA-256 in hexadecimal. Enough for tokens: they are random and long, unlike passwords.
pub(crate) fn digest(token: &str) -> String {
    hex(&Sha256::digest(token))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
