//! Accounts: `/api/v1/whoami` and `/api/v1/users`.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use updraft_store::{AccountRow, NewAccount, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Reads, Shared, Writes,
    body::given,
    call::Call,
    edge::namespace,
    error::Invalid,
    query::{Pattern, query},
    time::Time,
};
use crate::accounts::{self, MIN_PASSWORD, Role};

const LONGEST_NAME: usize = 250;
const LONGEST_PASSWORD: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(who_am_i))
        .routes(routes!(change_password))
        .routes(routes!(list_users, create_user))
        .routes(routes!(get_user, update_user, delete_user))
}

/// Who asks.
#[derive(Serialize, ToSchema)]
struct WhoResponse {
    username: String,
    role: Role,
    /// The only namespace it may see; `null` for all.
    namespace: Option<String>,
}

/// Who asks.
#[utoipa::path(
    get, path = "/api/v1/whoami", tag = "Accounts", responses((status = 200, body = WhoResponse), Reads),
)]
async fn who_am_i(call: Call) -> Json<WhoResponse> {
    Json(WhoResponse {
        username: call.who.name.to_string(),
        role: call.who.role,
        namespace: call.who.namespace.map(|namespace| namespace.to_string()),
    })
}

/// A password in the place of another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    /// The one up to now.
    old_password: String,
    /// At least 8 letters.
    new_password: String,
}

/// Changes the password of who asks. Tokens that were given for the old one are no use any more.
#[utoipa::path(
    put, path = "/api/v1/whoami/password", tag = "Accounts", request_body = PasswordBody,
    responses((status = 204), Writes),
)]
async fn change_password(call: Call, Body(body): Body<PasswordBody>) -> Result<StatusCode, Error> {
    // Counted as a login, so that a stolen token is no way to guess the password.
    let mut row = call.shared.accounts.log_in(&call.who.name, &body.old_password, None).await?;
    check_password("new_password", &body.new_password)?;
    row.account.password_hash = call.shared.accounts.hashing().hash(&body.new_password).await?;
    let audit =
        accounts::audit(&call.who.name, "change_password", json!({ "username": &row.account.username }));
    call.store().update_account(row.id, &row.account, &audit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An account.
#[derive(Serialize, ToSchema)]
struct UserResponse {
    username: String,
    role: String,
    /// The only namespace it may see; `null` for all.
    namespace: Option<String>,
    /// It may not log in.
    disabled: bool,
    created_at: Time,
}

impl From<AccountRow> for UserResponse {
    fn from(row: AccountRow) -> Self {
        Self {
            username: row.account.username,
            role: row.account.role,
            namespace: row.account.namespace.map(|namespace| namespace.to_string()),
            disabled: row.account.disabled,
            created_at: Time(row.created_at),
        }
    }
}

/// Accounts.
#[derive(Serialize, ToSchema)]
struct UsersResponse {
    users: Vec<UserResponse>,
    total_entries: u64,
}

query! {
    /// Which accounts.
    UsersQuery {
        window: Window,
        /// By name.
        username: Pattern,
    }
}

/// Accounts, by name.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "Accounts", params(UsersQuery),
    responses((status = 200, body = UsersResponse), Reads),
)]
async fn list_users(call: Call, query: UsersQuery) -> Result<Json<UsersResponse>, Error> {
    let page = call.store().accounts(&query.username.0, query.window).await?;
    let users = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(UsersResponse { users, total_entries: page.total }))
}

/// An account that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    /// Up to 250 letters, without spaces and control characters.
    username: String,
    /// At least 8 letters.
    password: String,
    role: Role,
    /// The only namespace it may see; all where none is named.
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    disabled: bool,
}

fn check_password(field: &str, password: &str) -> Result<(), Error> {
    if password.chars().count() < MIN_PASSWORD || password.len() > LONGEST_PASSWORD {
        let msg =
            format!("a password has at least {MIN_PASSWORD} letters and at most {LONGEST_PASSWORD} bytes");
        return Err(Invalid::value(field, msg, serde_json::Value::Null).into());
    }
    Ok(())
}

