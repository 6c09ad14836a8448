"""Calls one Python function for a task and says how it ended, or calls one about a task or a run: a callback.

It is put together: behind this come `asked.py`, what it can be asked for besides; `assets.py`, what happened to assets;
`airflow.py`, what may be imported of Airflow; `operators.py`, which carries out operators that are classes; and then `main()`.

What to call comes as one JSON object on the standard input. How it ended goes, as one JSON object, to the
file that $UPDRAFT_RESULT names. Only Python's standard library is needed; Airflow's exceptions are known by
their names, so that a function may import them where Airflow is installed.

Values of other tasks, variables and connections are asked of the worker over the Unix socket that
$UPDRAFT_TASK_API names, with the token that is read from the file descriptor $UPDRAFT_TASK_TOKEN_FD.
"""

import collections.abc
import datetime
import decimal
import http.client
import importlib
import importlib.util
import inspect
import json
import os
import socket
import sys
import traceback
import types
import urllib.parse
import uuid

RETURN_KEY = "return_value"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class TaskApi:
    """Asks the worker for what is not here."""

    def __init__(self):
        self.path = os.environ.pop("UPDRAFT_TASK_API", None)
        self.token = None
        descriptor = os.environ.pop("UPDRAFT_TASK_TOKEN_FD", None)
        if descriptor is not None:
            with os.fdopen(int(descriptor)) as file:
                self.token = file.read().strip()

    def ask(self, method, route, body=None):
        """The answer as JSON; None where there is nothing of that name."""
        if self.path is None:
            raise RuntimeError(f"{route} can't be asked for: this worker gives tasks no access to its API")
        connection = UnixConnection(self.path)
        try:
            headers = {"Content-Type": "application/json"}
            if self.token:
                headers["Authorization"] = f"Bearer {self.token}"
            connection.request(method, route, body and json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status == 404:
            return None
        if response.status != 200:
            raise RuntimeError(f"{method} {route}: {response.status} {content.decode(errors='replace')}")
        return json.loads(content)


class Variables:
    """`var.value` and `var.json`."""

    def __init__(self, api, as_json):
        self._api = api
        self._as_json = as_json

    def __getattr__(self, key):
        missing = object()
        value = self.get(key, missing)
        if value is missing:
            raise KeyError(f"there is no variable {key!r}")
        return value

    __getitem__ = __getattr__

    def get(self, key, default=None):
        found = self._api.ask("GET", "/worker/v1/variables/" + urllib.parse.quote(key, safe=""))
        if found is None:
            return default
        return json.loads(found["value"]) if self._as_json else found["value"]


class Connections:
    """`conn`."""

    def __init__(self, api):
        self._api = api

    def __getattr__(self, conn_id):
        found = self.get(conn_id)
        if found is None:
            raise KeyError(f"there is no connection {conn_id!r}")
        return found

    def get(self, conn_id, default_conn=None):
        found = self._api.ask("GET", "/worker/v1/connections/" + urllib.parse.quote(conn_id, safe=""))
        if found is None:
            return default_conn
        fields = dict.fromkeys(("host", "port", "schema", "login", "password", "description"))
        extra = found.pop("extra", {})
        return FoundConnection(**{**fields, **found}, extra=json.dumps(extra) if extra else None, extra_dejson=extra)


class TaskInstance:
    """What a function may want of Airflow's task instance."""

    def __init__(self, context, api):
        self._api = api
        self._attempt = context["attempt"]
        self.pushed = {}
        self.rendered = None
        self.operator = context["operator"]
        self.state = "running"
        self.start_date = datetime.datetime.now(datetime.timezone.utc)
        self.hostname = socket.gethostname()
        for name in ("task_id", "dag_id", "run_id", "try_number", "max_tries", "map_index", "queue", "log_url"):
            setattr(self, name, context[name])

    def get_dagrun(self):
        return self.dag_run

    def xcom_push(self, key, value):
        self.pushed[key] = json_ready(value, f"what is pushed as {key!r}")

    def xcom_pull(
        self,
        task_ids=None,
        dag_id=None,
        key=RETURN_KEY,
        include_prior_dates=False,
        *,
        map_indexes=...,
        default=None,
        run_id=None,
    ):
        if include_prior_dates:
            raise NotImplementedError(
                "xcom_pull(include_prior_dates=True) is not supported: name the run by `run_id`, or keep what the "
                "next run needs in a variable"
            )
        one_task = task_ids is None or isinstance(task_ids, str)
        tasks = [task_ids or self.task_id] if one_task else list(task_ids)
        indexes = [map_indexes] if map_indexes is None or isinstance(map_indexes, int) else map_indexes
        values = []
        own = dag_id in (None, self.dag_id) and run_id in (None, self.run_id) and key in self.pushed
        for task_id in tasks:
            if own and task_id == self.task_id and map_indexes in (..., None, self.map_index):
                # What it pushed itself nobody else has yet.
                values.append(self.pushed[key])
                continue
            query = {"attempt": self._attempt, "task_id": task_id, "key": key, "dag_id": dag_id, "run_id": run_id}
            found = self._api.ask("POST", "/worker/v1/xcom", query)
            found = found["values"] if found else []
            if map_indexes is ...:
                values.extend([value["value"] for value in found] or [None])
                continue
            by_index = {value["map_index"]: value["value"] for value in found}
            for index in indexes:
                value = by_index.get(-1 if index is None else index)
                values.append(default if value is None else value)
        one = one_task and (map_indexes is ... or map_indexes is None or isinstance(map_indexes, int))
        return values[0] if one and len(values) == 1 else values


class TaskInstanceOfCallback(TaskInstance):
    """The same while a callback is called: what became of the attempt is known, and perhaps not yet to others."""

    def __init__(self, context, api, told):
        super().__init__(context, api)
        # These are what it pushed, and its result.
        self.pushed = told["left"]
        self._large = told["large"]
        self.state = told["state"]
        self.start_date = moment(told["start_date"])
        self.end_date = moment(told["end_date"])
        self.duration = told["duration"]

    def xcom_push(self, key, value):
        raise NotImplementedError(f"xcom_push({key!r}): a callback leaves no values, for the task has left its own")

    def xcom_pull(self, task_ids=None, dag_id=None, key=RETURN_KEY, *args, run_id=None, **kwargs):
        own = task_ids in (None, self.task_id) and dag_id is None and run_id is None and not args and not kwargs
        if own and key in self._large:
            raise NotImplementedError(f"xcom_pull({key!r}): so large a value of its own a callback can't have")
        return super().xcom_pull(task_ids, dag_id, key, *args, run_id=run_id, **kwargs)


def plain(value):
    """What JSON has in the place of what it has not: the text of a time, the items of what has items."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (set, frozenset)) or inspect.isgenerator(value):
        return list(value)
    if isinstance(value, (os.PathLike, uuid.UUID)):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def json_ready(value, what):
    """The value as JSON has it; an error that names what it is where JSON has no such thing."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=plain))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} is no JSON: {error}") from None


