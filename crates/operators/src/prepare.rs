//! From an order to the work it asks for.

use std::sync::Arc;

use serde_json::Value;
use updraft_core::protocol::Order;

use crate::{Host, HostError, Work, catalog::BadOperator, template::BadTemplate};

/// An order, ready to be carried out.
#[derive(Debug)]
pub struct Prepared {
    /// The arguments as rendered, a JSON object, secrets masked (`***`).
    pub rendered: Value,
    /// Texts that must not show anywhere: what was rendered of secret variables and connections.
    pub secrets: Vec<String>,
    /// What to do.
    pub work: Work,
}

/// An order that can't be carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// Its arguments, as rendered, are not what the operator takes.
    #[error(transparent)]
    Operator(#[from] BadOperator),
    /// A template can't be rendered.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// What it names is not there: a connection, a file, a result to be mapped over.
    #[error("{0}")]
    Missing(String),
    /// Something could not be looked up.
    #[error("a look-up failed: {0}")]
    Host(#[from] HostError),
}

/// Prepares an order: looks up what it is mapped over and the results it is passed, renders its templates,
/// reads its arguments. Blocks, since [`Host`] does; to be called where that is allowed.
pub fn prepare(order: &Arc<Order>, host: &Arc<dyn Host>) -> Result<Prepared, Refused> {
    let _ = host;
    Err(Refused::Missing(format!("{} is not built yet", order.operator)))
}
