//! Files that tasks need and that are not beside the DAG file.

use std::path::Path;

use serde_json::Value as Json;
use updraft_core::{DagSpec, TaskId, TaskSpec};
use updraft_operators::catalog::{self, NamedFile};

use super::{holidays::Beside, text::mend_of_path};

/// What the tasks of a DAG name and what is not there, with words for its author. They are no faults: a file may come
/// later, and a worker of another machine may have it.
pub(super) fn missing<'a>(spec: &'a DagSpec, beside: &Beside<'_>) -> Vec<(&'a TaskId, String)> {
    let along = search_path(spec);
    let mut all = Vec::new();
    for task in &spec.tasks {
        let of_arguments = catalog::files(&task.operator, &task.args).into_iter().filter_map(|file| {
            let NamedFile { argument, path, template } = file;
            let here = beside.is_missing(Path::new(path));
            if !template {
                return here.then(|| not_there(&format!("`{argument}`"), path));
            }
            let there = along.iter().any(|folder| !beside.is_missing(&Path::new(folder).join(path)));
            (here && !there).then(|| {
                let put_it =
                    || "put it there, or a space behind the text to take it as it is".to_owned();
                format!(
                    "`{argument}` names the template `{path}`, which is neither beside the DAG file nor along \
                     `template_searchpath`: {}",
                    mend_of_path(path, put_it)
                )
            })
        });
        all.extend(of_arguments.chain(of_callbacks(task, beside)).map(|message| (&task.task_id, message)));
    }
    all
}

fn of_callbacks<'a>(task: &'a TaskSpec, beside: &'a Beside<'_>) -> impl Iterator<Item = String> + 'a {
    let files = task.callbacks.iter().filter_map(|callback| callback.file.as_deref());
    let files = files.filter(|file| !Path::new(file).is_absolute() && beside.is_missing(Path::new(file)));
    files.map(|file| not_there("a callback", file))
}

fn not_there(what: &str, path: &str) -> String {
    let mend = mend_of_path(path, || "put it there".into());
    format!("{what} names the file `{path}`, which is not beside the DAG file: {mend}")
}

fn search_path(spec: &DagSpec) -> Vec<&str> {
    let paths = spec.template.get("template_searchpath").and_then(Json::as_array);
    paths.into_iter().flatten().filter_map(Json::as_str).collect()
}