def moment(text):
    """A time: pendulum's where that is installed, as Airflow gives it."""
    if text is None:
        return None
    try:
        import pendulum
    except ImportError:
        return datetime.datetime.fromisoformat(text)
    return pendulum.parse(text)


def macros():
    def ds_add(ds, days):
        return str(datetime.date.fromisoformat(str(ds)) + datetime.timedelta(days=days))

    def ds_format(ds, input_format, output_format):
        return datetime.datetime.strptime(str(ds), input_format).strftime(output_format)

    return types.SimpleNamespace(
        ds_add=ds_add, ds_format=ds_format, datetime=datetime.datetime, timedelta=datetime.timedelta, json=json
    )


# What the context has of the last run before that succeeded, and what that run says of it.
PREVIOUS = {
    "prev_data_interval_start_success": lambda run: run["data_interval"] and run["data_interval"][0],
    "prev_data_interval_end_success": lambda run: run["data_interval"] and run["data_interval"][1],
    "prev_start_date_success": lambda run: run["start_date"],
    "prev_end_date_success": lambda run: run["end_date"],
}


class Context(dict):
    """Airflow's context. What the server has to be asked for is asked for when it is wanted."""

    def __init__(self, values, api):
        super().__init__(values)
        self.api = api

    def __missing__(self, name):
        if name not in PREVIOUS:
            raise KeyError(name)
        run = self.api.path and self.api.ask("GET", "/worker/v1/previous-success")
        for key, of in PREVIOUS.items():
            self[key] = moment(run and of(run))
        return self[name]

    def get(self, name, default=None):
        return self[name] if name in self or name in PREVIOUS else default


