//! The plain records.

use crate::{
    AccountId, AccountRow, ConnectionRow, DeploymentRow, Error, ImportErrorRow, NewAccount, NewDeployment,
    NewToken, Note, TokenId, TokenKind, TokenRow, VariableRow,
    sql::{
        db::Fields,
        statement::{
            Arg,
            Type::{Bool, Bytes, Int, Text},
        },
        table::Table,
    },
};

pub(crate) const CONNECTION: Table = Table {
    name: "connection",
    columns: &[
        ("namespace", Text),
        ("conn_id", Text),
        ("conn_type", Text),
        ("description", Text),
        ("host", Text),
        ("schema_name", Text),
        ("login", Text),
        ("port", Int),
        ("password", Bytes),
        ("extra", Bytes),
        ("is_encrypted", Bool),
    ],
    key: &["namespace", "conn_id"],
};

pub(crate) fn connection_cells(row: &ConnectionRow) -> [Arg; 11] {
    [
        (&*row.namespace).into(),
        (&row.conn_id).into(),
        (&row.conn_type).into(),
        row.description.as_ref().into(),
        row.host.as_ref().into(),
        row.schema.as_ref().into(),
        row.login.as_ref().into(),
        row.port.into(),
        row.password.clone().into(),
        row.extra.clone().into(),
        row.is_encrypted.into(),
    ]
}

pub(crate) fn read_connection(f: &mut Fields) -> Result<ConnectionRow, Error> {
    Ok(ConnectionRow {
        namespace: f.name()?,
        conn_id: f.text()?,
        conn_type: f.text()?,
        description: f.opt_text()?,
        host: f.opt_text()?,
        schema: f.opt_text()?,
        login: f.opt_text()?,
        port: f.opt_number()?,
        password: f.get()?,
        extra: f.get()?,
        is_encrypted: f.flag()?,
    })
}

pub(crate) const VARIABLE: Table = Table {
    name: "variable",
    columns: &[
        ("namespace", Text),
        ("name", Text),
        ("value", Bytes),
        ("is_encrypted", Bool),
        ("description", Text),
    ],
    key: &["namespace", "name"],
};

pub(crate) fn variable_cells(row: &VariableRow) -> [Arg; 5] {
    [
        (&*row.namespace).into(),
        (&row.key).into(),
        row.value.clone().into(),
        row.is_encrypted.into(),
        row.description.as_ref().into(),
    ]
}

pub(crate) fn read_variable(f: &mut Fields) -> Result<VariableRow, Error> {
    Ok(VariableRow {
        namespace: f.name()?,
        key: f.text()?,
        value: f.get()?,
        is_encrypted: f.flag()?,
        description: f.opt_text()?,
    })
}

/// Of `id, username, password_hash, role, namespace, disabled, created_at`.
pub(crate) fn read_account(f: &mut Fields) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        id: AccountId(f.int()?),
        account: NewAccount {
            username: f.text()?,
            password_hash: f.text()?,
            role: f.text()?,
            namespace: f.opt_name()?,
            disabled: f.flag()?,
        },
        created_at: f.time()?,
    })
}

/// Of `id, account, namespace, hash, name, expires_at, created_at`.
pub(crate) fn read_token(f: &mut Fields) -> Result<TokenRow, Error> {
    let id = TokenId(f.int()?);
    let (account, namespace) = (f.opt_number()?, f.opt_name()?);
    let kind = account.map_or(TokenKind::Join(namespace), |account| TokenKind::Api(AccountId(account)));
    let token = NewToken { kind, hash: f.text()?, name: f.text()?, expires_at: f.opt_time()? };
    Ok(TokenRow { id, token, created_at: f.time()? })
}

/// Of `namespace, number, hash, bytes, files, message, rolled_back_to, account, created_at`.
pub(crate) fn read_deployment(f: &mut Fields) -> Result<DeploymentRow, Error> {
    let (namespace, number) = (f.name()?, f.number()?);
    let deployment = NewDeployment {
        namespace,
        hash: f.text()?,
        bytes: f.number()?,
        files: f.number()?,
        message: f.opt_text()?,
        rolled_back_to: f.opt_number()?,
        account: f.text()?,
    };
    Ok(DeploymentRow { number, deployment, created_at: f.time()? })
}

/// Of `id, namespace, source, message, line, at`.
pub(crate) fn read_import_error(f: &mut Fields) -> Result<ImportErrorRow, Error> {
    Ok(ImportErrorRow {
        id: f.int()?,
        namespace: f.name()?,
        source: f.text()?,
        message: f.text()?,
        line: f.opt_number()?,
        at: f.time()?,
    })
}

/// Of `text, account, at`, absent where nothing was noted.
pub(crate) fn read_note(f: &mut Fields) -> Result<Option<Note>, Error> {
    let (text, user, at) = (f.opt_text()?, f.opt_text()?, f.opt_time()?);
    Ok(text.zip(user).zip(at).map(|((text, user), at)| Note { text, user, at }))
}
