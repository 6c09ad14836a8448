//! Tokens that do not run out with a login: `/api/v1/tokens`.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use updraft_store::{TokenId, TokenKind, TokenRow, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Reads, Shared, Writes, call::Call, edge::namespace, error::Invalid, query::query,
    time::Time,
};
use crate::{
    accounts::{self, Role},
    leader::now,
};

const LONGEST_NAME: usize = 250;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list_tokens, create_token)).routes(routes!(revoke_token))
}

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    /// To call the API as the account that made it.
    Api,
    /// To join as a worker; only administrators make them.
    Join,
}

/// A token, without itself.
#[derive(Serialize, ToSchema)]
struct TokenResponse {
    id: i64,
    name: String,
    purpose: Purpose,
    /// Of a worker's: it works for this namespace alone.
    namespace: Option<String>,
    created_at: Time,
    expires_at: Option<Time>,
    /// It has run out.
    expired: bool,
}

impl From<TokenRow> for TokenResponse {
    fn from(row: TokenRow) -> Self {
        let (purpose, namespace) = match row.token.kind {
            TokenKind::Api(_) => (Purpose::Api, None),
            TokenKind::Join(namespace) => (Purpose::Join, namespace),
        };
        Self {
            id: row.id.0,
            purpose,
            namespace: namespace.map(|namespace| namespace.to_string()),
            name: row.token.name,
            created_at: Time(row.created_at),
            expires_at: row.token.expires_at.map(Time),
            expired: row.token.expires_at.is_some_and(|at| at <= now()),
        }
    }
}

/// Tokens.
#[derive(Serialize, ToSchema)]
struct TokensResponse {
    tokens: Vec<TokenResponse>,
    total_entries: u64,
}

query! {
    /// Which tokens.
    TokensQuery {
        window: Window,
        /// Also those of others and those for workers; for administrators.
        all: Option<bool>,
    }
}

/// The tokens of who asks, the latest first.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "Tokens", params(TokensQuery),
    responses((status = 200, body = TokensResponse), Reads),
)]
async fn list_tokens(call: Call, query: TokensQuery) -> Result<Json<TokensResponse>, Error> {
    let all = query.all.unwrap_or(false);
    if all && call.who.role < Role::Admin {
        return Err(Error::forbidden("only administrators see the tokens of others"));
    }
    if all && call.who.namespace.is_some() {
        return Err(Error::forbidden("an account that is bound to a namespace sees its own tokens alone"));
    }
    let page = call.store().tokens((!all).then_some(call.who.id), query.window).await?;
    let tokens = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(TokensResponse { tokens, total_entries: page.total }))
}

/// A token that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    /// What its owner calls it.
    name: String,
    /// `api` where nothing is said.
    #[serde(default = "api")]
    purpose: Purpose,
    /// A worker that joins with it works for this namespace alone. Where none is named, for all.
    #[serde(default)]
    namespace: Option<String>,
    /// It is no use after this; never runs out where nothing is said.
    #[serde(default)]
    expires_at: Option<Time>,
}

fn api() -> Purpose {
    Purpose::Api
}

/// A new token.
#[derive(Serialize, ToSchema)]
struct NewTokenResponse {
    id: i64,
    /// To be sent as `Authorization: Bearer …`. It is shown this once and kept nowhere.
    token: String,
}

/// Makes a token. It is shown in the answer, and never again.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "Tokens", request_body = TokenBody,
    responses((status = 201, body = NewTokenResponse), Writes),
)]
async fn create_token(
    call: Call,
    Body(body): Body<TokenBody>,
) -> Result<(StatusCode, Json<NewTokenResponse>), Error> {
    if body.name.is_empty() || body.name.chars().count() > LONGEST_NAME {
        let msg = format!("a name has 1 to {LONGEST_NAME} letters");
        return Err(Invalid::value("name", msg, body.name).into());
    }
    if let Some(at) = body.expires_at.filter(|at| at.0 <= now()) {
        return Err(Invalid::value("expires_at", "it has passed", json!(at)).into());
    }
    let kind = match body.purpose {
        Purpose::Api if body.namespace.is_some() => {
            let msg = "a token of the API may what its account may: bind the account to a namespace";
            return Err(Invalid::value("namespace", msg, body.namespace).into());
        }
        Purpose::Api => TokenKind::Api(call.who.id),
        Purpose::Join if call.who.role < Role::Admin => {
            return Err(Error::forbidden("only administrators make tokens for workers"));
        }
        Purpose::Join => {
            let checked = body.namespace.map(|name| namespace("namespace", name)).transpose()?;
            match (&call.who.namespace, checked) {
                (Some(own), Some(other)) if *own != other => {
                    let (name, own) = (&call.who.name, own.clone());
                    return Err(Error::forbidden(format!(
                        "the account `{name}` is bound to the namespace `{own}`, and makes workers for that alone"
                    )));
                }
                // Who is bound to one makes none for all.
                (own, checked) => TokenKind::Join(checked.or_else(|| own.clone())),
            }
        }
    };
    let expires_at = body.expires_at.map(|at| at.0);
    let made = call.shared.accounts.create_token(&call.who.name, kind, body.name, expires_at).await?;
    let (id, token) = made.ok_or_else(|| Error::conflict("the account is gone"))?;
    Ok((StatusCode::CREATED, Json(NewTokenResponse { id: id.0, token })))
}

/// Revokes a token of who asks; an administrator, any. Workers that have joined with it are turned out: they end what they
/// run, and others are given that when their leases are over.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "Tokens", responses((status = 204), Writes))]
async fn revoke_token(call: Call, Path(id): Path<i64>) -> Result<StatusCode, Error> {
    let owner = (call.who.role < Role::Admin).then_some(call.who.id);
    let mine = call.store().tokens(owner, Window::ALL).await?;
    let missing = || Error::not_found(format!("there is no token number {id}"));
    let is_theirs = |row: &TokenRow| match (&call.who.namespace, &row.token.kind) {
        (None, _) => true,
        (Some(_), TokenKind::Api(account)) => *account == call.who.id,
        (own, TokenKind::Join(namespace)) => own == namespace,
    };
    let row =
        mine.rows.into_iter().find(|row| row.id == TokenId(id) && is_theirs(row)).ok_or_else(missing)?;
    let audit = accounts::audit(&call.who.name, "delete_token", json!({ "name": row.token.name }));
    if !call.store().delete_token(row.id, &audit).await? {
        return Err(missing());
    }
    call.shared.workers.turn_out(&row.token.hash);
    Ok(StatusCode::NO_CONTENT)
}
