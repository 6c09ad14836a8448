//! The key file, and what is encrypted with its keys.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// The first byte of everything encrypted, should another cipher ever follow.
const FORMAT: u8 = 1;
/// So much of a key's hash tells it from the others.
const ID_BYTES: usize = 4;

/// What is wrong with a key, or with what it should open.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key file can't be read or written.
    #[error("the key file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the key file is no key.
    #[error(
        "line {line} of the key file {path} is no key: a key is 32 bytes in base64; restore the file \
         from a backup, without its keys the secrets in the database are lost"
    )]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Others may read the key file.
    #[error("the key file {path} can be read by others (mode {mode:o}): run `chmod 600` on it as its owner")]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others may write the key file.
    #[error(
        "the key file {path} can be written by others (mode {mode:o}): run `chmod go-w` on it as its owner"
    )]
    Writable {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It was encrypted with a key that the key file does not have, or it was changed, or moved.
    #[error(
        "a secret can't be decrypted: it was encrypted with a key that is not in the key file, or it was changed or moved \
         in the database; put that key back into the key file, or set the secret anew"
    )]
    Sealed,
    /// It opens, and is no text.
    #[error("a secret in the database is not UTF-8 text")]
    NotText,
    /// The system gives no random bytes.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

struct Key {
    id: [u8; ID_BYTES],
    bytes: [u8; KEY_BYTES],
    cipher: XChaCha20Poly1305,
}

impl Key {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&Sha256::digest(bytes)[..ID_BYTES]);
        Self { id, bytes, cipher: XChaCha20Poly1305::new(&bytes.into()) }
    }
}

/// The keys of an installation. The first encrypts; all of them decrypt.
pub struct Keys {
    keys: Vec<Key>,
}

impl Keys {
    /// The keys in `$UPDRAFT_HOME/key`, one a line in base64, the newest first. Made at the first start, for
    /// its owner alone.
    pub fn of_home(home: &Path) -> Result<Self, KeyError> {
        let path = home.join("key");
        let failed = |source| KeyError::File { path: path.clone(), source };
        match File::open(&path) {
            Ok(file) => {
                let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(KeyError::Open { path, mode });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let line = format!("{}\n", STANDARD.encode(random::<KEY_BYTES>()?));
                match write_private(&path, &line) {
                    // Another process was first; its key counts.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    done => done.map_err(failed)?,
                }
            }
            Err(error) => return Err(failed(error)),
        }
        Self::read(&path, &fs::read_to_string(&path).map_err(failed)?)
    }

