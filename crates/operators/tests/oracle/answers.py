"""Renders the templates beside this file with Airflow 3.3.2 and writes down what it gives.

    python answers.py        # needs: pip install apache-airflow==3.3.2

`templates.txt` has one template a line, below headings that say for which run and with which options;
`\\n`, `\\t` and `\\\\` in a line stand for these characters. `world.json` says what there is for them to see.
The answers go to `answers.json`; the tests of this crate compare with them.
"""

import copy
import datetime
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())
os.environ["AIRFLOW__API__BASE_URL"] = "https://updraft.example.org"

import jinja2
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset
from airflow.sdk.api.datamodels._generated import DagRun, TaskInstanceState, TIRunContext
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms, task_runner

HERE = pathlib.Path(__file__).parent
WORLD = json.loads((HERE / "world.json").read_text())
UNDEFINED = {
    "strict": jinja2.StrictUndefined,
    "lenient": jinja2.Undefined,
    "chainable": jinja2.ChainableUndefined,
}


# Of a run that has just begun.
UNCHANGED = {
    "consumed_asset_events": [],
    "state": "running",
    "clear_number": 0,
    "end_date": None,
    "partition_key": None,
}


class Supervisor:
    """Answers what templates ask for."""

    def send(self, msg):
        kind = type(msg).__name__
        if kind == "GetVariable":
            if msg.key not in WORLD["variables"]:
                return comms.ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": msg.key})
            return comms.VariableResult(key=msg.key, value=WORLD["variables"][msg.key])
        if kind == "GetConnection":
            found = WORLD["connections"].get(msg.conn_id)
            if found is None:
                return comms.ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND, detail={})
            names = ("host", "port", "schema", "login", "password", "description")
            fields = {**dict.fromkeys(names), **found, "extra": json.dumps(found.get("extra", {}))}
            return comms.ConnectionResult(**fields)
        if kind == "GetPrevSuccessfulDagRun":
            return comms.PrevSuccessfulDagRunResult(**WORLD["previous_success"])
        if kind == "GetDagRun":
            return comms.DagRunResult(**{**UNCHANGED, **WORLD["other_run"]})
        if kind in ("GetXCom", "GetXComSequenceSlice"):
            values = WORLD["xcoms"].get(f"{msg.task_id}.{msg.key}", [])
            if kind == "GetXComSequenceSlice":
                return comms.XComSequenceSliceResult(root=[value for _, value in values])
            wanted = -1 if msg.map_index is None else msg.map_index
            for index, value in values:
                if index == wanted:
                    return comms.XComResult(key=msg.key, value=value)
            return comms.XComResult(key=msg.key, value=None)
        raise NotImplementedError(kind)


def read_templates():
    """(run, undefined, native, template) for each line of templates.txt."""
    run, undefined, native = "scheduled", "strict", False
    for line in (HERE / "templates.txt").read_text().splitlines():
        if not line or line.startswith("## "):
            continue
        if line.startswith("# "):
            words = line.split()[1:]
            run = words[0]
            undefined = next((word for word in words if word in UNDEFINED), "strict")
            native = "native" in words
            continue
        plain = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")
        yield run, undefined, native, plain


def renderer(run, undefined, native, folder):
    """What renders a template for one run."""
    facts = WORLD["runs"][run]
    dag = DAG(
        WORLD["dag_id"],
        schedule=None,
        start_date=None,
        params=copy.deepcopy(WORLD["params"]),
        template_undefined=UNDEFINED[undefined],
        render_template_as_native_obj=native,
        **WORLD["dag"],
    )
    dag.fileloc = os.path.join(folder, os.path.basename(WORLD["source"]))
    more = {
        **WORLD["task"],
        "execution_timeout": datetime.timedelta(minutes=5),
        "outlets": [Asset(**asset) for asset in WORLD["outlets"]],
    }
    names = {"task_id": WORLD["task_id"], "owner": WORLD["owner"]}
    task = BashOperator(bash_command="true", dag=dag, retries=2, **names, **more)
    task >> BashOperator(task_id="left", bash_command="true", dag=dag)
    dag_run = DagRun.model_validate(
        {
            "dag_id": WORLD["dag_id"],
            **UNCHANGED,
            **facts,
        }
    )
    ti = task_runner.RuntimeTaskInstance.model_construct(
        id="01900000-0000-7000-8000-000000000000",
        task_id=WORLD["task_id"],
        dag_id=WORLD["dag_id"],
        run_id=facts["run_id"],
        try_number=1,
        map_index=-1,
        max_tries=2,
        task=task,
        _ti_context_from_server=TIRunContext(dag_run=dag_run, max_tries=2, should_retry=True),
        start_date=facts["start_date"],
        state=TaskInstanceState.RUNNING,
        queue=WORLD["task"]["queue"],
    )
    context = ti.get_template_context()
    env = dag.get_template_env()
    return lambda template: task.render_template(template, context, env)


def main():
    task_runner.SUPERVISOR_COMMS = Supervisor()
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        for name, content in WORLD["files"].items():
            pathlib.Path(folder, name).write_text(content)
        for run, undefined, native, template in read_templates():
            try:
                answer = {"gives": renderer(run, undefined, native, folder)(template)}
                answer = json.loads(json.dumps(answer).replace(folder, "/dags/team"))
            except Exception as error:
                answer = {"fails": type(error).__name__}
            options = {"undefined": undefined} if undefined != "strict" else {}
            options.update({"native": True} if native else {})
            answers.append({"run": run, **options, "template": template, **answer})
    with open(HERE / "answers.json", "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(answer) for answer in answers) + "\n]\n")
    failed = sum("fails" in answer for answer in answers)
    print(f"{len(answers)} templates, of which {failed} fail in Airflow", file=sys.stderr)


main()
