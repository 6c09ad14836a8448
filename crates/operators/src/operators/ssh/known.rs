//! Whom to trust: the key that a connection names, or the keys of `known_hosts`.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{
    Algorithm, HashAlg, PublicKey,
    ssh_key::known_hosts::{HostPatterns, KnownHosts, Marker},
};
use sha1::Sha1;

/// The keys that a server may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    pub(super) keys: Vec<PublicKey>,
    pub(super) revoked: Vec<PublicKey>,
    /// Whether a server of which no key is known is trusted too.
    pub(super) strangers: bool,
    /// Where the keys are from, for people.
    pub(super) source: String,
}

impl Trust {
    /// The one key that a connection names. It is written as in `known_hosts`, with or without the host, or as base64
    /// alone.
    pub(super) fn in_one(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let whole = (0..words.len()).find_map(|from| words[from..].join(" ").parse::<PublicKey>().ok());
        let key = whole.or_else(|| russh::keys::parse_public_key_base64(text.trim()).ok())?;
        Some(Self { keys: vec![key], source: "the connection's `host_key`".into(), ..Self::default() })
    }

    /// The keys that a text has of a server, written as sshd(8) documents `known_hosts`.
    pub(super) fn in_known_hosts(text: &str, path: &Path, host: &str, port: u16) -> Self {
        let name = name_of(host, port);
        let mut trust = Self { source: path.display().to_string(), ..Self::default() };
        // A line that can't be read vouches for nobody.
        for entry in KnownHosts::new(text).flatten().filter(|entry| fits(entry.host_patterns(), &name)) {
            match entry.marker() {
                None => trust.keys.push(entry.public_key().clone()),
                Some(Marker::Revoked) => trust.revoked.push(entry.public_key().clone()),
                // Certificates of hosts are not asked for.
                Some(Marker::CertAuthority) => {}
            }
        }
        trust
    }

    /// Whether a server with this key is trusted; if not, why, and the mend.
    pub(super) fn judge(&self, key: &PublicKey, host: &str, port: u16) -> Result<(), String> {
        let is_among = |keys: &[PublicKey]| keys.iter().any(|known| known.key_data() == key.key_data());
        let print = key.fingerprint(HashAlg::Sha256);
        let line = PublicKey::from(key.key_data().clone()).to_openssh().unwrap_or_default();
        if is_among(&self.revoked) {
            return Err(format!("the server's key {print} is revoked in {}", self.source));
        }
        if is_among(&self.keys) || (self.keys.is_empty() && self.strangers) {
            return Ok(());
        }
        if !self.keys.is_empty() {
            return Err(format!(
                "the server has another key than {} says: {print}. Somebody may be between you and the server, or it \
                 was set up anew. If whoever runs it says that this is its key, put in its place: {line}",
                self.source
            ));
        }
        Err(format!(
            "nobody has vouched for the server, which has the key {print}. If whoever runs it says that this is its \
             key, put into the connection's extra: \"host_key\": \"{line}\", or into {}: {} {line}. To trust whatever \
             answers there, as Airflow does, set \"no_host_key_check\": true",
            self.source,
            name_of(host, port)
        ))
    }

    /// The kinds of keys to ask the server for: those first of which one is known, since it may have several.
    pub(super) fn kinds(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let family = |kind: &Algorithm| match kind {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
            other => other.clone(),
        };
        let known: Vec<Algorithm> = self.keys.iter().map(|key| family(&key.algorithm())).collect();
        let (mut first, others): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|kind| known.contains(&family(kind)));
        first.extend(others);
        first
    }
}

/// A server's name in `known_hosts`.
fn name_of(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Where `known_hosts` is, unless a connection says so.
pub(super) fn default_path() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".ssh/known_hosts"))
}

fn fits(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => {
            let fits = |pattern: &str| is_like(pattern.to_lowercase().as_bytes(), name.as_bytes());
            let mut any = false;
            for pattern in patterns {
                match pattern.strip_prefix('!') {
                    Some(pattern) if fits(pattern) => return false,
                    Some(_) => {}
                    None => any |= fits(pattern),
                }
            }
            any
        }
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|hmac| hmac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
    }
}

