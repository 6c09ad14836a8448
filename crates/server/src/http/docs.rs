//! The OpenAPI documents, and a page that lists what is in them.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use axum::{
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{Html, IntoResponse, Redirect},
};
use serde_json::Value;
use utoipa::{
    ToSchema as _,
    openapi::{
        Info, OpenApi,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Path, Shared, auth, error::Problem, v1, v2};
use crate::authoring::schema;

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(document_of_v2))
        .routes(routes!(document_of_v1))
        .routes(routes!(schema_of_dags))
        .routes(routes!(page))
        .routes(routes!(front))
        .routes(routes!(shown_by_commands))
}

static V2: LazyLock<String> = LazyLock::new(|| {
    let about = "Airflow's REST API v2, as Updraft answers it. `/ns/{name}/api/v2` is the same for another \
                 namespace.";
    write(document("Updraft: Airflow's REST API", about, auth::routes().merge(v2::routes())))
});

static V1: LazyLock<String> = LazyLock::new(|| {
    let about = "What Updraft has beyond Airflow's REST API. `/ns/{name}/api/v1` is the same for another \
                 namespace.";
    write(document("Updraft: its own API", about, v1::routes()))
});

/// The document of some routes.
fn document(title: &str, about: &str, routes: OpenApiRouter<Arc<Shared>>) -> OpenApi {
    let mut document = routes.into_openapi();
    document.info =
        Info::builder().title(title).version(env!("CARGO_PKG_VERSION")).description(Some(about)).build();
    // A part of a path that may contain slashes is written with a star for the router alone.
    let plain = |path: String| path.replace("{*", "{");
    document.paths.paths = std::mem::take(&mut document.paths.paths)
        .into_iter()
        .map(|(path, item)| (plain(path), item))
        .collect();
    let components = document.components.get_or_insert_default();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("HTTPBearer", bearer);
    components.schemas.insert(Problem::name().into_owned(), <Problem as utoipa::PartialSchema>::schema());
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], _>("HTTPBearer", [])]);
    document
}

fn write(document: OpenApi) -> String {
    // Nothing in it can fail to be written; an empty document would be seen at once.
    document.to_json().unwrap_or_default()
}

/// The OpenAPI document of the routes at `/api/v2`.
#[utoipa::path(get, path = "/api/v2/openapi.json", tag = "Documents", responses((status = 200)), security(()))]
async fn document_of_v2() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], V2.as_str())
}

/// The OpenAPI document of the routes at `/api/v1`.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "Documents", responses((status = 200)), security(()))]
async fn document_of_v1() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], V1.as_str())
}

/// The JSON Schema of DAG files, for editors: `# yaml-language-server: $schema=…` as a file's first line.
#[utoipa::path(get, path = "/schema/dag.json", tag = "Documents", responses((status = 200)), security(()))]
async fn schema_of_dags() -> impl IntoResponse {
    static SCHEMA: LazyLock<String> = LazyLock::new(|| schema().to_string());
    ([(CONTENT_TYPE, "application/schema+json")], SCHEMA.as_str())
}

/// A page for people that lists all routes.
#[utoipa::path(get, path = "/docs", tag = "Documents", responses((status = 200)), security(()))]
async fn page() -> impl IntoResponse {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let mut html = String::from(HEAD);
        list(&mut html, "/api/v2", &V2);
        list(&mut html, "/api/v1", &V1);
        html
    });
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(CONTENT_SECURITY_POLICY, policy)], Html(PAGE.as_str()))
}

/// Leads whoever types in the server's address to what there is to see.
#[utoipa::path(get, path = "/", tag = "Documents", responses((status = 307)), security(()))]
async fn front() -> Redirect {
    Redirect::temporary("/docs")
}

/// Where the links of alerts lead, until there is a page: to the commands that show it.
#[utoipa::path(get, path = "/dags/{*of}", tag = "Documents", responses((status = 200)), security(()))]
async fn shown_by_commands(Path(of): Path<String>) -> impl IntoResponse {
    let parts: Vec<&str> = of.split('/').collect();
    let command = match parts.as_slice() {
        [dag, "runs", run, ..] => format!("updraft runs show {} {}", quoted(dag), quoted(run)),
        [dag, ..] => format!("updraft dags show {}", quoted(dag)),
        [] => "updraft dags list".to_owned(),
    };
    let policy = "default-src 'none'; frame-ancestors 'none'";
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Updraft</title><p>Updraft has no page for this \
         yet. A terminal shows it:<pre>{}</pre>",
        escape(&command)
    );
    ([(CONTENT_SECURITY_POLICY, policy)], Html(html))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_.:+@".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Updraft: API</title>\
    <style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    table{border-collapse:collapse;width:100%}td{padding:.2rem .6rem .2rem 0;vertical-align:top;\
    border-top:1px solid #8884}code{overflow-wrap:anywhere}</style>\
    <h1>Updraft: API</h1><p>Get a token with <code>POST /auth/token</code> \
    (<code>{\"username\": …, \"password\": …}</code>) and send it as \
    <code>Authorization: Bearer …</code>.</p>";

fn list(html: &mut String, base: &str, document: &str) {
    let _ =
        write!(html, "<h2>{base}</h2><p><a href=\"{base}/openapi.json\">{base}/openapi.json</a></p><table>");
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let _ = write!(
                html,
                "<tr><td><code>{}</code><td><code>{}</code><td>{}",
                method.to_uppercase(),
                escape(path),
                escape(summary)
            );
        }
    }
    html.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_of_a_document_has_a_name_of_its_own() {
        for text in [&*V2, &*V1] {
            let document: Value = serde_json::from_str(text).unwrap();
            let paths = document["paths"].as_object().unwrap();
            let operations = paths.values().flat_map(|methods| methods.as_object().unwrap().values());
            let mut names: Vec<&str> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
            assert!(paths.keys().all(|path| !path.contains('*')));
        }
    }
}
