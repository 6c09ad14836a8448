"""Carries out operators that are Python classes, as Airflow does. Stands behind `runner.py` and `airflow.py`."""

import signal
import time


class BaseOperator(Logs):
    """Airflow's, where Airflow is not installed: what classes of one's own need of it. Updraft itself sees to what
    every task has, like retries and pools."""

    template_fields = ()
    template_ext = ()
    OF_EVERY_TASK = frozenset(
        "allow_nested_operators dag default_args depends_on_past do_xcom_push doc doc_json doc_md doc_rst doc_yaml "
        "email email_on_failure email_on_retry end_date execution_timeout executor executor_config "
        "ignore_first_depends_on_past inlets map_index_template max_active_tis_per_dag max_active_tis_per_dagrun "
        "max_retry_delay multiple_outputs on_execute_callback on_failure_callback on_retry_callback "
        "on_skipped_callback on_success_callback outlets owner params pool pool_slots priority_weight queue resources "
        "retries retry_delay retry_exponential_backoff run_as_user sla start_date task_display_name task_group "
        "trigger_rule wait_for_downstream wait_for_past_depends_before_skipping weight_rule".split()
    )

    def __init__(self, task_id, **kwargs):
        unknown = sorted(kwargs.keys() - self.OF_EVERY_TASK)
        if unknown:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(unknown)}")
        self.task_id = task_id
        vars(self).update(kwargs)

    @property
    def task_type(self):
        return type(self).__name__

    operator_name = task_type

    def pre_execute(self, context):
        pass

    def execute(self, context):
        raise NotImplementedError(f"{type(self).__name__} has no execute(context)")

    def post_execute(self, context, result=None):
        pass

    def on_kill(self):
        pass

    def __repr__(self):
        return f"<Task({self.task_type}): {self.task_id}>"


class PokeReturnValue:
    """What a sensor may return: whether it is done, and its result."""

    def __init__(self, is_done, xcom_value=None):
        self.is_done = is_done
        self.xcom_value = xcom_value

    def __bool__(self):
        return self.is_done


class BaseSensorOperator(BaseOperator):
    """Airflow's, where Airflow is not installed."""

    def __init__(
        self,
        *,
        poke_interval=60,
        timeout=7 * 24 * 60 * 60,
        soft_fail=False,
        mode="poke",
        exponential_backoff=False,
        max_wait=None,
        silent_fail=False,
        never_fail=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.poke_interval = seconds(poke_interval)
        self.timeout = seconds(timeout)
        self.soft_fail = soft_fail
        self.mode = mode
        self.exponential_backoff = exponential_backoff
        self.max_wait = None if max_wait is None else seconds(max_wait)
        self.silent_fail = silent_fail
        self.never_fail = never_fail

    def poke(self, context):
        raise NotImplementedError(f"{type(self).__name__} has no poke(context)")

    def execute(self, context):
        began = time.monotonic()
        interval = self.poke_interval
        while True:
            found = self.look(context)
            if found:
                # Airflow's own where it is installed, and else that above.
                is_more = any(cls.__name__ == "PokeReturnValue" for cls in type(found).__mro__)
                return found.xcom_value if is_more else None
            left = began + self.timeout - time.monotonic()
            if left <= 0:
                message = f"it has waited for longer than its timeout of {self.timeout} s"
                raise (AirflowSkipException if self.soft_fail or self.never_fail else AirflowSensorTimeout)(message)
            time.sleep(min(interval, left, left if self.max_wait is None else self.max_wait))
            if self.exponential_backoff:
                interval *= 2

    def look(self, context):
        """As in Airflow 3, `soft_fail` is for what fails for good, and `silent_fail` for what does not."""
        try:
            return self.poke(context)
        except Exception as error:
            end = ending_of(error)
            if end == "skipped":
                raise
            if end == "failed" and self.silent_fail:
                self.log.exception("The sensor could not look, and looks again.")
                return False
            if self.never_fail or (self.soft_fail and end == "failed_for_good"):
                option = "never_fail" if self.never_fail else "soft_fail"
                raise AirflowSkipException(f"{option}: {type(error).__name__}: {error}") from error
            raise


def seconds(value):
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


class BaseBranchOperator(BaseOperator):
    """Airflow's, where Airflow is not installed."""

    def choose_branch(self, context):
        raise NotImplementedError(f"{type(self).__name__} has no choose_branch(context)")


def apply_defaults(function):
    """What Airflow 1 had around a class's `__init__`."""
    return function


OPERATOR = {"BaseOperator": BaseOperator}
SENSOR = {"BaseSensorOperator": BaseSensorOperator, "PokeReturnValue": PokeReturnValue}
BRANCH = {"BaseBranchOperator": BaseBranchOperator}

for of_airflow, names in (
    ("airflow.models", OPERATOR),
    ("airflow.models.baseoperator", OPERATOR),
    ("airflow.operators.branch", BRANCH),
    ("airflow.providers.standard.operators.branch", BRANCH),
    ("airflow.sdk", {**OPERATOR, **SENSOR}),
    ("airflow.sdk.bases.branch", BRANCH),
    ("airflow.sdk.bases.operator", OPERATOR),
    ("airflow.sdk.bases.sensor", SENSOR),
    ("airflow.sensors.base", SENSOR),
    ("airflow.sensors.base_sensor_operator", SENSOR),
    ("airflow.utils.decorators", {"apply_defaults": apply_defaults}),
):
    OfAirflow.STAND_INS.setdefault(of_airflow, {}).update(names)


def taken(cls, defaults):
    """Those of the default arguments that the class takes, or one that it comes from, by its name, as in Airflow."""
    names = set()
    for of in cls.__mro__:
        if "__init__" in vars(of) and of is not object:
            names |= inspect.signature(vars(of)["__init__"]).parameters.keys()
    return {name: value for name, value in defaults.items() if name in names}


def make_operator(orders, context):
    """The object, as the DAG file describes it."""
    cls = load(orders["callable"], "class")
    if not isinstance(cls, type) or not (hasattr(cls, "execute") or hasattr(cls, "choose_branch")):
        raise TypeError(f"{orders['callable']['dotted']} is no operator: it has no execute(context)")
    given = context["task"]
    kwargs = dict(orders["op_kwargs"])
    kwargs = {**taken(cls, kwargs.pop("default_args", None) or {}), **kwargs}
    op = cls(task_id=given.task_id, **kwargs)
    if isinstance(op, BaseOperator):
        for name, value in vars(given).items():
            # What the class passes on itself is not overruled.
            if name != "task_type":
                vars(op).setdefault(name, value)
    # It waits here: this process is all there is of it.
    if getattr(op, "mode", None) == "reschedule":
        op.mode = "poke"
    for name in ("airflow.sdk.bases.operator", "airflow.models.baseoperator"):
        safeguard = getattr(sys.modules.get(name), "ExecutorSafeguard", None)
        if safeguard:
            # It asks whether Airflow's own runner calls.
            safeguard.test_mode = True
    return op


def render(op, api):
    """Renders what its class says are templates, where they stand. What they came to is returned."""
    fields, files = op.template_fields, op.template_ext
    if isinstance(fields, str):
        raise TypeError(f"template_fields of {type(op).__name__} is a text, {fields!r}: make it a list or a tuple")
    files = [files] if isinstance(files, str) else list(files)

    def rendered(value, field):
        if isinstance(value, str):
            if not any(mark in value for mark in ("{{", "{%", "{#")) and not value.endswith(tuple(files)):
                return value
            return api.ask("POST", "/worker/v1/render", {"field": field, "text": value, "files": files})["value"]
        if isinstance(value, dict):
            return {key: rendered(item, f"{field}.{key}") for key, item in value.items()}
        if isinstance(value, (list, set)) or type(value) is tuple:
            return type(value)(rendered(item, f"{field}[{place}]") for place, item in enumerate(value))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(rendered(item, f"{field}.{name}") for name, item in zip(value._fields, value)))
        for name in getattr(value, "template_fields", ()):
            setattr(value, name, rendered(getattr(value, name), f"{field}.{name}"))
        return value

    shown = {}
    for name in fields:
        if not hasattr(op, name):
            raise AttributeError(f"{name!r} is a template field of {type(op).__name__}, which has no such attribute")
        value = rendered(getattr(op, name), name)
        setattr(op, name, value)
        try:
            shown[name] = json_ready(value, name)
        except TypeError:
            shown[name] = str(value)
    return shown


