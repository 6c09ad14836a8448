//! The tokens that a login gives: JSON Web Tokens, HS256.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature,
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use updraft_store::{AccountId, AccountRow};

use super::{Denied, digest};
use crate::{leader::now, secrets::Keys};

const PURPOSE: &[u8] = b"updraft api token 1";
const ISSUER: &str = "updraft";

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    iss: String,
    /// The account's number.
    sub: String,
    iat: i64,
    exp: i64,
    /// Tells the password that it was given for from a later one.
    pw: String,
}

impl Claims {
    pub fn account(&self) -> Result<AccountId, Denied> {
        self.sub.parse().map(AccountId).map_err(|_| Denied::Token)
    }

    /// Whether the account still has the password that the token was given for.
    pub fn is_of(&self, account: &AccountRow) -> bool {
        self.pw == fingerprint(account)
    }
}

fn fingerprint(account: &AccountRow) -> String {
    digest(&account.account.password_hash)[..16].to_owned()
}

/// Signs with the first key and reads what any of them signed.
pub(super) struct Signer {
    signs: EncodingKey,
    reads: Vec<DecodingKey>,
}

impl Signer {
    pub fn new(keys: &Keys) -> Self {
        // A second one in the same process finds the same provider there.
        let _ = HS256.install_default();
        let keys = keys.derive(PURPOSE);
        Self {
            signs: EncodingKey::from_secret(keys.first().map_or(&[], |key| key)),
            reads: keys.iter().map(|key| DecodingKey::from_secret(key)).collect(),
        }
    }

    pub fn issue(&self, account: &AccountRow, lifetime: Duration) -> Result<String, Denied> {
        let iat = now().as_second();
        let exp = iat.saturating_add_unsigned(lifetime.as_secs());
        let sub = account.id.0.to_string();
        let claims = Claims { iss: ISSUER.into(), sub, iat, exp, pw: fingerprint(account) };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs);
        token.map_err(|error| Denied::System(format!("can't sign a token: {error}")))
    }

    pub fn read(&self, token: &str) -> Result<Claims, Denied> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.leeway = 0;
        let mut denied = Denied::Token;
        for key in &self.reads {
            match jsonwebtoken::decode::<Claims>(token, key, &validation) {
                Ok(read) => return Ok(read.claims),
                Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => denied = Denied::Expired,
                Err(_) => {}
            }
        }
        Err(denied)
    }
}

/// The one algorithm there is here. What `jsonwebtoken` brings along for the others is not compiled in.
static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        match algorithm {
            Algorithm::HS256 => {
                let mac = Hmac::new_from_slice(key).map_err(|_| Error::from(ErrorKind::InvalidKeyFormat))?;
                Ok(Self(mac))
            }
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    }
}

impl signature::Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl signature::Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        // In constant time.
        mac.verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use updraft_store::NewAccount;

    use super::*;

    fn account() -> AccountRow {
        let account = NewAccount {
            username: "ann".into(),
            password_hash: "hash".into(),
            role: "user".into(),
            namespace: None,
            disabled: false,
        };
        AccountRow { id: AccountId(7), account, created_at: now() }
    }

    fn signer() -> Signer {
        Signer::new(&Keys::of_home(tempfile::tempdir().unwrap().path()).unwrap())
    }

    #[test]
    fn a_token_says_whose_it_is_until_the_password_changes() {
        let signer = signer();
        let claims = signer.read(&signer.issue(&account(), Duration::from_secs(60)).unwrap()).unwrap();
        assert_eq!(claims.account().unwrap(), AccountId(7));
        assert!(claims.is_of(&account()));
        let mut changed = account();
        changed.account.password_hash = "another".into();
        assert!(!claims.is_of(&changed));
    }

    #[test]
    fn an_old_a_foreign_and_an_unsigned_token_are_refused() {
        let signer = signer();
        let mut old = account();
        old.created_at = now();
        let expired = {
            let iat = now().as_second() - 100;
            let claims =
                Claims { iss: ISSUER.into(), sub: "7".into(), iat, exp: iat + 1, pw: fingerprint(&old) };
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signer.signs).unwrap()
        };
        assert!(matches!(signer.read(&expired), Err(Denied::Expired)));
        let foreign = self::signer().issue(&account(), Duration::from_secs(60)).unwrap();
        assert!(matches!(signer.read(&foreign), Err(Denied::Token)));
        let own = signer.issue(&account(), Duration::from_secs(60)).unwrap();
        let body = own.split('.').nth(1).unwrap();
        let unsigned = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#));
        assert!(matches!(signer.read(&unsigned), Err(Denied::Token)));
        assert!(matches!(signer.read("x"), Err(Denied::Token)));
    }
}
