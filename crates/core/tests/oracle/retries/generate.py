#!/usr/bin/env python3
"""Ask Airflow 3.3.2 how long it waits before another try, and write its answers down as the cases of a test.

Regenerate with

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install apache-airflow==3.3.2
    AIRFLOW_HOME=/tmp/oracle/home /tmp/oracle/bin/python crates/core/tests/oracle/retries/generate.py \
        > crates/core/tests/oracle/retries/cases.jsonl

and compare with `cargo test -p updraft-core --test it retries`.

Airflow adds to an exponential delay up to as much again, drawn from a hash of the task instance's names. So it is asked
twice (`TaskInstance.next_retry_datetime`), with the hash that adds the least and with the one that adds the most.

The first line of the output is a header with the numbers of the tries that failed, each other line is a case, an array:

    [retry_delay, retry_exponential_backoff, max_retry_delay, [[least, most] for each try]]

All in seconds; no max_retry_delay is null.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import types

import airflow
from airflow.models import taskinstance

TRIES = [1, 2, 3, 4, 5, 7, 10, 16, 31, 64, 1_000, 5_000]
DELAYS = [0, 0.25, 1, 1.5, 7, 30, 299.999, 300, 3_600, 86_399, 90_000]
BACKOFFS = [0, 0.5, 1, 1.1, 1.5, 2, 3, 10]
MOST = [None, 0.5, 1, 45, 600.25, 7_200, 100_000]
ENDED = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)


def after(delay: float, backoff: float, most: float | None, try_number: int, digest: str) -> float:
    """`digest` is the hash: `0` adds nothing, `-1` all but one."""
    taskinstance.hashlib = types.SimpleNamespace(sha1=lambda *_, **__: types.SimpleNamespace(hexdigest=lambda: digest))
    task = types.SimpleNamespace(
        retry_delay=dt.timedelta(seconds=delay),
        retry_exponential_backoff=float(backoff),
        max_retry_delay=None if most is None else dt.timedelta(seconds=most),
    )
    instance = types.SimpleNamespace(
        retry_delay_override=None, task=task, try_number=try_number, end_date=ENDED, dag_id="d", task_id="t",
        logical_date=ENDED, log=logging.getLogger(),
    )  # fmt: skip
    seconds = (taskinstance.TaskInstance.next_retry_datetime(instance) - ENDED).total_seconds()
    return int(seconds) if seconds == int(seconds) else seconds


def main() -> None:
    logging.disable()
    write = lambda line: print(json.dumps(line, separators=(",", ":")))  # noqa: E731
    write({"airflow": airflow.__version__, "tries": TRIES})
    for delay, backoff, most in itertools.product(DELAYS, BACKOFFS, MOST):
        answers = [[after(delay, backoff, most, number, digest) for digest in ("0", "-1")] for number in TRIES]
        write([delay, backoff, most, answers])


main()
