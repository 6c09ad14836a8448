"""A run of a small DAG under Airflow's own scheduler, in this process and one event at a time.

What decides is Airflow: the serialized DAG, `DagRun.update_state` and `schedule_tis`, the routes by which its workers
report (`ti_update_state`, `ti_skip_downstream`, `set_xcom`), and the branch operators of its standard provider. What is
played is the worker alone: which task instance ends next, and how.

What of Airflow is pinned and mended for that, `mended.py` says.
"""

from __future__ import annotations

import datetime as dt

from mended import mended  # before all of Airflow

from airflow import settings
from airflow.api_fastapi.execution_api.datamodels import taskinstance as payloads
from airflow.api_fastapi.execution_api.routes import task_instances as routes, xcoms
from airflow.logging_config import configure_logging
from airflow.models import dagbag
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as TI, clear_task_instances, find_relevant_relatives
from airflow.models.xcom import XComModel
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.db import initdb
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from dags import START, Branch, build
from fastapi import HTTPException
from sqlalchemy import delete, select, update

LETTERS = {
    None: "n",
    "scheduled": "S",
    "queued": "Q",
    "running": "R",
    "up_for_retry": "t",
    "success": "s",
    "failed": "f",
    "skipped": "k",
    "upstream_failed": "u",
    "removed": "r",
}
STATES = {letter: state for state, letter in LETTERS.items()}


class Run:
    """A DAG and its run, or its two runs one after the other, between two events: everything that the scheduler can do
    is done. A task instance is named by (task, map index, run)."""

    def __init__(self, spec: dict, given: dict[str, str] | None = None, runs: int = 1):
        self.dag = build(spec)
        self.serialized = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(self.dag))
        self.mapped_over = {task.task_id for task in self.dag.tasks if any(task.iter_mapped_dependants())}
        self.runs = range(1, runs + 1)
        mended.clear()
        session.execute(delete(DagRun))
        session.execute(update(DagModel).values(fail_fast=self.dag.fail_fast))
        for number in self.runs:
            date = START + dt.timedelta(minutes=number)
            self.serialized.create_dagrun(
                run_id=str(number),
                logical_date=date,
                data_interval=(date, date),
                run_after=date,
                start_date=date,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
        for task, letter in (given or {}).items():
            session.execute(update(TI).where(TI.task_id == task).values(state=STATES[letter]))
        self.settle()

    def states(self) -> dict[tuple[str, int, int], str]:
        rows = session.execute(select(TI.task_id, TI.map_index, TI.run_id, TI.state))
        return {(task, index, int(run)): LETTERS[state] for task, index, run, state in rows}

    def state_of(self, run: int) -> str:
        return session.scalar(select(DagRun.state).where(DagRun.run_id == str(run)))

    def active(self) -> list[tuple[str, int, int]]:
        """What is queued or running, in a fixed order."""
        going = {run for run in self.runs if self.state_of(run) == "running"}
        return sorted(key for key, letter in self.states().items() if letter in "QR" and key[2] in going)

    def settle(self) -> None:
        forget()
        before = None
        while before != (before := (self.states(), [self.state_of(run) for run in self.runs])):
            for number in self.runs:
                if self.state_of(number) == "running":
                    self.schedule(number)

    def schedule(self, number: int) -> None:
        run = session.scalar(select(DagRun).where(DagRun.run_id == str(number)))
        run.dag = self.serialized
        schedulable, _ = run.update_state(session=session, execute_callbacks=False)
        run.schedule_tis(schedulable, session=session)
        session.execute(update(TI).where(TI.state == "scheduled").values(state="queued"))
        forget()

    def start(self, key: tuple[str, int, int]) -> None:
        """Begins an attempt that has not begun; what an earlier one left goes."""
        task, index, run = key
        if (ti := self.row(key)).state == "queued":
            ti.state, ti.start_date = "running", dt.datetime.now(dt.timezone.utc)
            left = delete(XComModel).where(XComModel.task_id == task, XComModel.run_id == str(run))
            session.execute(left if index < 0 else left.where(XComModel.map_index == index))
        forget()

    def end(self, key: tuple[str, int, int], how: str, argument: list[str]) -> None:
        """Ends an attempt, in one of the ways that `generate.py` lists."""
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

    def clear(self, keys: list[tuple[str, int, int]], direction: str | None) -> None:
        """As the API does (`post_clear_task_instances`); what is `up` or `down` of them too. The run begins at once."""
        run = str(keys[0][2])
        plain = {task for task, index, _ in keys if index < 0}
        copies = {(task, index) for task, index, _ in keys if index >= 0}
        if direction:
            towards = {"up": "upstream", "down": "downstream"}[direction]
            found = find_relevant_relatives(
                plain, copies, direction=towards, dag=self.serialized, run_id=run, session=session
            )
            plain |= {one for one in found if isinstance(one, str)}
            copies |= {one for one in found if isinstance(one, tuple)}
        marked = [*plain, *(copy for copy in copies if copy[0] not in plain)]
        cleared = self.serialized.clear(dry_run=True, task_ids=marked, run_id=run, session=session)
        dagbag.DBDagBag = lambda **_: self
        for ti in cleared:
            chosen = delete(XComModel).where(XComModel.task_id == ti.task_id, XComModel.run_id == run)
            chosen = chosen.where(XComModel.map_index == ti.map_index, XComModel.key == "skipmixin_key")
            if session.execute(chosen).rowcount:
                mended.add("stale")
        clear_task_instances(list(cleared), session, DagRunState.QUEUED)
        session.execute(update(DagRun).where(DagRun.state == "queued").values(state="running"))
        self.settle()

    def row(self, key: tuple[str, int, int]) -> TI:
        task, index, run = key
        return session.scalar(select(TI).where(TI.run_id == str(run), TI.task_id == task, TI.map_index == index))

    def report(self, key: tuple[str, int, int], state: str | None) -> None:
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

    def leave_result(self, key: tuple[str, int, int], argument: list[str]) -> None:
        """As the task runner does (`_push_xcom_if_needed`)."""
        name, index, run = key
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
        xcoms.set_xcom("d", str(run), name, "return_value", session, value, index, False, length)

    def choose(self, key: tuple[str, int, int]) -> None:
        task = self.dag.get_task(key[0])
        operator = task if not task.is_mapped else task.operator_class(task_id=task.task_id, dag=None)
        context = {"ti": Teller(task, key), "task": task, "dag_run": None}
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

    def __init__(self, task, key: tuple[str, int, int]):
        self.task = task
        _, self.map_index, self.run = key

    def xcom_push(self, key, value):
        xcoms.set_xcom("d", str(self.run), self.task.task_id, key, session, value, self.map_index, False, None)


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
