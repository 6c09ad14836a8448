//! Variables: `/variables`.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_store::{Put, SecretId, VariableRow, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Body, Error, Path, Reads, Shared, Writes,
        body::given,
        call::Call,
        error::Invalid,
        query::{Pattern, order, query},
    },
    bulk::{self, BulkBody, BulkResponse, InBulk, Unnamed, name_or_text},
    pools::refuse_team,
};
use crate::secrets::{MASK, is_sensitive, mask, unmask};

const LONGEST_KEY: usize = 250;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_variables, post_variable, bulk_variables)).routes(routes!(
        get_variable,
        patch_variable,
        delete_variable
    ))
}

/// A variable.
#[derive(Serialize, ToSchema)]
struct VariableResponse {
    key: String,
    /// Its text; `***` where its key, or what is in it as JSON, has a telling name.
    value: Option<String>,
    description: Option<String>,
    is_encrypted: bool,
    team_name: Option<String>,
}

impl VariableResponse {
    fn of(call: &Call, row: VariableRow) -> Result<Self, Error> {
        let id = SecretId::Variable(row.namespace, row.key.clone());
        let text = call.shared.secrets.open(&id, &row.value, row.is_encrypted)?;
        Ok(Self {
            value: Some(shown(&row.key, text)),
            key: row.key,
            description: row.description,
            is_encrypted: row.is_encrypted,
            team_name: None,
        })
    }
}

/// What of a variable may be seen, as Airflow redacts it.
fn shown(key: &str, text: String) -> String {
    if is_sensitive(key) {
        return MASK.into();
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => {
            let masked = mask(&value);
            // Where nothing was hidden, the text stays as it was written.
            if masked == value { text } else { masked.to_string() }
        }
        Ok(_) | Err(_) => text,
    }
}

/// Variables.
#[derive(Serialize, ToSchema)]
struct VariableCollectionResponse {
    variables: Vec<VariableResponse>,
    total_entries: u64,
}

query! {
    /// Which variables.
    VariablesQuery {
        window: Window,
        /// By key.
        variable_key: Pattern,
        /// `key`, or `-key`.
        order_by: Vec<String>,
    }
}

/// Variables, by key.
#[utoipa::path(
    get, path = "/api/v2/variables", tag = "Variable", params(VariablesQuery),
    responses((status = 200, body = VariableCollectionResponse), Reads),
)]
async fn get_variables(call: Call, query: VariablesQuery) -> Result<Json<VariableCollectionResponse>, Error> {
    let order = order(&query.order_by, &[("id", ()), ("key", ())])?;
    let filter = &query.variable_key.0;
    let mut page = match order.first().is_some_and(|order| order.descending) {
        false => call.store().variables(&call.namespace, filter, query.window).await?,
        true => {
            let mut page = call.store().variables(&call.namespace, filter, Window::ALL).await?;
            page.rows.reverse();
            let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
            page.rows = page.rows.into_iter().skip(offset).take(limit).collect();
            page
        }
    };
    let rows = std::mem::take(&mut page.rows).into_iter();
    let variables = rows.map(|row| VariableResponse::of(&call, row)).collect::<Result<_, _>>()?;
    Ok(Json(VariableCollectionResponse { variables, total_entries: page.total }))
}

fn missing(key: &str) -> Error {
    Error::not_found(format!("The Variable with key: `{key}` was not found"))
}

async fn find(call: &Call, key: &str) -> Result<VariableRow, Error> {
    call.store().variable(&call.namespace, key).await?.ok_or_else(|| missing(key))
}

/// One variable.
#[utoipa::path(
    get, path = "/api/v2/variables/{*variable_key}", tag = "Variable",
    responses((status = 200, body = VariableResponse), Reads),
)]
async fn get_variable(call: Call, Path(key): Path<String>) -> Result<Json<VariableResponse>, Error> {
    let row = find(&call, &key).await?;
    Ok(Json(VariableResponse::of(&call, row)?))
}

/// A variable that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VariableBody {
    /// Up to 250 letters.
    key: String,
    /// A text, or any JSON, which is kept as its text.
    value: Value,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// Updraft has namespaces in place of teams: only `null` is taken.
    #[serde(default)]
    team_name: Option<String>,
}

/// The text of a value: its own where it is one, else its JSON.
fn text_of(value: Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        value @ (Value::Object(_) | Value::Array(_)) => {
            serde_json::to_string_pretty(&value).map_err(|error| Error::Internal(error.to_string()))
        }
        other => Ok(other.to_string()),
    }
}

/// Makes a variable.
#[utoipa::path(
    post, path = "/api/v2/variables", tag = "Variable", request_body = VariableBody,
    responses((status = 201, body = VariableResponse), Writes),
)]
async fn post_variable(
    call: Call,
    Body(body): Body<VariableBody>,
) -> Result<(StatusCode, Json<VariableResponse>), Error> {
    let row = create(&call, body).await?;
    Ok((StatusCode::CREATED, Json(VariableResponse::of(&call, row)?)))
}

