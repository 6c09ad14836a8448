//! The operators that work over SSH against OpenSSH's server, and against asyncssh's for what sshd does only with the
//! system's accounts.

mod command;
mod files;
mod sshd;
mod trust;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{runtime::Runtime, task::JoinHandle};
use updraft_core::{input::Outcome, protocol::Connection};
use updraft_operators::{Work, prepare};

use self::sshd::Sshd;
use crate::world::{Ended, Lines, World, context, order, run_native};

fn world(connection: Connection) -> World {
    World { connections: [(connection.conn_id.clone(), connection)].into(), ..World::default() }
}

/// Runs an operator to its end. Nothing that it shows has a secret in it.
fn run(world: &World, operator: &str, args: Value) -> Ended {
    let prepared = prepare(&order(operator, args), world).unwrap();
    let connection = world.connections.values().next().unwrap();
    let key = connection.extra.get("private_key").and_then(Value::as_str).unwrap_or_default();
    let key_lines = key.lines().filter(|line| line.len() > 20 && !line.starts_with('-'));
    let secrets: Vec<&str> = key_lines.chain(connection.password.as_deref()).collect();
    for secret in &secrets {
        assert!(prepared.secrets.iter().any(|kept| kept == secret), "{secret} is not masked");
    }
    let prepared_as_shown = format!("{:?} {}", prepared.work, prepared.rendered);
    let ended = run_native(prepared);
    let shown = format!("{prepared_as_shown} {:?} {:?}", ended.outcome, ended.log);
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} shows in {shown}");
    }
    ended
}

/// Begins work beside the test.
fn begin(world: &World, operator: &str, args: Value) -> (Runtime, JoinHandle<Outcome>, Arc<Lines>) {
    let Work::Native(task) = prepare(&order(operator, args), world).unwrap().work else {
        panic!("no native work")
    };
    let runtime = Runtime::new().unwrap();
    let lines = Arc::new(Lines::default());
    let running = runtime.spawn(task.run(context(Arc::clone(&lines) as _)));
    (runtime, running, lines)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
        // tidy: sleep because what happens on a server can only be looked at
        std::thread::sleep(Duration::from_millis(5));
    }
}
