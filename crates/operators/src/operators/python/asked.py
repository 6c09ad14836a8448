"""What the runner can be asked for besides calling a task's function: for dates, and whether what a sensor saw will do.
Stands behind `runner.py`."""


def dates(orders, api, ti):
    """Calls a function with a date, as Airflow's ExternalTaskSensor does: for another date, or several."""
    context = make_context(orders, api, ti)
    make_current(context)
    function = load(orders["callable"])
    args = [moment(orders["of"])]
    given = {name: value for name, value in context.items() if name != "logical_date"}
    found = function(*args, **determine_kwargs(function, args, {**given, "context": context}, {}))
    found = found if isinstance(found, list) else [found]
    for date in found:
        if not isinstance(date, datetime.datetime) or date.tzinfo is None:
            raise TypeError(f"it is to return a time with a zone, or a list of them, and returned {date!r}")
    return {"end": "success", "return_value": [date.isoformat() for date in found]}


class Response:
    """An answer of a web server, as the functions see it that check one: what those mostly look at of one of `requests`."""

    def __init__(self, seen):
        vars(self).update(seen)
        self.ok = self.status_code < 400
        self.encoding = "utf-8"
        self.headers = http.client.HTTPMessage()
        for name, value in seen["headers"]:
            self.headers[name] = value

    @property
    def content(self):
        if not self.is_utf8:
            raise NotImplementedError("the content of an answer that is no UTF-8 can't be had: use `text`")
        return self.text.encode()

    def json(self, **kwargs):
        return json.loads(self.text, **kwargs)

    def raise_for_status(self):
        if not self.ok:
            raise RuntimeError(f"{self.status_code} {self.reason} for url: {self.url}")


def check(orders, api, ti):
    """Calls a function that says whether what a sensor saw is as wished."""
    context = make_context(orders, api, ti)
    make_current(context)
    function = load(orders["callable"])
    if orders["kind"] == "response":
        response = Response(orders["seen"])
        holds = function(response, **determine_kwargs(function, [response], context, {}))
    else:
        holds = function(orders["seen"])
    return {"end": "success", "return_value": bool(holds)}


def command(orders, api, ti):
    """What a function returns is the command of a task, which begins when this has ended: so how the function ended goes to
    whoever plans the task, and values that it left would be nobody's."""

    def xcom_push(key, value):
        raise NotImplementedError(
            f"xcom_push({key!r}): a function that returns a command leaves no values; the task's result is the last line "
            "that the command prints"
        )

    ti.xcom_push = xcom_push
    try:
        value = returned(orders, api, ti)
        if not isinstance(value, str) or not value.strip():
            raise TypeError(f"the function returned {value!r}: it has to return a command, a string that is not empty")
        ended = {"command": value}
    except Exception as error:
        end = ending_of(error)
        if end != "skipped":
            traceback.print_exc()
        ended = {end: f"{type(error).__name__}: {error}"}
    return {"end": "success", "return_value": ended}


# What it can be asked for, apart from callbacks.
MODES = {
    "python": run,
    "branch": run,
    "short_circuit": run,
    "macro": expand_macro,
    "dates": dates,
    "check": check,
    "command": command,
}


class FoundConnection(types.SimpleNamespace):
    """A connection, with the fields that Airflow's has."""

    def get_extra_dejson(self):
        return self.extra_dejson

    def get_uri(self):
        """All of it in one text, as AIRFLOW_CONN_… has it."""

        def quote(text):
            return urllib.parse.quote(text, safe="")

        uri = f"{self.conn_type.lower().replace('_', '-')}://" if self.conn_type else "//"
        protocol, mark, host = (self.host or "").partition("://")
        if not mark or protocol == self.conn_type:
            host = self.host or ""
        else:
            uri += f"{protocol}://"
        account = quote(self.login or "") + ("" if self.password is None else ":" + quote(self.password))
        if account:
            uri += account + "@"
        uri += quote(host)
        if self.port:
            uri += f":{self.port}" if host or account else f"@:{self.port}"
        if self.schema:
            uri += "/" + quote(self.schema)
        if self.extra:
            query = urllib.parse.urlencode(self.extra_dejson)
            if dict(urllib.parse.parse_qsl(query, keep_blank_values=True)) != self.extra_dejson:
                # Not all of it is text.
                query = urllib.parse.urlencode({"__extra__": self.extra})
            uri += ("?" if self.schema else "/?") + query
        return uri
