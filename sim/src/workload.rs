//! What there is to do in a world: DAGs, what becomes of attempts, and what people want.

pub(crate) mod commands;
pub(crate) mod dags;
pub(crate) mod outcome;
mod tasks;

pub(crate) use self::tasks::label;
