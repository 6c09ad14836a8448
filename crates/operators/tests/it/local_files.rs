//! The operators that write, read, copy and delete files of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use updraft_core::input::AttemptEnd;
use updraft_operators::{Files, catalog, prepare};

use crate::world::{Ended, World, order, run_native, with_run};

/// A server's home with a key, a folder of DAG files and one for what tasks write, and a folder beside it.
struct Place {
    folder: tempfile::TempDir,
    world: World,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().canonicalize().unwrap().join("home");
        for name in ["dags", "files"] {
            fs::create_dir_all(home.join(name)).unwrap();
        }
        fs::write(home.join("key"), "the key").unwrap();
        fs::write(home.join("dags/beside.txt"), "beside the DAG").unwrap();
        let files = Files::new(vec![home.clone()], vec![home.join("dags")]).with_own(home.join("files"));
        Self { folder, world: World { files, ..World::default() } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn own(&self, name: &str) -> PathBuf {
        self.path("home/files").join(name)
    }

    fn run(&self, operator: &str, args: Value) -> Ended {
        let order = with_run(order(operator, args), |run| {
            run.source = self.path("home/dags/d.yaml").to_string_lossy().into_owned();
        });
        match prepare(&order, &self.world) {
            Ok(prepared) => run_native(prepared),
            Err(refused) => Ended { outcome: refused.into(), log: Vec::new() },
        }
    }

    /// The result of what works.
    fn result(&self, operator: &str, args: Value) -> Value {
        let ended = self.run(operator, args);
        assert_eq!(ended.outcome.end, AttemptEnd::Success, "{:?}", ended.outcome.message);
        ended.result()
    }

    fn write(&self, names: &[&str]) {
        for name in names {
            let path = self.own(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
    }
}

/// All files below a folder, in order.
fn below(folder: &Path) -> Vec<String> {
    let pattern = folder.join("**/*");
    let paths = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
    let files = paths.filter(|path| !path.is_dir() || path.is_symlink());
    files.map(|path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_text_is_written_as_a_whole_or_added() {
    let place = Place::new();
    let path = place.own("out/2026-01-31.txt");
    let args = json!({"path": "out/{{ ds }}.txt", "content": "{{ dag.dag_id }} ü\n"});
    assert_eq!(place.result("write_file", args.clone()), json!(path));
    assert_eq!(fs::read_to_string(&path).unwrap(), "reports ü\n");
    place.result(
        "WriteFileOperator",
        json!({"path": path, "content": {"a": [1, "{{ ds }}"]}, "encoding": "UTF-8"}),
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"a":[1,"2026-01-31"]}"#);
    for line in ["one\n", "two\n"] {
        let args = json!({"path": "log/x.txt", "content": line, "append": true});
        assert_eq!(place.result("write_file", args), json!(place.own("log/x.txt")));
    }
    assert_eq!(fs::read_to_string(place.own("log/x.txt")).unwrap(), "one\ntwo\n");
    place.result("write_file", json!({"path": "ends", "content": "{{ ds }}\n\n"}));
    assert_eq!(fs::read_to_string(place.own("ends")).unwrap(), "2026-01-31\n\n");
    let empty = json!({"path": place.path("empty"), "content": ""});
    place.result("write_file", empty);
    assert_eq!(fs::read(place.path("empty")).unwrap(), b"");
    assert_eq!(below(&place.own("")), ["ends", "log/x.txt", "out/2026-01-31.txt"], "nothing half is left");
}

#[test]
fn a_file_is_read_as_text_as_lines_or_as_json() {
    let place = Place::new();
    let read = |path: &str, form: Value| place.result("read_file", json!({"path": path, "as": form}));
    assert_eq!(read("beside.txt", json!(null)), json!("beside the DAG"));
    fs::write(place.own("l"), "a\r\nb\n\nc").unwrap();
    assert_eq!(read("l", json!("lines")), json!(["a", "b", "", "c"]));
    assert_eq!(read("l", json!("text")), json!("a\r\nb\n\nc"));
    fs::write(place.own("j"), "{\"rows\": [1, 2]}\n").unwrap();
    assert_eq!(
        place.result("ReadFileOperator", json!({"path": "{{ 'j' }}", "as": "json"})),
        json!({"rows": [1, 2]})
    );

    let fails = |path: &str, form: &str| {
        place.run("read_file", json!({"path": path, "as": form})).failure().to_owned()
    };
    assert!(
        fails("l", "json").contains("l is no JSON: expected value at line 1 column 1: mend it, or take it")
    );
    assert!(fails("nowhere", "text").contains("nowhere can't be read: No such file"));
    fs::write(place.own("b"), [b'a', 0xff]).unwrap();
    assert!(fails("b", "text").contains("it is not UTF-8"));
    let large = fs::File::create(place.own("large")).unwrap();
    large.set_len(16 << 20).unwrap();
    assert_eq!(read("large", json!("text")).as_str().unwrap().len(), 16 << 20);
    large.set_len((16 << 20) + 1).unwrap();
    let why = fails("large", "lines");
    assert!(why.contains("it has more than the 16 MiB") && why.contains("have a script read it"), "{why}");
}

#[test]
fn files_are_deleted_that_a_pattern_stands_for_and_no_others() {
    let place = Place::new();
    let delete = |path: &str| place.result("delete_files", json!({"path": path}));
    place.write(&["a.csv", "b.csv", "c.txt", ".d.csv", "x/a.csv", "x/y/b.csv", "x/y/c.txt", "x/.z/a.csv"]);
    fs::create_dir(place.own("e.csv")).unwrap();
    assert_eq!(delete("[ab].csv"), json!(2));
    assert_eq!(delete("**/?.csv"), json!(2));
    assert_eq!(below(&place.own("")), [".d.csv", "c.txt", "x/.z/a.csv", "x/y/c.txt"]);
    assert!(place.own("e.csv").is_dir(), "a folder stays");
    assert_eq!(delete("x/.z/*"), json!(1));
    assert_eq!(delete(place.own(".d.csv").to_str().unwrap()), json!(1));
    assert_eq!(place.result("DeleteFilesOperator", json!({"path": "x/*/**/c.txt"})), json!(1));
    assert_eq!(below(&place.own("")), ["c.txt"]);

    // A link goes, and where it leads a pattern does not follow.
    fs::create_dir(place.path("far")).unwrap();
    fs::write(place.path("far/a.txt"), "").unwrap();
    std::os::unix::fs::symlink(place.path("far"), place.own("way")).unwrap();
    assert_eq!(delete("**/*.txt"), json!(1));
    assert!(place.path("far/a.txt").exists());
    assert_eq!(delete("way/*"), json!(1));
    assert_eq!(delete("w*"), json!(1));
    assert!(place.path("far").is_dir() && !place.path("far/a.txt").exists());
}

#[test]
fn that_there_is_nothing_to_delete_is_an_error_unless_it_may_be_so() {
    let place = Place::new();
    place.write(&["x/a"]);
    let fails = |path: &str| place.run("delete_files", json!({"path": path})).failure().to_owned();
    for path in ["nothing", "n*", "nowhere/*", "x/a/b", "x/a/*"] {
        assert!(fails(path).contains(&format!("{path} to be deleted: check `path`")), "{}", fails(path));
        assert_eq!(place.result("delete_files", json!({"path": path, "missing_ok": true})), json!(0));
    }
    assert!(fails("x").contains("x is a folder, which stays: write"), "{}", fails("x"));
    assert!(fails("x/").contains("which names no file"), "{}", fails("x/"));
    assert!(fails("x/**").contains("write `**/*`"), "{}", fails("x/**"));
    assert!(fails("x/[").contains("is no pattern"), "{}", fails("x/["));
    assert_eq!(below(&place.own("")), ["x/a"]);
}

#[test]
fn a_file_is_copied_as_a_whole_and_replaces_only_where_it_is_told_to() {
    let place = Place::new();
    let copy = |src: &str, dst: &str, overwrite: bool| {
        place.run("FileTransferOperator", json!({"src": src, "dst": dst, "overwrite": overwrite}))
    };
    let ended = copy("{{ 'beside' }}.txt", "new/{{ ds }}.txt", false);
    assert_eq!(ended.result(), json!(place.own("new/2026-01-31.txt")), "{:?}", ended.outcome);
    assert_eq!(fs::read(place.own("new/2026-01-31.txt")).unwrap(), b"beside the DAG");
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::write(place.path("large"), &large).unwrap();
    let (from, to) = (format!("file://{}", place.path("large").display()), "new/2026-01-31.txt");
    let refused = copy(&from, to, false);
    assert!(refused.failure().ends_with("is there already: set `overwrite: true`, or name another"));
    assert_eq!(fs::read(place.own(to)).unwrap(), b"beside the DAG");
    assert_eq!(copy(&from, to, true).outcome.end, AttemptEnd::Success);
    assert!(fs::read(place.own(to)).unwrap() == large);
    assert_eq!(below(&place.own("")), [to], "nothing half is left");
    for (src, dst, why) in [
        ("nothing", "a", "nothing can't be read: No such file"),
        ("new", "a", "new can't be read: "),
        ("beside.txt", "new", "new can't be written: "),
        ("beside.txt", "new/", "names no file"),
        ("gs://lake/a", "a", "gs:// can't be had here: write a path of this machine, or `s3://bucket/key`"),
        ("file://other/a", "a", "names another machine"),
        ("beside.txt", "s3://lake/a", "there is no connection `aws_default`"),
        ("s3://mine@lake/a", "a", "there is no connection `mine`"),
        ("s3://lake", "a", "which has no key behind its bucket"),
    ] {
        let ended = copy(src, dst, true);
        assert!(ended.failure().contains(why), "{src} {dst}: {}", ended.failure());
    }
    let args = json!({"src": "beside.txt", "dst": "a", "source_conn_id": "x"});
    let ended = place.run("file_transfer", args);
    assert!(
        ended.failure().contains("for which there is no connection: leave `x` out"),
        "{}",
        ended.failure()
    );
    assert_eq!(below(&place.own("")), [to]);
}

#[test]
fn what_tasks_are_kept_from_is_neither_written_nor_read_nor_copied_nor_deleted() {
    let place = Place::new();
    let key = place.path("home/key");
    std::os::unix::fs::symlink(&key, place.own("link")).unwrap();
    let write = |path: &Path, append: bool| json!({"path": path, "content": "x", "append": append});
    for (operator, args) in [
        ("write_file", write(&key, false)),
        ("write_file", write(&key, true)),
        ("write_file", write(&place.path("home/new/x"), false)),
        ("write_file", write(&place.path("home/dags/d.yaml"), true)),
        ("write_file", write(Path::new("../key"), true)),
        ("read_file", json!({"path": key})),
        ("read_file", json!({"path": "link"})),
        ("read_file", json!({"path": "/proc/self/environ"})),
        ("delete_files", json!({"path": key})),
        ("delete_files", json!({"path": place.path("home/*")})),
        ("delete_files", json!({"path": place.path("**/k*")})),
        ("delete_files", json!({"path": "../dags/*"})),
        ("file_transfer", json!({"src": key, "dst": "stolen"})),
        ("file_transfer", json!({"src": "link", "dst": "stolen"})),
        ("file_transfer", json!({"src": "beside.txt", "dst": key, "overwrite": true})),
    ] {
        let ended = place.run(operator, args.clone());
        assert!(ended.failure().contains("out of tasks' reach"), "{operator} {args}: {}", ended.failure());
    }
    let ended = place.run("write_file", write(Path::new("link"), true));
    assert!(ended.failure().contains("no regular file, but a link"), "{}", ended.failure());
    mknodat(CWD, place.own("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    for (operator, args) in [
        ("write_file", write(Path::new("pipe"), true)),
        ("read_file", json!({"path": "pipe"})),
        ("file_transfer", json!({"src": "/dev/zero", "dst": "stolen"})),
    ] {
        let ended = place.run(operator, args);
        assert!(ended.failure().contains("no regular file"), "{operator}: {}", ended.failure());
    }
    assert_eq!(fs::read_to_string(&key).unwrap(), "the key");
    assert_eq!(below(&place.path("home")), ["dags/beside.txt", "files/link", "files/pipe", "key"]);
}

#[test]
fn what_can_t_be_is_refused_before_it_runs() {
    for (operator, args, mend) in [
        ("write_file", json!({"path": "x"}), "`content` is required"),
        ("write_file", json!({"path": "x", "content": "y", "encoding": "latin-1"}), "can only be utf-8"),
        ("read_file", json!({"path": "x", "as": "csv"}), "`as` must be text, lines or json"),
        ("delete_files", json!({"path": ["x"]}), "`path` must be a string"),
        ("file_transfer", json!({"src": "x"}), "`dst` is required"),
    ] {
        let error = catalog::check(operator, args.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    }
}
