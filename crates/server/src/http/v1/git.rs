//! The hook by which a Git server says that the repository of DAG files has changed.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{Error, Shared, Writes, body};

pub(super) fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(on_push))
}

/// The header of GitHub and Gitea: `sha256=` and the HMAC of the body, in hexadecimal (GitHub's "Validating webhook
/// deliveries").
const SIGNATURE: &str = "x-hub-signature-256";
/// The header of GitLab: the secret itself (GitLab's "Webhooks").
const TOKEN: &str = "x-gitlab-token";

/// Says that the repository of DAG files has changed: it is fetched soon. Whoever calls shows that he knows
/// `dags.git.webhook_secret`, as GitHub does (`X-Hub-Signature-256`) or as GitLab does (`X-Gitlab-Token`). What else
/// the body says does not count.
#[utoipa::path(
    post, path = "/api/v1/dags/git/webhook", tag = "DAG", request_body(content = Object),
    responses((status = 202, description = "The repository is fetched soon"), Writes), security(()),
)]
async fn on_push(State(shared): State<Arc<Shared>>, request: Request) -> Result<StatusCode, Error> {
    let headers = request.headers().clone();
    let git = shared.git.as_ref();
    let Some((git, secret)) = git.and_then(|git| Some((git, git.webhook_secret()?))) else {
        return Err(Error::forbidden(
            "no webhook is heard: set `dags.git.webhook_secret`, and the same secret at the Git server",
        ));
    };
    let body = body::bytes(request, &()).await?;
    match knows(secret, &headers, &body) {
        true => {
            git.look_soon();
            Ok(StatusCode::ACCEPTED)
        }
        false => Err(Error::Status(
            StatusCode::UNAUTHORIZED,
            "this does not show that its sender knows `dags.git.webhook_secret`: set the same secret at the Git server"
                .into(),
        )),
    }
}

/// Whether a request shows that its sender knows the secret. Takes as long for what is nearly right.
fn knows(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name| headers.get(name).map(|value| value.as_bytes());
    if let Some(signature) = header(SIGNATURE) {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
        mac.update(body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        return bool::from(format!("sha256={hex}").as_bytes().ct_eq(signature));
    }
    header(TOKEN).is_some_and(|token| bool::from(secret.as_bytes().ct_eq(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_heard(headers: &[(&'static str, &str)], body: &str) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()));
        knows("It's a Secret to Everybody", &headers.collect(), body.as_bytes())
    }

    #[test]
    fn only_who_knows_the_secret_is_heard() {
        // GitHub's own example.
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_heard(&[(SIGNATURE, good)], "Hello, World!"));
        assert!(!is_heard(&[(SIGNATURE, good)], "Hello, world!"));
        assert!(!is_heard(&[(SIGNATURE, &good[7..])], "Hello, World!"));
        assert!(is_heard(&[(TOKEN, "It's a Secret to Everybody")], "{}"));
        assert!(!is_heard(&[(TOKEN, "It's a secret")], "{}"));
        assert!(!is_heard(&[], "{}"));
        // Of two, the signature is the one that counts.
        assert!(!is_heard(&[(SIGNATURE, "sha256=0"), (TOKEN, "It's a Secret to Everybody")], "{}"));
    }
}
