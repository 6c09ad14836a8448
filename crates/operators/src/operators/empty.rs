//! `EmptyOperator`: nothing.

use updraft_core::TaskKind;

use crate::{Work, catalog::Entry};

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
    doc: "Does nothing: groups other tasks in the graph. The engine itself ends it, unless it has callbacks.",
    takes_results: None,
    arguments: &[],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Empty),
    // A worker has it where its callbacks are to be called. Its time has come.
    plan: |job| Ok(Work::Until(job.order.run.run_after)),
};
