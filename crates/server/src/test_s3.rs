//! A store of S3's kind of their own, for tests: moto's server.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

use crate::objects::{Bucket, Settings};

/// moto's server in a process of its own, with the empty bucket `lake`.
pub struct TestS3 {
    process: Child,
    _input: ChildStdin,
    port: u16,
    /// Who may do all.
    pub key_id: String,
    /// His key.
    pub secret: String,
}

impl TestS3 {
    /// Starts it at a free port.
    ///
    /// # Panics
    ///
    /// Where moto is not there: `scripts/setup.sh test` installs it.
    pub fn start() -> Self {
        let python = std::env::var_os("UPDRAFT_TEST_PYTHON").expect("cargo sets it");
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../operators/tests/s3/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("moto is not there: run `scripts/setup.sh test`");
        let mut line = String::new();
        let said = BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line);
        said.expect("moto did not start");
        let said: Value = serde_json::from_str(&line).expect("moto did not start");
        let text = |name: &str| said[name].as_str().expect("it says it").to_owned();
        let (key_id, secret) = (text("key_id"), text("secret"));
        let port = said["port"].as_u64().and_then(|port| port.try_into().ok()).expect("it says it");
        Self { _input: process.stdin.take().expect("it is piped"), process, port, key_id, secret }
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How its bucket is set, with this prefix.
    pub fn settings(&self, prefix: &str) -> Settings {
        Settings {
            bucket: "lake".into(),
            prefix: prefix.into(),
            endpoint: Some(self.endpoint()),
            keys: Some((self.key_id.clone(), self.secret.clone())),
            ..Settings::default()
        }
    }

    /// Its bucket, with this prefix.
    ///
    /// # Panics
    ///
    /// Where that can't be set.
    pub fn bucket(&self, prefix: &str) -> Bucket {
        Bucket::new(self.settings(prefix)).expect("it can be used")
    }

    /// A way to it that can be cut.
    pub fn way(&self) -> Way {
        Way::to(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }
}

impl Drop for TestS3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A way to a server, which is cut and mended, and counts what is asked.
pub struct Way {
    at: SocketAddr,
    state: Arc<AtomicU8>,
    asked: Arc<Asked>,
}

/// What passes on a [`Way`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Passes {
    /// All.
    All,
    /// What is asked, but no answer: nobody knows whether it was done.
    Questions,
    /// Nothing.
    Nothing,
}

/// How often what was asked.
#[derive(Default)]
pub struct Asked {
    /// To put an object.
    pub puts: AtomicUsize,
    /// To get one, or to list some.
    pub gets: AtomicUsize,
    /// To delete some.
    pub deletes: AtomicUsize,
}

impl Way {
    /// A way to a server.
    ///
    /// # Panics
    ///
    /// Where no port is free.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let at = listener.local_addr().expect("it listens");
        let (state, asked) = (Arc::new(AtomicU8::new(Passes::All as u8)), Arc::new(Asked::default()));
        let (passes, counts) = (state.clone(), asked.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { return };
                let (passes, counts) = (passes.clone(), counts.clone());
                thread::spawn(move || pass_on(&client, &server, &passes, &counts));
            }
        });
        Self { at, state, asked }
    }

    /// Where it begins.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Lets this pass from now on; a connection over which something else would go breaks.
    pub fn lets(&self, pass: Passes) {
        self.state.store(pass as u8, Ordering::SeqCst);
    }

    /// How often was asked to put, to get or list, and to delete.
    pub fn asked(&self) -> (usize, usize, usize) {
        let Asked { puts, gets, deletes } = &*self.asked;
        (puts.load(Ordering::SeqCst), gets.load(Ordering::SeqCst), deletes.load(Ordering::SeqCst))
    }
}

/// Both directions of a connection, until one of them ends or something may not pass.
fn pass_on(client: &TcpStream, server: &TcpStream, passes: &AtomicU8, asked: &Asked) {
    let passes = || passes.load(Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| copy(server, client, |_| passes() == Passes::All as u8));
        copy(client, server, |bytes| {
            let count = match bytes {
                [b'P', b'U', b'T', b' ', ..] => Some(&asked.puts),
                [b'G', b'E', b'T', b' ', ..] | [b'H', b'E', b'A', b'D', ..] => Some(&asked.gets),
                [b'D', b'E', b'L', b'E', ..] | [b'P', b'O', b'S', b'T', ..] => Some(&asked.deletes),
                _ => None,
            };
            count.map(|count| count.fetch_add(1, Ordering::SeqCst));
            passes() != Passes::Nothing as u8
        });
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, may_pass: impl Fn(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !may_pass(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(std::net::Shutdown::Both);
    }
}
