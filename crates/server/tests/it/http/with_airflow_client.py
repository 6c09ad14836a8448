"""Goes through the API with Airflow's own client, which refuses answers that are not as Airflow's.

Argument: the server's address. Environment: TOKEN. Needs apache-airflow-client 3.3.2 from PyPI.
"""

import os
import sys
import time

import airflow_client.client as client
from airflow_client.client import api
from airflow_client.client.exceptions import NotFoundException
from airflow_client.client.models.backfill_post_body import BackfillPostBody
from airflow_client.client.models.clear_task_instances_body import ClearTaskInstancesBody
from airflow_client.client.models.connection_body import ConnectionBody
from airflow_client.client.models.create_asset_events_body import CreateAssetEventsBody
from airflow_client.client.models.dag_patch_body import DAGPatchBody
from airflow_client.client.models.dag_run_patch_body import DAGRunPatchBody
from airflow_client.client.models.dag_runs_batch_body import DAGRunsBatchBody
from airflow_client.client.models.pool_body import PoolBody
from airflow_client.client.models.trigger_dag_run_post_body import TriggerDAGRunPostBody
from airflow_client.client.models.variable_body import VariableBody


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def main():
    configuration = client.Configuration(host=sys.argv[1], access_token=os.environ["TOKEN"])
    with client.ApiClient(configuration) as there:
        equal(api.MonitorApi(there).get_health().scheduler.status, "healthy")
        assert api.VersionApi(there).get_version().version
        dags(there)
        runs(there)
        records(there)
        backfills(there)
        assets(there)


def assets(there):
    assets, runs = api.AssetApi(there), api.DagRunApi(there)
    for dag_id in ("maker", "reader", "waiter"):
        api.DAGApi(there).patch_dag(dag_id, DAGPatchBody(is_paused=False))
    listed = assets.get_assets(uri_pattern="orders")
    equal(listed.total_entries, 1)
    orders = assets.get_asset(listed.assets[0].id)
    equal([dag.dag_id for dag in orders.scheduled_dags], ["reader", "waiter"])
    equal([(task.dag_id, task.task_id) for task in orders.producing_tasks], [("maker", "make")])
    told = assets.create_asset_event(CreateAssetEventsBody(asset_id=orders.id, extra={"rows": 3}))
    equal([(run.dag_id, run.triggering) for run in told.created_dagruns], [("reader", True)])
    made = runs.get_dag_run("reader", told.created_dagruns[0].run_id)
    equal((made.run_type, made.triggered_by, made.logical_date), ("asset_triggered", "asset", None))
    upstream = runs.get_upstream_asset_events("reader", made.dag_run_id)
    equal([event.extra for event in upstream.asset_events], [{"rows": 3, "from_rest_api": True}])
    equal([event.asset_id for event in assets.get_dag_asset_queued_events("waiter").queued_events], [orders.id])
    assets.delete_dag_asset_queued_event("waiter", orders.id)
    try:
        assets.get_asset_queued_events(orders.id)
        raise AssertionError("an event that was taken back is queued")
    except NotFoundException as error:
        assert "was not found" in error.body
    equal(assets.materialize_asset(orders.id).dag_id, "maker")
    events = assets.get_asset_events(asset_id=orders.id, order_by=["-timestamp"])
    equal((events.total_entries, events.asset_events[0].source_task_id), (2, "make"))
    equal(events.asset_events[0].source_map_index, -1)
    expression = api.DAGApi(there).get_dag_details("waiter").asset_expression
    equal([part["asset"]["uri"] for part in expression["all"]], ["s3://orders", "stock"])


