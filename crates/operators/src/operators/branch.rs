//! `BranchExpressionOperator` and `ShortCircuitExpressionOperator`: Airflow's `BranchPythonOperator` and
//! `ShortCircuitOperator` with a Jinja expression in place of the Python function, so that no process is needed.

use serde_json::{Map, Value, json};
use updraft_core::{
    TaskId, TaskKind,
    input::{AttemptEnd, Branch, Outcome},
};

use super::python::ShortCircuitArgs;
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{Expression, arguments, found},
    },
    outcome::with_result,
    prepare::{Job, as_text},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of both.
    struct ExpressionArgs {
        /// A Jinja expression, without `{{ }}`. It sees what templates see: `params.rows > 5`,
        /// `ti.xcom_pull('load') is none`. Of results that edges pass on it sees `results`, a list in the order of
        /// the edges, `result`, the first of them, and `text`, the first as text; as in conditions on edges, a
        /// text that reads as JSON is what it says.
        plain expression: Expression,
    }
}

const TAKES_RESULTS: Option<&str> = Some("`result`, `text` and `results` in its expression");

pub(super) const BRANCH: Entry = Entry {
    name: "BranchExpressionOperator",
    aliases: &["branch", "branch_expression"],
    doc: "Follows the task whose id an expression gives, or the tasks of a list of ids; of the tasks directly \
          after it, the others are skipped, and all of them where it gives none.",
    takes_results: TAKES_RESULTS,
    arguments: &[ExpressionArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| {
        let value = value(job)?;
        follow(job, tasks_of(job, &value)?, value)
    },
};

pub(super) const SHORT_CIRCUIT: Entry = Entry {
    name: "ShortCircuitExpressionOperator",
    aliases: &["short_circuit_expression"],
    doc: "Skips the tasks after it where an expression is false or empty.",
    takes_results: TAKES_RESULTS,
    arguments: &[ExpressionArgs::LIST, ShortCircuitArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan: |job| {
        let all = job.read(ShortCircuitArgs::read)?.ignore_downstream_trigger_rules;
        let value = value(job)?;
        let branch = match (is_true(&value), all) {
            (true, _) => None,
            (false, true) => Some(Branch::SkipAllDownstream),
            (false, false) => Some(Branch::SkipDownstream),
        };
        let skips = if branch.is_some() { ": the tasks after it are skipped" } else { "" };
        Ok(decided(job, format!("the expression gives {value}{skips}"), branch, value))
    },
};

/// What the expression gives.
fn value(job: &Job<'_>) -> Result<Value, Refused> {
    let Expression(expression) = job.read(ExpressionArgs::read)?.expression;
    let read = |result: &Value| match result {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| result.clone()),
        _ => result.clone(),
    };
    let results: Vec<Value> = job.results.iter().map(read).collect();
    let mut names = Map::new();
    if let (Some(first), Some(result)) = (job.results.first(), results.first()) {
        names.insert("text".into(), as_text(first).into());
        names.insert("result".into(), result.clone());
    }
    names.insert("results".into(), results.into());
    job.with_renderer(names, |renderer| renderer.evaluate("expression", &expression))
}

/// The tasks that a value names, as Airflow's branch operators read it: none of them is all skipped.
fn tasks_of(job: &Job<'_>, value: &Value) -> Result<Vec<TaskId>, Refused> {
    let tasks = match value {
        Value::Null => Some(Vec::new()),
        Value::String(task) => Some(vec![&**task]),
        Value::Array(tasks) => tasks.iter().map(Value::as_str).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    let Some(tasks) = tasks else {
        let wrong = format!("must give the id of a task, a list of ids, or none; {}", found(value));
        return Err(job.bad((Some("expression"), wrong)));
    };
    Ok(tasks.into_iter().map(TaskId::from).collect())
}

/// Python's `bool(value)`.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Ends with this branch. As in Airflow, what was chosen is the result.
pub(super) fn follow(job: &Job<'_>, tasks: Vec<TaskId>, result: Value) -> Result<Work, Refused> {
    let said = match &tasks[..] {
        [] => "follows none of the tasks after it".to_owned(),
        tasks => format!("follows {}", json!(tasks)),
    };
    Ok(decided(job, said, Some(Branch::Follow(tasks)), result))
}

fn decided(job: &Job<'_>, said: String, branch: Option<Branch>, result: Value) -> Work {
    let outcome = Outcome { branch, ..Outcome::new(AttemptEnd::Success) };
    let outcome = with_result(outcome, job.order.task.do_xcom_push.then_some(result));
    Work::Native(Box::new(Decided { said, outcome }))
}

/// What was decided when it was prepared.
#[derive(Debug)]
struct Decided {
    said: String,
    outcome: Outcome,
}

impl NativeTask for Decided {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            context.log.line(&self.said);
            self.outcome
        })
    }
}
