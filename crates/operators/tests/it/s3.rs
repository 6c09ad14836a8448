//! The operators that work on S3 against moto's server.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{runtime::Runtime, task::JoinHandle};
use updraft_core::{
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};
use updraft_operators::{Files, Work, catalog, prepare};

use crate::{
    cut::Cut,
    memory::peak_mib,
    world::{Ended, Lines, World, context, order, run_native},
};

/// moto's server in a process of its own, with the empty buckets `lake` and `attic`, and a folder here.
struct Server {
    process: Child,
    _input: ChildStdin,
    home: tempfile::TempDir,
    port: u16,
    key_id: String,
    secret: String,
}

impl Server {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.path().join(".log")).unwrap())
            .spawn()
            .expect("moto is not there: run `scripts/setup.sh test`");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || fs::read_to_string(home.path().join(".log")).unwrap();
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("moto did not start: {}", log()));
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let (key_id, secret) = (text("key_id"), text("secret"));
        let port = said["port"].as_u64().unwrap().try_into().unwrap();
        Self { _input: process.stdin.take().unwrap(), process, home, port, key_id, secret }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn connection(&self) -> Connection {
        let extra = json!({"endpoint_url": format!("http://127.0.0.1:{}", self.port)});
        Connection {
            conn_id: "aws_default".into(),
            conn_type: "aws".into(),
            login: Some(self.key_id.clone()),
            password: Some(self.secret.clone()),
            extra: extra.as_object().unwrap().clone(),
            ..Connection::default()
        }
    }

    fn through(&self, port: u16) -> World {
        let mut connection = self.connection();
        connection.extra.insert("endpoint_url".into(), json!(format!("http://127.0.0.1:{port}")));
        world(connection)
    }

    fn run(&self, operator: &str, args: Value) -> Ended {
        run(&world(self.connection()), operator, args)
    }

    /// Puts a text into an object.
    fn put(&self, address: &str, text: &str) {
        succeeds(
            &self.run("S3CreateObjectOperator", json!({"s3_key": address, "data": text, "replace": true})),
        );
    }

    /// What is in an object.
    fn text(&self, address: &str) -> String {
        let path = self.path("read back");
        succeeds(&self.run("s3_to_local", json!({"source_key": address, "filename": path})));
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        text
    }

    fn keys(&self, bucket: &str) -> Value {
        self.run("S3ListOperator", json!({"bucket": bucket})).result()
    }
}

/// Prints how many uploads were begun in `lake` and not ended: with boto3, as the operators can't ask that.
const UPLOADS: &str = "
import boto3, sys
url, key, secret = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=url, region_name='us-east-1', aws_access_key_id=key, aws_secret_access_key=secret)
print(len(s3.list_multipart_uploads(Bucket='lake').get('Uploads', [])))
";

/// Prints the buckets with their regions.
const BUCKETS: &str = "
import boto3, sys
url, key, secret = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=url, region_name='us-east-1', aws_access_key_id=key, aws_secret_access_key=secret)
for bucket in sorted(s3.list_buckets()['Buckets'], key=lambda bucket: bucket['Name']):
    print(bucket['Name'], s3.get_bucket_location(Bucket=bucket['Name']).get('LocationConstraint'))
";

impl Server {
    /// What boto3 says.
    fn boto(&self, script: &str) -> String {
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").unwrap();
        let url = format!("http://127.0.0.1:{}", self.port);
        let said =
            Command::new(python).args(["-c", script, &url, &self.key_id, &self.secret]).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    }