def dags(there):
    dags = api.DAGApi(there)
    listed = dags.get_dags(limit=10, order_by=["-dag_id"])
    equal([dag.dag_id for dag in listed.dags], ["work", "waiter", "reader", "quick", "maker", "daily"])
    equal(dags.get_dag("work").is_paused, False)
    equal(dags.get_dag_details("work").params["size"]["value"], 1)
    equal(dags.patch_dag("quick", DAGPatchBody(is_paused=True)).is_paused, True)
    equal(api.TaskApi(there).get_tasks("work").total_entries, 2)
    equal(api.DagVersionApi(there).get_dag_versions("work").dag_versions[0].version_number, 1)
    assert "first" in api.DagSourceApi(there).get_dag_source("work").content
    api.DagStatsApi(there).get_dag_stats(dag_ids=["work"])
    try:
        dags.get_dag("none")
        raise AssertionError("a DAG that is not there was found")
    except NotFoundException as error:
        assert "none" in error.body


def runs(there):
    runs, tis = api.DagRunApi(there), api.TaskInstanceApi(there)
    body = TriggerDAGRunPostBody(dag_run_id="r", logical_date=None, conf={"size": 2}, note="by the client")
    equal(runs.trigger_dag_run("work", body).dag_run_id, "r")
    until = time.monotonic() + 20
    while runs.get_dag_run("work", "r").state != "success":
        assert time.monotonic() < until, "the run does not end"
        time.sleep(0.05)
    equal(runs.get_dag_runs("~", state=["success"]).total_entries, 1)
    equal(runs.get_list_dag_runs_batch("~", DAGRunsBatchBody(dag_ids=["work"])).total_entries, 1)
    equal(runs.patch_dag_run("work", "r", DAGRunPatchBody(note="seen")).note, "seen")
    first = tis.get_task_instance("work", "r", "first")
    equal((first.state, first.try_number), ("success", 1))
    equal(tis.get_task_instances("work", "r").total_entries, 2)
    equal(tis.get_task_instance_tries("work", "r", "first").total_entries, 1)
    equal(tis.get_log("work", "r", "first", 1).continuation_token, None)
    body = ClearTaskInstancesBody(dry_run=True, dag_run_id="r", only_failed=False)
    equal(tis.post_clear_task_instances("work", body).total_entries, 2)
    xcoms = api.XComApi(there)
    equal(xcoms.get_xcom_entries("work", "r", "first").total_entries, 1)
    entry = xcoms.get_xcom_entry(dag_id="work", dag_run_id="r", task_id="first", xcom_key="return_value")
    equal(entry.actual_instance.value, {"rows": 3})
    assert api.EventLogApi(there).get_event_logs(dag_id="work").total_entries > 0


def records(there):
    pools, variables, connections = api.PoolApi(there), api.VariableApi(there), api.ConnectionApi(there)
    equal(pools.post_pool(PoolBody(name="p", slots=3)).open_slots, 3)
    equal(pools.get_pool("p").slots, 3)
    pools.delete_pool("p")
    equal(variables.post_variable(VariableBody(key="k", value="v")).value, "v")
    equal(variables.get_variables().total_entries, 1)
    variables.delete_variable("k")
    body = ConnectionBody(connection_id="c", conn_type="http", host="h", password="s")
    equal(connections.post_connection(body).password, "***")
    equal(connections.get_connection("c").host, "h")
    connections.delete_connection("c")
    equal(api.ImportErrorApi(there).get_import_errors().total_entries, 0)
    equal(api.JobApi(there).get_jobs().jobs[0].job_type, "SchedulerJob")


def backfills(there):
    backfills = api.BackfillApi(there)
    body = BackfillPostBody(
        dag_id="daily", from_date="2021-01-01T00:00:00Z", to_date="2021-01-03T00:00:00Z", dag_run_conf={"a": 1}
    )
    equal(backfills.create_backfill_dry_run(body).total_entries, 3)
    made = backfills.create_backfill(body)
    equal((made.max_active_runs, made.reprocess_behavior.value), (10, "none"))
    equal(backfills.list_backfills("daily").backfills[0].id, made.id)
    equal(backfills.get_backfill(made.id).completed_at, None)
    equal(backfills.pause_backfill(made.id).is_paused, True)
    equal(backfills.unpause_backfill(made.id).is_paused, False)
    assert backfills.cancel_backfill(made.id).completed_at


main()
