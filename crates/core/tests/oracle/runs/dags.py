"""The DAG of a case, as its author would have written it."""

from __future__ import annotations

import datetime as dt

# Before all of Airflow.
import mended  # noqa: F401

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

START = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)


class Work(BaseOperator):
    def __init__(self, *, x=None, y=None, **kwargs):
        super().__init__(**kwargs)


class Branch(BaseBranchOperator):
    chosen: list[str] = []

    def __init__(self, *, x=None, y=None, **kwargs):
        super().__init__(**kwargs)

    def choose_branch(self, context):
        return Branch.chosen


class Short(ShortCircuitOperator):
    def __init__(self, *, x=None, y=None, **kwargs):
        super().__init__(python_callable=lambda: False, **kwargs)


class ShortDirect(Short):
    def __init__(self, **kwargs):
        super().__init__(ignore_downstream_trigger_rules=False, **kwargs)


OPERATORS = {"work": Work, "branch": Branch, "short": Short, "short_direct": ShortDirect, "empty": EmptyOperator}


def build(spec: dict) -> DAG:
    dag = DAG("d", schedule=None, start_date=START, fail_fast=spec.get("fail_fast", False))
    groups = {None: dag.task_group}
    declared = dict(spec.get("groups", []))
    for name, upstream, options in spec["tasks"]:
        group = name.rpartition(".")[0] or None
        make_group(dag, groups, group, declared)
        make_task(dag, groups[group], name, options)
        for before in upstream.split():
            dag.get_task(before).set_downstream(dag.get_task(name))
    for group in groups.values():
        if isinstance(group, MappedTaskGroup):
            for task, _ in group._expand_input.iter_references():
                group.set_upstream(task)
    dag.validate()
    return dag


def make_group(dag: DAG, groups: dict, name: str | None, declared: dict) -> None:
    """A group comes into being with its first task: what it is mapped over is there by then."""
    if name in groups:
        return
    parent, _, own = name.rpartition(".")
    make_group(dag, groups, parent or None, declared)
    place = {"group_id": own, "parent_group": groups[parent or None], "dag": dag}
    if mapping := declared[name].get("map"):
        expand = DictOfListsExpandInput({key: source(dag, value) for key, value in mapping.items()})
        groups[name] = MappedTaskGroup(expand_input=expand, **place)
    else:
        groups[name] = TaskGroup(**place)


def make_task(dag: DAG, group: TaskGroup, name: str, options: dict) -> None:
    operator = OPERATORS[options.get("kind", "work")]
    own = name.rpartition(".")[2]
    arguments = {"task_id": own, "dag": dag, "task_group": group, "retry_delay": dt.timedelta()}
    for key, argument in [
        ("rule", "trigger_rule"),
        ("retries", "retries"),
        ("past", "depends_on_past"),
        ("downstream", "wait_for_downstream"),
    ]:
        if key in options:
            arguments[argument] = options[key]
    if "downstream" in options:
        arguments["depends_on_past"] = True  # So it is documented; of mapped tasks Airflow forgets it.
    mapping = options.get("map")
    if mapping is None:
        task = operator(**arguments)
    elif list(mapping) == ["kwargs"]:
        value = mapping["kwargs"]
        rows = [{"x": at} for at in range(value)] if isinstance(value, int) else source(dag, value)
        task = operator.partial(**arguments).expand_kwargs(rows)
    else:
        task = operator.partial(**arguments).expand(**{key: source(dag, value) for key, value in mapping.items()})
    match options.get("role"):
        case "setup":
            task.as_setup()
        case "teardown":
            task.as_teardown()
        case "teardown!":
            task.as_teardown(on_failure_fail_dagrun=True)


def source(dag: DAG, value):
    """What a mapped argument comes from: so many values, a task's result, or several of them put together."""
    match value:
        case int():
            return list(range(value))
        case str():
            return dag.get_task(value).output
        case ["zip", first, *rest]:
            return source(dag, first).zip(*(source(dag, one) for one in rest))
        case ["fill", first, *rest]:
            return source(dag, first).zip(*(source(dag, one) for one in rest), fillvalue=0)
        case ["concat", first, *rest]:
            return source(dag, first).concat(*(source(dag, one) for one in rest))