def carry_out(op, context):
    """What it returns. One that defers itself waits for its trigger here."""
    method, kwargs = op.execute, {}
    while True:
        try:
            return method(context, **kwargs)
        except BaseException as deferral:
            if "TaskDeferred" not in {cls.__name__ for cls in type(deferral).__mro__}:
                raise
            deferred = deferral
        if deferred.method_name == "__fail__":
            raise RuntimeError(f"it deferred itself to fail: {deferred.kwargs}")
        event = wait_for(deferred.trigger, deferred.timeout)
        method, kwargs = getattr(op, deferred.method_name), {**(deferred.kwargs or {}), "event": event}


def wait_for(trigger, timeout):
    """What the first event of a trigger says."""
    import asyncio

    async def first():
        async for event in trigger.run():
            return event.payload
        raise RuntimeError(f"{trigger} ended without an event")

    async def within():
        return await asyncio.wait_for(first(), None if timeout is None else seconds(timeout))

    print(f"Deferred: waiting for {type(trigger).__name__}.")
    return asyncio.run(within())


def end_with(op):
    """Tells the operator when its task is to end."""

    def end(signum, frame):
        op.on_kill()
        raise SystemExit(128 + signum)

    if hasattr(op, "on_kill"):
        signal.signal(signal.SIGTERM, end)


def run_operator(orders, api, ti):
    context = make_context(orders, api, ti)
    make_current(context)
    make_objects(orders)
    op = make_operator(orders, context)
    context["task"] = ti.task = op
    end_with(op)
    if getattr(op, "template_fields", ()):
        ti.rendered = render(op, api)
    ending = {"end": "success"}
    if hasattr(op, "pre_execute"):
        op.pre_execute(context)
    if hasattr(op, "choose_branch"):
        value = op.choose_branch(context)
        ending["branch"] = branch_of("branch", value, False)
    else:
        value = carry_out(op, context)
    if hasattr(op, "post_execute"):
        op.post_execute(context, value)
    if orders["do_xcom_push"]:
        ending["return_value"] = json_ready(value, "what it returned")
        if getattr(op, "multiple_outputs", False):
            push_each(ti, value)
    return ending


def run_sensor(orders, api, ti):
    """Calls a function until what it returns is true."""
    context = make_context(orders, api, ti)
    make_current(context)
    make_objects(orders)
    function = load(orders["callable"])
    args = orders["op_args"]
    kwargs = determine_kwargs(function, args, context, orders["op_kwargs"])
    sensor = BaseSensorOperator(task_id=ti.task_id, **orders["sensor"])
    sensor.poke = lambda context: function(*args, **kwargs)
    value = sensor.execute(context)
    ending = {"end": "success"}
    if orders["do_xcom_push"]:
        ending["return_value"] = json_ready(value, "its xcom_value")
    return ending


MODES.update(operator=run_operator, sensor=run_sensor)
