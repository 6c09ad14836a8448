//! Any server's side: see [`crate::Records`].

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard},
};

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DeliveryId, Namespace, RunKey, TiKey, record::AuditRow};

use super::{
    MemoryStore,
    filter::{matches, page},
    tables::Tables,
};
use crate::{
    AccountId, AccountRow, Burst, Change, Claimed, ConnectionRow, DeliveryEnd, Error, ImportErrorRow,
    NewAccount, NewToken, Note, OutboxPart, Page, Put, RecordKind, Records, SecretId, SecretRow, TextFilter,
    TokenId, TokenKind, TokenRow, VariableRow, Window,
};

impl MemoryStore {
    /// Ends a change: where something changed, the audit log has it.
    pub(super) fn changed(
        &self,
        mut tables: MutexGuard<'_, Tables>,
        changed: bool,
        kind: RecordKind,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        if changed {
            tables.put_audit(audit);
            drop(tables);
            self.tell(Change::Record(kind));
        }
        Ok(changed)
    }
}

/// Puts a row where that is allowed.
fn put<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, value: V, put: Put) -> bool {
    let allowed = match put {
        Put::Create => !rows.contains_key(&key),
        Put::Replace => rows.contains_key(&key),
        Put::Either => true,
    };
    if allowed {
        rows.insert(key, value);
    }
    allowed
}

/// The rows of a namespace whose name passes.
fn named<V: Clone>(
    rows: &BTreeMap<(Namespace, String), V>,
    namespace: &Namespace,
    filter: &TextFilter,
    window: Window,
) -> Page<V> {
    let of =
        |((space, name), _): &(&(Namespace, String), &V)| space == namespace && matches(filter, Some(name));
    page(rows.iter().filter(of).map(|(_, row)| row.clone()).collect(), window)
}

/// Where the bytes of a secret are.
fn place<'a>(tables: &'a mut Tables, id: &SecretId) -> Option<&'a mut Vec<u8>> {
    let encrypted = |row: &&mut ConnectionRow| row.is_encrypted;
    match id.clone() {
        SecretId::Password(namespace, name) => {
            tables.connections.get_mut(&(namespace, name)).filter(encrypted)?.password.as_mut()
        }
        SecretId::Extra(namespace, name) => {
            tables.connections.get_mut(&(namespace, name)).filter(encrypted)?.extra.as_mut()
        }
        SecretId::Variable(namespace, name) => {
            let row = tables.variables.get_mut(&(namespace, name)).filter(|row| row.is_encrypted)?;
            Some(&mut row.value)
        }
    }
}

#[async_trait]
impl Records for MemoryStore {
    async fn connections(
        &self,
        namespace: &Namespace,
        conn_id: &TextFilter,
        window: Window,
    ) -> Result<Page<ConnectionRow>, Error> {
        Ok(named(&self.tables().connections, namespace, conn_id, window))
    }

    async fn connection(&self, namespace: &Namespace, conn_id: &str) -> Result<Option<ConnectionRow>, Error> {
        Ok(self.tables().connections.get(&(namespace.clone(), conn_id.into())).cloned())
    }

    async fn put_connection(&self, row: &ConnectionRow, how: Put, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let key = (row.namespace.clone(), row.conn_id.clone());
        let changed = put(&mut tables.connections, key, row.clone(), how);
        self.changed(tables, changed, RecordKind::Connection, audit)
    }

    async fn delete_connection(
        &self,
        namespace: &Namespace,
        conn_id: &str,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut tables = self.tables();
        let gone = tables.connections.remove(&(namespace.clone(), conn_id.into())).is_some();
        self.changed(tables, gone, RecordKind::Connection, audit)
    }

    async fn variables(
        &self,
        namespace: &Namespace,
        key: &TextFilter,
        window: Window,
    ) -> Result<Page<VariableRow>, Error> {
        Ok(named(&self.tables().variables, namespace, key, window))
    }

    async fn variable(&self, namespace: &Namespace, key: &str) -> Result<Option<VariableRow>, Error> {
        Ok(self.tables().variables.get(&(namespace.clone(), key.into())).cloned())
    }

    async fn put_variable(&self, row: &VariableRow, how: Put, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let key = (row.namespace.clone(), row.key.clone());
        let changed = put(&mut tables.variables, key, row.clone(), how);
        self.changed(tables, changed, RecordKind::Variable, audit)
    }

    async fn delete_variable(
        &self,
        namespace: &Namespace,
        key: &str,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut tables = self.tables();
        let gone = tables.variables.remove(&(namespace.clone(), key.into())).is_some();
        self.changed(tables, gone, RecordKind::Variable, audit)
    }

