//! Where connections and variables are looked up before the environment and the database.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use updraft_server::secrets::{
    Backend, Cached, Files,
    vault::{self, Login},
};

/// Backends of secrets, asked in this order, as Airflow asks its `[secrets] backend`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The file with the key by which secrets in the database are encrypted, for several servers or one whose home folder
    /// does not last: 32 random bytes in base64 (`head -c 32 /dev/urandom | base64`). `key` in the home folder, which is
    /// made at the first start, where nothing is said.
    pub key_file: Option<PathBuf>,
    /// Files.
    pub files: SecretFiles,
    /// A HashiCorp Vault.
    pub vault: Vault,
}

/// Files with secrets. They are read at each look-up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SecretFiles {
    /// A file with connections, as Airflow's `LocalFilesystemBackend` has it: `.json`, `.yaml` or `.env`.
    pub connections_file_path: Option<PathBuf>,
    /// A file with variables, likewise.
    pub variables_file_path: Option<PathBuf>,
    /// A folder with a file for each connection, a URI or JSON, as Kubernetes and Docker mount secrets.
    pub connections_folder: Option<PathBuf>,
    /// A folder with a file for each variable.
    pub variables_folder: Option<PathBuf>,
}

/// A HashiCorp Vault, with the parameters of Airflow's `VaultBackend`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Vault {
    /// Its address; none is asked, where nothing is said.
    pub url: Option<String>,
    /// How one gets in: `token`, `approle` or `userpass`.
    pub auth_type: AuthType,
    /// Where the method is mounted; at its own name, where nothing is said.
    pub auth_mount_point: Option<String>,
    /// The token.
    pub token: Option<String>,
    /// A file with the token, in its place, which others keep fresh.
    pub token_path: Option<PathBuf>,
    /// The role of AppRole.
    pub role_id: Option<String>,
    /// Its secret.
    pub secret_id: Option<String>,
    /// The name for `userpass`.
    pub username: Option<String>,
    /// The password for `userpass`.
    pub password: Option<String>,
    /// Where the KV engine is mounted.
    pub mount_point: String,
    /// The KV engine's version, 1 or 2.
    pub kv_engine_version: u8,
    /// Where connections are; empty where none are looked up.
    pub connections_path: String,
    /// Where variables are; empty where none are looked up.
    pub variables_path: String,
    /// The namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// Seconds after which a look-up has failed, 1 to 20.
    pub timeout_s: u64,
    /// Seconds for which an answer is kept; 0 for none.
    pub cache_ttl_s: u64,
}

/// How one gets into a Vault.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuthType {
    /// By a token.
    #[default]
    Token,
    /// As an application.
    AppRole,
    /// By a name and a password.
    UserPass,
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            url: None,
            auth_type: AuthType::Token,
            auth_mount_point: None,
            token: None,
            token_path: None,
            role_id: None,
            secret_id: None,
            username: None,
            password: None,
            mount_point: "secret".into(),
            kv_engine_version: 2,
            connections_path: "connections".into(),
            variables_path: "variables".into(),
            namespace: None,
            timeout_s: 5,
            cache_ttl_s: 15,
        }
    }
}

impl Secrets {
    /// Those that are set, in the order in which they are asked.
    pub fn backends(&self) -> Result<Vec<Arc<dyn Backend>>> {
        let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
        let files = self.files.clone();
        let files = Files {
            connections_file: files.connections_file_path,
            variables_file: files.variables_file_path,
            connections_folder: files.connections_folder,
            variables_folder: files.variables_folder,
        };
        let is_set = [
            &files.connections_file,
            &files.variables_file,
            &files.connections_folder,
            &files.variables_folder,
        ];
        if is_set.iter().any(|path| path.is_some()) {
            backends.push(Arc::new(files));
        }
        if let Some(url) = &self.vault.url {
            let vault = vault::Vault::new(self.vault.settings(url)?)?;
            backends.push(Arc::new(Cached::new(vault, Duration::from_secs(self.vault.cache_ttl_s))));
        }
        Ok(backends)
    }
}

impl Vault {
    fn settings(&self, url: &str) -> Result<vault::Settings> {
        let timeout_s = self.timeout_s;
        // Whoever waits for the answer does so for half a minute.
        ensure!(
            (1..=20).contains(&timeout_s),
            "secrets.vault.timeout_s is {timeout_s}: set it to 1 to 20 seconds"
        );
        Ok(vault::Settings {
            url: url.to_owned(),
            login: self.login()?,
            mount_point: self.mount_point.clone(),
            kv_engine_version: self.kv_engine_version,
            connections_path: self.connections_path.clone(),
            variables_path: self.variables_path.clone(),
            namespace: self.namespace.clone(),
            timeout: Duration::from_secs(timeout_s),
        })
    }

    fn login(&self) -> Result<Login> {
        let mount = |default: &str| self.auth_mount_point.clone().unwrap_or_else(|| default.into());
        Ok(match self.auth_type {
            AuthType::Token => match (&self.token, &self.token_path) {
                (Some(token), None) => Login::Token(token.clone()),
                (None, Some(path)) => Login::TokenFile(path.clone()),
                (None, None) => {
                    bail!("secrets.vault.token is not set, nor secrets.vault.token_path: set one")
                }
                (Some(_), Some(_)) => {
                    bail!("secrets.vault.token and secrets.vault.token_path are both set: leave one out")
                }
            },
            AuthType::AppRole => Login::AppRole {
                mount: mount("approle"),
                role_id: needed("role_id", &self.role_id)?,
                secret_id: needed("secret_id", &self.secret_id)?,
            },
            AuthType::UserPass => Login::UserPass {
                mount: mount("userpass"),
                username: needed("username", &self.username)?,
                password: needed("password", &self.password)?,
            },
        })
    }
}

fn needed(name: &str, value: &Option<String>) -> Result<String> {
    match value {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        Some(_) | None => bail!("secrets.vault.{name} is not set, and secrets.vault.auth_type needs it"),
    }
}
