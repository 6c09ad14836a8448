//! What a template asks the context for by chains of attributes.

use std::rc::Rc;

use minijinja::machinery::ast;

/// A chain of attributes that begins at a name of the context: `ti.task_id.upper()`.
pub struct Chain {
    /// The line it is on.
    pub line: u32,
    /// The name that it begins at.
    pub root: Rc<str>,
    /// The attributes, one of the other.
    pub steps: Vec<Step>,
    /// Whether its end may be missing: it is passed on as it is, or looked at with care.
    pub harmless: bool,
}

/// An attribute of what stands before it.
#[derive(Clone)]
pub struct Step {
    /// Its name.
    pub name: Rc<str>,
    /// It is called, as a method is.
    pub called: bool,
}

/// A call of a method, `ti.xcom_pull(key='rows')`, of whatever it is.
pub struct Called {
    /// The line it is on.
    pub line: u32,
    /// The method.
    pub method: Rc<str>,
    /// The keywords that are certain to get something true.
    pub set: Vec<Rc<str>>,
}

/// A name of the context.
pub struct Named {
    /// The line it is on.
    pub line: u32,
    /// The name.
    pub name: Rc<str>,
    /// It is called, as a function is.
    pub called: bool,
}

/// What a template is certain to ask the context for.
#[derive(Default)]
pub struct Certain {
    /// Attributes of its names.
    pub asked: Vec<Chain>,
    /// Names, where it fails if they are not there.
    pub named: Vec<Named>,
    /// Methods that it calls.
    pub called: Vec<Called>,
    /// All names that it looks at, also where that is not certain.
    pub(super) names: Vec<Rc<str>>,
}

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

/// What is called, where it is a method.
pub(super) fn called(line: u32, call: &ast::Call<'_>) -> Option<Called> {
    let ast::Expr::GetAttr(attr) = &call.expr else { return None };
    let set = call.args.iter().filter_map(|arg| match arg {
        ast::CallArg::Kwarg(name, ast::Expr::Const(value)) if value.value.is_true() => Some(Rc::from(*name)),
        _ => None,
    });
    Some(Called { line, method: attr.name.into(), set: set.collect() })
}
