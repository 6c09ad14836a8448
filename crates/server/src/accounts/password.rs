//! Hashing passwords, a few at a time and off the runtime's threads.

use std::sync::OnceLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::Denied;

/// A new password has at least so many letters.
pub(crate) const MIN_PASSWORD: usize = 8;
/// So many are hashed at once: each takes 19 MiB and a core for tens of milliseconds.
const AT_ONCE: usize = 2;

/// Argon2id with the parameters that its crate recommends.
pub(crate) struct Hashing {
    permits: Semaphore,
    /// What a password is compared with where nobody has the name.
    nobody: OnceLock<String>,
}

impl Hashing {
    pub fn new() -> Self {
        Self { permits: Semaphore::new(AT_ONCE), nobody: OnceLock::new() }
    }

    /// A password's hash, salt and parameters in it.
    pub async fn hash(&self, password: &str) -> Result<String, Denied> {
        let password = password.to_owned();
        self.run(move || hash(&password)).await?
    }

    /// Whether the password is the one with this hash; takes as long, and is false, where there is no hash.
    pub async fn verify(&self, password: &str, hash_of_account: Option<String>) -> Result<bool, Denied> {
        let nobody = match (&hash_of_account, self.nobody.get()) {
            (Some(_), _) => String::new(),
            (None, Some(nobody)) => nobody.clone(),
            (None, None) => {
                let made = self.hash("nobody").await?;
                self.nobody.get_or_init(|| made).clone()
            }
        };
        let password = password.to_owned();
        self.run(move || {
            let somebody = hash_of_account.is_some();
            let hash = hash_of_account.unwrap_or(nobody);
            let matches = PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            matches && somebody
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Denied> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await.map_err(|error| Denied::System(error.to_string()))?;
        spawn_blocking(work).await.map_err(|error| Denied::System(error.to_string()))
    }
}

fn hash(password: &str) -> Result<String, Denied> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| Denied::System(format!("can't hash a password: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches_and_none_does_where_there_is_no_account() {
        let hashing = Hashing::new();
        let hash = hashing.hash("right horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(hashing.verify("right horse", Some(hash.clone())).await.unwrap());
        assert!(!hashing.verify("wrong horse", Some(hash)).await.unwrap());
        assert!(!hashing.verify("nobody", None).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_hash_matches_nothing() {
        assert!(!Hashing::new().verify("", Some("plain".into())).await.unwrap());
    }
}
