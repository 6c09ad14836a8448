"""What may be imported of Airflow, whether it is installed or not. Stands behind `runner.py`."""

import importlib.abc
import importlib.machinery
import pathlib


def get_current_context():
    """Airflow's, where Airflow is not installed."""
    return OfAirflow.context


def exception(name, base=Exception):
    """One of Airflow's, where Airflow is not installed."""
    return type(name, (base,), {"__module__": "airflow.exceptions"})


AirflowException = exception("AirflowException")
AirflowNotFoundException = exception("AirflowNotFoundException", AirflowException)
AirflowSkipException = exception("AirflowSkipException", AirflowException)
AirflowFailException = exception("AirflowFailException", AirflowException)
AirflowSensorTimeout = exception("AirflowSensorTimeout", AirflowException)


class Variable:
    """Airflow's, where Airflow is not installed."""

    @staticmethod
    def get(key, default=..., deserialize_json=False, default_var=...):
        default = default_var if default is ... else default
        found = get_current_context()["var"]["json" if deserialize_json else "value"].get(key, default)
        if found is ...:
            raise KeyError(f"there is no variable {key!r}")
        return found

    @staticmethod
    def set(key, *args, **kwargs):
        raise NotImplementedError(
            f"Variable.set({key!r}): a task changes no variables. Return the value, which tasks behind it pull, or give "
            "the task a token of its own and have it call `updraft variables set`"
        )

    @staticmethod
    def delete(key, *args, **kwargs):
        raise NotImplementedError(f"Variable.delete({key!r}): a task changes no variables, see Variable.set")


class Logs:
    """What Airflow's classes log by."""

    @property
    def log(self):
        import logging

        return logging.getLogger(f"{type(self).__module__}.{type(self).__qualname__}")


class BaseHook(Logs):
    """Airflow's, where Airflow is not installed."""

    def __init__(self, logger_name=None):
        pass

    @classmethod
    def get_connection(cls, conn_id):
        found = get_current_context()["conn"].get(conn_id)
        if found is None:
            raise AirflowNotFoundException(f"there is no connection {conn_id!r}")
        return found


class ObjectStoragePath(type(pathlib.Path())):
    """Airflow's for files of this machine, where Airflow is not installed."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls, *cls.local(args), **kwargs)

    if sys.version_info >= (3, 12):

        def __init__(self, *args):
            super().__init__(*self.local(args))

    @staticmethod
    def local(args):
        for arg in args:
            protocol, mark, path = str(arg).partition("://")
            if mark and protocol != "file":
                raise ValueError(f"{arg}: without Airflow there are files of this machine only, file://…")
            yield path if mark else arg


class Connection:
    """Airflow's way to connections, where Airflow is not installed."""

    get = get_connection_from_secrets = BaseHook.get_connection


def secrets_backend():
    """Where the Airflow that is installed looks variables and connections up, by its own interface for that."""
    from airflow.secrets import BaseSecretsBackend

    class Backend(BaseSecretsBackend):
        def get_conn_value(self, conn_id, *args, **kwargs):
            found = get_current_context()["conn"].get(conn_id)
            names = ("conn_type", "description", "host", "login", "password", "port", "schema")
            return found and json.dumps({**{name: getattr(found, name) for name in names}, "extra": found.extra_dejson})

        def get_variable(self, key, *args, **kwargs):
            return get_current_context()["var"]["value"].get(key)

    return {"Backend": Backend}


class OfAirflow(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets whoever imports Airflow have the context, variables and connections of this task: from the Airflow that is
    installed, or else from a stand-in, which has little more than these. Neither costs anything where nothing imports it."""

    # Where an Airflow keeps the contexts of what it executes: 3, and 2.
    KEPT_IN = ("airflow.sdk.definitions._internal.contextmanager", "airflow.models.taskinstance")
    BACKEND = "updraft_secrets_backend"
    STORAGE = {"ObjectStoragePath": ObjectStoragePath}
    CURRENT = {"get_current_context": get_current_context}
    EXCEPTIONS = {
        made.__name__: made
        for made in (
            AirflowException,
            AirflowNotFoundException,
            AirflowSkipException,
            AirflowFailException,
            AirflowSensorTimeout,
        )
    }
    # What can be imported of a stand-in, and from where: in Airflow 3, and in those before it.
    STAND_INS = {
        "airflow.exceptions": EXCEPTIONS,
        "airflow.hooks.base": {"BaseHook": BaseHook},
        "airflow.hooks.base_hook": {"BaseHook": BaseHook},
        "airflow.io.path": STORAGE,
        "airflow.models": {"Connection": Connection, "Variable": Variable},
        "airflow.models.connection": {"Connection": Connection},
        "airflow.models.variable": {"Variable": Variable},
        "airflow.operators.python": CURRENT,
        "airflow.providers.standard.operators.python": CURRENT,
        "airflow.sdk": {
            **CURRENT,
            "BaseHook": BaseHook,
            "Connection": Connection,
            "Context": dict,
            **STORAGE,
            "Variable": Variable,
        },
        "airflow.sdk.bases.hook": {"BaseHook": BaseHook},
        "airflow.sdk.exceptions": EXCEPTIONS,
        "airflow.utils.context": {"Context": dict},
    }
    context = None

    def __init__(self):
        self.is_installed = importlib.util.find_spec("airflow") is not None
        packages = {name[:end] for name in self.STAND_INS for end in range(len(name)) if name[end] == "."}
        self.modules = {**dict.fromkeys(packages, {}), **self.STAND_INS}
        if self.is_installed:
            self.modules = {self.BACKEND: secrets_backend}
            for name in ("AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"):
                os.environ.setdefault(name, f"{self.BACKEND}.Backend")
            if not os.path.isdir(os.path.expanduser("~/airflow")):
                # It writes its own settings there as soon as it is imported.
                os.environ.setdefault("AIRFLOW_HOME", os.path.join(os.getcwd(), ".airflow"))

    def find_spec(self, name, path, target=None):
        if name in self.modules:
            return importlib.util.spec_from_loader(name, self, is_package=True)
        after = as_airflow_logs if name == "logging" else self.keep_in if name in self.KEPT_IN else None
        spec = after and importlib.machinery.PathFinder.find_spec(name, path)
        if spec:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (execute(module), after(module))
        return spec

    def keep_in(self, module):
        kept = getattr(module, "_CURRENT_CONTEXT", None)
        if kept is not None:
            kept.append(self.context)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        made = self.modules[module.__name__]
        vars(module).update(made() if callable(made) else made)

        def missing(name):
            if name.startswith("__"):
                raise AttributeError(name)
            raise ImportError(
                f"cannot import {name!r} from {module.__name__!r}: no Airflow is installed for this python3, and what "
                f"stands in for it here has {', '.join(sorted(made)) or 'nothing'}"
            )

        if not self.is_installed:
            module.__getattr__ = missing


def as_airflow_logs(logging):
    """What is logged is in the task's log from INFO on, as in Airflow's."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s - %(message)s")
    for of_its_start in ("airflow.configuration", "airflow.settings"):
        logging.getLogger(of_its_start).setLevel(logging.WARNING)


def make_current(context):
    OfAirflow.context = context
    sys.meta_path.insert(0, OfAirflow())
    if "logging" in sys.modules:
        as_airflow_logs(sys.modules["logging"])
