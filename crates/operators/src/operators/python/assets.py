"""Assets, and what happened to them that a run was made for. Stands behind `runner.py`."""


class Asset:
    """What a function may want of Airflow's asset: the same wherever name and URI are."""

    def __init__(self, uri, name=None, group=None, extra=None):
        self.uri = uri
        self.name = name or uri
        self.group = group or "asset"
        self.extra = extra or {}

    def __eq__(self, other):
        return (self.name, self.uri) == (getattr(other, "name", None), getattr(other, "uri", None))

    def __hash__(self):
        return hash((self.name, self.uri))

    def __repr__(self):
        return f"Asset(name={self.name!r}, uri={self.uri!r})"


class SourceTaskInstance(types.SimpleNamespace):
    """The task instance that made an asset."""

    def xcom_pull(self, *, key=RETURN_KEY, default=None):
        ids = {"task_ids": self.task_id, "dag_id": self.dag_id, "run_id": self.run_id}
        value = self._ti.xcom_pull(**ids, key=key, map_indexes=self.map_index)
        return default if value is None else value


class AssetEvent(types.SimpleNamespace):
    """Something that happened to an asset."""

    @property
    def source_dag_run(self):
        if self.source_run_id is None:
            return None
        return run_of(self._ti._api, self.source_dag_id, self.source_run_id)

    @property
    def source_task_instance(self):
        if self.source_task_id is None:
            return None
        return SourceTaskInstance(
            dag_id=self.source_dag_id,
            run_id=self.source_run_id,
            task_id=self.source_task_id,
            map_index=self.source_map_index,
            _ti=self._ti,
        )


class TriggeringAssetEvents(collections.abc.Mapping):
    """The events of each asset by the asset, as Airflow has them."""

    def __init__(self, given, ti):
        known = {asset["uri"]: Asset(**asset) for asset in given["assets"]}
        self._events = {}
        for event in given["asset_events"]:
            asset = known.setdefault(event["uri"], Asset(event["uri"]))
            source = event.get("source") or {}
            self._events.setdefault(asset, []).append(
                AssetEvent(
                    asset=asset,
                    extra=event["extra"],
                    timestamp=moment(event["at"]),
                    key=event.get("key"),
                    source_aliases=[],
                    partition_key=None,
                    **{f"source_{name}": source.get(name) for name in ("dag_id", "run_id", "task_id", "map_index")},
                    _ti=ti,
                )
            )

    def __getitem__(self, asset):
        if not hasattr(asset, "uri"):
            raise TypeError(f"Key should be an asset, not {type(asset)}: use for_asset(name=...) or for_asset(uri=...)")
        for own, events in self._events.items():
            if own == asset:
                return events
        raise KeyError(asset)

    def __iter__(self):
        return iter(self._events)

    def __len__(self):
        return len(self._events)

    def for_asset(self, *, name=None, uri=None):
        if not (name or uri):
            raise ValueError("for_asset() needs a name or a uri")
        for own, events in self._events.items():
            if name in (None, own.name) and uri in (None, own.uri):
                return events
        raise KeyError(name or uri)


def run_of(api, dag_id, run_id):
    """A run as it is now."""
    path = "/".join(urllib.parse.quote(part, safe="") for part in (dag_id, run_id))
    found = api.ask("GET", f"/worker/v1/runs/{path}")
    if found is None:
        raise LookupError(f"there is no run {run_id!r} of {dag_id!r} any more")
    start, end = found.pop("data_interval") or (None, None)
    times = {"logical_date": found["logical_date"], "data_interval_start": start, "data_interval_end": end}
    times.update(run_after=found["run_after"], start_date=found.pop("started_at"), end_date=found.pop("ended_at"))
    found["triggering_user_name"] = found.pop("triggering_user")
    return types.SimpleNamespace(**{**found, **{name: moment(time) for name, time in times.items()}})


class DagRun(types.SimpleNamespace):
    """What a function may want of Airflow's run."""

    @property
    def note(self):
        return run_of(self._api, self.dag_id, self.run_id).note
