//! Any server's side: see [`crate::Records`].

mod account;
mod delivery;
mod secret;

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DeliveryId, Namespace, RunKey, TiKey, record::AuditRow};

use super::{
    SqlStore,
    db::Tx,
    queries::{page, text_filter},
    row::{
        AUDIT, CONNECTION, VARIABLE, audit_cells, connection_cells, read_connection, read_import_error,
        read_variable, variable_cells,
    },
    statement::Sql,
    table::{Conflict, Rows, Table},
};
use crate::{
    AccountId, AccountRow, Burst, Change, Claimed, ConnectionRow, DeliveryEnd, Error, ImportErrorRow,
    NewAccount, NewToken, Note, OutboxPart, Page, Put, RecordKind, Records, SecretId, SecretRow, TextFilter,
    TokenId, TokenRow, VariableRow, Window,
};

const IMPORT_ERROR: &str = "x.id, x.namespace, x.source, x.message, x.line, x.at";

impl SqlStore {
    /// Ends a transaction that changed a record, with its entry in the audit log.
    pub(super) async fn changed(&self, mut tx: Tx, kind: RecordKind, audit: &AuditRow) -> Result<(), Error> {
        let rows = Rows::of(AUDIT.columns, [audit_cells(audit)]);
        tx.insert(&AUDIT, rows, Conflict::Fail).await?;
        tx.commit().await?;
        self.tell(Change::Record(kind));
        Ok(())
    }

    /// Runs one statement. Where it changes a row, the audit log has it; where not, nothing has happened.
    pub(super) async fn change(&self, sql: Sql, kind: RecordKind, audit: &AuditRow) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let changed = tx.run(sql).await? > 0;
        if changed {
            self.changed(tx, kind, audit).await?;
        }
        Ok(changed)
    }
}

/// One row to be put, as one statement that changes a row only where that is allowed.
fn put_row<const N: usize>(table: &Table, cells: [super::statement::Arg; N], put: Put) -> Sql {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    if put == Put::Replace {
        let mut sql = Sql::new(format!("UPDATE {} SET ({}) = ", table.name, names.join(", ")));
        sql.list(cells.clone()).push(" WHERE TRUE");
        for ((name, _), cell) in table.columns.iter().zip(cells) {
            if table.key.contains(name) {
                sql.push(" AND ").push(name).push(" = ").arg(cell);
            }
        }
        return sql;
    }
    let mut sql = Sql::new(format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", ")));
    let conflict = if put == Put::Create { Conflict::Keep } else { Conflict::Replace };
    sql.list(cells).push(&super::table::on_conflict(table, conflict));
    sql
}

#[async_trait]
impl Records for SqlStore {
    async fn connections(
        &self,
        namespace: &Namespace,
        conn_id: &TextFilter,
        window: Window,
    ) -> Result<Page<ConnectionRow>, Error> {
        let mut from = Sql::new(" FROM connection x WHERE x.namespace = ").with(&**namespace);
        text_filter(&self.db, &mut from, "x.conn_id", conn_id);
        let order = " ORDER BY x.conn_id";
        page(&self.db, &CONNECTION.select("x"), from, order, window, read_connection).await
    }

    async fn connection(&self, namespace: &Namespace, conn_id: &str) -> Result<Option<ConnectionRow>, Error> {
        let filter = TextFilter::exactly(conn_id);
        Ok(self.connections(namespace, &filter, Window::default()).await?.rows.pop())
    }

    async fn put_connection(&self, row: &ConnectionRow, put: Put, audit: &AuditRow) -> Result<bool, Error> {
        let sql = put_row(&CONNECTION, connection_cells(row), put);
        self.change(sql, RecordKind::Connection, audit).await
    }

    async fn delete_connection(
        &self,
        namespace: &Namespace,
        conn_id: &str,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut sql = Sql::new("DELETE FROM connection WHERE namespace = ").with(&**namespace);
        sql.push(" AND conn_id = ").arg(conn_id);
        self.change(sql, RecordKind::Connection, audit).await
    }

    async fn variables(
        &self,
        namespace: &Namespace,
        key: &TextFilter,
        window: Window,
    ) -> Result<Page<VariableRow>, Error> {
        let mut from = Sql::new(" FROM variable x WHERE x.namespace = ").with(&**namespace);
        text_filter(&self.db, &mut from, "x.name", key);
        page(&self.db, &VARIABLE.select("x"), from, " ORDER BY x.name", window, read_variable).await
    }

    async fn variable(&self, namespace: &Namespace, key: &str) -> Result<Option<VariableRow>, Error> {
        Ok(self.variables(namespace, &TextFilter::exactly(key), Window::default()).await?.rows.pop())
    }

    async fn put_variable(&self, row: &VariableRow, put: Put, audit: &AuditRow) -> Result<bool, Error> {
        let sql = put_row(&VARIABLE, variable_cells(row), put);
        self.change(sql, RecordKind::Variable, audit).await
    }

