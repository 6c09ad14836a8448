//! What is deployed, and gone back to.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use updraft_bundles::archive;

use super::{
    Server,
    server::{Answer, WORKER_TOKEN, send},
    worker::Worker,
};

const PROD: &str = "/ns/prod/api/v1/deployments";

/// A bundle with these files.
fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let mut packed = Vec::new();
    archive::pack(folder.path(), &mut packed).unwrap();
    packed
}

/// A DAG of one task that prints this.
fn dag(id: &str, says: &str) -> String {
    format!(
        "{id}:\n  default_args: {{start_date: 2024-01-01}}\n  is_paused_upon_creation: false\n  tasks:\n    \
         say: {{operator: bash, bash_command: echo {says}}}\n"
    )
}

async fn deploy_as(server: &Server, path: &str, who: &str, packed: Vec<u8>) -> Answer {
    let request = server.request(Method::POST, path, who).header("content-type", "application/gzip");
    send(request.body(packed), format!("POST {path}")).await
}

async fn deploy(server: &Server, packed: Vec<u8>) -> Answer {
    deploy_as(server, PROD, "admin", packed).await
}

async fn said(server: &Server, dag: &str) -> Value {
    let source = server.get(&format!("/ns/prod/api/v2/dagSources/{dag}")).await.ok();
    let spec: Value = serde_json::from_str(source["content"].as_str().unwrap()).unwrap();
    spec["tasks"][0]["args"]["bash_command"].clone()
}

