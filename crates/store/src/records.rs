//! What any server writes without asking the leader: plain records, each change with its entry in the audit
//! log, in one transaction. A change that did not happen (`false`) leaves no entry.
//!
//! Connections, variables and import errors belong to a namespace, notes to what they are noted on. Accounts,
//! tokens and configuration belong to the installation.

mod row;

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DeliveryId, Namespace, RunKey, TiKey, record::AuditRow};

pub use self::row::{
    AccountId, AccountRow, Burst, Claimed, ConnectionRow, DeliveryEnd, ImportErrorRow, NewAccount, NewToken,
    Note, OutboxPart, Put, SecretId, SecretRow, TokenId, TokenKind, TokenRow, VariableRow,
};
use crate::{Error, Page, TextFilter, Window};

/// What any server writes.
#[async_trait]
pub trait Records: Send + Sync {
    /// Connections, by name.
    async fn connections(
        &self,
        namespace: &Namespace,
        conn_id: &TextFilter,
        window: Window,
    ) -> Result<Page<ConnectionRow>, Error>;

    /// One connection.
    async fn connection(&self, namespace: &Namespace, conn_id: &str) -> Result<Option<ConnectionRow>, Error>;

    /// Writes a connection. `false` where `put` does not allow it.
    async fn put_connection(&self, row: &ConnectionRow, put: Put, audit: &AuditRow) -> Result<bool, Error>;

    /// Deletes a connection. `false` where there is none.
    async fn delete_connection(
        &self,
        namespace: &Namespace,
        conn_id: &str,
        audit: &AuditRow,
    ) -> Result<bool, Error>;

    /// Variables, by name.
    async fn variables(
        &self,
        namespace: &Namespace,
        key: &TextFilter,
        window: Window,
    ) -> Result<Page<VariableRow>, Error>;

    /// One variable.
    async fn variable(&self, namespace: &Namespace, key: &str) -> Result<Option<VariableRow>, Error>;

    /// Writes a variable. `false` where `put` does not allow it.
    async fn put_variable(&self, row: &VariableRow, put: Put, audit: &AuditRow) -> Result<bool, Error>;

    /// Deletes a variable. `false` where there is none.
    async fn delete_variable(
        &self,
        namespace: &Namespace,
        key: &str,
        audit: &AuditRow,
    ) -> Result<bool, Error>;

    /// Everything that is encrypted, in all namespaces, after this place: for a new key.
    async fn secrets(&self, after: Option<&SecretId>, limit: u32) -> Result<Vec<SecretRow>, Error>;

