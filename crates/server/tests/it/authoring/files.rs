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

#[test]
fn a_variable_that_is_not_set_is_told_where_a_path_leads_nowhere() {
    let task = "operator: python, python_callable_name: f, python_callable_file: ";
    let of_task = |path: &str| format!("d: {{tasks: {{t: {{{task}{path}}}}}}}");
    let of_assets = |path: &str| {
        format!("d: {{schedule: {{file: {path}, datasets: [a]}}, tasks: {{t: {{operator: empty}}}}}}")
    };
    let not_set =
        "the environment variable NOWHERE is not set where DAG files are read: set it there, or write";
    for (text, told) in [
        (of_task("$NOWHERE/f.py"), not_set),
        (of_task("'lib/${NOWHERE}/f.py'"), not_set),
        (of_task("$FIXTURE_WORD/f.py"), "is not beside the DAG file: put it there"),
        (of_task("$UPDRAFT__HOME/f.py"), "`$UPDRAFT__HOME` holds a secret, and is not put into DAG files"),
        (of_assets("$NOWHERE/a.yml"), not_set),
        (of_assets("a.yml"), "is not there: put it into"),
        ("d: {tasks: {t: {operator: bash, bash_command: $NOWHERE/x.sh}}}".into(), not_set),
        (
            "d: {tasks: {t: {operator: empty, on_failure_callback_name: f, on_failure_callback_file: $NOWHERE/f.py}}}"
                .into(),
            not_set,
        ),
    ] {
        let reading = beside(&[], &text);
        let told_of = reading.errors.iter().chain(reading.dags.iter().flat_map(|read| &read.warnings));
        let told_of: Vec<String> = told_of.map(ToString::to_string).collect();
        assert!(told_of.len() == 1 && told_of[0].contains(told), "{text}: {told_of:?}");
    }
}
