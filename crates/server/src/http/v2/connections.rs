//! Connections: `/connections`. A password goes in and never comes out.

use std::sync::Arc;

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_store::{ConnectionRow, Put, SecretId, Window};
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
use crate::secrets::{MASK, mask, mask_address, unmask, unmask_address};

const LONGEST_ID: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(get_connections, post_connection, bulk_connections))
        .routes(routes!(test_connection))
        .routes(routes!(get_connection, patch_connection, delete_connection))
}

/// A connection.
#[derive(Serialize, ToSchema)]
struct ConnectionResponse {
    connection_id: String,
    conn_type: String,
    description: Option<String>,
    host: Option<String>,
    login: Option<String>,
    schema: Option<String>,
    port: Option<u16>,
    /// `***` where there is one.
    password: Option<String>,
    /// JSON; what has a telling name in it is `***`.
    extra: Option<String>,
    team_name: Option<String>,
}

impl ConnectionResponse {
    fn of(call: &Call, row: ConnectionRow) -> Result<Self, Error> {
        let extra = call.shared.secrets.open_extra(&row)?;
        let masked = |text: String| match serde_json::from_str::<Value>(&text) {
            Ok(value) => mask(&value).to_string(),
            Err(_) => MASK.into(),
        };
        Ok(Self {
            connection_id: row.conn_id,
            conn_type: row.conn_type,
            description: row.description,
            host: row.host.map(mask_address),
            login: row.login,
            schema: row.schema,
            port: row.port,
            password: row.password.map(|_| MASK.into()),
            extra: extra.map(|text| if text.is_empty() { text } else { masked(text) }),
            team_name: None,
        })
    }
}

/// Connections.
#[derive(Serialize, ToSchema)]
struct ConnectionCollectionResponse {
    connections: Vec<ConnectionResponse>,
    total_entries: u64,
}

query! {
    /// Which connections.
    ConnectionsQuery {
        window: Window,
        /// By name.
        connection_id: Pattern,
        /// A field, a dash before it for the largest first; by name where nothing is said.
        order_by: Vec<String>,
    }
}

#[derive(Clone, Copy)]
enum Field {
    Id,
    Type,
    Description,
    Host,
    Port,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("conn_id", Field::Id),
    ("connection_id", Field::Id),
    ("conn_type", Field::Type),
    ("description", Field::Description),
    ("host", Field::Host),
    ("port", Field::Port),
];

/// Connections in the store. Those in the server's environment are not listed, and come first all the same.
#[utoipa::path(
    get, path = "/api/v2/connections", tag = "Connection", params(ConnectionsQuery),
    responses((status = 200, body = ConnectionCollectionResponse), Reads),
)]
async fn get_connections(
    call: Call,
    query: ConnectionsQuery,
) -> Result<Json<ConnectionCollectionResponse>, Error> {
    let order = order(&query.order_by, FIELDS)?;
    // There are tens of them, and they are ordered here.
    let page = call.store().connections(&call.namespace, &query.connection_id.0, Window::ALL).await?;
    let mut rows = page.rows;
    for order in order.iter().rev() {
        match order.by {
            Field::Id => rows.sort_by(|a, b| a.conn_id.cmp(&b.conn_id)),
            Field::Type => rows.sort_by(|a, b| a.conn_type.cmp(&b.conn_type)),
            Field::Description => rows.sort_by(|a, b| a.description.cmp(&b.description)),
            Field::Host => rows.sort_by(|a, b| a.host.cmp(&b.host)),
            Field::Port => rows.sort_by_key(|row| row.port),
        }
        if order.descending {
            rows.reverse();
        }
    }
    let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
    let shown = rows.into_iter().skip(offset).take(limit).map(|row| ConnectionResponse::of(&call, row));
    let connections = shown.collect::<Result<_, _>>()?;
    Ok(Json(ConnectionCollectionResponse { connections, total_entries: page.total }))
}

fn missing(conn_id: &str) -> Error {
    Error::not_found(format!("The Connection with connection_id: `{conn_id}` was not found"))
}

/// One connection.
#[utoipa::path(
    get, path = "/api/v2/connections/{connection_id}", tag = "Connection",
    responses((status = 200, body = ConnectionResponse), Reads),
)]
async fn get_connection(call: Call, Path(id): Path<String>) -> Result<Json<ConnectionResponse>, Error> {
    let row = call.store().connection(&call.namespace, &id).await?.ok_or_else(|| missing(&id))?;
    Ok(Json(ConnectionResponse::of(&call, row)?))
}

