//! A server that others reach with TLS.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::system::{Done, System};

/// A certificate of its own, for this machine, with its key beside it.
fn certificate(folder: &Path, name: &str) -> PathBuf {
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    certificate
}

/// A server with a certificate in `used.pem`, and where it listens with it.
async fn started(system: &mut System) -> String {
    let shared = system.shared();
    certificate(&shared, "used");
    system.set("UPDRAFT__SERVER__TLS_LISTEN", "127.0.0.1:0");
    system.set("UPDRAFT__SERVER__TLS_CERTIFICATE", shared.join("used.pem").display().to_string());
    system.set("UPDRAFT__SERVER__TLS_KEY", shared.join("used.key").display().to_string());
    system.set("NO_COLOR", "1");
    system.start(2);
    system.until(&["health"], |done| done.code == 0).await;
    let said = system.said();
    let line = said.lines().find(|line| line.contains("listens with TLS")).unwrap();
    format!("https://localhost:{}", line.rsplit(':').next().unwrap().trim())
}

/// A command that asks there and trusts this certificate.
fn trusting(system: &System, certificate: &Path, arguments: &[&str]) -> Done {
    let output = system.command(arguments).env("SSL_CERT_FILE", certificate).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FAR: &str = r#"
far:
  schedule: "@once"
  default_args: {start_date: 2024-01-01, retries: 0, queue: far}
  tasks: {t: {operator: bash, bash_command: "for n in $(seq 2000); do echo line $n; done; echo 1"}}
"#;

#[tokio::test]
async fn others_reach_it_with_tls_and_this_machine_as_before() {
    let mut system = System::new(&[("far.yaml", FAR)]);
    let address = started(&mut system).await;
    let token = system.run(&["tokens", "create", "t"]).good().trim().to_owned();
    let health = ["health", "--server", &address, "--token", &token];
    let used = system.shared().join("used.pem");
    // One that says nothing is in nobody's way.
    let _silent = TcpStream::connect(address.trim_start_matches("https://")).unwrap();
    assert!(trusting(&system, &used, &health).good().contains("healthy"));
    let refused = system.run(&health);
    assert!(refused.code != 0 && refused.err.contains("does not trust"), "{refused:?}");
    let plain = address.replace("https", "http");
    assert_ne!(system.run(&["health", "--server", &plain, "--token", &token]).code, 0);

    let join = system.run(&["tokens", "create", "far", "--join"]).good().trim().to_owned();
    let worker = Command::new(env!("CARGO_BIN_EXE_updraft"))
        .arg("--home")
        .arg(system.shared().join("worker"))
        .args(["worker", "--server", &address, "--name", "far", "--queues", "far"])
        .env("UPDRAFT_WORKER_TOKEN", join)
        .env("SSL_CERT_FILE", &used)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _worker = Ends(worker.unwrap());
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    assert_eq!(runs[0].state, updraft_core::RunState::Success);
    assert!(system.log(&system.tis().await[0]).contains("line 2000"));
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_used_without_a_restart() {
    let mut system = System::new(&[]);
    let address = started(&mut system).await;
    let token = system.run(&["tokens", "create", "t"]).good().trim().to_owned();
    let health = ["health", "--server", &address, "--token", &token];
    let shared = system.shared();
    // What is half written is not used.
    std::fs::write(shared.join("used.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    system.until(&["health"], |_| system.said().contains("the certificate stays as it was")).await;
    let renewed = certificate(&shared, "renewed");
    assert_ne!(trusting(&system, &renewed, &health).code, 0);
    std::fs::rename(shared.join("renewed.key"), shared.join("used.key")).unwrap();
    std::fs::copy(&renewed, shared.join("used.pem")).unwrap();
    system.until(&["health"], |_| trusting(&system, &renewed, &health).code == 0).await;
}

#[tokio::test]
async fn what_is_wrong_with_its_certificate_is_told_at_the_start() {
    let told = async |settings: &[(&str, &str)]| {
        let mut system = System::new(&[]);
        let shared = system.shared();
        certificate(&shared, "one");
        certificate(&shared, "other");
        for (name, value) in settings {
            let value = value.replace("SHARED", &shared.display().to_string());
            system.set(&format!("UPDRAFT__SERVER__TLS_{name}"), value);
        }
        system.start(2);
        assert_ne!(system.server_ended().await, Some(0));
        system.said()
    };
    let said = told(&[("LISTEN", "127.0.0.1:0")]).await;
    assert!(said.contains("server.tls_key go together: set all three"), "{said}");
    let all = |certificate, key| [("LISTEN", "127.0.0.1:0"), ("CERTIFICATE", certificate), ("KEY", key)];
    let said = told(&all("SHARED/none.pem", "SHARED/one.key")).await;
    assert!(said.contains("can't use the certificate") && said.contains("none.pem"), "{said}");
    let said = told(&all("SHARED/one.pem", "SHARED/one.pem")).await;
    assert!(said.contains("can't use the key"), "{said}");
    let said = told(&all("SHARED/one.pem", "SHARED/other.key")).await;
    assert!(said.contains("one.pem with the key") && said.contains("other.key"), "{said}");
}