    fn begun(&self) -> u32 {
        self.boto(UPLOADS).trim().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

fn world(connection: Connection) -> World {
    World { connections: [(connection.conn_id.clone(), connection)].into(), ..World::default() }
}

/// Runs an operator to its end. Nothing that it shows has the secret key in it.
fn run(world: &World, operator: &str, args: Value) -> Ended {
    let secret = world.connections["aws_default"].password.as_deref().unwrap();
    let prepared = prepare(&order(operator, args), world).unwrap();
    assert!(prepared.secrets.iter().any(|kept| kept == secret), "the secret key is not masked");
    let shown = format!("{:?} {}", prepared.work, prepared.rendered);
    let ended = run_native(prepared);
    let shown = format!("{shown} {:?} {:?}", ended.outcome, ended.log);
    assert!(!shown.contains(secret), "{shown}");
    ended
}

fn succeeds(ended: &Ended) {
    assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome);
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != ".log").collect();
    names.sort();
    names
}

#[test]
fn a_file_goes_there_and_comes_back_and_replaces_only_where_it_is_told_to() {
    let server = Server::start();
    fs::write(server.path("2026-01-31.csv"), b"a\n\xff\0").unwrap();
    let put = json!({
        "filename": server.path("{{ ds }}.csv"), "dest_bucket": "lake", "dest_key": "in/{{ ds }} ü.csv",
    });
    let ended = server.run("LocalFilesystemToS3Operator", put.clone());
    succeeds(&ended);
    assert_eq!(ended.result(), json!("s3://lake/in/2026-01-31 ü.csv"));
    let again = server.run("LocalFilesystemToS3Operator", put.clone());
    assert!(again.failure().contains("is there already: set `replace: true`"), "{:?}", again.outcome);
    fs::write(server.path("2026-01-31.csv"), b"b").unwrap();
    let mut put = put;
    put["replace"] = json!(true);
    succeeds(&server.run("LocalFilesystemToS3Operator", put));
    let get = json!({
        "source_key": "s3://lake/in/{{ ds }} ü.csv", "filename": server.path("x/y.csv"),
        "create_intermediate_dirs": true,
    });
    let ended = server.run("S3ToLocalFilesystemOperator", get);
    assert_eq!(ended.result(), json!(server.path("x/y.csv")));
    assert_eq!(fs::read(server.path("x/y.csv")).unwrap(), b"b");
}