    async fn secrets(&self, after: Option<&SecretId>, limit: u32) -> Result<Vec<SecretRow>, Error> {
        let tables = self.tables();
        let mut all: BTreeMap<SecretId, Vec<u8>> = BTreeMap::new();
        for ((namespace, name), row) in tables.connections.iter().filter(|(_, row)| row.is_encrypted) {
            if let Some(password) = &row.password {
                all.insert(SecretId::Password(namespace.clone(), name.clone()), password.clone());
            }
            if let Some(extra) = &row.extra {
                all.insert(SecretId::Extra(namespace.clone(), name.clone()), extra.clone());
            }
        }
        for ((namespace, name), row) in tables.variables.iter().filter(|(_, row)| row.is_encrypted) {
            all.insert(SecretId::Variable(namespace.clone(), name.clone()), row.value.clone());
        }
        let rest = all.into_iter().filter(|(id, _)| after.is_none_or(|after| id > after));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(rest.take(limit).map(|(id, value)| SecretRow { id, value }).collect())
    }

    async fn replace_secret(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, Error> {
        let mut tables = self.tables();
        let Some(place) = place(&mut tables, id).filter(|place| *place == old) else { return Ok(false) };
        *place = new.into();
        Ok(true)
    }

    async fn accounts(&self, username: &TextFilter, window: Window) -> Result<Page<AccountRow>, Error> {
        let tables = self.tables();
        let of = |row: &&AccountRow| matches(username, Some(&row.account.username));
        let mut rows: Vec<AccountRow> = tables.accounts.values().filter(of).cloned().collect();
        rows.sort_by(|a, b| a.account.username.cmp(&b.account.username));
        Ok(page(rows, window))
    }

    async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, Error> {
        Ok(self.tables().accounts.get(&id).cloned())
    }

    async fn find_account(&self, username: &str) -> Result<Option<AccountRow>, Error> {
        Ok(self.tables().accounts.values().find(|row| row.account.username == username).cloned())
    }

    async fn create_account(
        &self,
        account: &NewAccount,
        audit: &AuditRow,
    ) -> Result<Option<AccountId>, Error> {
        let mut tables = self.tables();
        if tables.accounts.values().any(|row| row.account.username == account.username) {
            return Ok(None);
        }
        let id = AccountId(tables.next_id());
        tables.accounts.insert(id, AccountRow { id, account: account.clone(), created_at: audit.at });
        self.changed(tables, true, RecordKind::Account, audit).map(|_| Some(id))
    }

    async fn update_account(
        &self,
        id: AccountId,
        account: &NewAccount,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut tables = self.tables();
        let taken =
            tables.accounts.values().any(|row| row.id != id && row.account.username == account.username);
        let found = tables.accounts.get_mut(&id).filter(|_| !taken);
        let changed = found.map(|row| row.account = account.clone()).is_some();
        self.changed(tables, changed, RecordKind::Account, audit)
    }

    async fn delete_account(&self, id: AccountId, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        tables.tokens.retain(|_, row| row.token.kind != TokenKind::Api(id));
        let gone = tables.accounts.remove(&id).is_some();
        self.changed(tables, gone, RecordKind::Account, audit)
    }

    async fn tokens(&self, account: Option<AccountId>, window: Window) -> Result<Page<TokenRow>, Error> {
        let tables = self.tables();
        let of = |row: &&TokenRow| account.is_none_or(|account| row.token.kind == TokenKind::Api(account));
        Ok(page(tables.tokens.values().rev().filter(of).cloned().collect(), window))
    }

    async fn find_token(&self, hash: &str) -> Result<Option<TokenRow>, Error> {
        Ok(self.tables().tokens.values().find(|row| row.token.hash == hash).cloned())
    }

    async fn create_token(&self, token: &NewToken, audit: &AuditRow) -> Result<Option<TokenId>, Error> {
        let mut tables = self.tables();
        let allowed = match token.kind {
            TokenKind::Api(account) => tables.accounts.contains_key(&account),
            TokenKind::Join(_) => true,
        };
        if !allowed || tables.tokens.values().any(|row| row.token.hash == token.hash) {
            return Ok(None);
        }
        let id = TokenId(tables.next_id());
        tables.tokens.insert(id, TokenRow { id, token: token.clone(), created_at: audit.at });
        self.changed(tables, true, RecordKind::Account, audit).map(|_| Some(id))
    }

    async fn delete_token(&self, id: TokenId, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let gone = tables.tokens.remove(&id).is_some();
        self.changed(tables, gone, RecordKind::Account, audit)
    }

    async fn import_errors(
        &self,
        namespace: &Namespace,
        source: &TextFilter,
        window: Window,
    ) -> Result<Page<ImportErrorRow>, Error> {
        Ok(named(&self.tables().import_errors, namespace, source, window))
    }

    async fn import_error(&self, namespace: &Namespace, id: i64) -> Result<Option<ImportErrorRow>, Error> {
        let tables = self.tables();
        let found = tables.import_errors.values().find(|row| row.id == id && row.namespace == *namespace);
        Ok(found.cloned())
    }

    async fn put_import_error(
        &self,
        namespace: &Namespace,
        source: &str,
        message: &str,
        line: Option<u32>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut tables = self.tables();
        let key = (namespace.clone(), source.to_owned());
        let id = tables.import_errors.get(&key).map(|row| row.id);
        let id = id.unwrap_or_else(|| tables.next_id());
        let (source, message) = (source.into(), message.into());
        let row = ImportErrorRow { id, namespace: namespace.clone(), source, message, line, at };
        tables.import_errors.insert(key, row);
        drop(tables);
        self.tell(Change::Record(RecordKind::ImportError));
        Ok(())
    }

    async fn delete_import_error(&self, namespace: &Namespace, source: &str) -> Result<bool, Error> {
        let gone = self.tables().import_errors.remove(&(namespace.clone(), source.into())).is_some();
        if gone {
            self.tell(Change::Record(RecordKind::ImportError));
        }
        Ok(gone)
    }

    async fn put_run_note(&self, run: RunKey, note: Option<&Note>, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let Some(run) = tables.runs.get_mut(&run) else { return Ok(false) };
        Arc::make_mut(run).note = note.cloned();
        self.changed(tables, true, RecordKind::Note, audit)
    }

    async fn put_ti_note(&self, ti: TiKey, note: Option<&Note>, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let found = tables.runs.get_mut(&ti.run).filter(|run| run.tis.contains_key(&ti));
        let Some(run) = found.map(Arc::make_mut) else { return Ok(false) };
        match note {
            Some(note) => run.ti_notes.insert(ti, note.clone()),
            None => run.ti_notes.remove(&ti),
        };
        self.changed(tables, true, RecordKind::Note, audit)
    }

    async fn config(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.tables().config.get(key).cloned())
    }

