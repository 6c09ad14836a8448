"""The runs that Airflow is asked about: by name, exhaustive, and drawn at random."""

from __future__ import annotations

import itertools
import random

from dags import build

from airflow.exceptions import AirflowException

RULES = [
    "all_success",
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "all_done_setup_success",
    "all_skipped",
    "one_failed",
    "one_success",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "always",
]


def tasks(*lines: str | tuple) -> list:
    """`"a"`, `"b < a"`, or such a text with the task's options."""
    found = []
    for line in lines:
        text, options = line if isinstance(line, tuple) else (line, {})
        name, _, upstream = text.partition("<")
        found.append([name.strip(), upstream.strip(), options])
    return found


def every_rule(upstream: str) -> list[tuple]:
    return [(f"{rule} < {upstream}", {"rule": rule}) for rule in RULES]


def exhaustive():
    """Every trigger rule over everything that one to three tasks before can have come to: `n` is not over."""
    for count in (1, 2, 3):
        names = [f"u{at}" for at in range(count)]
        dag = {"tasks": tasks(*names, *every_rule(" ".join(names)))}
        for letters in itertools.combinations_with_replacement("sfkurn", count):
            yield f"rules {''.join(letters)}", dag, {"given": dict(zip(names, letters))}
    # A setup that is not mapped is never removed.
    for letters in itertools.product("sfkun", "sfkurn"):
        given = dict(zip(["s", "a"], letters))
        dag = {"tasks": tasks(("s", {"role": "setup"}), "a < s", *every_rule("a"))}
        yield f"setup before {''.join(letters)}", dag, {"given": given}
    for count in (1, 2, 3):
        names = [f"u{at}" for at in range(count)]
        kinds = list(itertools.product("NS", "sfkun"))
        for chosen in itertools.combinations_with_replacement(kinds, count):
            before = [(name, {"role": "setup"} if kind == "S" else {}) for name, (kind, _) in zip(names, chosen)]
            dag = {"tasks": tasks(*before, ("t < " + " ".join(names), {"role": "teardown"}))}
            given = {name: letter for name, (_, letter) in zip(names, chosen)}
            yield f"teardown {''.join(kind + letter for kind, letter in chosen)}", dag, {"given": given}


def in_every_order():
    """Every trigger rule, and what two or three tasks before come to one after the other."""
    for count in (2, 3):
        names = [f"u{at}" for at in range(count)]
        fed = [f"{name} < feed{at}" for at, name in enumerate(names)]
        dag = {"tasks": tasks(*(f"feed{at}" for at in range(count)), *fed, *every_rule(" ".join(names)))}
        for letters in itertools.product("sfku", repeat=count):
            events = [f"feed{at} {'f' if letter == 'u' else 's'}" for at, letter in enumerate(letters)]
            events += [f"u{at} {letter}" for at, letter in enumerate(letters) if letter != "u"]
            yield f"rules in order {''.join(letters)}", dag, {"events": events}


def refused(dag: dict) -> bool:
    """Whether Airflow takes no such DAG."""
    try:
        build(dag)
    except (ValueError, NotImplementedError, AirflowException):
        return True
    return False


