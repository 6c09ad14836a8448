//! The part of a DAG that lists show.

use updraft_core::DagSpec;

/// A spec without its tasks, edges and groups.
pub(crate) fn header(spec: &DagSpec) -> DagSpec {
    DagSpec {
        namespace: spec.namespace.clone(),
        dag_id: spec.dag_id.clone(),
        owner: spec.owner.clone(),
        description: spec.description.clone(),
        dag_display_name: spec.dag_display_name.clone(),
        doc_md: spec.doc_md.clone(),
        tags: spec.tags.clone(),
        schedule: spec.schedule.clone(),
        assets: spec.assets.clone(),
        start_date: spec.start_date,
        end_date: spec.end_date,
        catchup: spec.catchup,
        params: spec.params.clone(),
        max_active_runs: spec.max_active_runs,
        max_active_tasks: spec.max_active_tasks,
        max_consecutive_failed_dag_runs: spec.max_consecutive_failed_dag_runs,
        dagrun_timeout: spec.dagrun_timeout,
        fail_fast: spec.fail_fast,
        is_paused_upon_creation: spec.is_paused_upon_creation,
        template: spec.template.clone(),
        tasks: Vec::new(),
        edges: Vec::new(),
        groups: Vec::new(),
        alerts: spec.alerts.clone(),
        bundle: spec.bundle.clone(),
    }
}
