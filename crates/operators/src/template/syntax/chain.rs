//! What a template asks the context for by chains of attributes.

use minijinja::machinery::ast;

use crate::template::{
    airflow::{PRIOR_DATES, Step},
    fault::{Result, fault},
};

/// The name that a chain of attributes and calls begins at, and its steps.
pub(super) fn chain<'a>(expr: &ast::Expr<'a>, called: bool, steps: &mut Vec<Step>) -> Option<&'a str> {
    match expr {
        ast::Expr::Var(var) if !called => Some(var.id),
        ast::Expr::GetAttr(attr) => {
            let root = chain(&attr.expr, false, steps)?;
            steps.push(Step { name: attr.name.into(), called });
            Some(root)
        }
        ast::Expr::Call(call) if !called => chain(&call.expr, true, steps),
        _ => None,
    }
}

/// Refuses `xcom_pull(include_prior_dates=True)`.
pub(super) fn check_pull(call: &ast::Call<'_>) -> Result<()> {
    let is_pull = matches!(&call.expr, ast::Expr::GetAttr(attr) if attr.name == "xcom_pull");
    let asks_prior = call.args.iter().any(|arg| match arg {
        ast::CallArg::Kwarg("include_prior_dates", ast::Expr::Const(value)) => value.value.is_true(),
        _ => false,
    });
    if is_pull && asks_prior { fault(PRIOR_DATES) } else { Ok(()) }
}
