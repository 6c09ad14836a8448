//! Deployments: `/api/v1/deployments`.

use std::sync::Arc;

use axum::{Json, body::Body as AxumBody, http::StatusCode};
use serde::{Deserialize, Serialize};
use updraft_store::{DeploymentRow, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Body, Error, Path, Reads, Shared, Writes, call::Call, error::Invalid, query::query, time::Time,
};
use crate::{
    authoring::ImportError,
    deployments::{self, Deployed, Wanted},
};

/// What somebody says of a deployment may have so many letters.
const LONGEST_MESSAGE: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(list_deployments, deploy))
        .routes(routes!(get_deployment))
        .routes(routes!(roll_back))
}

/// A deployment.
#[derive(Serialize, ToSchema)]
struct DeploymentResponse {
    /// Its number in its namespace. The highest one counts.
    number: u32,
    namespace: String,
    /// SHA-256 of the bundle's archive.
    hash: String,
    /// The archive's size.
    bytes: u64,
    /// How many files are in it.
    files: u64,
    message: Option<String>,
    /// The earlier deployment that this one brought back.
    rolled_back_to: Option<u32>,
    /// The account that deployed it.
    account: String,
    created_at: Time,
}

impl From<DeploymentRow> for DeploymentResponse {
    fn from(row: DeploymentRow) -> Self {
        let deployment = row.deployment;
        Self {
            number: row.number,
            namespace: deployment.namespace.to_string(),
            hash: deployment.hash,
            bytes: deployment.bytes,
            files: deployment.files,
            message: deployment.message,
            rolled_back_to: deployment.rolled_back_to,
            account: deployment.account,
            created_at: Time(row.created_at),
        }
    }
}

/// What was deployed.
#[derive(Serialize, ToSchema)]
struct DeployedResponse {
    #[serde(flatten)]
    deployment: DeploymentResponse,
    /// The DAGs that its files have.
    dags: Vec<String>,
    /// What is wrong with some of its files.
    import_errors: Vec<String>,
    /// Whether these DAGs are there by now; they will be soon otherwise, or another source has one of them.
    in_place: bool,
}

impl From<Deployed> for DeployedResponse {
    fn from(deployed: Deployed) -> Self {
        Self {
            deployment: deployed.row.into(),
            dags: deployed.dags.iter().map(ToString::to_string).collect(),
            import_errors: deployed.errors.iter().map(ToString::to_string).collect(),
            in_place: deployed.in_place,
        }
    }
}

/// Deployments.
#[derive(Serialize, ToSchema)]
struct DeploymentsResponse {
    deployments: Vec<DeploymentResponse>,
    total_entries: u64,
}

query! {
    /// Which deployments.
    DeploymentsQuery {
        window: Window,
    }
}

query! {
    /// How it is deployed.
    DeployQuery {
        /// What is said of it.
        message: Option<String>,
        /// Also where some of its files are wrong: the DAGs that these have stay as they are.
        force: Option<bool>,
    }
}

/// The deployments of a namespace, the latest first.
#[utoipa::path(
    get, path = "/api/v1/deployments", tag = "Deployments", params(DeploymentsQuery),
    responses((status = 200, body = DeploymentsResponse), Reads),
)]
async fn list_deployments(call: Call, query: DeploymentsQuery) -> Result<Json<DeploymentsResponse>, Error> {
    let page = call.store().deployments(&call.namespace, query.window).await?;
    let deployments = page.rows.into_iter().map(Into::into).collect();
    Ok(Json(DeploymentsResponse { deployments, total_entries: page.total }))
}

/// A deployment of a namespace.
#[utoipa::path(
    get, path = "/api/v1/deployments/{number}", tag = "Deployments",
    responses((status = 200, body = DeploymentResponse), Reads),
)]
async fn get_deployment(call: Call, Path(number): Path<u32>) -> Result<Json<DeploymentResponse>, Error> {
    let found = call.store().deployment(&call.namespace, number).await?;
    let missing = || Error::not_found(format!("there is no deployment {number} of `{}`", call.namespace));
    found.map(|row| Json(row.into())).ok_or_else(missing)
}

/// Deploys a bundle into a namespace: a tar of a folder with DAG files, packed by gzip. It counts at once and whole, in
/// the place of what was deployed there before, unless something is wrong with one of its DAG files. Runs that are not
/// over go on as they began.
#[utoipa::path(
    post, path = "/api/v1/deployments", tag = "Deployments", params(DeployQuery),
    request_body(content_type = "application/gzip", content = String),
    responses((status = 201, body = DeployedResponse), Writes),
)]
async fn deploy(
    call: Call,
    query: DeployQuery,
    body: AxumBody,
) -> Result<(StatusCode, Json<DeployedResponse>), Error> {
    if query.message.as_ref().is_some_and(|message| message.chars().count() > LONGEST_MESSAGE) {
        let msg = format!("it has more than {LONGEST_MESSAGE} letters");
        return Err(Invalid::query("message", "value_error", msg, "").into());
    }
    let wanted = Wanted {
        namespace: call.namespace.clone(),
        account: call.who.name.clone(),
        message: query.message,
        force: query.force.unwrap_or(false),
    };
    let deployed = call.shared.deployments.deploy(wanted, body.into_data_stream()).await?;
    Ok((StatusCode::CREATED, Json(deployed.into())))
}

/// Where to go back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    /// The number of an earlier deployment; where none is named, what counted before what counts now.
    #[serde(default)]
    number: Option<u32>,
}

/// Deploys anew what an earlier deployment of a namespace had.
#[utoipa::path(
    post, path = "/api/v1/deployments/rollback", tag = "Deployments", request_body = RollbackBody,
    responses((status = 201, body = DeployedResponse), Writes),
)]
async fn roll_back(
    call: Call,
    Body(body): Body<RollbackBody>,
) -> Result<(StatusCode, Json<DeployedResponse>), Error> {
    let deployments = &call.shared.deployments;
    let deployed =
        deployments.roll_back(call.namespace.clone(), body.number, call.who.name.to_string()).await?;
    Ok((StatusCode::CREATED, Json(deployed.into())))
}

impl From<deployments::Error> for Error {
    fn from(error: deployments::Error) -> Self {
        use deployments::Error as Failed;
        match error {
            Failed::Wrong(errors) => {
                let fault = |error: &ImportError| Invalid::value("file", error, error.file.as_ref());
                Self::Invalid(errors.iter().map(fault).collect())
            }
            Failed::Bundle(updraft_bundles::Error::Files { .. }) => Self::Internal(error.to_string()),
            Failed::Bundle(_) | Failed::Upload(_) | Failed::NoDags => Self::bad_request(error.to_string()),
            Failed::TooLarge => Self::Status(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            Failed::NotFound(what) => Self::not_found(what),
            Failed::Blobs(error) => error.into(),
            Failed::Store(error) => error.into(),
        }
    }
}
