//! Where a repository is, and how one gets in.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;

/// A branch or a tag of a repository.
#[derive(Clone)]
pub struct Remote {
    /// Its address: `https://…`, `ssh://…`, `git@host:path`, `file:///…`.
    pub(super) url: String,
    /// The branch or the tag (Airflow's `tracking_ref`).
    pub(super) reference: String,
    /// How one gets in.
    pub(super) credentials: Credentials,
    /// The transports that may be used: those of the address, wherever the server sends us.
    pub(super) protocols: &'static str,
    /// For HTTP, the part of the address that credentials are for.
    origin: Option<String>,
    /// A fetch that takes longer is ended.
    pub(super) timeout: Duration,
}

/// How one gets into a repository.
#[derive(Clone)]
pub enum Credentials {
    /// It is open, or what `ssh` has by itself opens it.
    None,
    /// A name and a token, for HTTP.
    Token {
        /// The name. Most take any with a token.
        username: String,
        /// The token.
        token: String,
    },
    /// What SSH uses in place of what it has by itself.
    Ssh {
        /// A file with a private key.
        key: Option<PathBuf>,
        /// A file with the keys of servers, as `known_hosts` has them.
        known_hosts: Option<PathBuf>,
    },
}

/// Why a repository can't be one. What it says has no secret in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadRemote {
    /// The address is of no kind that can be had.
    #[error(
        "dags.git.url is no address of a repository: write https://host/team/dags.git, ssh://git@host/team/dags.git, \
         git@host:team/dags.git or file:///srv/dags.git"
    )]
    Url,
    /// The address has a password in it.
    #[error(
        "dags.git.url has a name or a password in it, which would show: set dags.git.username and dags.git.token, and \
         leave them out of the address"
    )]
    Password,
    /// It is no name of a branch or a tag.
    #[error("dags.git.branch is `{0}`, which is no name of a branch or a tag: write it as `main` or `v1.2`")]
    Reference(String),
    /// A token is for HTTP, a key for SSH.
    #[error("dags.git.{0} is of no use for this kind of address: {1}")]
    Credentials(&'static str, &'static str),
}

impl Remote {
    /// This branch or tag of this repository.
    pub fn new(
        url: String,
        reference: String,
        credentials: Credentials,
        timeout: Duration,
    ) -> Result<Self, BadRemote> {
        if !is_reference(&reference) {
            return Err(BadRemote::Reference(reference));
        }
        let (protocols, origin) = transports(&url)?;
        match (&credentials, protocols) {
            (Credentials::Token { .. }, "ssh" | "file") => {
                Err(BadRemote::Credentials("token", "it is for https://; over SSH set dags.git.ssh_key_file"))
            }
            (Credentials::Ssh { .. }, "http:https" | "https" | "file") => {
                Err(BadRemote::Credentials("ssh_*", "it is for SSH; over https:// set dags.git.token"))
            }
            _ => Ok(Self { url, reference, credentials, protocols, origin, timeout }),
        }
    }

    /// The name under which it is known among the sources of DAGs.
    pub fn source(&self) -> String {
        format!("{SOURCE_PREFIX}{}@{}", self.url, self.reference)
    }

    /// The header that opens it, and the option that says for which addresses it is.
    pub(super) fn header(&self) -> Option<(String, String)> {
        let (Credentials::Token { username, token }, Some(origin)) = (&self.credentials, &self.origin) else {
            return None;
        };
        let basic = STANDARD.encode(format!("{username}:{token}"));
        Some((format!("http.{origin}/.extraHeader"), format!("Authorization: Basic {basic}")))
    }
}

/// Sources of DAGs that are no files begin so.
pub(crate) const SOURCE_PREFIX: &str = "git+";

