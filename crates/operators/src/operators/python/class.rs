//! Operators that are Python classes, named by the dotted path to them: made and carried out in a process of their own, as
//! Airflow does it, with Airflow's base classes where it is installed, and else with stand-ins for them.

use serde_json::json;
use updraft_core::TaskKind;

use super::{context, folders, objects, runner};
use crate::{
    Refused, Work,
    catalog::{Argument, Entry},
    prepare::Job,
    work::ResultRule,
};

/// Whatever its `__init__` takes. What of it are templates, its `template_fields` say, which are rendered when it is made.
const ANY: Argument = Argument {
    name: Argument::ANY,
    expects: "any value",
    types: &[],
    required: false,
    templated: false,
    objects: true,
    doc: "Passed to the class.",
    check: |_| Ok(()),
};

/// It stands for all of them.
pub(crate) const ENTRY: Entry = Entry {
    name: "a class",
    aliases: &[],
    doc: "Makes an object of a Python class and calls its `execute`, in a process of its own.",
    takes_results: None,
    arguments: &[&[ANY]],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

/// Whether this is the dotted path to a class.
pub(crate) fn is_named(operator: &str) -> bool {
    let is_name = |part: &str| {
        part.chars().all(|letter| letter == '_' || letter.is_alphanumeric())
            && part.starts_with(|first: char| first == '_' || first.is_alphabetic())
    };
    operator.contains('.') && operator.split('.').all(is_name)
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let orders = json!({
        "callable": {"dotted": job.order.operator},
        "folders": folders(job.order, job.host.files()?),
        "mode": "operator",
        "op_kwargs": job.args,
        "objects": objects(&job.written, &[json!("op_kwargs")]),
        "templates_dict": null,
        "do_xcom_push": job.order.task.do_xcom_push,
        "context": context(job.order),
    });
    Ok(Work::Process(runner(job.order, &orders, ResultRule::Envelope)))
}
