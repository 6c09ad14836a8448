//! Sources that can't be read: `/importErrors`.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use updraft_store::{ImportErrorRow, Window};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Error, Path, Reads, Shared,
    call::Call,
    query::{Named, order, query},
    time::Time,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(get_import_errors)).routes(routes!(get_import_error))
}

/// Why a source can't be read.
#[derive(Serialize, ToSchema)]
struct ImportErrorResponse {
    import_error_id: i64,
    timestamp: Time,
    filename: String,
    bundle_name: Option<String>,
    /// What is wrong, and the mend. The line comes first where it is known.
    stack_trace: String,
}

impl From<ImportErrorRow> for ImportErrorResponse {
    fn from(row: ImportErrorRow) -> Self {
        Self {
            import_error_id: row.id,
            timestamp: Time(row.at),
            bundle_name: None,
            stack_trace: match row.line {
                // What the readers of DAG files say begins with its place.
                _ if row.message.starts_with(&row.source) => row.message,
                Some(line) => format!("{}:{line}: {}", row.source, row.message),
                None => format!("{}: {}", row.source, row.message),
            },
            filename: row.source,
        }
    }
}

/// Import errors.
#[derive(Serialize, ToSchema)]
struct ImportErrorCollectionResponse {
    import_errors: Vec<ImportErrorResponse>,
    total_entries: u64,
}

query! {
    /// Which import errors.
    ImportErrorsQuery {
        window: Window,
        /// By the source.
        filename: Named,
        /// `id`, `timestamp` or `filename`, a dash before it for the largest first; by source where nothing
        /// is said.
        order_by: Vec<String>,
    }
}

#[derive(Clone, Copy)]
enum Field {
    Id,
    Time,
    Source,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("import_error_id", Field::Id),
    ("timestamp", Field::Time),
    ("filename", Field::Source),
];

/// Sources that can't be read now.
#[utoipa::path(
    get, path = "/api/v2/importErrors", tag = "Import Error", params(ImportErrorsQuery),
    responses((status = 200, body = ImportErrorCollectionResponse), Reads),
)]
async fn get_import_errors(
    call: Call,
    query: ImportErrorsQuery,
) -> Result<Json<ImportErrorCollectionResponse>, Error> {
    let order = order(&query.order_by, FIELDS)?;
    // There are few at a time, and they are ordered here.
    let page = call.store().import_errors(&call.namespace, &query.filename.0, Window::ALL).await?;
    let mut rows = page.rows;
    for order in order.iter().rev() {
        match order.by {
            Field::Id => rows.sort_by_key(|row| row.id),
            Field::Time => rows.sort_by_key(|row| row.at),
            Field::Source => rows.sort_by(|a, b| a.source.cmp(&b.source)),
        }
        if order.descending {
            rows.reverse();
        }
    }
    let (offset, limit) = (query.window.offset as usize, query.window.limit as usize);
    let import_errors = rows.into_iter().skip(offset).take(limit).map(Into::into).collect();
    Ok(Json(ImportErrorCollectionResponse { import_errors, total_entries: page.total }))
}

/// One import error.
#[utoipa::path(
    get, path = "/api/v2/importErrors/{import_error_id}", tag = "Import Error",
    responses((status = 200, body = ImportErrorResponse), Reads),
)]
async fn get_import_error(call: Call, Path(id): Path<i64>) -> Result<Json<ImportErrorResponse>, Error> {
    let found = call.store().import_error(&call.namespace, id).await?;
    let missing = || Error::not_found(format!("The ImportError with import_error_id: `{id}` was not found"));
    Ok(Json(found.ok_or_else(missing)?.into()))
}