def make_context(orders, api, ti):
    """Airflow's context, as far as it can be had outside of it."""
    given = orders["context"]
    times = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date")
    date = {name: moment(given[name]) for name in times}
    names = ("dag_id", "run_id", "run_type", "conf", "clear_number", "triggering_user_name")
    own = {name: given[name] for name in names}
    dag_run = DagRun(**own, **date, state="running", end_date=None, partition_key=None, _api=api)
    assets = {name: [Asset(**asset) for asset in given[name]] for name in ("inlets", "outlets")}
    dag = types.SimpleNamespace(
        dag_id=given["dag_id"],
        dag_display_name=given["dag_display_name"],
        description=given["description"],
        folder=given["folder"],
        fileloc=given["source"],
        params=given["params"],
        tags=set(given["tags"]),
        timezone=given["timezone"],
    )
    names = ("queue", "pool", "pool_slots", "priority_weight", "trigger_rule", "doc_md")
    task = types.SimpleNamespace(
        **{name: given[name] for name in names},
        **assets,
        task_id=given["task_id"],
        owner=given["owner"],
        task_type=given["operator"],
        dag=dag,
        dag_id=given["dag_id"],
        retries=given["max_tries"],
        upstream_task_ids=set(given["upstream"]),
        downstream_task_ids=set(given["downstream"]),
    )
    ti.task, ti.dag_run = task, dag_run
    context = {
        "dag": dag,
        "dag_run": dag_run,
        "run_id": given["run_id"],
        "task": task,
        "ti": ti,
        "task_instance": ti,
        "params": given["params"],
        "macros": macros(),
        "var": {"value": Variables(api, False), "json": Variables(api, True)},
        "conn": Connections(api),
        **assets,
        "triggering_asset_events": TriggeringAssetEvents(given, ti),
        "templates_dict": orders["templates_dict"],
        "task_instance_key_str": f"{given['dag_id']}__{given['task_id']}__{given['run_id']}",
    }
    logical_date = date["logical_date"]
    if logical_date is not None:
        ds = logical_date.strftime("%Y-%m-%d")
        ts = logical_date.isoformat()
        context.update(
            logical_date=logical_date,
            data_interval_start=date["data_interval_start"],
            data_interval_end=date["data_interval_end"],
            ds=ds,
            ds_nodash=ds.replace("-", ""),
            ts=ts,
            ts_nodash=logical_date.strftime("%Y%m%dT%H%M%S"),
            ts_nodash_with_tz=ts.replace("-", "").replace(":", ""),
            task_instance_key_str=f"{given['dag_id']}__{given['task_id']}__{ds.replace('-', '')}",
        )
    return Context(context, api)