    async fn put_config(&self, key: &str, value: Option<&str>, audit: &AuditRow) -> Result<(), Error> {
        let mut tables = self.tables();
        let changed = match value {
            Some(value) => {
                tables.config.insert(key.into(), value.into());
                true
            }
            None => tables.config.remove(key).is_some(),
        };
        self.changed(tables, changed, RecordKind::Config, audit).map(drop)
    }

    async fn config_or_insert(&self, key: &str, value: &str) -> Result<String, Error> {
        Ok(self.tables().config.entry(key.into()).or_insert_with(|| value.into()).clone())
    }

    async fn put_audit(&self, audit: &AuditRow) -> Result<(), Error> {
        self.tables().put_audit(audit);
        Ok(())
    }

    async fn claim_deliveries(
        &self,
        part: OutboxPart,
        now: Timestamp,
        limit: u32,
        burst: Option<Burst>,
    ) -> Result<Claimed, Error> {
        let claimed = self.tables().claim_deliveries(part, now, limit, burst);
        if !claimed.deliveries.is_empty() {
            self.tell(Change::Record(RecordKind::Delivery));
        }
        Ok(claimed)
    }

    async fn finish_delivery(
        &self,
        id: DeliveryId,
        attempt: u32,
        end: &DeliveryEnd,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let finished = self.tables().finish_delivery(id, attempt, end, now);
        if finished {
            self.tell(Change::Record(RecordKind::Delivery));
        }
        Ok(finished)
    }

    async fn end_doubt(
        &self,
        part: OutboxPart,
        before: Timestamp,
        error: &str,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let ended = self.tables().end_doubt(part, before, error, now);
        if ended > 0 {
            self.tell(Change::Record(RecordKind::Delivery));
        }
        Ok(ended)
    }

    async fn resend_delivery(&self, id: DeliveryId, now: Timestamp, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let changed = tables.resend_delivery(id, now);
        self.changed(tables, changed, RecordKind::Delivery, audit)
    }

    async fn drop_delivery(
        &self,
        id: DeliveryId,
        why: &str,
        now: Timestamp,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut tables = self.tables();
        let changed = tables.drop_delivery(id, why, now);
        self.changed(tables, changed, RecordKind::Delivery, audit)
    }
}
