//! Jinja, as Airflow's templates have it: for templates and for conditions alike.
//!
//! minijinja reads the text; it is carried out here, with Python's values, methods and operators, since what `+`, a
//! comparison or a list that is shown comes to is Python's in Airflow. What is not supplied is refused with an error that
//! names it. What there is to see, a [`World`] says: that of conditions is in [`crate::condition`], that of the operators'
//! arguments beside the operators.

mod call;
mod eval;
mod expression;
mod fault;
mod filters;
mod format;
pub mod json;
mod macros;
mod native;
mod object;
mod ops;
mod show;
mod syntax;
mod text;
pub mod time;
mod value;

pub use self::{
    call::is_method,
    eval::{Machine, Scope},
    expression::{bytes_of, evaluate, holds, read_expression},
    fault::{Fault, Result, at, fault},
    filters::quote,
    macros::{Args, Macro, int, needed, size, text},
    native::concat,
    object::{GLOBALS, Loop, Object, Thing, World, global},
    syntax::{Called, Certain, Chain, Named, Step, certain},
    text::OTHER,
    value::{Dict, Mode, Undefined, Value, View, Within},
};

/// Whether a text has anything in it for Jinja.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// What Jinja2 makes of a text in which it has nothing to do: one kind of line end, and none at the end.
#[must_use]
pub fn without_last_line_end(text: &str) -> String {
    let text = if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.into() };
    text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
}