def determine_kwargs(function, args, context, op_kwargs):
    """The keyword arguments that the function takes of the context, as Airflow chooses them: all where it
    has `**kwargs`, else those that it names. One that positional arguments fill already is a mistake."""
    parameters = inspect.signature(function).parameters.values()
    for name in list(inspect.signature(function).parameters)[: len(args)]:
        if name in context and name not in op_kwargs:
            raise ValueError(f"The key {name!r} in args is a part of kwargs and therefore reserved.")
    everything = {**context, **op_kwargs}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {parameter.name for parameter in parameters if parameter.kind in by_name}
    wants_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    if isinstance(context, Context):
        for name in PREVIOUS:
            # The server is asked only for what is wanted.
            if (wants_all or name in names) and name not in op_kwargs:
                everything[name] = context[name]
    if wants_all:
        return everything
    return {name: value for name, value in everything.items() if name in names}


def load(callable_, kind="function"):
    """The function or class, from a file or from a module that can be imported."""
    if "lambda" in callable_:
        function = eval(callable_["lambda"].strip(), {})
        if not callable(function):
            raise TypeError(f"{callable_['lambda']!r} is no lambda")
        return function
    if "dotted" in callable_:
        module, _, name = callable_["dotted"].rpartition(".")
        if not module:
            raise ImportError(f"{name!r} is no path to a {kind}: write package.module.{name}")
        loaded = importlib.import_module(module)
    else:
        path, name = callable_["file"], callable_["name"]
        try:
            os.stat(path)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {path}, in which {name} was to be found") from None
        module = os.path.splitext(os.path.basename(path))[0]
        sys.path.insert(0, os.path.dirname(path))
        spec = importlib.util.spec_from_file_location(module, path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)
    function = getattr(loaded, name, None)
    if not callable(function):
        raise TypeError(f"{module} has no {kind} {name!r}")
    return function


def make_objects(orders):
    """Puts the objects in the places of their descriptions among the arguments."""
    for of in orders["objects"]:
        *way, last = of["way"]
        holder = orders
        for step in way:
            holder = holder[step]
        given = dict(holder[last])
        # The class is the author's: a value that got here from elsewhere chooses none.
        del given["__type__"]
        args = given.pop("__args__", ())
        holder[last] = load({"dotted": of["class"]}, "class")(*args, **given)


def branch_of(mode, value, skip_all):
    """Which tasks go on after this one."""
    if mode == "branch":
        listed = isinstance(value, (list, tuple, set, frozenset))
        tasks = list(value) if listed else [] if value is None else [value]
        if not all(isinstance(task, str) for task in tasks):
            raise TypeError(f"a branch is a task id or a list of task ids, and the function returned {value!r}")
        return {"follow": tasks}
    if mode == "short_circuit" and not value:
        return "skip_all_downstream" if skip_all else "skip_downstream"
    return None


def ending_of(error):
    """How the task ends by this exception."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if "AirflowSkipException" in names:
        return "skipped"
    if names & {"AirflowFailException", "AirflowSensorTimeout"}:
        return "failed_for_good"
    return "failed"


def returned(orders, api, ti):
    """What the function returns, called with Airflow's context."""
    context = make_context(orders, api, ti)
    make_current(context)
    make_objects(orders)
    function = load(orders["callable"])
    if "string_args" in orders:
        function.__globals__["virtualenv_string_args"] = orders["string_args"]
    args = orders["op_args"]
    kwargs = determine_kwargs(function, args, context, orders["op_kwargs"])
    value = function(*args, **kwargs)
    if inspect.iscoroutine(value):
        import asyncio

        value = asyncio.run(value)
    return value


def run(orders, api, ti):
    value = returned(orders, api, ti)
    if orders["show_return_value"]:
        print(f"Done. Returned value was: {value}")
    ending = {"end": "success", "branch": branch_of(orders["mode"], value, orders.get("skip_all"))}
    if orders["do_xcom_push"]:
        ending["return_value"] = json_ready(value, "what it returned")
        if orders["multiple_outputs"]:
            push_each(ti, value)
    return ending