    /// The keys in a file that somebody else looks after and that has to be there, as Kubernetes and Docker mount secrets:
    /// who may read it is theirs to say. Nobody but its owner may write it.
    pub fn of_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(failed)?;
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(KeyError::Writable { path: path.to_owned(), mode });
        }
        Self::read(path, &text)
    }

    /// Makes the key file its owner's alone again, where others may read it and this user may change that;
    /// whether it did.
    pub fn tighten(home: &Path) -> bool {
        let path = home.join("key");
        let is_open = fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
        is_open && fs::set_permissions(&path, Permissions::from_mode(0o600)).is_ok()
    }

    fn read(path: &Path, text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let keys: Vec<Key> = lines
            .map(|(at, line)| {
                let bytes = STANDARD.decode(line.trim()).ok().and_then(|bytes| bytes.try_into().ok());
                let bad = || KeyError::BadLine { path: path.to_owned(), line: at + 1 };
                bytes.map(Key::new).ok_or_else(bad)
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(KeyError::BadLine { path: path.to_owned(), line: 1 });
        }
        Ok(Self { keys })
    }

    /// What tells the key that encrypts from others.
    pub fn id(&self) -> String {
        hex(&self.keys[0].id)
    }

    /// Whether one of the keys is that with this id.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| hex(&key.id) == id)
    }

    pub(super) fn seal(&self, place: &[u8], secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = &self.keys[0];
        let nonce = random::<NONCE_BYTES>()?;
        let payload = Payload { msg: secret, aad: place };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| KeyError::Sealed)?;
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(bytes)
    }

    pub(super) fn open(&self, place: &[u8], bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rest = bytes.strip_prefix(&[FORMAT]).ok_or(KeyError::Sealed)?;
        let (id, rest) = rest.split_at_checked(ID_BYTES).ok_or(KeyError::Sealed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or(KeyError::Sealed)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| KeyError::Sealed)?;
        let payload = || Payload { msg: sealed, aad: place };
        let keys = self.keys.iter().filter(|key| key.id == id);
        let mut opened = keys.filter_map(|key| key.cipher.decrypt(&XNonce::from(nonce), payload()).ok());
        opened.next().ok_or(KeyError::Sealed)
    }

    pub(super) fn is_current(&self, bytes: &[u8]) -> bool {
        bytes.first() == Some(&FORMAT) && bytes.get(1..=ID_BYTES) == Some(&self.keys[0].id)
    }

    /// Keys for another purpose, one made of each, in their order.
    pub(crate) fn derive(&self, purpose: &[u8]) -> Vec<[u8; 32]> {
        let derive = |key: &Key| {
            // A MAC takes a key of any length.
            let mut mac = Hmac::<Sha256>::new_from_slice(&key.bytes).ok()?;
            mac.update(purpose);
            Some(mac.finalize().into_bytes().into())
        };
        self.keys.iter().filter_map(derive).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Writes a new file that only its owner may read, and has it on the disk before it returns. An error where
/// the file is there already.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(home: &Path) -> Keys {
        Keys::of_home(home).unwrap()
    }

    #[test]
    fn the_first_start_makes_a_key_for_its_owner_alone_and_the_next_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let sealed = keys(home.path()).seal(b"place", b"secret").unwrap();
        let mode = fs::metadata(home.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(keys(home.path()).open(b"place", &sealed).unwrap(), b"secret");
    }

    #[test]
    fn a_key_file_that_others_look_after_has_to_be_there_and_not_be_theirs_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(Keys::of_file(&path), Err(KeyError::File { .. })));
        let own = keys(folder.path());
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let mounted = Keys::of_file(&path).unwrap();
        assert_eq!((mounted.id(), mounted.has(&own.id()), mounted.has("00000000")), (own.id(), true, false));
        fs::set_permissions(&path, Permissions::from_mode(0o464)).unwrap();
        assert!(matches!(Keys::of_file(&path), Err(KeyError::Writable { .. })));
    }

    #[test]
    fn a_secret_opens_nowhere_but_at_its_place() {
        let home = tempfile::tempdir().unwrap();
        let keys = keys(home.path());
        let mut sealed = keys.seal(b"here", b"secret").unwrap();
        assert!(matches!(keys.open(b"there", &sealed), Err(KeyError::Sealed)));
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        assert!(matches!(keys.open(b"here", &sealed), Err(KeyError::Sealed)));
        assert!(matches!(keys.open(b"here", b"\x01short"), Err(KeyError::Sealed)));
    }

    #[test]
    fn a_new_key_before_the_old_one_encrypts_and_both_decrypt() {
        let home = tempfile::tempdir().unwrap();
        let old = keys(home.path());
        let sealed = old.seal(b"p", b"secret").unwrap();
        let path = home.path().join("key");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{}\n{text}", STANDARD.encode([7; 32]))).unwrap();
        let both = keys(home.path());
        assert_eq!(both.open(b"p", &sealed).unwrap(), b"secret");
        assert!(!both.is_current(&sealed));
        let anew = both.seal(b"p", b"secret").unwrap();
        assert!(both.is_current(&anew));
        assert!(matches!(old.open(b"p", &anew), Err(KeyError::Sealed)));
    }

    #[test]
    fn a_key_file_that_others_may_read_or_that_is_damaged_is_refused() {
        let home = tempfile::tempdir().unwrap();
        keys(home.path());
        let path = home.path().join("key");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::of_home(home.path()), Err(KeyError::Open { mode: 0o644, .. })));
        assert!(Keys::tighten(home.path()));
        keys(home.path());
        assert!(!Keys::tighten(home.path()), "it is tight");
        fs::write(&path, "bm90IGEga2V5\n").unwrap();
        assert!(matches!(Keys::of_home(home.path()), Err(KeyError::BadLine { line: 1, .. })));
    }
}
