//! What Airflow 3.3.2's lists take from their query (its OpenAPI document of `/api/v2`), and ours don't.

/// By route.
const NOT_HERE: &[(&str, &[&str])] = &[
    ("/api/v2/assets/events", &["name_pattern", "name_prefix_pattern"]),
    (
        "/api/v2/dags",
        &[
            "asset_dependency",
            "bundle_name",
            "bundle_version",
            "dag_run_end_date_gt",
            "dag_run_end_date_gte",
            "dag_run_end_date_lt",
            "dag_run_end_date_lte",
            "dag_run_start_date_gt",
            "dag_run_start_date_gte",
            "dag_run_start_date_lt",
            "dag_run_start_date_lte",
            "dag_run_state",
            "has_asset_schedule",
            "is_favorite",
            "timetable_type",
        ],
    ),
    (
        "/api/v2/dags/{dag_id}/dagRuns",
        &[
            "bundle_version",
            "consuming_asset_pattern",
            "partition_date_gte",
            "partition_date_lte",
            "partition_key_pattern",
            "partition_key_prefix_pattern",
            "updated_at_gt",
            "updated_at_gte",
            "updated_at_lt",
            "updated_at_lte",
        ],
    ),
    (
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
        &[
            "executor",
            "rendered_map_index_pattern",
            "rendered_map_index_prefix_pattern",
            "updated_at_gt",
            "updated_at_gte",
            "updated_at_lt",
            "updated_at_lte",
        ],
    ),
    (
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
        &[
            "executor",
            "rendered_map_index_pattern",
            "rendered_map_index_prefix_pattern",
            "updated_at_gt",
            "updated_at_gte",
            "updated_at_lt",
            "updated_at_lte",
        ],
    ),
    (
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
        &["dag_display_name_pattern", "dag_display_name_prefix_pattern", "order_by"],
    ),
    ("/api/v2/dags/{dag_id}/dagVersions", &["bundle_name", "bundle_version"]),
    (
        "/api/v2/eventLogs",
        &[
            "map_index",
            "run_id_pattern",
            "run_id_prefix_pattern",
            "task_id",
            "task_id_pattern",
            "task_id_prefix_pattern",
            "try_number",
        ],
    ),
    ("/api/v2/importErrors", &["bundle_name"]),
    (
        "/api/v2/jobs",
        &[
            "end_date_gt",
            "end_date_gte",
            "end_date_lt",
            "end_date_lte",
            "executor_class",
            "order_by",
            "start_date_gt",
            "start_date_gte",
            "start_date_lt",
            "start_date_lte",
        ],
    ),
];

/// The names of Airflow's parameters that this route does not take.
pub(super) fn not_here(route: &str) -> &'static [&'static str] {
    NOT_HERE.iter().find(|(known, _)| *known == route).map(|(_, names)| *names).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_there_and_takes_none_of_them() {
        let document = serde_json::to_value(super::super::super::routes().into_openapi()).unwrap();
        for (route, names) in NOT_HERE {
            let list = &document["paths"][route]["get"];
            assert!(list.is_object(), "there is no {route}");
            let taken: Vec<&str> = list["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["name"].as_str().unwrap())
                .collect();
            let both = names.iter().find(|name| taken.contains(*name));
            assert_eq!(both, None, "{route} takes it");
        }
        assert_eq!(not_here("/api/v2/dags/{dag_id}"), &[] as &[&str]);
    }
}
