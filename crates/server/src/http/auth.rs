//! Tokens for names and passwords: `POST /auth/token` and `POST /auth/token/cli`, as Airflow has them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Error, Shared, body};
use crate::accounts::{self, Denied};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(create_token)).routes(routes!(create_token_cli))
}

/// Who wants a token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    /// The account's name.
    username: String,
    /// Its password.
    password: String,
}

/// A token.
#[derive(Serialize, ToSchema)]
struct LoginResponse {
    /// To be sent as `Authorization: Bearer …`.
    access_token: String,
}

/// Gives a token for a name and a password.
#[utoipa::path(
    post, path = "/auth/token", tag = "Login",
    request_body(content(
        (LoginBody = "application/json"), (LoginBody = "application/x-www-form-urlencoded")
    )),
    responses(
        (status = 201, body = LoginResponse),
        (status = 400, body = super::error::Problem, description = "No name or no password"),
        (status = 401, body = super::error::Problem, description = "Wrong name or password"),
        (status = 429, body = super::error::Problem, description = "Too many failures before; wait"),
    ),
    security(()),
)]
async fn create_token(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<(StatusCode, Json<LoginResponse>), Error> {
    let lifetime = shared.config.token_lifetime;
    log_in(&shared, request, lifetime).await
}

/// Gives a token for a name and a password that is good for a shorter time.
#[utoipa::path(
    post, path = "/auth/token/cli", tag = "Login",
    request_body = LoginBody,
    responses(
        (status = 201, body = LoginResponse),
        (status = 400, body = super::error::Problem, description = "No name or no password"),
        (status = 401, body = super::error::Problem, description = "Wrong name or password"),
        (status = 429, body = super::error::Problem, description = "Too many failures before; wait"),
    ),
    security(()),
)]
async fn create_token_cli(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<(StatusCode, Json<LoginResponse>), Error> {
    let lifetime = shared.config.cli_token_lifetime;
    log_in(&shared, request, lifetime).await
}

async fn log_in(
    shared: &Shared,
    request: Request,
    lifetime: Duration,
) -> Result<(StatusCode, Json<LoginResponse>), Error> {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let bytes = body::bytes(request, &()).await?;
    let LoginBody { username, password } = match is_form {
        true => of_form(&bytes),
        false => body::parse(&bytes)?,
    };
    if username.is_empty() || password.is_empty() {
        return Err(Error::bad_request("Username and password must be provided"));
    }
    match shared.accounts.log_in(&username, &password, from).await {
        Ok(account) => {
            let access_token = shared.accounts.issue(&account, lifetime)?;
            Ok((StatusCode::CREATED, Json(LoginResponse { access_token })))
        }
        Err(denied) => {
            if matches!(denied, Denied::Credentials | Denied::Disabled) {
                let detail = json!({ "from": from.map(|from| from.to_string()) });
                // A name that nobody has is whatever somebody typed: not more of it than a name can be.
                let name: String = username.chars().take(250).collect();
                shared.store.put_audit(&accounts::audit(&name, "login_failed", detail)).await?;
            }
            Err(denied.into())
        }
    }
}

fn of_form(bytes: &[u8]) -> LoginBody {
    let mut body = LoginBody { username: String::new(), password: String::new() };
    for (name, value) in form_urlencoded::parse(bytes) {
        match &*name {
            "username" => body.username = value.into_owned(),
            "password" => body.password = value.into_owned(),
            // The other fields of OAuth's password form.
            _ => {}
        }
    }
    body
}