    async fn delete_variable(
        &self,
        namespace: &Namespace,
        key: &str,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut sql = Sql::new("DELETE FROM variable WHERE namespace = ").with(&**namespace);
        sql.push(" AND name = ").arg(key);
        self.change(sql, RecordKind::Variable, audit).await
    }

    async fn secrets(&self, after: Option<&SecretId>, limit: u32) -> Result<Vec<SecretRow>, Error> {
        secret::secrets(&self.db, after, limit).await
    }

    async fn replace_secret(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let replaced = tx.run(secret::replace(id, old, new)).await? > 0;
        tx.commit().await?;
        Ok(replaced)
    }

    async fn accounts(&self, username: &TextFilter, window: Window) -> Result<Page<AccountRow>, Error> {
        account::accounts(&self.db, username, window).await
    }

    async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, Error> {
        account::account(&self.db, id).await
    }

    async fn find_account(&self, username: &str) -> Result<Option<AccountRow>, Error> {
        Ok(self.accounts(&TextFilter::exactly(username), Window::default()).await?.rows.pop())
    }

    async fn create_account(
        &self,
        account: &NewAccount,
        audit: &AuditRow,
    ) -> Result<Option<AccountId>, Error> {
        let mut tx = self.db.begin().await?;
        let id = account::create(&mut tx, account, audit.at).await?;
        if id.is_some() {
            self.changed(tx, RecordKind::Account, audit).await?;
        }
        Ok(id)
    }

    async fn update_account(
        &self,
        id: AccountId,
        account: &NewAccount,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        self.change(account::update(id, account), RecordKind::Account, audit).await
    }

    async fn delete_account(&self, id: AccountId, audit: &AuditRow) -> Result<bool, Error> {
        let sql = Sql::new("DELETE FROM account WHERE id = ").with(id.0);
        self.change(sql, RecordKind::Account, audit).await
    }

    async fn tokens(&self, account: Option<AccountId>, window: Window) -> Result<Page<TokenRow>, Error> {
        account::tokens(&self.db, account, window).await
    }

    async fn find_token(&self, hash: &str) -> Result<Option<TokenRow>, Error> {
        account::find_token(&self.db, hash).await
    }

    async fn create_token(&self, token: &NewToken, audit: &AuditRow) -> Result<Option<TokenId>, Error> {
        let mut tx = self.db.begin().await?;
        let id = account::create_token(&mut tx, token, audit.at).await?;
        if id.is_some() {
            self.changed(tx, RecordKind::Account, audit).await?;
        }
        Ok(id)
    }

    async fn delete_token(&self, id: TokenId, audit: &AuditRow) -> Result<bool, Error> {
        let sql = Sql::new("DELETE FROM token WHERE id = ").with(id.0);
        self.change(sql, RecordKind::Account, audit).await
    }

    async fn import_errors(
        &self,
        namespace: &Namespace,
        source: &TextFilter,
        window: Window,
    ) -> Result<Page<ImportErrorRow>, Error> {
        let mut from = Sql::new(" FROM import_error x WHERE x.namespace = ").with(&**namespace);
        text_filter(&self.db, &mut from, "x.source", source);
        page(&self.db, IMPORT_ERROR, from, " ORDER BY x.source", window, read_import_error).await
    }

    async fn import_error(&self, namespace: &Namespace, id: i64) -> Result<Option<ImportErrorRow>, Error> {
        let mut sql = Sql::new(format!("SELECT {IMPORT_ERROR} FROM import_error x WHERE x.id = ")).with(id);
        sql.push(" AND x.namespace = ").arg(&**namespace);
        self.db.row(sql).await?.map(|mut f| read_import_error(&mut f)).transpose()
    }

    async fn put_import_error(
        &self,
        namespace: &Namespace,
        source: &str,
        message: &str,
        line: Option<u32>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("INSERT INTO import_error (namespace, source, message, line, at) VALUES (");
        sql.arg(&**namespace).push(", ").arg(source).push(", ").arg(message).push(", ").arg(line);
        sql.push(", ").arg(at).push(") ON CONFLICT (namespace, source) DO UPDATE SET ");
        sql.push("message = excluded.message, line = excluded.line, at = excluded.at");
        tx.run(sql).await?;
        tx.commit().await?;
        self.tell(Change::Record(RecordKind::ImportError));
        Ok(())
    }

