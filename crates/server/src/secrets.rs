//! Connections and variables: kept encrypted, overridden by the server's environment and, before that, by what
//! backends have, as Airflow looks them up ("Secrets Backend"); masked where they would show.
//!
//! What is encrypted is bound to its place: the namespace, the name and the field are authenticated with it,
//! so that a value copied to another row of the database does not open there.

mod backend;
mod cached;
mod environment;
mod files;
mod keys;
mod mask;
pub mod vault;

use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::{error, info, warn};
use updraft_core::{Namespace, protocol};
use updraft_store::{ConnectionRow, SecretId, Store};

pub use self::{
    backend::{Backend, BackendError},
    cached::Cached,
    environment::{BadConnection, Environment, Fault, parse_connection},
    files::{Files, connections_in, variables_in},
    keys::{KeyError, Keys},
};
pub(crate) use self::{
    keys::{random, write_private},
    mask::{MASK, is_sensitive, mask, mask_address, unmask, unmask_address},
};

/// So many secrets are read at once while they are encrypted anew.
const ROTATE_AT_ONCE: u32 = 200;

/// Why a connection or a variable can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] updraft_store::Error),
    /// What is kept can't be opened.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What the environment says is no connection.
    #[error(transparent)]
    Environment(#[from] BadConnection),
    /// A backend can't say. What it may have is not looked up elsewhere: that could be another secret.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What connections and variables are looked up through.
pub struct Secrets {
    store: Arc<dyn Store>,
    keys: Keys,
    environment: Environment,
    backends: Vec<Arc<dyn Backend>>,
}

impl Secrets {
    /// Over what the store keeps, opened with these keys, overridden by this environment.
    pub fn new(store: Arc<dyn Store>, keys: Keys, environment: Environment) -> Self {
        Self { store, keys, environment, backends: Vec::new() }
    }

    /// The same, with these backends asked before, in this order.
    pub fn with_backends(self, backends: Vec<Arc<dyn Backend>>) -> Self {
        Self { backends, ..self }
    }

    /// A connection, as operators get it. Backends come first, then the environment (`AIRFLOW_CONN_<ID>`); both count
    /// for the default namespace, since they know of none.
    pub async fn connection(
        &self,
        namespace: &Namespace,
        conn_id: &str,
    ) -> Result<Option<protocol::Connection>, Error> {
        if &**namespace == Namespace::DEFAULT {
            for backend in &self.backends {
                if let Some(connection) = backend.connection(conn_id).await? {
                    return Ok(Some(connection));
                }
            }
            if let Some(connection) = self.environment.connection(conn_id)? {
                return Ok(Some(connection));
            }
        }
        match self.store.connection(namespace, conn_id).await? {
            Some(row) => Ok(Some(self.open_connection(&row)?)),
            None => Ok(None),
        }
    }

    /// A variable's text. Backends come first, then the environment (`AIRFLOW_VAR_<KEY>`), for the default namespace.
    pub async fn variable(&self, namespace: &Namespace, key: &str) -> Result<Option<String>, Error> {
        if &**namespace == Namespace::DEFAULT {
            for backend in &self.backends {
                if let Some(value) = backend.variable(key).await? {
                    return Ok(Some(value));
                }
            }
            if let Some(value) = self.environment.variable(key) {
                return Ok(Some(value));
            }
        }
        let Some(row) = self.store.variable(namespace, key).await? else { return Ok(None) };
        let id = SecretId::Variable(namespace.clone(), key.to_owned());
        Ok(Some(self.open(&id, &row.value, row.is_encrypted)?))
    }

    /// Encrypts a text for its place.
    pub fn seal(&self, id: &SecretId, text: &str) -> Result<Vec<u8>, KeyError> {
        self.keys.seal(&place(id), text.as_bytes())
    }

    /// The text that is kept at a place.
    pub fn open(&self, id: &SecretId, bytes: &[u8], is_encrypted: bool) -> Result<String, KeyError> {
        let bytes = if is_encrypted { self.keys.open(&place(id), bytes)? } else { bytes.to_vec() };
        String::from_utf8(bytes).map_err(|_| KeyError::NotText)
    }

    /// A connection's `extra` as it was written.
    pub(crate) fn open_extra(&self, row: &ConnectionRow) -> Result<Option<String>, KeyError> {
        let id = SecretId::Extra(row.namespace.clone(), row.conn_id.clone());
        row.extra.as_deref().map(|extra| self.open(&id, extra, row.is_encrypted)).transpose()
    }

    fn open_connection(&self, row: &ConnectionRow) -> Result<protocol::Connection, KeyError> {
        let id = SecretId::Password(row.namespace.clone(), row.conn_id.clone());
        let password = row.password.as_deref().map(|bytes| self.open(&id, bytes, row.is_encrypted));
        let extra = self.open_extra(row)?.unwrap_or_default();
        let extra: Map<String, Value> = match serde_json::from_str(&extra) {
            Ok(Value::Object(extra)) => extra,
            // The API lets nothing else in; an empty text stands for none.
            Ok(_) | Err(_) => Map::new(),
        };
        Ok(protocol::Connection {
            conn_id: row.conn_id.clone(),
            conn_type: row.conn_type.clone(),
            host: row.host.clone(),
            port: row.port,
            schema: row.schema.clone(),
            login: row.login.clone(),
            password: password.transpose()?,
            extra,
            description: row.description.clone(),
        })
    }

    /// Encrypts everything anew that is not under the first key, and says so: for the start of a server. What somebody
    /// writes meanwhile is under the first key already and is left alone.
    pub async fn rotate(&self) {
        match self.encrypt_anew().await {
            Ok((0, lost)) if lost.is_empty() => {}
            Ok((changed, lost)) if lost.is_empty() => info!(
                changed,
                "all secrets are encrypted with the first key of the key file now: it needs the others no more"
            ),
            Ok((changed, lost)) => error!(
                changed,
                lost = lost.join(", "),
                "there are secrets that no key in the key file decrypts: put the key back that they were encrypted with, \
                 or set them anew"
            ),
            Err(error) => {
                warn!(%error, "secrets could not be encrypted with the first key; the next start tries again")
            }
        }
    }

    /// How much was encrypted anew, and what can't be decrypted.
    async fn encrypt_anew(&self) -> Result<(u64, Vec<String>), Error> {
        let (mut after, mut changed, mut lost) = (None, 0, Vec::new());
        loop {
            let rows = self.store.secrets(after.as_ref(), ROTATE_AT_ONCE).await?;
            let Some(last) = rows.last() else { return Ok((changed, lost)) };
            after = Some(last.id.clone());
            for row in rows.iter().filter(|row| !self.keys.is_current(&row.value)) {
                let Ok(text) = self.open(&row.id, &row.value, true) else {
                    lost.push(shown(&row.id));
                    continue;
                };
                let sealed = self.seal(&row.id, &text)?;
                changed += u64::from(self.store.replace_secret(&row.id, &row.value, &sealed).await?);
            }
        }
    }
}

/// What a secret is, for people.
fn shown(id: &SecretId) -> String {
    match id {
        SecretId::Password(namespace, name) => format!("the password of connection {namespace}/{name}"),
        SecretId::Extra(namespace, name) => format!("`extra` of connection {namespace}/{name}"),
        SecretId::Variable(namespace, name) => format!("variable {namespace}/{name}"),
    }
}

/// What is authenticated beside a secret: the field, the namespace and the name, each ended so that no two
/// places read the same.
fn place(id: &SecretId) -> Vec<u8> {
    let (field, namespace, name) = match id {
        SecretId::Password(namespace, name) => ("connection.password", namespace, name),
        SecretId::Extra(namespace, name) => ("connection.extra", namespace, name),
        SecretId::Variable(namespace, name) => ("variable.value", namespace, name),
    };
    [field, namespace, name].iter().flat_map(|part| part.bytes().chain([0])).collect()
}
