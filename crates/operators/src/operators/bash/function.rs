//! What Airflow has as `@task.bash`: a function of Python that returns the command, which is rendered and run as that of
//! `BashOperator`. The function is called while the attempt is prepared, in a process of its own.

use serde_json::{Map, Value};
use updraft_core::TaskKind;

use super::{CommandArgs, SCRIPTS, only_utf_8, run};
use crate::{
    Refused, Work,
    catalog::Entry,
    operators::python::{self, FunctionArgs, TAKES_RESULTS, command_of},
    prepare::{Job, as_text},
};

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "BashFunctionOperator",
    aliases: &["bash_function"],
    doc: "Calls a Python function that returns a command, and runs that with bash: what Airflow's `@task.bash` does. What it \
          returns is rendered as a template, and may be the name of a script that ends in `.sh` or `.bash`. The function \
          has a minute for it.",
    takes_results: TAKES_RESULTS,
    arguments: &[FunctionArgs::LIST, CommandArgs::LIST],
    template_ext: &[],
    kind: |written| only_utf_8(written).and_then(|()| python::kind(written)).map(|_| TaskKind::Run),
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let command = Value::String(command_of(job)?);
    let command =
        job.with_renderer(Map::new(), |renderer| renderer.render("bash_command", &command, SCRIPTS))?;
    job.show("bash_command", &command);
    run(job, as_text(&command), Vec::new())
}