/// Whether a name fits a pattern with `*` and `?`, which here stand for any letters.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if is_like(rest, name) => true,
        (Some((b'*', _)), Some((_, others))) => is_like(pattern, others),
        (Some((b'?', rest)), Some((_, others))) => is_like(rest, others),
        (Some((letter, rest)), Some((other, others))) => letter == other && is_like(rest, others),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn known(text: &str, host: &str, port: u16) -> Trust {
        Trust::in_known_hosts(text, Path::new("known_hosts"), host, port)
    }

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_known_by_its_name_a_pattern_or_its_hash() {
        // The hash is of `example.com`; ssh-keygen made it.
        let hashed = format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {OTHER}");
        for (line, host, port, is_known) in [
            (format!("files.example.org {OTHER}"), "files.example.org", 22, true),
            (format!("files.example.org {OTHER}"), "Files.Example.org", 22, true),
            (format!("files.example.org {OTHER}"), "files.example.org", 2222, false),
            (format!("[files.example.org]:2222 {OTHER}"), "files.example.org", 2222, true),
            (format!("other,*.example.org {OTHER} comment"), "files.example.org", 22, true),
            (format!("*.example.org,!files.* {OTHER}"), "files.example.org", 22, false),
            (format!("file?.example.org {OTHER}"), "files.example.org", 22, true),
            (hashed.clone(), "example.com", 22, true),
            (hashed, "example.org", 22, false),
            (format!("# files.example.org {OTHER}"), "files.example.org", 22, false),
            ("files.example.org ssh-ed25519 broken".into(), "files.example.org", 22, false),
        ] {
            let judged = known(&line, host, port).judge(&key(OTHER), host, port);
            assert_eq!(judged.is_ok(), is_known, "{line} for {host}:{port}: {judged:?}");
        }
    }

    #[test]
    fn another_key_a_revoked_one_and_a_stranger_are_refused_with_the_mend() {
        let refused = |trust: &Trust| trust.judge(&key(OTHER), "h", 2222).unwrap_err();
        let other = refused(&known(&format!("[h]:2222 {ONE}"), "h", 2222));
        assert!(other.contains("another key than known_hosts says") && other.contains(OTHER), "{other}");
        let revoked = refused(&known(&format!("[h]:2222 {OTHER}\n@revoked * {OTHER}"), "h", 2222));
        assert!(revoked.contains("revoked"), "{revoked}");
        let stranger = refused(&known("", "h", 2222));
        assert!(stranger.contains(&format!("\"host_key\": \"{OTHER}\"")), "{stranger}");
        assert!(stranger.contains(&format!("known_hosts: [h]:2222 {OTHER}")), "{stranger}");
        let open = Trust { strangers: true, ..known("", "h", 2222) };
        assert!(open.judge(&key(OTHER), "h", 2222).is_ok());
        let changed = Trust { strangers: true, ..known(&format!("[h]:2222 {ONE}"), "h", 2222) };
        assert!(refused(&changed).contains("another key"));
    }

    #[test]
    fn the_key_of_a_connection_is_read_as_airflow_reads_it_and_as_a_line_of_known_hosts() {
        let bare = OTHER.split(' ').nth(1).unwrap();
        for text in [OTHER, bare, &format!("[h]:22 {OTHER}"), &format!("{OTHER} a comment")] {
            let trust = Trust::in_one(text).unwrap();
            assert!(trust.judge(&key(OTHER), "h", 22).is_ok(), "{text}");
            assert!(trust.judge(&key(ONE), "h", 22).is_err(), "{text}");
        }
        assert!(Trust::in_one("ssh-ed25519 nonsense").is_none());
    }

    #[test]
    fn the_server_is_asked_first_for_the_kind_of_key_that_is_known() {
        let all = russh::Preferred::DEFAULT.key;
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";
        let kinds = Trust::in_one(ecdsa).unwrap().kinds(&all);
        assert_eq!(kinds[0].as_str(), "ecdsa-sha2-nistp256");
        assert_eq!(kinds.len(), all.len());
    }
}
