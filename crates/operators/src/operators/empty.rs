//! `EmptyOperator`: nothing.

use updraft_core::TaskKind;

use crate::{Refused, catalog::Entry};

pub(super) const ENTRY: Entry = Entry {
    name: "EmptyOperator",
    aliases: &[
        "empty",
        "DummyOperator",
        "airflow.providers.standard.operators.empty.EmptyOperator",
        "airflow.operators.empty.EmptyOperator",
        "airflow.operators.dummy.DummyOperator",
        "airflow.operators.dummy_operator.DummyOperator",
    ],
    doc: "Does nothing: groups other tasks in the graph. The engine itself ends it.",
    takes_results: None,
    arguments: &[],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Empty),
    plan: |_| Err(Refused::Missing("an EmptyOperator has nothing for a worker to do".into())),
};
