//! Jinja expressions over what an operator got: they stand where Airflow has Python callables.

use minijinja::{Environment, UndefinedBehavior, value::Value as Seen};

use crate::template;

/// Reads the expression of an argument; what is none is refused, and so is what looks at other things than `names`:
/// `package.module.function` is an expression, and means nothing here. `mend` says what to write.
pub(super) fn read(expression: &str, names: &[&str], mend: &str) -> Result<(), String> {
    template::check_expression(expression)?;
    let environment = Environment::new();
    let compiled = environment
        .compile_expression(expression)
        .map_err(|error| format!("is no expression: {error}; {mend}"))?;
    let known = |name: &str| names.contains(&name) || environment.globals().any(|(global, _)| global == name);
    match compiled.undeclared_variables(false).into_iter().filter(|name| !known(name)).min() {
        Some(name) => Err(format!("looks at `{name}`, which there is not: {mend}")),
        None => Ok(()),
    }
}

/// What the expression of the argument `name` comes to in this context.
pub(super) fn evaluated(name: &str, expression: &str, context: Seen) -> Result<Seen, String> {
    let told = |error: minijinja::Error| format!("{name} `{expression}`: {error}");
    template::check_expression(expression)?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // An expression that does not end would hold up all other sensors.
    environment.set_fuel(Some(1_000_000));
    environment.compile_expression(expression).map_err(told)?.eval(context).map_err(told)
}