class Drawn:
    """A DAG at random, and what becomes of its attempts."""

    def __init__(self, seed: int, flavour: str):
        self.draw = random.Random(seed)
        self.flavour = flavour
        self.runs = 2 if flavour == "past" else 1
        self.clears = 2
        self.dag = self.draw_dag()
        while refused(self.dag):
            self.dag = self.draw_dag()

    def draw_dag(self) -> dict:
        draw = self.draw
        count = draw.randint(2, 8) if draw.random() < 0.8 else draw.randint(9, 12)
        groups, names, listed = [], [], []
        group = None
        for at in range(count):
            own = "abcdefghijkl"[at]
            if self.flavour == "map" and draw.random() < 0.25:
                group = None
                if draw.random() < 0.8:
                    group = f"g{len(groups)}"
                    sources = [name for name, _, options in listed if "." not in name and not options.get("kind")]
                    options = {}
                    if draw.random() < 0.75:
                        options["map"] = {"x": self.source(sources)}
                    groups.append([group, options])
            name = f"{group}.{own}" if group else own
            most = 3 if draw.random() < 0.8 else 6
            upstream = [one for one in names if draw.random() < 0.5][-most:]
            options = self.options(name, listed, group)
            listed.append([name, " ".join(upstream), options])
            names.append(name)
        dag = {"tasks": listed}
        if groups:
            dag["groups"] = groups
        if self.flavour == "fail_fast":
            dag["fail_fast"] = True
        return dag

    def options(self, name: str, before: list, group: str | None) -> dict:
        draw, options = self.draw, {}
        if self.flavour != "fail_fast" and draw.random() < 0.5:
            options["rule"] = draw.choice(RULES)
        if group and options.get("rule") == "all_done_min_one_success":
            del options["rule"]  # There it is a difference with a name.
        if draw.random() < 0.1:
            options["retries"] = 1
        if self.flavour == "past" and draw.random() < 0.5:
            options[draw.choice(["past", "downstream"])] = True
        if draw.random() < {"branch": 0.4, "map": 0.15, "clear": 0.15}.get(self.flavour, 0.05):
            options["kind"] = draw.choice(["branch", "branch", "short", "short_direct"])
        elif draw.random() < 0.1:
            options["kind"] = "empty"
        if self.flavour in ("setup", "fail_fast", "clear") and draw.random() < 0.5:
            options["role"] = draw.choice(["setup", "teardown", "teardown!"])
            if options["role"] != "setup":
                options.pop("rule", None)
        if (
            self.flavour in ("map", "past")
            and group is None
            and draw.random() < (0.4 if self.flavour == "map" else 0.1)
        ):
            sources = [one for one, _, chosen in before if "." not in one and not chosen.get("kind")]
            options.pop("kind", None) if options.get("kind") == "empty" else None
            options["map"] = {"x": self.source(sources)}
            if draw.random() < 0.2:
                options["map"]["y"] = self.source(sources)
        return options

    def source(self, sources: list[str]):
        draw = self.draw
        if not sources or draw.random() < 0.3:
            return draw.choice([0, 1, 2, 2, 3])
        if draw.random() < 0.2:
            return [draw.choice(["zip", "fill", "concat"]), draw.choice(sources), draw.choice(sources)]
        return draw.choice(sources)

    def clear(self, run) -> str | None:
        if self.flavour != "clear" or self.clears == 0 or run.state_of(1) == "running":
            return None
        self.clears -= 1
        names = [name for name, _, _ in self.dag["tasks"]]
        chosen = self.draw.sample(names, min(len(names), self.draw.choice([1, 1, 2])))
        return f"{','.join(chosen)} clear {self.draw.choice(['', 'down', 'down', 'up'])}".strip()

    def event(self, run) -> str | None:
        """What happens next in a run, as it is written in a case."""
        active = run.active()
        draw = self.draw
        if not active:
            return self.clear(run)
        name, index, number = key = draw.choice(active)
        shown = (name if index < 0 else f"{name}#{index}") + ("" if number == 1 else f"@{number}")
        if run.states()[key] == "Q" and draw.random() < 0.2:
            return f"{shown} +"
        kind = next(options for one, _, options in self.dag["tasks"] if one == name).get("kind", "work")
        how = draw.choices("sfFk", [6, 2, 0.5, 1])[0]
        if how != "s":
            return f"{shown} {how}"
        if kind == "branch":
            after = sorted(run.dag.get_task(name).downstream_task_ids)
            chosen = [one for one in after if draw.random() < 0.5]
            if draw.random() < 0.1:
                others = [one for one, _, _ in self.dag["tasks"]] + [group for group, _ in self.dag.get("groups", [])]
                chosen.append(draw.choice([*others, "nowhere"]))
            return " ".join([shown, ">", *chosen])
        if kind.startswith("short") and draw.random() < 0.6:
            return f"{shown} !"
        if name in run.mapped_over:
            if run.dag.get_task(name).is_mapped:
                return f"{shown} s -" if draw.random() < 0.1 else f"{shown} s"
            length = draw.choices(["0", "1", "2", "3", "5", "-", ""], [1, 2, 4, 2, 0.3, 0.3, 0.3])[0]
            return f"{shown} s {length}".strip()
        return f"{shown} s"
