//! Which operators a DAG file may name.

use serde_json::{Map, Value};
use updraft_core::Mapping;
use updraft_operators::catalog::{self, BadOperator, Checked};

/// Checks an operator's name and its arguments; those that a mapped task gets from its mapping are not
/// missed among them.
pub type Check =
    dyn Fn(&str, &Map<String, Value>, Option<&Mapping>) -> Result<Checked, BadOperator> + Send + Sync;

/// The operators of this program.
pub fn native(
    operator: &str,
    args: &Map<String, Value>,
    mapping: Option<&Mapping>,
) -> Result<Checked, BadOperator> {
    match mapping {
        None => catalog::check(operator, args),
        Some(mapping) => catalog::check_mapped(operator, args, mapping),
    }
}
