"""What dag-factory and Airflow make of DAG files: the answers that ours are compared with.

    pip install apache-airflow==3.3.2 dag-factory==1.1.0
    python dag_factory.py ../fixtures/dags dag_factory.json
    python dag_factory.py ../fixtures/scalars.txt scalars.json

Relative dates are told as how many days before today they are, so that the answers stay the same.
"""

import datetime
import json
import logging
import os
import pathlib
import sys
import tempfile

os.environ["DO_NOT_TRACK"] = os.environ["SCARF_NO_ANALYTICS"] = "1"
os.environ["AIRFLOW__DAG_FACTORY__ENABLE_TELEMETRY"] = "False"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())
# Fixtures use this one variable.
os.environ["FIXTURE_WORD"] = "from-the-environment"


def seconds(length):
    if length is None:
        return None
    return length.total_seconds() if isinstance(length, datetime.timedelta) else float(length)


def when(time, written):
    if time is None:
        return None
    if isinstance(written, str) and written.split()[-1].startswith("day"):
        today = datetime.datetime.now(time.tzinfo).replace(hour=0, minute=0, second=0, microsecond=0)
        return {"days_ago": (today - time).days}
    return time.astimezone(datetime.timezone.utc).isoformat()


def schedule_of(dag):
    timetable = dag.timetable
    told = {"class": type(timetable).__name__}
    for name in ("expression", "timezone", "delta"):
        value = getattr(timetable, name, getattr(timetable, f"_{name}", None))
        if value is not None:
            told[name] = seconds(value) if name == "delta" else str(getattr(value, "name", value))
    return told


def task_of(task):
    def of(name, default=None):
        value = getattr(task, name, default)
        return task.partial_kwargs.get(name, default) if task.is_mapped and value is None else value

    return {
        "operator": task.task_type if not task.is_mapped else task.operator_class.__name__,
        "upstream": sorted(task.upstream_task_ids),
        "group": task.task_group.group_id if task.task_group else None,
        "mapped": task.is_mapped,
        "owner": task.owner,
        "retries": task.retries,
        "retry_delay": seconds(task.retry_delay),
        # As Airflow reads it back from where it keeps DAGs: true is 2.
        "backoff": 2.0 if task.retry_exponential_backoff is True else float(task.retry_exponential_backoff or 0),
        "max_retry_delay": seconds(task.max_retry_delay),
        "trigger_rule": str(getattr(task.trigger_rule, "value", task.trigger_rule)),
        "weight_rule": getattr(task.weight_rule, "value", None) or str(task.weight_rule),
        "priority_weight": task.priority_weight,
        "pool": task.pool,
        "pool_slots": task.pool_slots,
        "queue": task.queue,
        "depends_on_past": task.depends_on_past,
        "wait_for_downstream": task.wait_for_downstream,
        "execution_timeout": seconds(task.execution_timeout),
        "max_active_tis_per_dag": task.max_active_tis_per_dag,
        "do_xcom_push": of("do_xcom_push", True),
        "email": of("email"),
        "bash_command": of("bash_command"),
        "env": of("env"),
    }


def dag_of(dag, written):
    start = written.get("start_date") or written.get("default_args", {}).get("start_date")
    end = written.get("end_date") or written.get("default_args", {}).get("end_date")
    return {
        "schedule": schedule_of(dag),
        # A DAG without dates of its own has those of its tasks.
        "start_date": when(dag.start_date or dag.default_args.get("start_date"), start),
        "end_date": when(dag.end_date or dag.default_args.get("end_date"), end),
        "catchup": dag.catchup,
        "description": dag.description,
        "tags": sorted(tag for tag in dag.tags if tag != "dagfactory"),
        "max_active_runs": dag.max_active_runs,
        "max_active_tasks": dag.max_active_tasks,
        "dagrun_timeout": seconds(dag.dagrun_timeout),
        "is_paused_upon_creation": dag.is_paused_upon_creation,
        "params": dag.params.dump(),
        "tasks": {task.task_id: task_of(task) for task in dag.tasks},
        "groups": sorted(group for group in dag.task_group.get_task_group_dict() if group),
    }


def dags(folder):
    from dagfactory.dagfactory import _DagFactory
    from dagfactory.utils import merge_configs

    logging.disable(logging.CRITICAL)
    told = {}
    for path in sorted(folder.rglob("*.yml")):
        if path.name == "defaults.yml":
            continue
        name = str(path.relative_to(folder))
        try:
            factory = _DagFactory(config_filepath=str(path), defaults_config_path=str(folder))
            merged = {}
            raw = _DagFactory(config_filepath=str(path), defaults_config_path=str(folder))
            for dag_id, config in raw.get_dag_configs().items():
                merged[dag_id] = merge_configs(config, raw.get_default_config())
            told[name] = {
                dag_id: dag_of(dag, merged[dag_id]) for dag_id, dag in factory.build_dags().items()
            }
        except Exception as error:  # What Airflow refuses is an answer as well.
            told[name] = {"error": type(error).__name__}
    return told


def scalars(file):
    import yaml

    def value_of(text):
        try:
            value = yaml.load(text, Loader=yaml.FullLoader)
        except Exception as error:
            return {"error": type(error).__name__}
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            return {"error": "not in JSON"}
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            return {"error": "too large"}
        if isinstance(value, datetime.datetime):
            return {"time": value.isoformat()}
        if isinstance(value, datetime.date):
            return {"date": value.isoformat()}
        return {type(value).__name__: value}

    return [[line, value_of(line)] for line in file.read_text().splitlines()]


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1]).resolve()
    answer = dags(source) if source.is_dir() else scalars(source)
    # Not to the standard output, where Airflow writes its warnings.
    pathlib.Path(sys.argv[2]).write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n")
