//! Functions of Python that say whether what a sensor saw is as wished, where dag-factory has them (`response_check_file`,
//! `success_check_lambda`, …): each look that comes so far calls one, in a process of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{context, folders, runner_in};
use crate::{
    HostError, Refused,
    catalog::{Written, argument::BadArgument},
    prepare::{Job, airflow_variables},
    work::{ProcessPlan, ResultRule, TaskContext},
};

/// The arguments that say how something is checked.
pub(in crate::operators) struct Names {
    /// By an expression of Jinja.
    pub expression: &'static str,
    /// By the function of this name
    pub name: &'static str,
    /// in this file.
    pub file: &'static str,
    /// By this `lambda`, where no file is named.
    pub lambda: &'static str,
}

impl Names {
    /// Refuses what can be no check, as far as can be seen before anything is rendered.
    pub(in crate::operators) fn check(&self, written: &Written<'_>) -> Result<(), BadArgument> {
        let Self { expression, name, file, lambda } = *self;
        match (written.may_have(name), written.may_have(file)) {
            (true, false) => {
                Err((Some(file), format!("is required with `{name}`: the file that the function is in")))
            }
            (false, true) => {
                Err((Some(name), format!("is required with `{file}`: which of its functions is called")))
            }
            (by_file, _) if written.may_have(expression) && (by_file || written.may_have(lambda)) => {
                Err((Some(expression), "and a function of Python can't both be given: leave one out".into()))
            }
            _ => match written.literal(lambda).and_then(Value::as_str) {
                Some(text) if !text.trim_start().starts_with("lambda") => {
                    Err((Some(lambda), "must be a lambda of Python: `lambda value: value > 100`".into()))
                }
                _ => Ok(()),
            },
        }
    }

    /// The function that is named, of these three.
    pub(in crate::operators) fn function(
        &self,
        job: &Job<'_>,
        [name, file, lambda]: [&Option<String>; 3],
    ) -> Result<Option<Check>, Refused> {
        let callable = match (name, file, lambda) {
            (Some(name), Some(file), _) => json!({"name": name, "file": job.folder().join(file)}),
            (_, _, Some(lambda)) => json!({"lambda": lambda}),
            _ => return Ok(None),
        };
        let orders = json!({
            "callable": callable,
            "folders": folders(job.order, job.host.files()?),
            "mode": "check",
            "templates_dict": null,
            "context": context(job.order),
        });
        Ok(Some(Check { what: self.expression, orders, env: airflow_variables(job.order) }))
    }
}

/// A function that checks.
#[derive(Debug)]
pub(in crate::operators) struct Check {
    what: &'static str,
    orders: Value,
    env: BTreeMap<String, String>,
}

impl Check {
    /// Whether it returns something true for this, which it is given as `kind` says: `response`, or `value`.
    pub(in crate::operators) async fn holds(
        &self,
        kind: &str,
        seen: Value,
        context: &TaskContext,
    ) -> Result<bool, String> {
        let mut orders = self.orders.clone();
        (orders["kind"], orders["seen"]) = (kind.into(), seen);
        let plan: ProcessPlan = runner_in(self.env.clone(), &orders, ResultRule::Envelope);
        // A thousand sensors are not a thousand processes at once.
        let _turn = context.shared.turns.of("python3").await;
        let answer = context.functions.call(plan).await;
        let answer = answer.map_err(|HostError(why)| format!("{}: {why}", self.what))?;
        Ok(answer.as_bool().unwrap_or(false))
    }
}