#[tokio::test]
async fn a_deployment_counts_whole_and_at_once_and_the_one_before_comes_back() {
    let server = Server::start().await;
    let first =
        deploy(&server, bundle(&[("a.yml", &dag("a", "one")), ("sub/b.yml", &dag("b", "one"))])).await.ok();
    assert_eq!((&first["number"], &first["in_place"]), (&json!(1), &json!(true)), "{first}");
    assert_eq!(first["dags"], json!(["a", "b"]));
    let known = server.get("/ns/prod/api/v2/dags/a/details").await.ok();
    let known = (&known["fileloc"], &known["bundle_name"], &known["bundle_version"]);
    assert_eq!(known, (&json!("deployed:a.yml"), &json!("deployed"), &first["hash"]));
    server.get("/api/v2/dags/a").await.refused(404);

    let path = format!("{PROD}?message=two");
    let second = deploy_as(&server, &path, "admin", bundle(&[("a.yml", &dag("a", "two"))])).await.ok();
    assert_eq!((&second["number"], &second["message"]), (&json!(2), &json!("two")));
    assert_eq!(said(&server, "a").await, "echo two");
    server.until("/ns/prod/api/v2/dags/b", |dag| dag["is_stale"] == true).await;

    let back = server.post(&format!("{PROD}/rollback"), json!({})).await.ok();
    assert_eq!((&back["number"], &back["rolled_back_to"]), (&json!(3), &json!(1)));
    assert_eq!((&back["hash"], &back["in_place"]), (&first["hash"], &json!(true)));
    assert_eq!(said(&server, "a").await, "echo one");
    server.until("/ns/prod/api/v2/dags/b", |dag| dag["is_stale"] == false).await;
    // There is nothing before that one.
    server.post(&format!("{PROD}/rollback"), json!({})).await.refused(404);
    let forth = server.post(&format!("{PROD}/rollback"), json!({"number": 2})).await.ok();
    assert_eq!((&forth["number"], &forth["rolled_back_to"]), (&json!(4), &json!(2)));
    server.post(&format!("{PROD}/rollback"), json!({"number": 9})).await.refused(404);

    let listed = server.get(PROD).await.ok();
    let numbers: Vec<_> =
        listed["deployments"].as_array().unwrap().iter().map(|row| row["number"].clone()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert_eq!(server.get("/api/v1/deployments").await.ok()["total_entries"], 0);
    assert_eq!(server.get(&format!("{PROD}/2")).await.ok()["hash"], second["hash"]);
}

#[tokio::test]
async fn what_is_wrong_is_not_deployed_and_nothing_changes() {
    let server = Server::start().await;
    deploy(&server, bundle(&[("a.yml", &dag("a", "one"))])).await.ok();
    let bad =
        [("a.yml", &*dag("a", "two")), ("team/bad.yml", "bad:\n  tasks:\n    t: {operator: Nonsense}\n")];
    let refused = deploy(&server, bundle(&bad)).await.refused(422);
    let told = refused.to_string();
    assert!(told.contains("team/bad.yml:3") && told.contains("Nonsense"), "{told}");
    deploy(&server, bundle(&[("notes.txt", "no DAG")])).await.refused(400);
    deploy(&server, b"no archive".to_vec()).await.refused(400);
    let mut broken = bundle(&[("a.yml", &dag("a", "two"))]);
    broken.truncate(broken.len() / 2);
    deploy(&server, broken).await.refused(400);
    assert_eq!(server.get(PROD).await.ok()["total_entries"], 1);
    assert_eq!(said(&server, "a").await, "echo one");
    assert_eq!(fs::read_dir(server.home.path().join("deployed/prod/unfinished")).unwrap().count(), 0);

    let forced = deploy_as(&server, &format!("{PROD}?force=true"), "admin", bundle(&bad)).await.ok();
    assert_eq!((&forced["number"], &forced["dags"]), (&json!(2), &json!(["a"])));
    assert_eq!(said(&server, "a").await, "echo two");
    let errors = server.until("/ns/prod/api/v2/importErrors", |page| page["total_entries"] == 1).await;
    assert_eq!(errors["import_errors"][0]["filename"], "deployed:team/bad.yml");
}

#[tokio::test]
async fn only_administrators_deploy_and_each_where_its_account_is() {
    let server = Server::start().await;
    let prod = server.account("prod-admin", "admin", Some("prod")).await;
    let packed = || bundle(&[("a.yml", &dag("a", "one"))]);
    for (path, who) in
        [(PROD, "op"), ("/api/v1/deployments", &*prod), ("/ns/test/api/v1/deployments", &*prod)]
    {
        deploy_as(&server, path, who, packed()).await.refused(403);
    }
    assert_eq!(deploy_as(&server, PROD, &prod, packed()).await.ok()["account"], "prod-admin");
    // Nor may it make workers for others, or see and revoke what is not its namespace's.
    let join = |namespace: Value| json!({"name": "w", "purpose": "join", "namespace": namespace});
    let made = server.ask("POST", "/ns/prod/api/v1/tokens", &prod, Some(join(Value::Null))).await.ok();
    let test = server.ask("POST", "/ns/prod/api/v1/tokens", &prod, Some(join("test".into()))).await;
    test.refused(403);
    server.ask("GET", "/ns/prod/api/v1/tokens?all=true", &prod, None).await.refused(403);
    let all = server.get("/api/v1/tokens?all=true").await.ok();
    assert_eq!(all["tokens"][0]["namespace"], "prod");
    let others = server.post("/api/v1/tokens", join(Value::Null)).await.ok();
    server.ask("DELETE", &format!("/ns/prod/api/v1/tokens/{}", others["id"]), &prod, None).await.refused(404);
    let own = server.ask("DELETE", &format!("/ns/prod/api/v1/tokens/{}", made["id"]), &prod, None).await;
    assert_eq!(own.status, 204);
    for name in [".x", "a b", ""] {
        let path = format!("/ns/{name}/api/v1/deployments");
        assert!(deploy_as(&server, &path, "admin", packed()).await.status.is_client_error(), "{name}");
    }
}

#[tokio::test]
async fn a_worker_gets_the_bundle_of_its_attempt_and_one_of_a_namespace_nothing_else() {
    let server = Server::start().await;
    let packed = bundle(&[("a.yml", &dag("a", "one"))]);
    let first = deploy(&server, packed.clone()).await.ok();
    let hash = first["hash"].as_str().unwrap();
    let body = |namespace: Value| json!({"name": "w", "purpose": "join", "namespace": namespace});
    let token = async |namespace: &str| {
        let made = server.post("/api/v1/tokens", body(namespace.into())).await.ok();
        made["token"].as_str().unwrap().to_owned()
    };
    let (prod, test) = (token("prod").await, token("test").await);
    server.post("/api/v1/tokens", body("../x".into())).await.refused(422);
    let mut elsewhere = Worker::join_as(&server, &test, "elsewhere").await;
    let mut worker = Worker::join_as(&server, &prod, "worker").await;
    server
        .post("/ns/prod/api/v2/dags/a/dagRuns", json!({"dag_run_id": "r", "logical_date": null}))
        .await
        .ok();
    let order = worker.begin().await;
    assert_eq!(
        (order.run.bundle.as_ref().unwrap().hash.as_str(), order.run.source.as_str()),
        (hash, "a.yml")
    );
    let archive = format!("/worker/v1/bundles/{hash}?attempt={}", order.attempt);
    for token in [WORKER_TOKEN, &prod] {
        let got = server.request(Method::GET, &archive, token).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(got, packed);
    }
    server.ask("GET", &archive, &test, None).await.refused(403);
    server.ask("GET", &archive, "admin", None).await.refused(403);
    let other = deploy(&server, bundle(&[("a.yml", &dag("a", "two"))])).await.ok();
    let other = format!("/worker/v1/bundles/{}?attempt={}", other["hash"].as_str().unwrap(), order.attempt);
    server.ask("GET", &other, &prod, None).await.refused(403);
    let variable = format!("/worker/v1/variables/x?attempt={}", order.attempt);
    assert_eq!(server.ask("GET", &variable, &test, None).await.status, 403);
    assert_eq!(server.ask("GET", &variable, &prod, None).await.status, 404);
    let workers = server.get("/api/v1/workers").await.ok();
    let namespaces: Vec<_> =
        workers["workers"].as_array().unwrap().iter().map(|w| w["namespace"].clone()).collect();
    assert_eq!(namespaces, ["test", "prod"]);
    assert_eq!(workers["workers"][0]["worker"], "elsewhere@test", "it takes nobody's place elsewhere");
    elsewhere.say(updraft_core::protocol::FromWorker::Events(Vec::new())).await;
}

#[tokio::test]
async fn of_several_deployments_at_once_each_counts_whole() {
    let server = Server::start().await;
    let data = "0123456789".repeat(100_000);
    let versions: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    let at_once = versions.iter().map(|says| {
        let packed = bundle(&[("a.yml", &dag("a", says)), ("data.csv", &data)]);
        deploy(&server, packed)
    });
    let deployed = futures_util::future::join_all(at_once).await;
    let mut numbers: Vec<_> =
        deployed.into_iter().map(|answer| answer.ok()["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    for number in numbers {
        let back = server.post(&format!("{PROD}/rollback"), json!({"number": number})).await.ok();
        assert_eq!(back["in_place"], true, "{back}");
    }
}
