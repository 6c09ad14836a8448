#!/usr/bin/env python3
"""Ask Airflow 3.3.2 what becomes of runs, and write its answers down as the cases of a test.

Regenerate with

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install apache-airflow==3.3.2
    /tmp/oracle/bin/python crates/core/tests/oracle/runs/generate.py > crates/core/tests/oracle/runs/cases.jsonl

and compare with `cargo test -p updraft-core --test it oracle`. Another file of cases (another seed, more of them:
`--seed 7 --drawn 5000`) is compared where UPDRAFT_ORACLE_RUNS names it.

The first line of the output is a header, each other line is a case, a JSON object:

name     what it is about
dag      {"tasks": [[name, names of those before it, options]], "groups": [[name, options]], "fail_fast": bool}
given    letters of the states that tasks are in at first
events   what happened, in this order: "task how", with "task#index" for a copy of a mapped task and "task@2" for that
         of the second run. How is
           +          it is begun
           s          success; `s 3` with a list of three, `s -` without any result
           f F k      failed; failed for good; skipped
           > names    success of a branch that chose these
           !          success of a short circuit that lets nothing after it run
           clear      it is cleared, or several in a row: "a,b#1 clear", `clear down` with all after, `clear up` before
end      the state of each task after all this, a letter; for a mapped task a letter for each copy in brackets
run      the state of the run, or of both
mended   names of the bugs that mended.py mends and that mattered

Options of a task: rule, retries (with no delay), kind (work, empty, branch, short, short_direct), role (setup,
teardown, teardown! whose failure counts), past (depends_on_past), downstream (wait_for_downstream), map. A mapping is
{argument: source} or {"kwargs": source}; a source is a number of values written down, the name of a task, or
["zip" | "fill" | "concat", source, ...].

Letters: n none, Q queued, R running, t up_for_retry, s success, f failed, k skipped, u upstream_failed, r removed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings

sys.dont_write_bytecode = True
warnings.simplefilter("ignore")

from airflow_run import Run  # before all of Airflow
from mended import mended

import airflow
import cases
import named

# How many of the drawn cases, of a hundred, are of which kind.
FLAVOURS = {"rules": 10, "branch": 15, "map": 35, "setup": 10, "fail_fast": 5, "past": 10, "clear": 15}


def play(
    name: str, dag: dict, given: dict | None = None, events: list[str] | None = None, runs: int = 1, drawn=None
) -> dict:
    played = Run(dag, given, runs)
    happened = []
    following = iter(events or [])
    for _ in range(60):
        event = drawn.event(played) if drawn else next(following, None)
        if event is None:
            break
        happened.append(event)
        who, how, *arguments = event.split(" ")
        keys = [named_by(one) for one in who.split(",")]
        key = keys[0]
        if how == "clear":
            played.clear(keys, arguments[0] if arguments else None)
            continue
        if key not in played.active():
            raise SystemExit(f"{name}: {who} is {played.states().get(key)}, after {happened}")
        if how == "+":
            played.start(key)
        else:
            played.end(key, how, arguments)
    case = {"name": name, "dag": dag, "given": given, "events": happened, "end": shown(played)}
    case["run"] = [played.state_of(run) for run in played.runs]
    case["mended"] = sorted(mended)
    return {key: value for key, value in case.items() if value is not None and value != []}


def named_by(who: str) -> tuple[str, int, int]:
    who, _, run = who.partition("@")
    task, _, index = who.partition("#")
    return task, int(index or -1), int(run or 1)


def shown(played: Run) -> dict[str, str]:
    found: dict[str, str] = {}
    for (task, index, run), letter in sorted(played.states().items()):
        name = task if run == 1 else f"{task}@{run}"
        found[name] = letter if index < 0 else f"{found.get(name, '[]')[:-1]}{letter}]"
    return found


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seed", type=int, default=332)
    options.add_argument("--drawn", type=int, default=1000)
    asked = options.parse_args()
    write = lambda line: print(json.dumps(line, separators=(",", ":")), flush=True)  # noqa: E731
    write({"airflow": airflow.__version__, "seed": asked.seed})
    if asked.seed == options.get_default("seed"):
        for name, dag, script in itertools.chain(cases.exhaustive(), cases.in_every_order(), named.all_named()):
            write(play(name, dag, **script))
    flavours = [flavour for flavour, share in FLAVOURS.items() for _ in range(share)]
    for number in range(asked.drawn):
        flavour = flavours[number % len(flavours)]
        drawn = cases.Drawn(asked.seed * 1_000_000 + number, flavour)
        write(play(f"{flavour} {number}", drawn.dag, runs=drawn.runs, drawn=drawn))


main()
