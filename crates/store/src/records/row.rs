//! The plain records.

use jiff::{SignedDuration, Timestamp};
use updraft_core::{AlertChannel, Namespace};

use crate::DeliveryListing;

/// A connection. Which of its parts are secret, and how, is for the caller to say: bytes come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name there.
    pub conn_id: String,
    /// Airflow's `conn_type`: `http`, `postgres`, …
    pub conn_type: String,
    /// What it is for.
    pub description: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// Airflow's `schema`.
    pub schema: Option<String>,
    /// The user's name.
    pub login: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The password.
    pub password: Option<Vec<u8>>,
    /// Airflow's `extra`.
    pub extra: Option<Vec<u8>>,
    /// Whether password and extra are encrypted.
    pub is_encrypted: bool,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableRow {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name there.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// Whether the value is encrypted.
    pub is_encrypted: bool,
    /// What it is for.
    pub description: Option<String>,
}

/// A place where something encrypted is kept. Their order is the one in which [`super::Records::secrets`]
/// gives them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretId {
    /// A connection's password.
    Password(Namespace, String),
    /// A connection's extra.
    Extra(Namespace, String),
    /// A variable's value.
    Variable(Namespace, String),
}

/// Something encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// Where it is.
    pub id: SecretId,
    /// The bytes.
    pub value: Vec<u8>,
}

/// An account's number. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// An account that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// The name to log in with; unique.
    pub username: String,
    /// Argon2's text, salt and parameters in it.
    pub password_hash: String,
    /// What it may do.
    pub role: String,
    /// The only namespace it may see; all where none is named.
    pub namespace: Option<Namespace>,
    /// It may not log in.
    pub disabled: bool,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its number.
    pub id: AccountId,
    /// The rest.
    pub account: NewAccount,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A token's number. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub i64);

/// What a token lets one do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Call the API as this account.
    Api(AccountId),
    /// Join as a worker: of this namespace alone, where one is named.
    Join(Option<Namespace>),
}

/// A token that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// What it lets one do.
    pub kind: TokenKind,
    /// A hash of it; the token itself is never kept. Unique.
    pub hash: String,
    /// What its owner calls it.
    pub name: String,
    /// It is no use after this.
    pub expires_at: Option<Timestamp>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its number.
    pub id: TokenId,
    /// The rest.
    pub token: NewToken,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportErrorRow {
    /// Its number; kept while the source goes on failing.
    pub id: i64,
    /// The namespace the source is for.
    pub namespace: Namespace,
    /// The file's path, or another name of where the DAG came from.
    pub source: String,
    /// What is wrong, and the mend.
    pub message: String,
    /// In which line.
    pub line: Option<u32>,
    /// When it was last found.
    pub at: Timestamp,
}

/// What somebody noted on a run or a task instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The words.
    pub text: String,
    /// Whose.
    pub user: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a record may be there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It must not.
    Create,
    /// It must.
    Replace,
    /// Either way.
    Either,
}

/// How much is told singly before the rest is gathered into digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// So many by one way ...
    pub singly: u32,
    /// ... within this time. What comes above that waits for as long, and is told in one.
    pub within: SignedDuration,
}

/// The outbox has two, for who sends alerts can't call, and who calls may wait long for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxPart {
    /// What is told.
    Alerts,
    /// What is called: [`AlertChannel::Callback`].
    Callbacks,
}

impl OutboxPart {
    /// Whether what goes by this way is in it.
    pub(crate) fn has(self, channel: &AlertChannel) -> bool {
        (self == Self::Callbacks) == matches!(channel, AlertChannel::Callback(_))
    }
}

/// What was claimed of the outbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// What is to be sent. One whose [`digest`](DeliveryListing::digest) is itself tells of all that have it as
    /// theirs.
    pub deliveries: Vec<DeliveryListing>,
    /// Whether more may be due.
    pub more: bool,
}

/// What became of a delivery that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// Who carries it on has it.
    Sent,
    /// The same, but not for all that it is to. It is not tried again unless somebody resends it, to the others.
    SentInPart {
        /// Who has it by now, of all attempts.
        taken_by: Vec<String>,
        /// Who has it not, and why.
        error: String,
    },
    /// Some of those that it is to have it; again for the others at this time.
    Partly {
        /// Who has it by now, of all attempts.
        taken_by: Vec<String>,
        /// When.
        at: Timestamp,
        /// Why the others have it not.
        error: String,
    },
    /// Not this time; again at this time.
    Retry {
        /// When.
        at: Timestamp,
        /// What went wrong.
        error: String,
    },
    /// Not at all, and it will not be tried again.
    Failed(String),
    /// There is no way to send it.
    Undeliverable(String),
    /// It may have gone out or not; a person decides.
    Held(String),
}