/// A connection that is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConnectionBody {
    /// Letters, digits, `_`, `.` and `-`, up to 200.
    connection_id: String,
    conn_type: String,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    host: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    login: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    schema: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u16>)]
    port: Option<Option<u16>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    password: Option<Option<String>>,
    /// A JSON object as text.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    extra: Option<Option<String>>,
    /// Updraft has namespaces in place of teams: only `null` is taken.
    #[serde(default)]
    team_name: Option<String>,
}

impl ConnectionBody {
    fn check(&mut self) -> Result<(), Error> {
        refuse_team(self.team_name.take())?;
        let plain = |letter: char| letter.is_alphanumeric() || "_.-".contains(letter);
        let id = &self.connection_id;
        if id.is_empty() || id.chars().count() > LONGEST_ID || !id.chars().all(plain) {
            let msg = "String should match pattern '^[\\w.-]+$' and have at most 200 characters";
            return Err(
                Invalid::body("connection_id", "string_pattern_mismatch", msg, id.as_str().into()).into()
            );
        }
        if let Some(Some(extra)) = &mut self.extra {
            if extra.is_empty() {
                *extra = "{}".into();
            }
            if !matches!(serde_json::from_str(extra), Ok(Value::Object(_))) {
                let msg = "The `extra` field must be a valid JSON object (e.g., {'key': 'value'})";
                // What was sent may be a secret.
                return Err(Invalid::value("extra", msg, Value::Null).into());
            }
        }
        Ok(())
    }
}

/// Puts the fields that count in the place of a row's.
fn apply(call: &Call, row: &mut ConnectionRow, body: ConnectionBody, mask: &[String]) -> Result<(), Error> {
    let counts = |field: &str| mask.is_empty() || mask.iter().any(|it| it == field);
    let secrets = &call.shared.secrets;
    if counts("conn_type") {
        row.conn_type = body.conn_type;
    }
    let host = body.host.map(|host| host.map(|host| unmask_address(host, row.host.as_deref())));
    let texts = [
        ("description", body.description, &mut row.description),
        ("host", host, &mut row.host),
        ("login", body.login, &mut row.login),
        ("schema", body.schema, &mut row.schema),
    ];
    for (field, given, place) in texts {
        if let Some(given) = given.filter(|_| counts(field)) {
            *place = given;
        }
    }
    if let Some(port) = body.port.filter(|_| counts("port")) {
        row.port = port;
    }
    let (namespace, conn_id) = (row.namespace.clone(), row.conn_id.clone());
    if !row.is_encrypted {
        // From before there was a key: from now on both parts are encrypted.
        let password = SecretId::Password(namespace.clone(), conn_id.clone());
        let extra = SecretId::Extra(namespace.clone(), conn_id.clone());
        for (id, bytes) in [(password, &mut row.password), (extra, &mut row.extra)] {
            if let Some(old) = bytes.take() {
                *bytes = Some(secrets.seal(&id, &secrets.open(&id, &old, false)?)?);
            }
        }
        row.is_encrypted = true;
    }
    // Whoever reads, edits and writes back must not turn a secret into its mask.
    if let Some(password) =
        body.password.filter(|password| counts("password") && password.as_deref() != Some(MASK))
    {
        let id = SecretId::Password(namespace.clone(), conn_id.clone());
        row.password = password.map(|text| secrets.seal(&id, &text)).transpose()?;
    }
    if let Some(extra) = body.extra.filter(|_| counts("extra")) {
        let old = secrets.open_extra(row)?;
        let extra = extra.map(|extra| unmask(extra, old.as_deref()));
        let id = SecretId::Extra(namespace, conn_id);
        row.extra = extra.map(|text| secrets.seal(&id, &text)).transpose()?;
    }
    Ok(())
}

/// Makes a connection.
#[utoipa::path(
    post, path = "/api/v2/connections", tag = "Connection", request_body = ConnectionBody,
    responses((status = 201, body = ConnectionResponse), Writes),
)]
async fn post_connection(
    call: Call,
    Body(body): Body<ConnectionBody>,
) -> Result<(StatusCode, Json<ConnectionResponse>), Error> {
    let row = create(&call, body).await?;
    Ok((StatusCode::CREATED, Json(ConnectionResponse::of(&call, row)?)))
}