    async fn delete_import_error(&self, namespace: &Namespace, source: &str) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("DELETE FROM import_error WHERE namespace = ").with(&**namespace);
        sql.push(" AND source = ").arg(source);
        let gone = tx.run(sql).await? > 0;
        tx.commit().await?;
        if gone {
            self.tell(Change::Record(RecordKind::ImportError));
        }
        Ok(gone)
    }

    async fn put_run_note(&self, run: RunKey, note: Option<&Note>, audit: &AuditRow) -> Result<bool, Error> {
        let of = Sql::new(" FROM run r WHERE r.key = ").with(run.0);
        self.put_note("run_note", "run", "r.key", of, note, audit).await
    }

    async fn put_ti_note(&self, ti: TiKey, note: Option<&Note>, audit: &AuditRow) -> Result<bool, Error> {
        let mut of = Sql::new(" FROM ti t JOIN run r ON r.key = t.run WHERE t.run = ").with(ti.run.0);
        of.push(" AND t.task = ").arg(ti.task.0).push(" AND t.map_index = ").arg(ti.map_index.0);
        let key = "run, task, map_index";
        self.put_note("ti_note", key, "t.run, t.task, t.map_index", of, note, audit).await
    }

    async fn config(&self, key: &str) -> Result<Option<String>, Error> {
        let sql = Sql::new("SELECT value FROM config WHERE name = ").with(key);
        self.db.row(sql).await?.map(|mut f| f.text()).transpose()
    }

    async fn put_config(&self, key: &str, value: Option<&str>, audit: &AuditRow) -> Result<(), Error> {
        let sql = match value {
            Some(value) => {
                let mut sql = Sql::new("INSERT INTO config (name, value) VALUES (").with(key);
                sql.push(", ").arg(value).push(") ON CONFLICT (name) DO UPDATE SET value = excluded.value");
                sql
            }
            None => Sql::new("DELETE FROM config WHERE name = ").with(key),
        };
        self.change(sql, RecordKind::Config, audit).await.map(drop)
    }

    async fn config_or_insert(&self, key: &str, value: &str) -> Result<String, Error> {
        let mut tx = self.db.begin().await?;
        let mut sql = Sql::new("INSERT INTO config (name, value) VALUES (").with(key);
        sql.push(", ").arg(value).push(") ON CONFLICT (name) DO NOTHING");
        tx.run(sql).await?;
        let kept = tx.row(Sql::new("SELECT value FROM config WHERE name = ").with(key)).await?;
        tx.commit().await?;
        kept.map_or_else(|| Ok(value.into()), |mut f| f.text())
    }

    async fn put_audit(&self, audit: &AuditRow) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let rows = Rows::of(AUDIT.columns, [audit_cells(audit)]);
        tx.insert(&AUDIT, rows, Conflict::Fail).await?;
        tx.commit().await
    }

    async fn claim_deliveries(
        &self,
        part: OutboxPart,
        now: Timestamp,
        limit: u32,
        burst: Option<Burst>,
    ) -> Result<Claimed, Error> {
        let mut tx = self.db.begin().await?;
        let (claimed, changed) = delivery::claim(&mut tx, part, now, limit, burst).await?;
        if changed {
            tx.commit().await?;
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
        let mut tx = self.db.begin().await?;
        let finished = delivery::finish(&mut tx, id, attempt, end, now).await?;
        tx.commit().await?;
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
        let mut tx = self.db.begin().await?;
        let ended = delivery::end_doubt(&mut tx, part, before, error, now).await?;
        tx.commit().await?;
        if ended > 0 {
            self.tell(Change::Record(RecordKind::Delivery));
        }
        Ok(ended)
    }

    async fn resend_delivery(&self, id: DeliveryId, now: Timestamp, audit: &AuditRow) -> Result<bool, Error> {
        self.change(delivery::resend(id, now), RecordKind::Delivery, audit).await
    }

    async fn drop_delivery(
        &self,
        id: DeliveryId,
        why: &str,
        now: Timestamp,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        self.change(delivery::drop(id, why, now), RecordKind::Delivery, audit).await
    }
}

impl SqlStore {
    /// Writes or deletes the note of what `of` finds; its key is in the columns `key` of the note's table,
    /// and in the columns `select` of what is found.
    async fn put_note(
        &self,
        table: &str,
        key: &str,
        select: &str,
        of: Sql,
        note: Option<&Note>,
        audit: &AuditRow,
    ) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let found = Sql { text: format!("SELECT {select}{}", of.text), args: of.args };
        let Some(mut f) = tx.row(found).await? else { return Ok(false) };
        let columns = key.split(", ").count();
        let at = (0..columns).map(|_| f.int()).collect::<Result<Vec<i64>, _>>()?;
        let sql = match note {
            Some(note) => {
                let mut sql = Sql::new(format!("INSERT INTO {table} ({key}, text, account, at) VALUES ("));
                for part in at {
                    sql.arg(part).push(", ");
                }
                sql.arg(&note.text).push(", ").arg(&note.user).push(", ").arg(note.at);
                sql.push(&format!(") ON CONFLICT ({key}) DO UPDATE SET text = excluded.text, "));
                sql.push("account = excluded.account, at = excluded.at");
                sql
            }
            None => {
                let mut sql = Sql::new(format!("DELETE FROM {table} WHERE ({key}) = "));
                if columns == 1 {
                    sql.arg(at[0]);
                } else {
                    sql.list(at);
                }
                sql
            }
        };
        tx.run(sql).await?;
        self.changed(tx, RecordKind::Note, audit).await?;
        Ok(true)
    }
}