/// Which transports an address may use, and its origin where that is HTTP.
fn transports(url: &str) -> Result<(&'static str, Option<String>), BadRemote> {
    if url.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(BadRemote::Url);
    }
    if url.starts_with('/') {
        return Ok(("file", None));
    }
    let Some((scheme, _)) = url.split_once("://") else {
        // As `scp` has it: git@host:path.
        let parts = url.split_once(':').and_then(|(at, path)| Some((at.split_once('@')?, path)));
        let is_name = |name: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && !name.starts_with('-') && name.bytes().all(good)
        };
        return match parts {
            Some(((user, host), path)) if is_name(user) && is_name(host) && !path.is_empty() => {
                Ok(("ssh", None))
            }
            _ => Err(BadRemote::Url),
        };
    };
    let parsed = Url::parse(url).map_err(|_| BadRemote::Url)?;
    let has_host = parsed.host_str().is_some_and(|host| !host.is_empty() && !host.starts_with('-'));
    match scheme {
        "file" => Ok(("file", None)),
        _ if !has_host => Err(BadRemote::Url),
        // The user's name is part of an SSH address, a password never.
        _ if parsed.password().is_some() => Err(BadRemote::Password),
        "ssh" => Ok(("ssh", None)),
        "https" | "http" if !parsed.username().is_empty() => Err(BadRemote::Password),
        "https" => Ok(("https", Some(parsed.origin().ascii_serialization()))),
        "http" => Ok(("http:https", Some(parsed.origin().ascii_serialization()))),
        _ => Err(BadRemote::Url),
    }
}

/// Whether this can be the name of a branch or a tag, and is nothing else to `git`: git-check-ref-format(1).
fn is_reference(name: &str) -> bool {
    let bad = |letter: char| letter.is_whitespace() || letter.is_control() || r"~^:?*[\+".contains(letter);
    let good_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.starts_with('-')
        && !name.chars().any(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(good_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, credentials: Credentials) -> Result<Remote, BadRemote> {
        Remote::new(url.into(), "main".into(), credentials, Duration::from_secs(1))
    }

    fn token() -> Credentials {
        Credentials::Token { username: "me".into(), token: "s3cret".into() }
    }

    #[test]
    fn an_address_allows_its_own_transport_only() {
        for (url, protocols) in [
            ("https://git.example/team/dags.git", "https"),
            ("http://127.0.0.1:3000/dags.git", "http:https"),
            ("ssh://git@git.example:2222/dags.git", "ssh"),
            ("git@git.example:team/dags.git", "ssh"),
            ("file:///srv/dags.git", "file"),
            ("/srv/dags.git", "file"),
        ] {
            assert_eq!(remote(url, Credentials::None).map(|remote| remote.protocols), Ok(protocols), "{url}");
        }
        for url in [
            "ext::sh -c touch% /tmp/x",
            "git://git.example/dags.git",
            "-u@host:path",
            "git@-oProxyCommand=x:path",
            "ssh://-oProxyCommand=x/dags.git",
            "dags.git",
            "https://",
            "",
        ] {
            assert_eq!(remote(url, Credentials::None).err(), Some(BadRemote::Url), "{url}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_shown() {
        for url in ["https://me:s3cret@git.example/dags.git", "https://s3cret@git.example/dags.git"] {
            let refused = remote(url, Credentials::None).err().unwrap();
            assert!(refused == BadRemote::Password && !refused.to_string().contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn a_token_goes_to_its_own_server_only() {
        let (option, header) =
            remote("https://git.example/team/dags.git", token()).unwrap().header().unwrap();
        assert_eq!(option, "http.https://git.example/.extraHeader");
        assert_eq!(header, "Authorization: Basic bWU6czNjcmV0");
        let key = || Credentials::Ssh { key: Some("/key".into()), known_hosts: None };
        for (url, credentials) in [("git@git.example:dags.git", token()), ("https://git.example/d", key())] {
            assert!(matches!(remote(url, credentials), Err(BadRemote::Credentials(..))), "{url}");
        }
    }

    #[test]
    fn a_reference_is_a_name_and_no_option() {
        for name in ["main", "release/2026.1", "v1.2", "a-b_c@d"] {
            assert!(is_reference(name), "{name}");
        }
        for name in
            ["", "-x", "--upload-pack=x", "a:b", "+a", "a..b", "a b", "a/", "/a", ".a", "a.lock", "@{1}"]
        {
            assert!(!is_reference(name), "{name}");
        }
    }
}
