//! Being told of changes.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Repository, dag, following, until_at};
use crate::system::{System, client};

/// Calls the webhook with this header; the status.
async fn call(system: &System, header: Option<(&str, String)>) -> u16 {
    let url = format!("{}/api/v1/dags/git/webhook", system.address());
    let mut request = client().post(url).body(BODY);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

const BODY: &str = r#"{"ref": "refs/heads/main"}"#;

fn signed(secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(BODY.as_bytes());
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[tokio::test]
async fn only_a_webhook_that_knows_the_secret_has_the_repository_fetched() {
    let repository = Repository::new();
    let first = repository.commit(&[("dags/a.yaml", &dag("a", "1"))]);
    let mut system = following(&repository.url(), 100_000);
    system.set("UPDRAFT__DAGS__GIT__WEBHOOK_SECRET", "of the hook");
    system.start(1);
    until_at(&system, &[("a", &first)]).await;
    let second = repository.commit(&[("dags/a.yaml", &dag("a", "2"))]);
    for bad in [None, Some(("X-Hub-Signature-256", signed("another"))), Some(("X-Gitlab-Token", "no".into()))]
    {
        assert_eq!(call(&system, bad.clone()).await, 401, "{bad:?}");
    }
    assert_eq!(call(&system, Some(("X-Hub-Signature-256", signed("of the hook")))).await, 202);
    until_at(&system, &[("a", &second)]).await;
    let third = repository.commit(&[("dags/a.yaml", &dag("a", "3"))]);
    assert_eq!(call(&system, Some(("X-Gitlab-Token", "of the hook".into()))).await, 202);
    until_at(&system, &[("a", &third)]).await;
    let versions: serde_json::Value =
        serde_json::from_str(&system.get("/api/v2/dags/a/dagVersions").await).unwrap();
    assert_eq!(versions["total_entries"], 3);
    let shown = system.run(&["config", "show"]);
    assert!(!shown.out.contains("of the hook") && !system.said().contains("of the hook"));
}

#[tokio::test]
async fn without_a_secret_no_webhook_is_heard() {
    let repository = Repository::new();
    let first = repository.commit(&[("dags/a.yaml", &dag("a", "1"))]);
    let mut system = following(&repository.url(), 100_000);
    system.start(1);
    until_at(&system, &[("a", &first)]).await;
    assert_eq!(call(&system, Some(("X-Hub-Signature-256", signed("")))).await, 403);
    assert_eq!(call(&system, Some(("X-Gitlab-Token", String::new()))).await, 403);
}
