"""Airflow, as it is asked: a home of its own, what it leaves to chance pinned, and bugs mended.

Three things are pinned, since Airflow leaves them to chance:

- The dependencies of a task instance are checked in the order in which Airflow's source lists them. They are a set of
  objects hashed by their address, each may set the state, and the last one wins.
- In one pass of the scheduler all are judged by what was over when it began. What a task is mapped over is looked up in
  the database instead, where it may have ended a moment ago in the same pass, if it happened to come first.
- Between two events the scheduler runs until it changes nothing any more.

And five bugs are mended, since whoever meets them wants the other. A run in which that made a difference says so:

- `group`, https://github.com/apache/airflow/issues/67265, in Airflow 3.2 to 3.3.2: a branch inside a mapped task group
  skips nothing. What it chose is looked for under the map index of a task that is not mapped.
- `early`: a task mapped over results whose trigger rule lets it run before they are there (`always`, `one_done`) is
  upstream_failed. Here it waits for them.
- `begun`: a branch that leaves out a task that runs already lets it run, as far as the branch is asked
  (https://github.com/apache/airflow/issues/59378). But where nothing else can run, the scheduler skips it all the same
  while it runs, and takes the run for deadlocked. Here it may end.
- `stale`: what a branch chose goes when it begins anew, and not when it is cleared. One that is cleared and then can't
  begin goes on telling what to skip. Here it goes when it is cleared.
- `unseen`: where all that a pass knew of is over, the run is over, though the pass itself has made copies that are not.
"""

from __future__ import annotations

import os
import tempfile

HOME = os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/runs.db"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__MAX_MAP_LENGTH"] = "4"
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"

from airflow.ti_deps.deps.base_ti_dep import BaseTIDep

DEPENDENCIES = [
    "NotInRetryPeriodDep",
    "PrevDagrunDep",
    "TriggerRuleDep",
    "NotPreviouslySkippedDep",
    "MappedTaskUpstreamDep",
]
BaseTIDep.__hash__ = lambda self: DEPENDENCIES.index(type(self).__name__) if type(self).__name__ in DEPENDENCIES else 7

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as TI
from airflow.models.taskmap import TaskMap
from airflow.serialization.definitions.baseoperator import DEFAULT_OPERATOR_DEPS
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep
from airflow.ti_deps.deps.not_previously_skipped_dep import NotPreviouslySkippedDep
from airflow.utils.state import State
from sqlalchemy import select

assert [type(dep).__name__ for dep in set() | DEFAULT_OPERATOR_DEPS] == DEPENDENCIES

# Names of the bugs that made a difference in the present run.
mended: set[str] = set()

plain_xcom_pull = TI.xcom_pull
plain_expand = TaskMap.expand_mapped_task.__func__
plain_mapped_upstream = MappedTaskUpstreamDep._get_dep_statuses
plain_decisions = DagRun.task_instance_scheduling_decisions
plain_not_skipped = NotPreviouslySkippedDep._get_dep_statuses


def xcom_pull(self, task_ids=None, *, key="return_value", map_indexes=None, **options):
    found = plain_xcom_pull(self, task_ids, key=key, map_indexes=map_indexes, **options)
    if key == "skipmixin_key" and map_indexes != self.map_index:
        if self.task.dag.get_task(task_ids).get_closest_mapped_task_group():
            found_there = plain_xcom_pull(self, task_ids, key=key, map_indexes=self.map_index, **options)
            if found_there != found:
                mended.add("group")
            return found_there
    return found


def expand_mapped_task(cls, task, run_id, *, session):
    sources = select(TI.state).where(TI.run_id == run_id, TI.task_id.in_(mapped_sources(task)))
    for state in session.scalars(sources):
        if state not in State.finished:
            mended.add("early")
            return (), -1
    return plain_expand(cls, task, run_id, session=session)


def mapped_sources(task) -> list[str]:
    mapped = task if task.is_mapped else task.get_closest_mapped_task_group()
    return [source.task_id for source in mapped.iter_mapped_dependencies()] if mapped else []


def mapped_upstream(self, ti, dep_context, *, session):
    over = {
        (one.task_id, one.map_index) for one in dep_context.ensure_finished_tis(ti.get_dagrun(session=session), session)
    }
    of_sources = select(TI).where(TI.run_id == ti.run_id, TI.task_id.in_(mapped_sources(ti.task)), TI.map_index == -1)
    if any(one.state in State.finished and (one.task_id, -1) not in over for one in session.scalars(of_sources)):
        return [self._failing_status(reason="to be looked at in the next pass")]
    return plain_mapped_upstream(self, ti, dep_context, session=session)


def scheduling_decisions(self, *, session):
    decision = plain_decisions(self, session=session)
    if not decision.unfinished_tis:
        made = list(session.scalars(select(TI).where(TI.run_id == self.run_id, TI.state.is_(None))))
        for ti in made:
            ti.task = self.get_dag().get_task(ti.task_id)
        if made:
            mended.add("unseen")
            return decision._replace(unfinished_tis=made)
    return decision


def not_skipped(self, ti, dep_context, *, session):
    before = ti.state
    statuses = list(plain_not_skipped(self, ti, dep_context, session=session))
    if before == "running" and statuses:
        mended.add("begun")
        ti.set_state(before, session=session)
        return []
    return statuses


TI.xcom_pull = xcom_pull
TaskMap.expand_mapped_task = classmethod(expand_mapped_task)
NotPreviouslySkippedDep._get_dep_statuses = not_skipped
MappedTaskUpstreamDep._get_dep_statuses = mapped_upstream
DagRun.task_instance_scheduling_decisions = scheduling_decisions