#[test]
fn objects_are_made_listed_copied_and_deleted() {
    let server = Server::start();
    for key in ["a/1", "a/2", "a/b/3", "ab", "c"] {
        server.put(&format!("s3://lake/{key}"), key);
    }
    let list = |more: Value| {
        let mut args = json!({"bucket": "lake"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.run("S3ListOperator", args).result()
    };
    assert_eq!(list(json!({})), json!(["a/1", "a/2", "a/b/3", "ab", "c"]));
    assert_eq!(list(json!({"prefix": "a"})), json!(["a/1", "a/2", "a/b/3", "ab"]));
    assert_eq!(list(json!({"prefix": "a/", "delimiter": "/"})), json!(["a/1", "a/2"]));
    assert_eq!(list(json!({"prefix": "nothing"})), json!([]));
    let copy = |from: &str, to: &str| {
        server.run("S3CopyObjectOperator", json!({"source_bucket_key": from, "dest_bucket_key": to}))
    };
    succeeds(&copy("s3://lake/a/1", "s3://lake/copy"));
    succeeds(&copy("s3://lake/a/b/3", "s3://attic/copy"));
    assert_eq!(
        (server.text("s3://lake/copy"), server.text("s3://attic/copy")),
        ("a/1".into(), "a/b/3".into())
    );
    let missing = copy("s3://lake/nothing", "s3://attic/copy");
    assert!(missing.failure().contains("there is no"), "{:?}", missing.outcome);
    let delete = |more: Value| {
        let mut args = json!({"bucket": "lake"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        succeeds(&server.run("S3DeleteObjectsOperator", args));
    };
    delete(json!({"keys": ["ab", "never there"]}));
    delete(json!({"keys": "copy"}));
    assert_eq!(list(json!({})), json!(["a/1", "a/2", "a/b/3", "c"]));
    delete(json!({"prefix": "a/"}));
    assert_eq!((server.keys("lake"), server.keys("attic")), (json!(["c"]), json!(["copy"])));
}

#[test]
fn a_file_is_transferred_to_a_bucket_and_back_and_from_one_to_another() {
    let server = Server::start();
    let own = Connection { conn_id: "own".into(), ..server.connection() };
    let mut world = world(server.connection());
    world.connections.insert("own".into(), own);
    let copy = |src: &str, dst: &str, overwrite: bool| {
        run(&world, "FileTransferOperator", json!({"src": src, "dst": dst, "overwrite": overwrite}))
    };
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::write(server.path("large"), &large).unwrap();
    let (from, back) = (server.path("large"), server.path("new/back"));
    let (from, back) = (from.to_str().unwrap(), back.to_str().unwrap());
    for (src, dst) in [
        (from, "s3://lake/in/{{ ds }}"),
        ("s3://lake/in/2026-01-31", "s3://lake/beside"),
        ("s3://own@lake/beside", "s3://lake/again"),
        ("s3://lake/again", "s3://attic/elsewhere"),
        ("s3://own@attic/elsewhere", back),
    ] {
        let ended = copy(src, dst, false);
        let shown = dst.replace("{{ ds }}", "2026-01-31").replace("own@", "");
        assert_eq!(ended.result(), json!(shown), "{src}: {:?}", ended.outcome);
    }
    assert!(fs::read(back).unwrap() == large);
    for (src, dst) in [(from, "s3://lake/again"), ("s3://lake/beside", "s3://own@lake/again")] {
        let refused = copy(src, dst, false);
        assert!(refused.failure().contains("again is there already: set `overwrite: true`"), "{src}");
        succeeds(&copy(src, dst, true));
    }
    let missing = copy("s3://lake/nothing", back, true);
    assert!(missing.failure().contains("there is no nothing"), "{:?}", missing.outcome);
    assert_eq!(names(&server.path("new")), ["back"], "nothing half is left");
    let args = json!({"src": from, "dst": "s3://nobody@lake/x", "dest_conn_id": "own"});
    succeeds(&run(&world, "file_transfer", args));
    assert_eq!(server.keys("lake"), json!(["again", "beside", "in/2026-01-31", "x"]));
}

#[test]
fn buckets_are_made_where_there_are_none_and_deleted_where_there_are() {
    let server = Server::start();
    let create = |more: Value| {
        let ended = server.run("S3CreateBucketOperator", more);
        succeeds(&ended);
        ended.log.join("\n")
    };
    assert_eq!(create(json!({"bucket_name": "{{ dag.dag_id }}"})), "made the bucket reports");
    server.put("s3://reports/a/b", "kept");
    assert_eq!(create(json!({"bucket_name": "reports"})), "the bucket reports is there already");
    assert_eq!(server.text("s3://reports/a/b"), "kept");
    create(json!({"bucket_name": "far", "region_name": "eu-west-1"}));
    let mut connection = server.connection();
    connection.extra.insert("region_name".into(), json!("eu-central-1"));
    succeeds(&run(&world(connection), "s3_create_bucket", json!({"bucket_name": "near"})));
    let buckets = "attic None\nfar eu-west-1\nlake None\nnear eu-central-1\nreports None\n";
    assert_eq!(server.boto(BUCKETS), buckets);

    let delete = |more: Value| server.run("S3DeleteBucketOperator", more);
    let full = delete(json!({"bucket_name": "reports"}));
    assert!(full.failure().contains("BucketNotEmpty"), "{:?}", full.outcome);
    assert!(full.failure().ends_with("set `force_delete: true`, or delete its objects before"));
    let emptied = delete(json!({"bucket_name": "reports", "force_delete": true}));
    assert_eq!(emptied.log, ["deleted 1 objects", "deleted the bucket reports"], "{:?}", emptied.outcome);
    succeeds(&delete(json!({"bucket_name": "attic"})));
    let gone = delete(json!({"bucket_name": "reports"}));
    succeeds(&gone);
    assert_eq!(gone.log, ["there is no bucket reports"]);
    assert_eq!(server.boto(BUCKETS), "far eu-west-1\nlake None\nnear eu-central-1\n");
}

#[test]
fn why_a_bucket_is_not_made_is_told_with_the_mend() {
    let server = Server::start();
    let mut connection = server.connection();
    connection.password = Some("s3cret-that-is-wrong".into());
    for operator in ["s3_create_bucket", "s3_delete_bucket"] {
        let wrong = run(&world(connection.clone()), operator, json!({"bucket_name": "lake"}));
        assert!(
            wrong.failure().contains("check the connection's login (access key id)"),
            "{:?}",
            wrong.outcome
        );
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = run(&server.through(gone), "s3_create_bucket", json!({"bucket_name": "new"}));
    assert!(away.failure().contains("check the connection's endpoint_url"), "{:?}", away.outcome);
    let order = order("s3_delete_bucket", json!({"bucket_name": "lake/a"}));
    let refused = prepare(&order, &world(server.connection())).unwrap_err().to_string();
    assert!(refused.contains("which is no bucket's name"), "{refused}");
    assert_eq!(server.boto(BUCKETS), "attic None\nlake None\n");
}

#[test]
fn wrong_keys_a_missing_bucket_and_a_missing_object_are_told_with_the_mend() {
    let server = Server::start();
    fs::write(server.path("a"), "a").unwrap();
    let put = |bucket: &str| json!({"filename": server.path("a"), "dest_bucket": bucket, "dest_key": "a"});
    let mut connection = server.connection();
    connection.password = Some("s3cret-that-is-wrong".into());
    let wrong = run(&world(connection), "local_to_s3", put("lake"));
    assert!(wrong.failure().contains("check the connection's login (access key id)"), "{:?}", wrong.outcome);
    assert_eq!(server.keys("lake"), json!([]));
    let missing = server.run("local_to_s3", put("nowhere"));
    assert!(missing.failure().contains("no such bucket"), "{:?}", missing.outcome);
    let get = json!({"source_key": "s3://lake/nothing", "filename": server.path("b")});
    let missing = server.run("s3_to_local", get);
    assert!(missing.failure().contains("there is no nothing"), "{:?}", missing.outcome);
    let put = json!({"filename": server.path("nothing"), "dest_bucket": "lake", "dest_key": "a"});
    let missing = server.run("local_to_s3", put);
    assert!(missing.failure().contains("nothing can't be read: No such file"), "{:?}", missing.outcome);
    assert_eq!(names(server.home.path()), ["a"]);
}

#[test]
fn an_account_is_tried_and_nothing_is_changed() {
    let server = Server::start();
    let args = json!({"conn_id": "aws_default"});
    let tried = server.run("connection_test", args.clone());
    succeeds(&tried);
    let place = server.connection().extra["endpoint_url"].as_str().unwrap().to_owned();
    let works = format!("the connection `aws_default` works: {place} knows its keys");
    assert!(tried.log[0].contains(&works), "{:?}", tried.log);
    let mut wrong = server.connection();
    wrong.password = Some("s3cret-that-is-wrong".into());
    let refused = run(&world(wrong), "connection_test", args.clone());
    assert!(refused.failure().contains("SignatureDoesNotMatch"), "{:?}", refused.outcome);
    assert!(refused.failure().contains("(secret access key)"), "{:?}", refused.outcome);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = run(&server.through(gone), "connection_test", args);
    assert!(away.failure().contains("check the connection's endpoint_url"), "{:?}", away.outcome);
}

#[test]
fn what_tasks_are_kept_from_is_neither_sent_nor_overwritten() {
    let server = Server::start();
    server.put("s3://lake/a", "a");
    let home = server.path("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("key"), "the key").unwrap();
    let files = Files::new(vec![home.canonicalize().unwrap()], Vec::new());
    let world = World { files, ..world(server.connection()) };
    let put = json!({"filename": home.join("key"), "dest_key": "s3://lake/stolen"});
    let get = |name: &str| json!({"source_key": "s3://lake/a", "filename": home.join(name)});
    for (operator, args) in [("local_to_s3", put), ("s3_to_local", get("key")), ("s3_to_local", get("new"))] {
        let ended = run(&world, operator, args);
        assert!(ended.failure().contains("out of tasks' reach"), "{operator}: {:?}", ended.outcome);
    }
    assert_eq!(fs::read_to_string(home.join("key")).unwrap(), "the key");
    assert_eq!((names(&home), server.keys("lake")), (vec!["key".into()], json!(["a"])));
}

/// A file of 100 MiB, no two of whose MiB are alike.
fn large(path: &Path) {
    let mut large = fs::File::create(path).unwrap();
    for number in 0..100_u8 {
        large.write_all(&vec![number; 1 << 20]).unwrap();
    }
}

#[test]
fn a_hundred_megabytes_take_little_memory() {
    let server = Server::start();
    large(&server.path("large"));
    let before = peak_mib();
    let begin = Instant::now();
    let put = json!({"filename": server.path("large"), "dest_key": "s3://lake/large"});
    succeeds(&server.run("local_to_s3", put));
    println!("put: 100 MiB in {:?}", begin.elapsed());
    let begin = Instant::now();
    let get = json!({"source_key": "s3://lake/large", "filename": server.path("back")});
    succeeds(&server.run("s3_to_local", get));
    println!("get: 100 MiB in {:?}", begin.elapsed());
    let peak = peak_mib();
    assert!(peak < before + 64, "{before} MiB before, {peak} MiB at most");
    let same = Command::new("cmp").args([server.path("large"), server.path("back")]).status();
    assert!(same.unwrap().success());
}

#[test]
fn a_server_that_breaks_off_leaves_no_half_file() {
    let server = Server::start();
    large(&server.path("large"));
    let put = json!({"filename": server.path("large"), "dest_key": "s3://lake/large"});
    let cut = Cut::after(20 << 20, server.port);
    let ended = run(&server.through(cut.port), "local_to_s3", put.clone());
    assert!(ended.failure().contains("writing large failed"), "{:?}", ended.outcome);
    assert_eq!(server.keys("lake"), json!([]));
    succeeds(&server.run("local_to_s3", put));
    fs::write(server.path("back"), "old").unwrap();
    let get = json!({"source_key": "s3://lake/large", "filename": server.path("back")});
    let cut = Cut::after(20 << 20, server.port);
    let ended = run(&server.through(cut.port), "s3_to_local", get);
    assert!(ended.failure().contains("reading large failed"), "{:?}", ended.outcome);
    assert_eq!(fs::read_to_string(server.path("back")).unwrap(), "old");
    assert_eq!(names(server.home.path()), ["back", "large"]);
}

/// Begins work beside the test.
fn begin(world: &World, operator: &str, args: Value) -> (Runtime, JoinHandle<Outcome>) {
    let Work::Native(task) = prepare(&order(operator, args), world).unwrap().work else {
        panic!("no native work")
    };
    let runtime = Runtime::new().unwrap();
    let running = runtime.spawn(task.run(context(Arc::new(Lines::default()))));
    (runtime, running)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
    }
}

#[test]
fn a_download_whose_task_is_stopped_leaves_no_half_file() {
    // A server that takes the request and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start();
    let get = json!({"source_key": "s3://lake/large", "filename": server.path("back")});
    let world = server.through(silent.local_addr().unwrap().port());
    let (_runtime, running) = begin(&world, "s3_to_local", get);
    let _asked = silent.accept().unwrap();
    assert_eq!(names(server.home.path()).len(), 1, "the half file is there");
    running.abort();
    wait_until("something is left", || names(server.home.path()).is_empty());
}

#[test]
fn an_upload_whose_task_is_stopped_leaves_no_parts() {
    let server = Server::start();
    fs::File::create(server.path("large")).unwrap().set_len(4 << 30).unwrap();
    let put = json!({"filename": server.path("large"), "dest_key": "s3://lake/large"});
    let (_runtime, running) = begin(&world(server.connection()), "local_to_s3", put);
    wait_until("no upload begins", || server.begun() == 1);
    running.abort();
    wait_until("parts are left", || server.begun() == 0);
    assert_eq!(server.keys("lake"), json!([]));
}

#[test]
fn a_sensor_waits_for_all_keys_and_knows_patterns() {
    let server = Server::start();
    server.put("s3://lake/in/2026-01-31.csv", "");
    for (args, is_there) in [
        (json!({"bucket_key": "s3://lake/in/{{ ds }}.csv"}), true),
        (json!({"bucket_name": "lake", "bucket_key": ["in/{{ ds }}.csv"]}), true),
        (json!({"bucket_name": "lake", "bucket_key": ["in/{{ ds }}.csv", "in/other"]}), false),
        (json!({"bucket_name": "lake", "bucket_key": "in/*.csv"}), false),
        (json!({"bucket_name": "lake", "bucket_key": "in/*.csv", "wildcard_match": true}), true),
        (json!({"bucket_name": "lake", "bucket_key": "i*1.csv", "wildcard_match": true}), true),
        (json!({"bucket_name": "lake", "bucket_key": "in/*.txt", "wildcard_match": true}), false),
    ] {
        let mut args = args;
        args["poke_interval"] = json!(0.05);
        args["timeout"] = json!(0.2);
        let ended = server.run("S3KeySensor", args.clone());
        let end = if is_there { AttemptEnd::Success } else { AttemptEnd::FailedForGood };
        assert_eq!(ended.outcome.end, end, "{args}: {:?}", ended.outcome);
    }
}

#[test]
fn what_can_t_be_is_refused_before_anything_is_tried() {
    let whole = Connection {
        conn_id: "aws_default".into(),
        conn_type: "aws".into(),
        login: Some("id".into()),
        password: Some("secret".into()),
        ..Connection::default()
    };
    let extra = json!({"role_arn": "arn:aws:iam::1:role/x"}).as_object().unwrap().clone();
    for (connection, why) in [
        (Connection { password: None, ..whole.clone() }, "has no keys"),
        (Connection { conn_type: "http".into(), ..whole.clone() }, "the type must be aws"),
        (Connection { extra, ..whole.clone() }, "`role_arn`, which can't be had"),
    ] {
        let args = json!({"bucket": "lake"});
        let refused = prepare(&order("s3_list", args), &world(connection)).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let refused = |operator: &str, args: Value| match catalog::check(operator, args.as_object().unwrap()) {
        Err(error) => error.to_string(),
        Ok(_) => prepare(&order(operator, args), &world(whole.clone())).unwrap_err().to_string(),
    };
    for (operator, args, why) in [
        ("local_to_s3", json!({"filename": "a", "dest_key": "b"}), "no bucket is named"),
        (
            "local_to_s3",
            json!({"filename": "a", "dest_key": "s3://l/b", "gzip": true}),
            "`gzip` can't be had",
        ),
        ("s3_list", json!({"bucket": "lake", "verify": false}), "`verify` can't be had"),
        ("s3_delete_objects", json!({"bucket": "lake"}), "needs `keys` or `prefix`"),
        ("s3_delete_objects", json!({"bucket": "lake", "prefix": ""}), "would delete all"),
        ("s3_delete_objects", json!({"bucket": "lake", "prefix": "a", "keys": "b"}), "not both"),
        ("s3_key_sensor", json!({"bucket_key": "s3://l/b", "check_fn": "f"}), "`check_fn` can't be had"),
    ] {
        let refused = refused(operator, args);
        assert!(refused.contains(why), "{refused}");
    }
}