    /// Puts `new` in the place of `old`. `false` where something else is there by now, or nothing.
    async fn replace_secret(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, Error>;

    /// Accounts, by name.
    async fn accounts(&self, username: &TextFilter, window: Window) -> Result<Page<AccountRow>, Error>;

    /// One account.
    async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, Error>;

    /// One account, by its name.
    async fn find_account(&self, username: &str) -> Result<Option<AccountRow>, Error>;

    /// Makes an account. `None` where the name is taken.
    async fn create_account(
        &self,
        account: &NewAccount,
        audit: &AuditRow,
    ) -> Result<Option<AccountId>, Error>;

    /// Changes an account. `false` where there is none, or the name is taken.
    async fn update_account(
        &self,
        id: AccountId,
        account: &NewAccount,
        audit: &AuditRow,
    ) -> Result<bool, Error>;

    /// Deletes an account with its tokens. `false` where there is none.
    async fn delete_account(&self, id: AccountId, audit: &AuditRow) -> Result<bool, Error>;

    /// Tokens of one account, or all; the latest first.
    async fn tokens(&self, account: Option<AccountId>, window: Window) -> Result<Page<TokenRow>, Error>;

    /// The token with this hash, also where it has run out.
    async fn find_token(&self, hash: &str) -> Result<Option<TokenRow>, Error>;

    /// Keeps a token. `None` where its hash is there already, or the account is not.
    async fn create_token(&self, token: &NewToken, audit: &AuditRow) -> Result<Option<TokenId>, Error>;

    /// Deletes a token. `false` where there is none.
    async fn delete_token(&self, id: TokenId, audit: &AuditRow) -> Result<bool, Error>;

    /// Import errors, by source.
    async fn import_errors(
        &self,
        namespace: &Namespace,
        source: &TextFilter,
        window: Window,
    ) -> Result<Page<ImportErrorRow>, Error>;

    /// One import error.
    async fn import_error(&self, namespace: &Namespace, id: i64) -> Result<Option<ImportErrorRow>, Error>;

    /// Notes that a source could not be read. The machine's own doing: no entry in the audit log.
    async fn put_import_error(
        &self,
        namespace: &Namespace,
        source: &str,
        message: &str,
        line: Option<u32>,
        at: Timestamp,
    ) -> Result<(), Error>;

    /// Forgets a source's import error. `false` where there is none.
    async fn delete_import_error(&self, namespace: &Namespace, source: &str) -> Result<bool, Error>;

    /// Writes, or takes away, what is noted on a run. `false` where there is no such run.
    async fn put_run_note(&self, run: RunKey, note: Option<&Note>, audit: &AuditRow) -> Result<bool, Error>;

    /// Writes, or takes away, what is noted on a task instance. `false` where there is no such one.
    async fn put_ti_note(&self, ti: TiKey, note: Option<&Note>, audit: &AuditRow) -> Result<bool, Error>;

    /// A value of the configuration that is kept in the store.
    async fn config(&self, key: &str) -> Result<Option<String>, Error>;

    /// Keeps a value, or takes it away.
    async fn put_config(&self, key: &str, value: Option<&str>, audit: &AuditRow) -> Result<(), Error>;

    /// Keeps a value where none is kept yet, and returns what is kept now: for what is made at the first
    /// start, by whichever server is first.
    async fn config_or_insert(&self, key: &str, value: &str) -> Result<String, Error>;

    /// Writes an entry in the audit log that stands by itself: a login, a command that was refused.
    async fn put_audit(&self, audit: &AuditRow) -> Result<(), Error>;

    /// Takes up to `limit` deliveries of this part whose time has come, the oldest first. They are `sending` from now on,
    /// with one attempt more, and nobody else is given them. What is more than a burst allows is gathered into
    /// a digest instead, which comes when its time has come; without a burst everything comes singly.
    async fn claim_deliveries(
        &self,
        part: OutboxPart,
        now: Timestamp,
        limit: u32,
        burst: Option<Burst>,
    ) -> Result<Claimed, Error>;

    /// Writes what became of a delivery, and with it of those that it told of. `false` where it is not `sending`
    /// in this attempt any more.
    async fn finish_delivery(
        &self,
        id: DeliveryId,
        attempt: u32,
        end: &DeliveryEnd,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Has those of this part sent again that are `sending` since before a time, in all namespaces, or holds them where
    /// they say so ([`OnDoubt::Hold`](updraft_core::OnDoubt::Hold)); returns how many. Their last error is this
    /// one.
    async fn end_doubt(
        &self,
        part: OutboxPart,
        before: Timestamp,
        error: &str,
        now: Timestamp,
    ) -> Result<u64, Error>;

    /// Sends anew what failed, was undeliverable or held, and what was sent in part to those who have it not: a digest with
    /// all that it tells of, one that a digest told of by itself. `false` where it is in another state.
    async fn resend_delivery(&self, id: DeliveryId, now: Timestamp, audit: &AuditRow) -> Result<bool, Error>;

    /// Sends what waits or is held no more: it has failed, and why is kept as its error. A digest goes with all that it
    /// tells of. `false` where it is in another state.
    async fn drop_delivery(
        &self,
        id: DeliveryId,
        why: &str,
        now: Timestamp,
        audit: &AuditRow,
    ) -> Result<bool, Error>;
}