def call_back(orders, api, told):
    """Calls a function about the task or its run, as Airflow does: with the context, and arguments of its own beside it. A
    class with `notify` is one of Airflow's notifiers, which is made with these and called with the context."""
    context = make_context(orders, api, TaskInstanceOfCallback(orders["context"], api, told))
    context.update({name: told[name] for name in ("exception", "reason") if told[name] is not None})
    if "run" in told:
        context["dag_run"].state = told["run"]["state"]
        context["dag_run"].end_date = moment(told["run"]["end_date"])
    make_current(context)
    make_objects(orders)
    function = load(orders["callable"])
    kwargs = orders["op_kwargs"]
    if hasattr(function, "notify"):
        value = function(**kwargs)(context)
    else:
        value = function(context, **kwargs)
    if inspect.iscoroutine(value):
        import asyncio

        asyncio.run(value)


def of_template(value, context):
    """A value as a template's macro is given it: an object says by its one key what it is."""
    if isinstance(value, list):
        return [of_template(item, context) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, of),) = value.items()
    if kind == "dict":
        return {of_template(key, context): of_template(item, context) for key, item in of}
    if kind == "context":
        found = context[of[0]]
        return found[of[1]] if len(of) > 1 else found
    if kind == "microseconds":
        return datetime.timedelta(microseconds=of)
    if kind == "date":
        return datetime.date.fromisoformat(of)
    return moment(of) if kind == "moment" else datetime.datetime.fromisoformat(of)


def for_template(value):
    """The same back."""
    if isinstance(value, (list, tuple)):
        return [for_template(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[for_template(key), for_template(item)] for key, item in value.items()]}
    if isinstance(value, datetime.datetime):
        kind = "moment" if type(value).__module__.partition(".")[0] == "pendulum" else "datetime"
        return {kind: value.isoformat()}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {"microseconds": value // datetime.timedelta(microseconds=1)}
    return json_ready(value, f"what it returned, a {type(value).__name__},")


def expand_macro(orders, api, ti):
    """Calls a function that a DAG has for its templates."""
    context = make_context(orders, api, ti)
    make_current(context)
    function = load(orders["callable"])
    args = [of_template(value, context) for value in orders["op_args"]]
    kwargs = {name: of_template(value, context) for name, value in orders["op_kwargs"].items()}
    return {"end": "success", "return_value": for_template(function(*args, **kwargs))}


def push_each(ti, value):
    """Leaves each entry of a dict under its own name, as Airflow does with `multiple_outputs`."""
    if not isinstance(value, dict):
        raise TypeError(f"with multiple_outputs a task returns a dict, and this one returned {type(value).__name__}")
    for key, entry in value.items():
        if not isinstance(key, str):
            raise TypeError(f"with multiple_outputs the keys are strings, and one is {key!r}")
        ti.xcom_push(key, entry)


def leave(ending, ti):
    """Writes how it ended, all at once."""
    ending.update(xcoms=ti.pushed, rendered=ti.rendered)
    path = os.environ["UPDRAFT_RESULT"]
    with open(path + ".part", "w") as file:
        json.dump({name: value for name, value in ending.items() if value is not None}, file)
    os.replace(path + ".part", path)


def main():
    orders = json.load(sys.stdin)
    # What comes after reads nothing, rather than the end of this.
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    # This file's own folder is no place to import from; the DAG's is, and that of all DAGs, as in Airflow.
    sys.path[0:1] = orders["folders"]
    api = TaskApi()
    if orders["mode"] == "callback":
        return call_back(orders, api, orders["told"])
    ti = TaskInstance(orders["context"], api)
    try:
        ending = MODES[orders["mode"]](orders, api, ti)
    except Exception as error:
        end = ending_of(error)
        if end != "skipped":
            traceback.print_exc()
        leave({"end": end, "message": f"{type(error).__name__}: {error}"}, ti)
        sys.exit(0 if end == "skipped" else 1)
    leave(ending, ti)
