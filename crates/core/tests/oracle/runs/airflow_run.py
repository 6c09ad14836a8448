"""A run of a small DAG under Airflow's own scheduler, in this process and one event at a time.

What decides is Airflow: the serialized DAG, `DagRun.update_state` and `schedule_tis`, the routes by which its workers
report (`ti_update_state`, `ti_skip_downstream`, `set_xcom`), and the branch operators of its standard provider. What is
played is the worker alone: which task instance ends next, and how.

Three things are pinned, since Airflow leaves them to chance:

- The dependencies of a task instance are checked in the order in which Airflow's source lists them. They are a set of
  objects hashed by their address, each may set the state, and the last one wins.
- In one pass of the scheduler all are judged by what was over when it began. What a task is mapped over is looked up in
  the database instead, where it may have ended a moment ago in the same pass, if it happened to come first.
- Between two events the scheduler runs until it changes nothing any more.

And four bugs are mended, since whoever meets them wants the other. A run in which that made a difference says so:

- `group`, https://github.com/apache/airflow/issues/67265, in Airflow 3.2 to 3.3.2: a branch inside a mapped task group
  skips nothing. What it chose is looked for under the map index of a task that is not mapped.
- `early`: a task mapped over results whose trigger rule lets it run before they are there (`always`, `one_done`) is
  upstream_failed. Here it waits for them.
- `begun`: a branch that leaves out a task that runs already lets it run, as far as the branch is asked
  (https://github.com/apache/airflow/issues/59378). But where nothing else can run, the scheduler skips it all the same
  while it runs, and takes the run for deadlocked. Here it may end.
- `unseen`: where all that a pass knew of is over, the run is over, though the pass itself has made copies that are not.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import uuid

HOME = os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/runs.db"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__MAX_MAP_LENGTH"] = "4"
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"

from airflow.ti_deps.deps.base_ti_dep import BaseTIDep

DEPENDENCIES = ["NotInRetryPeriodDep", "PrevDagrunDep", "TriggerRuleDep", "NotPreviouslySkippedDep", "MappedTaskUpstreamDep"]
BaseTIDep.__hash__ = lambda self: DEPENDENCIES.index(type(self).__name__) if type(self).__name__ in DEPENDENCIES else 7

from airflow import settings
from airflow.logging_config import configure_logging
from airflow.api_fastapi.execution_api.datamodels import taskinstance as payloads
from airflow.api_fastapi.execution_api.routes import task_instances as routes, xcoms
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as TI
from airflow.models.taskmap import TaskMap
from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.serialization.definitions.baseoperator import DEFAULT_OPERATOR_DEPS
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep
from airflow.ti_deps.deps.not_previously_skipped_dep import NotPreviouslySkippedDep
from airflow.utils.db import initdb
from airflow.utils.state import DagRunState, State
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from fastapi import HTTPException
from sqlalchemy import select, update

assert [type(dep).__name__ for dep in set() | DEFAULT_OPERATOR_DEPS] == DEPENDENCIES

plain_xcom_pull = TI.xcom_pull
plain_expand = TaskMap.expand_mapped_task.__func__
plain_mapped_upstream = MappedTaskUpstreamDep._get_dep_statuses
plain_decisions = DagRun.task_instance_scheduling_decisions
plain_not_skipped = NotPreviouslySkippedDep._get_dep_statuses


def xcom_pull(self, task_ids=None, *, key="return_value", map_indexes=None, **options):
    found = plain_xcom_pull(self, task_ids, key=key, map_indexes=map_indexes, **options)
    if key == "skipmixin_key" and map_indexes != self.map_index:
        if self.task.dag.get_task(task_ids).get_closest_mapped_task_group():
            mended = plain_xcom_pull(self, task_ids, key=key, map_indexes=self.map_index, **options)
            if mended != found:
                Run.mended.add("group")
            return mended
    return found


def expand_mapped_task(cls, task, run_id, *, session):
    sources = select(TI.state).where(TI.run_id == run_id, TI.task_id.in_(mapped_sources(task)))
    for state in session.scalars(sources):
        if state not in State.finished:
            Run.mended.add("early")
            return (), -1
    return plain_expand(cls, task, run_id, session=session)


def mapped_sources(task) -> list[str]:
    mapped = task if task.is_mapped else task.get_closest_mapped_task_group()
    return [source.task_id for source in mapped.iter_mapped_dependencies()] if mapped else []


def mapped_upstream(self, ti, dep_context, *, session):
    over = {(one.task_id, one.map_index) for one in dep_context.ensure_finished_tis(ti.get_dagrun(session=session), session)}
    of_sources = select(TI).where(TI.run_id == ti.run_id, TI.task_id.in_(mapped_sources(ti.task)), TI.map_index == -1)
    if any(one.state in State.finished and (one.task_id, -1) not in over for one in session.scalars(of_sources)):
        return []
    return plain_mapped_upstream(self, ti, dep_context, session=session)


def scheduling_decisions(self, *, session):
    decision = plain_decisions(self, session=session)
    if not decision.unfinished_tis:
        made = list(session.scalars(select(TI).where(TI.run_id == self.run_id, TI.state.is_(None))))
        for ti in made:
            ti.task = self.get_dag().get_task(ti.task_id)
        if made:
            Run.mended.add("unseen")
            return decision._replace(unfinished_tis=made)
    return decision


def not_skipped(self, ti, dep_context, *, session):
    before = ti.state
    statuses = list(plain_not_skipped(self, ti, dep_context, session=session))
    if before == "running" and statuses:
        Run.mended.add("begun")
        ti.set_state(before, session=session)
        return []
    return statuses


TI.xcom_pull = xcom_pull
TaskMap.expand_mapped_task = classmethod(expand_mapped_task)
NotPreviouslySkippedDep._get_dep_statuses = not_skipped
MappedTaskUpstreamDep._get_dep_statuses = mapped_upstream
DagRun.task_instance_scheduling_decisions = scheduling_decisions

START = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
LETTERS = {
    None: "n", "scheduled": "S", "queued": "Q", "running": "R", "up_for_retry": "t", "success": "s", "failed": "f",
    "skipped": "k", "upstream_failed": "u", "removed": "r",
}  # fmt: skip
STATES = {letter: state for state, letter in LETTERS.items()}


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
    """The DAG of a case, as its author would have written it."""
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
    for key, argument in [("rule", "trigger_rule"), ("retries", "retries"), ("past", "depends_on_past"),
                          ("downstream", "wait_for_downstream")]:  # fmt: skip
        if key in options:
            arguments[argument] = options[key]
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


class Run:
    """A run, between two events: everything that the scheduler can do is done."""

    number = 0
    mended: set[str] = set()

    def __init__(self, spec: dict, given: dict[str, str] | None = None):
        self.spec = spec
        self.dag = build(spec)
        self.serialized = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(self.dag))
        self.mapped_over = {name for task in self.dag.tasks for name in [task.task_id] if any(task.iter_mapped_dependants())}
        session.execute(update(DagModel).values(fail_fast=self.dag.fail_fast))
        Run.number += 1
        Run.mended = set()
        self.name = f"run_{Run.number}"
        date = START + dt.timedelta(minutes=Run.number)
        self.serialized.create_dagrun(
            run_id=self.name, logical_date=date, data_interval=(date, date), run_after=date, start_date=date,
            run_type=DagRunType.MANUAL, triggered_by=DagRunTriggeredByType.TEST, state=DagRunState.RUNNING,
            session=session,
        )  # fmt: skip
        for task, letter in (given or {}).items():
            session.execute(update(TI).where(TI.run_id == self.name, TI.task_id == task).values(state=STATES[letter]))
        self.settle()

    def states(self) -> dict[tuple[str, int], str]:
        rows = session.execute(select(TI.task_id, TI.map_index, TI.state).where(TI.run_id == self.name))
        return {(task, index): LETTERS[state] for task, index, state in rows}

    def run_state(self) -> str:
        return session.scalar(select(DagRun.state).where(DagRun.run_id == self.name))

    def active(self) -> list[tuple[str, int]]:
        """What is queued or running, in a fixed order."""
        if self.run_state() != "running":
            return []
        return sorted(key for key, letter in self.states().items() if letter in "QR")

    def settle(self) -> None:
        forget()
        while self.run_state() == "running":
            before = self.states()
            run = session.scalar(select(DagRun).where(DagRun.run_id == self.name))
            run.dag = self.serialized
            schedulable, _ = run.update_state(session=session, execute_callbacks=False)
            run.schedule_tis(schedulable, session=session)
            of_run = update(TI).where(TI.run_id == self.name)
            session.execute(of_run.where(TI.state == "scheduled").values(state="queued"))
            forget()
            if self.states() == before:
                break

    def start(self, key: tuple[str, int]) -> None:
        of_ti = update(TI).where(TI.run_id == self.name, TI.task_id == key[0], TI.map_index == key[1])
        now = dt.datetime.now(dt.timezone.utc)
        session.execute(of_ti.where(TI.state == "queued").values(state="running", start_date=now))
        forget()

    def end(self, key: tuple[str, int], how: str, argument: list[str]) -> None:
        """Ends an attempt: `s` success with a result of this many values (`-` for none, nothing for one that is no
        list), `f` failed, `F` failed for good, `k` skipped, `>` success of a branch into these tasks, `!` success of a
        short circuit."""
        self.start(key)
        try:
            match how:
                case "s":
                    self.leave_result(key, argument)
                case ">" | "!":
                    Branch.chosen = argument
                    self.choose(key)
            self.report(key, "success" if how in "s>!" else {"f": None, "F": "failed", "k": "skipped"}[how])
        except (Failed, HTTPException):
            session.rollback()
            self.report(key, None)
        self.settle()

    def row(self, key: tuple[str, int]) -> TI:
        return session.scalar(
            select(TI).where(TI.run_id == self.name, TI.task_id == key[0], TI.map_index == key[1])
        )

    def report(self, key: tuple[str, int], state: str | None) -> None:
        ti = self.row(key)
        now = dt.datetime.now(dt.timezone.utc)
        again = routes._is_eligible_to_retry(ti.state, ti.try_number, ti.max_tries)
        if state is None and again:
            payload = payloads.TIRetryStatePayload(state="up_for_retry", end_date=now)
        elif state == "success":
            payload = payloads.TISuccessStatePayload(state=state, end_date=now)
        else:
            payload = payloads.TITerminalStatePayload(state=state or "failed", end_date=now)
        routes.ti_update_state(ti.id, payload, session=session, dag_bag=self)
        forget()

    def get_dag_for_run(self, dag_run, session):
        return self.serialized

    def leave_result(self, key: tuple[str, int], argument: list[str]) -> None:
        """As the task runner does (`_push_xcom_if_needed`)."""
        name, index = key
        is_mapped_over = name in self.mapped_over and not self.dag.get_task(name).is_mapped
        length = None
        if argument == ["-"]:
            if is_mapped_over:
                raise Failed
            return
        if is_mapped_over:
            if not argument:
                raise Failed
            length = int(argument[0])
        value = list(range(int(argument[0]))) if argument else 1
        xcoms.set_xcom("d", self.name, name, "return_value", session, value, index, False, length)

    def choose(self, key: tuple[str, int]) -> None:
        name, index = key
        task = self.dag.get_task(name)
        operator = task if not task.is_mapped else task.operator_class(task_id=task.task_id, dag=None)
        teller = Teller(self, task, index)
        context = {"ti": teller, "task": task, "dag_run": None}
        try:
            if task.is_mapped:
                operator.__dict__.update(downstream_task_ids=task.downstream_task_ids, task_id=task.task_id)
            operator.execute(context)
        except DownstreamTasksSkipped as skipped:
            payload = payloads.TISkippedDownstreamTasksStatePayload(tasks=list(skipped.tasks))
            routes.ti_skip_downstream(self.row(key).id, payload, session=session)
        except Exception as error:
            if type(error).__name__ != "AirflowException":
                raise
            raise Failed from error


class Teller:
    """What an operator sees of its task instance."""

    def __init__(self, run: Run, task, map_index: int):
        self.run, self.task, self.map_index = run, task, map_index

    def xcom_push(self, key, value):
        xcoms.set_xcom("d", self.run.name, self.task.task_id, key, session, value, self.map_index, False, None)


class Failed(Exception):
    """The attempt failed in a way that may be tried again."""


def forget() -> None:
    """Each look at the database is a fresh one, as that of another process is."""
    session.commit()
    session.expunge_all()


configure_logging()
initdb()
session = settings.Session()
session.add(DagBundleModel(name="b"))
session.flush()
session.add(DagModel(dag_id="d", bundle_name="b", fileloc="d.py", is_paused=False))
session.flush()
DagVersion.write_dag(dag_id="d", bundle_name="b", session=session)
forget()