async fn create(call: &Call, mut body: ConnectionBody) -> Result<ConnectionRow, Error> {
    body.check()?;
    let mut row = ConnectionRow {
        namespace: call.namespace.clone(),
        conn_id: body.connection_id.clone(),
        conn_type: String::new(),
        description: None,
        host: None,
        schema: None,
        login: None,
        port: None,
        password: None,
        extra: None,
        is_encrypted: true,
    };
    apply(call, &mut row, body, &[])?;
    let audit = call.audit("create_connection", json!({ "conn_id": &row.conn_id }));
    if !call.store().put_connection(&row, Put::Create, &audit).await? {
        let detail = format!("The Connection with connection_id: `{}` already exists", row.conn_id);
        return Err(Error::conflict(detail));
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

/// Changes a connection: the fields that were sent. A password or a part of `extra` that comes back as it was
/// shown (`***`) stays what it is.
#[utoipa::path(
    patch, path = "/api/v2/connections/{connection_id}", tag = "Connection", params(Mask),
    request_body = ConnectionBody, responses((status = 200, body = ConnectionResponse), Writes),
)]
async fn patch_connection(
    call: Call,
    Path(id): Path<String>,
    mask: Mask,
    Body(body): Body<ConnectionBody>,
) -> Result<Json<ConnectionResponse>, Error> {
    if body.connection_id != id {
        return Err(Error::bad_request(
            "The connection_id in the request body does not match the URL parameter",
        ));
    }
    let row = change(&call, &id, body, &mask.update_mask).await?;
    Ok(Json(ConnectionResponse::of(&call, row)?))
}

async fn change(
    call: &Call,
    id: &str,
    mut body: ConnectionBody,
    mask: &[String],
) -> Result<ConnectionRow, Error> {
    body.check()?;
    let mut row = call.store().connection(&call.namespace, id).await?.ok_or_else(|| missing(id))?;
    apply(call, &mut row, body, mask)?;
    let audit = call.audit("update_connection", json!({ "conn_id": id }));
    match call.store().put_connection(&row, Put::Replace, &audit).await? {
        true => Ok(row),
        false => Err(missing(id)),
    }
}

/// Deletes a connection.
#[utoipa::path(
    delete, path = "/api/v2/connections/{connection_id}", tag = "Connection",
    responses((status = 204), Writes),
)]
async fn delete_connection(call: Call, Path(id): Path<String>) -> Result<StatusCode, Error> {
    delete(&call, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(call: &Call, id: &str) -> Result<(), Error> {
    let audit = call.audit("delete_connection", json!({ "conn_id": id }));
    match call.store().delete_connection(&call.namespace, id, &audit).await? {
        true => Ok(()),
        false => Err(missing(id)),
    }
}

struct Connections;

impl InBulk for Connections {
    const MANY: &'static str = "connections";
    type Name = String;
    type New = ConnectionBody;
    type Change = ConnectionBody;

    fn name(&self, entity: &Value) -> Result<String, Unnamed> {
        name_or_text(entity, "connection_id")
    }

    async fn is_there(&self, call: &Call, id: &String) -> Result<bool, Error> {
        Ok(call.store().connection(&call.namespace, id).await?.is_some())
    }

    async fn create(&self, call: &Call, new: ConnectionBody) -> Result<(), Error> {
        create(call, new).await.map(drop)
    }

    async fn change(
        &self,
        call: &Call,
        id: &String,
        body: ConnectionBody,
        mask: &[String],
    ) -> Result<(), Error> {
        change(call, id, body, mask).await.map(drop)
    }

    async fn delete(&self, call: &Call, id: &String) -> Result<(), Error> {
        delete(call, id).await
    }
}

/// Makes, changes and deletes connections.
#[utoipa::path(
    patch, path = "/api/v2/connections", tag = "Connection", request_body = BulkBody,
    responses((status = 200, body = BulkResponse), Writes),
)]
async fn bulk_connections(call: Call, Body(body): Body<BulkBody>) -> Result<Json<BulkResponse>, Error> {
    Ok(Json(bulk::obey(&Connections, &call, body).await?))
}

/// What a test of a connection came to.
#[derive(Serialize, ToSchema)]
struct ConnectionTestResponse {
    status: bool,
    message: String,
}

/// Says where connections are tested: where tasks run. A server opens none on behalf of whoever asks.
#[utoipa::path(
    post, path = "/api/v2/connections/test", tag = "Connection", request_body = ConnectionBody,
    responses((status = 200, body = ConnectionTestResponse), Writes),
)]
async fn test_connection(
    _: Call,
    Body(mut body): Body<ConnectionBody>,
) -> Result<Json<ConnectionTestResponse>, Error> {
    body.check()?;
    let message = format!(
        "nothing was tested: a server opens no connections for whoever asks. Where tasks run, `updraft connections test \
         {}` tests it, and so does a task with ConnectionTestOperator",
        body.connection_id
    );
    Ok(Json(ConnectionTestResponse { status: false, message }))
}
