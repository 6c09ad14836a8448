//! Files that operators and templates read in the worker's own process.

use std::{fs::File, path::Path};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use updraft_operators::{Files, Smtp, is_literal, prepare};

use crate::world::{World, order, with_run};

/// A server's home with a key and a folder of DAG files in it, and a worker that keeps tasks out of it.
struct Home {
    folder: tempfile::TempDir,
    world: World,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap();
        std::fs::create_dir(home.join("dags")).unwrap();
        std::fs::write(home.join("key"), "the key").unwrap();
        std::os::unix::fs::symlink("../key", home.join("dags/link")).unwrap();
        std::os::unix::fs::symlink("../key", home.join("dags/link.sh")).unwrap();
        mknodat(CWD, home.join("dags/pipe.sh"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let world = World {
            files: Files::new(vec![home.clone()], vec![home.join("dags")]),
            smtp: Some(Smtp { url: "smtp://127.0.0.1:1".into(), from: Some("a@example.org".into()) }),
            ..World::default()
        };
        Self { folder, world }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Why an order of a DAG file in this home is refused.
    fn refuses(&self, operator: &str, args: Value) -> String {
        let order = with_run(order(operator, args), |run| run.source = self.path("dags/d.yaml"));
        match prepare(&order, &self.world) {
            Err(refused) => refused.to_string(),
            Ok(prepared) => panic!("it was prepared: {prepared:?}"),
        }
    }
}

fn mail(file: impl AsRef<Path>) -> Value {
    json!({"to": "b@example.org", "subject": "s", "html_content": "h", "files": [file.as_ref()]})
}

#[test]
fn no_file_of_the_servers_is_read_for_a_template_a_mail_or_a_script() {
    let home = Home::new();
    let key = home.path("key");
    let bash = |command: String| home.refuses("BashOperator", json!({"bash_command": command}));
    for refused in [
        bash(format!("{{% include '{key}' %}}")),
        bash("{% include 'link' %}".into()),
        bash("{% import 'link' as stolen %}".into()),
        bash("link.sh".into()),
        bash(home.path("dags/link.sh")),
        bash("{% include '/proc/self/environ' %}".into()),
        home.refuses("EmailOperator", mail(&key)),
        home.refuses("EmailOperator", mail("../key")),
        home.refuses("EmailOperator", mail("link")),
        home.refuses("ScriptOperator", json!({"script_file": key})),
        home.refuses("ScriptOperator", json!({"script_file": "link"})),
    ] {
        assert!(refused.contains("it is out of tasks' reach"), "{refused}");
    }
}

#[test]
fn neither_a_device_nor_a_pipe_holds_the_worker_up() {
    let home = Home::new();
    for refused in [
        home.refuses("BashOperator", json!({"bash_command": "{% include '/dev/zero' %}"})),
        home.refuses("BashOperator", json!({"bash_command": "pipe.sh"})),
        home.refuses("EmailOperator", mail("/dev/zero")),
        home.refuses("EmailOperator", mail("pipe.sh")),
        home.refuses("ScriptOperator", json!({"script_file": "pipe.sh"})),
        home.refuses("ScriptOperator", json!({"script_file": "/dev/zero"})),
    ] {
        assert!(refused.contains("it is no regular file"), "{refused}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_and_so_are_many() {
    let home = Home::new();
    for (name, bytes) in [("dags/t.sh", 33 << 20), ("dags/a", 26 << 20), ("dags/b", 13 << 20)] {
        File::create(home.path(name)).unwrap().set_len(bytes).unwrap();
    }
    let refused = home.refuses("BashOperator", json!({"bash_command": "t.sh"}));
    assert!(refused.contains("t.sh can't be read: it has more than the 32 MiB"), "{refused}");
    let refused = home.refuses("EmailOperator", mail("a"));
    assert!(refused.contains("a can't be read: it has more than the 25 MiB"), "{refused}");
    let mut many = mail("b");
    many["files"] = json!(["b", "b"]);
    let refused = home.refuses("EmailOperator", many);
    assert!(refused.contains("`files` come to more than 25 MiB"), "{refused}");
}

/// A worker first tries to prepare what is literal where nothing may block.
#[test]
fn a_script_is_not_read_before_the_worker_is_asked() {
    let order = order("ScriptOperator", json!({"script_file": "/bin/sh"}));
    assert!(is_literal(&order));
    let world = World::default();
    prepare(&order, &world).unwrap();
    assert_eq!(*world.asked.lock().unwrap(), ["files"]);
}