/// Makes an account.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "Accounts", request_body = UserBody,
    responses((status = 201, body = UserResponse), Writes),
)]
async fn create_user(
    call: Call,
    Body(body): Body<UserBody>,
) -> Result<(StatusCode, Json<UserResponse>), Error> {
    let name = &body.username;
    let plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || !name.chars().all(plain) {
        let msg = format!("a name has 1 to {LONGEST_NAME} letters, no spaces and no control characters");
        return Err(Invalid::value("username", msg, name.as_str()).into());
    }
    check_password("password", &body.password)?;
    let account = NewAccount {
        password_hash: call.shared.accounts.hashing().hash(&body.password).await?,
        role: body.role.as_str().into(),
        namespace: body.namespace.map(|name| namespace("namespace", name)).transpose()?,
        disabled: body.disabled,
        username: body.username,
    };
    let detail = json!({ "username": &account.username, "role": body.role });
    if call
        .store()
        .create_account(&account, &accounts::audit(&call.who.name, "create_account", detail))
        .await?
        .is_none()
    {
        return Err(Error::conflict(format!("there is an account `{}` already", account.username)));
    }
    Ok((StatusCode::CREATED, Json(find(&call, &account.username).await?.into())))
}

async fn find(call: &Call, username: &str) -> Result<AccountRow, Error> {
    let found = call.store().find_account(username).await?;
    found.ok_or_else(|| Error::not_found(format!("there is no account `{username}`")))
}

/// One account.
#[utoipa::path(
    get, path = "/api/v1/users/{username}", tag = "Accounts",
    responses((status = 200, body = UserResponse), Reads),
)]
async fn get_user(call: Call, Path(username): Path<String>) -> Result<Json<UserResponse>, Error> {
    Ok(Json(find(&call, &username).await?.into()))
}

/// What of an account can be changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserPatchBody {
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    role: Option<Role>,
    /// `null` for all.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    namespace: Option<Option<String>>,
    #[serde(default)]
    disabled: Option<bool>,
}

/// Changes an account. The last administrator who can log in stays one.
#[utoipa::path(
    patch, path = "/api/v1/users/{username}", tag = "Accounts", request_body = UserPatchBody,
    responses((status = 200, body = UserResponse), Writes),
)]
async fn update_user(
    call: Call,
    Path(username): Path<String>,
    Body(body): Body<UserPatchBody>,
) -> Result<Json<UserResponse>, Error> {
    let mut row = find(&call, &username).await?;
    let loses = row.account.role == Role::Admin.as_str()
        && (body.role.is_some_and(|role| role != Role::Admin)
            || body.disabled == Some(true)
            || matches!(body.namespace, Some(Some(_))));
    if loses {
        keep_an_admin(&call, &row).await?;
    }
    let detail = json!({
        "username": &username,
        "role": body.role,
        "disabled": body.disabled,
        "password": body.password.is_some(),
    });
    if let Some(password) = body.password {
        check_password("password", &password)?;
        row.account.password_hash = call.shared.accounts.hashing().hash(&password).await?;
    }
    if let Some(role) = body.role {
        row.account.role = role.as_str().into();
    }
    if let Some(name) = body.namespace {
        row.account.namespace = name.map(|name| namespace("namespace", name)).transpose()?;
    }
    row.account.disabled = body.disabled.unwrap_or(row.account.disabled);
    let audit = accounts::audit(&call.who.name, "update_account", detail);
    match call.store().update_account(row.id, &row.account, &audit).await? {
        true => Ok(Json(row.into())),
        false => Err(Error::not_found(format!("there is no account `{username}`"))),
    }
}

/// Deletes an account with its tokens. The last administrator who can log in stays.
#[utoipa::path(delete, path = "/api/v1/users/{username}", tag = "Accounts", responses((status = 204), Writes))]
async fn delete_user(call: Call, Path(username): Path<String>) -> Result<StatusCode, Error> {
    let row = find(&call, &username).await?;
    if row.account.role == Role::Admin.as_str() {
        keep_an_admin(&call, &row).await?;
    }
    let audit = accounts::audit(&call.who.name, "delete_account", json!({ "username": &username }));
    call.store().delete_account(row.id, &audit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses where nobody else could administer this installation.
async fn keep_an_admin(call: &Call, but: &AccountRow) -> Result<(), Error> {
    let all = call.store().accounts(&Default::default(), Window::ALL).await?.rows;
    let another = all.iter().any(|row| {
        row.id != but.id
            && row.account.role == Role::Admin.as_str()
            && !row.account.disabled
            && row.account.namespace.is_none()
    });
    match another {
        true => Ok(()),
        false => Err(Error::conflict("this is the last administrator: make another one first")),
    }
}
