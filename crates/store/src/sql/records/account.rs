//! Accounts and tokens.

use jiff::Timestamp;

use crate::{
    AccountId, AccountRow, Error, NewAccount, NewToken, Page, TextFilter, TokenId, TokenKind, TokenRow,
    Window,
    sql::{
        db::{Db, Tx},
        queries::{page, text_filter},
        row::{read_account, read_token},
        statement::Sql,
    },
};

const ACCOUNT: &str = "x.id, x.username, x.password_hash, x.role, x.namespace, x.disabled, x.created_at";
const TOKEN: &str = "x.id, x.account, x.namespace, x.hash, x.name, x.expires_at, x.created_at";

pub(super) async fn accounts(
    db: &Db,
    username: &TextFilter,
    window: Window,
) -> Result<Page<AccountRow>, Error> {
    let mut from = Sql::new(" FROM account x WHERE TRUE");
    text_filter(db, &mut from, "x.username", username);
    page(db, ACCOUNT, from, " ORDER BY x.username", window, read_account).await
}

pub(super) async fn account(db: &Db, id: AccountId) -> Result<Option<AccountRow>, Error> {
    let sql = Sql::new(format!("SELECT {ACCOUNT} FROM account x WHERE x.id = ")).with(id.0);
    db.row(sql).await?.map(|mut f| read_account(&mut f)).transpose()
}

pub(super) async fn create(
    tx: &mut Tx,
    account: &NewAccount,
    at: Timestamp,
) -> Result<Option<AccountId>, Error> {
    let mut sql = Sql::new(
        "INSERT INTO account (username, password_hash, role, namespace, disabled, created_at) VALUES (",
    );
    sql.arg(&account.username).push(", ").arg(&account.password_hash).push(", ").arg(&account.role);
    sql.push(", ").arg(account.namespace.as_deref()).push(", ").arg(account.disabled);
    sql.push(", ").arg(at).push(") ON CONFLICT (username) DO NOTHING RETURNING id");
    tx.row(sql).await?.map(|mut f| f.int().map(AccountId)).transpose()
}

pub(super) fn update(id: AccountId, account: &NewAccount) -> Sql {
    let mut sql = Sql::new("UPDATE account SET username = ").with(&account.username);
    sql.push(", password_hash = ").arg(&account.password_hash).push(", role = ").arg(&account.role);
    sql.push(", namespace = ").arg(account.namespace.as_deref());
    sql.push(", disabled = ").arg(account.disabled).push(" WHERE id = ").arg(id.0);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM account o WHERE o.username = ").arg(&account.username);
    sql.push(" AND o.id <> ").arg(id.0).push(")");
    sql
}

pub(super) async fn tokens(
    db: &Db,
    account: Option<AccountId>,
    window: Window,
) -> Result<Page<TokenRow>, Error> {
    let mut from = Sql::new(" FROM token x WHERE TRUE");
    if let Some(account) = account {
        from.push(" AND x.account = ").arg(account.0);
    }
    page(db, TOKEN, from, " ORDER BY x.id DESC", window, read_token).await
}

pub(super) async fn find_token(db: &Db, hash: &str) -> Result<Option<TokenRow>, Error> {
    let sql = Sql::new(format!("SELECT {TOKEN} FROM token x WHERE x.hash = ")).with(hash);
    db.row(sql).await?.map(|mut f| read_token(&mut f)).transpose()
}

pub(super) async fn create_token(
    tx: &mut Tx,
    token: &NewToken,
    at: Timestamp,
) -> Result<Option<TokenId>, Error> {
    let (account, namespace) = match &token.kind {
        TokenKind::Api(account) => {
            // Locked, so that it isn't deleted before the token is there.
            let mut sql = Sql::new("UPDATE account SET role = role WHERE id = ");
            sql.arg(account.0);
            if tx.run(sql).await? == 0 {
                return Ok(None);
            }
            (Some(account.0), None)
        }
        TokenKind::Join(namespace) => (None, namespace.as_deref()),
    };
    let mut sql =
        Sql::new("INSERT INTO token (account, namespace, hash, name, created_at, expires_at) VALUES (");
    sql.arg(account)
        .push(", ")
        .arg(namespace)
        .push(", ")
        .arg(&token.hash)
        .push(", ")
        .arg(&token.name)
        .push(", ")
        .arg(at);
    sql.push(", ").arg(token.expires_at).push(") ON CONFLICT (hash) DO NOTHING RETURNING id");
    tx.row(sql).await?.map(|mut f| f.int().map(TokenId)).transpose()
}
