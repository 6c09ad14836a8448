//! Files that a DAG file names.

use std::fs;

use updraft_server::authoring::{Reading, read_file};

use super::{holidays::folder, messages};

/// Reads a DAG file with others beside it, by their names and texts.
fn beside(files: &[(&str, &str)], text: &str) -> Reading {
    let dir = tempfile::TempDir::new().unwrap();
    let root = dir.path().join("dags");
    fs::create_dir_all(root.join("team")).unwrap();
    for (name, text) in files {
        fs::write(root.join(name), text).unwrap();
    }
    fs::write(root.join("team/d.yml"), text.replace("ROOT", root.to_str().unwrap())).unwrap();
    read_file(&folder(&root), &root.join("team/d.yml"))
}

/// As in dag-factory, which wants the path to be absolute.
#[test]
fn a_file_has_the_text_about_a_dag() {
    let docs = [("docs.md", "# Orders\n"), ("team/more.md", "more")];
    let doc = |keys: &str| {
        let reading = beside(&docs, &format!("d: {{{keys}, tasks: {{t: {{operator: empty}}}}}}"));
        assert_eq!(messages(&reading.errors), [""; 0]);
        (reading.dags[0].spec.doc_md.clone(), messages(&reading.dags[0].warnings))
    };
    assert_eq!(doc("doc_md_file_path: ROOT/docs.md"), (Some("# Orders\n".into()), vec![]));
    assert_eq!(doc("doc_md: text, doc_md_file_path: more.md"), (Some("more".into()), vec![]));
    assert_eq!(doc("doc_md: text, doc_md_file_path: null"), (Some("text".into()), vec![]));
    for (keys, told) in [
        ("doc_md: text, doc_md_file_path: none.md", "the file `none.md` is not there: put it into"),
        ("doc_md: text, doc_md_file_path: /etc/hostname", "lies outside of the folder of DAG files"),
        (
            "doc_md: text, doc_md_python_callable_file: /a/b.py, doc_md_file_path: null",
            "no Python is called while files are read; write the text under `doc_md`, or into a file",
        ),
    ] {
        let (text, warnings) = doc(keys);
        assert_eq!(text.as_deref(), Some("text"), "{keys}");
        assert!(warnings.len() == 1 && warnings[0].contains(told), "{keys}: {warnings:?}");
    }
}