async fn create(call: &Call, body: VariableBody) -> Result<VariableRow, Error> {
    refuse_team(body.team_name)?;
    if body.key.is_empty() || body.key.chars().count() > LONGEST_KEY {
        let msg = format!("String should have at least 1 and at most {LONGEST_KEY} characters");
        return Err(Invalid::body("key", "string_too_long", msg, body.key.into()).into());
    }
    let id = SecretId::Variable(call.namespace.clone(), body.key.clone());
    let row = VariableRow {
        namespace: call.namespace.clone(),
        value: call.shared.secrets.seal(&id, &text_of(body.value)?)?,
        is_encrypted: true,
        description: body.description.flatten(),
        key: body.key,
    };
    let audit = call.audit("create_variable", json!({ "key": &row.key }));
    if !call.store().put_variable(&row, Put::Create, &audit).await? {
        return Err(Error::conflict(format!("The Variable with key: `{}` already exists", row.key)));
    }
    Ok(row)
}

query! {
    /// Which fields of a body count.
    Mask {
        /// Only these fields of the body count.
        update_mask: Vec<String>,
    }
}

/// Changes a variable. What comes back as it was shown (`***`) stays what it is.
#[utoipa::path(
    patch, path = "/api/v2/variables/{*variable_key}", tag = "Variable", params(Mask),
    request_body = VariableBody, responses((status = 200, body = VariableResponse), Writes),
)]
async fn patch_variable(
    call: Call,
    Path(key): Path<String>,
    mask: Mask,
    Body(body): Body<VariableBody>,
) -> Result<Json<VariableResponse>, Error> {
    if body.key != key {
        return Err(Error::bad_request("Invalid body, key from request body doesn't match uri parameter"));
    }
    let row = change(&call, &key, body, &mask.update_mask).await?;
    Ok(Json(VariableResponse::of(&call, row)?))
}

async fn change(call: &Call, key: &str, body: VariableBody, mask: &[String]) -> Result<VariableRow, Error> {
    refuse_team(body.team_name)?;
    let mut row = find(call, key).await?;
    let counts = |field: &str| mask.is_empty() || mask.iter().any(|it| it == field);
    let id = SecretId::Variable(row.namespace.clone(), key.into());
    if counts("value") {
        let given = text_of(body.value)?;
        let old = call.shared.secrets.open(&id, &row.value, row.is_encrypted)?;
        let given = unmask(given, Some(&old));
        (row.value, row.is_encrypted) = (call.shared.secrets.seal(&id, &given)?, true);
    }
    if let Some(description) = body.description.filter(|_| counts("description")) {
        row.description = description;
    }
    let audit = call.audit("update_variable", json!({ "key": key }));
    if !call.store().put_variable(&row, Put::Replace, &audit).await? {
        return Err(missing(key));
    }
    Ok(row)
}

/// Deletes a variable.
#[utoipa::path(
    delete, path = "/api/v2/variables/{*variable_key}", tag = "Variable", responses((status = 204), Writes),
)]
async fn delete_variable(call: Call, Path(key): Path<String>) -> Result<StatusCode, Error> {
    delete(&call, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(call: &Call, key: &str) -> Result<(), Error> {
    let audit = call.audit("delete_variable", json!({ "key": key }));
    match call.store().delete_variable(&call.namespace, key, &audit).await? {
        true => Ok(()),
        false => Err(missing(key)),
    }
}

struct Variables;

impl InBulk for Variables {
    const MANY: &'static str = "variables";
    type Name = String;
    type New = VariableBody;
    type Change = VariableBody;

    fn name(&self, entity: &Value) -> Result<String, Unnamed> {
        name_or_text(entity, "key")
    }

    async fn is_there(&self, call: &Call, key: &String) -> Result<bool, Error> {
        Ok(call.store().variable(&call.namespace, key).await?.is_some())
    }

    async fn create(&self, call: &Call, new: VariableBody) -> Result<(), Error> {
        create(call, new).await.map(drop)
    }

    async fn change(
        &self,
        call: &Call,
        key: &String,
        body: VariableBody,
        mask: &[String],
    ) -> Result<(), Error> {
        change(call, key, body, mask).await.map(drop)
    }

    async fn delete(&self, call: &Call, key: &String) -> Result<(), Error> {
        delete(call, key).await
    }
}

/// Makes, changes and deletes variables.
#[utoipa::path(
    patch, path = "/api/v2/variables", tag = "Variable", request_body = BulkBody,
    responses((status = 200, body = BulkResponse), Writes),
)]
async fn bulk_variables(call: Call, Body(body): Body<BulkBody>) -> Result<Json<BulkResponse>, Error> {
    Ok(Json(bulk::obey(&Variables, &call, body).await?))
}
