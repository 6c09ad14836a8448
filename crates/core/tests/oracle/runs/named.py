"""Runs that are worth a name: what documentation promises, and what was once decided differently."""

from __future__ import annotations

from cases import tasks


def branches():
    fork = tasks(
        ("pick", {"kind": "branch"}),
        "left < pick",
        "right < pick",
        ("join < left right", {"rule": "none_failed_min_one_success"}),
    )
    yield "branch to one", {"tasks": fork}, ["pick > left", "left s", "join s"]
    yield "branch to both", {"tasks": fork}, ["pick > left right", "left s", "right f"]
    yield "branch to none", {"tasks": fork}, ["pick >"]
    yield "branch to nowhere", {"tasks": fork}, ["pick > nowhere"]
    yield "branch that fails", {"tasks": fork}, ["pick f"]
    yield "branch that is skipped", {"tasks": fork}, ["pick k"]
    empty = tasks(("pick", {"kind": "branch"}), "work < pick", ("join < pick work", {"rule": "none_failed"}))
    yield "branch past its work", {"tasks": empty}, ["pick > join", "join s"]
    yield "branch to its work, which leads on", {"tasks": empty}, ["pick > work", "work s", "join s"]
    yield "branch to what comes later", {"tasks": fork}, ["pick > join"]
    yield "branch to itself", {"tasks": fork}, ["pick > pick", "left s", "right s", "join s"]
    early = tasks(("pick", {"kind": "branch"}), ("a < pick", {"rule": "always", "retries": 1}), "after < a")
    yield "branch over what is queued", {"tasks": early}, ["pick >"]
    yield "branch over what runs", {"tasks": early}, ["a +", "pick >", "a s", "after s"]
    yield "branch over what runs and fails", {"tasks": early}, ["a +", "pick >", "a f"]
    yield "branch over what has failed once", {"tasks": early}, ["a +", "a f", "pick >"]
    yield "branch over what is done", {"tasks": early}, ["a s", "pick >", "after s"]
    late = tasks(("pick", {"kind": "branch"}), "bad", "a < pick bad", ("after < a", {"rule": "all_skipped"}))
    yield "branch over what is upstream_failed", {"tasks": late}, ["bad f", "pick >"]
    group = tasks(("pick", {"kind": "branch"}), "g.a < pick", "g.b < g.a", "g.c", "other < pick", "g.d < pick")
    yield (
        "branch into a group",
        {"tasks": group, "groups": [["g", {}]]},
        ["g.c s", "pick > g", "g.a s", "g.d s", "g.b s"],
    )
    mapped = tasks(("pick", {"kind": "branch", "map": {"x": 2}}), ("each < pick", {"map": {"x": 2}}), "one < pick")
    yield "branch of copies", {"tasks": mapped}, ["pick#0 > each", "pick#1 > one", "each#0 s", "one s"]
    over = tasks(
        ("pick", {"kind": "branch"}), "list", ("each < pick", {"map": {"x": "list"}}), ("two < pick", {"map": {"x": 2}})
    )
    yield "branch over what is to be mapped", {"tasks": over}, ["pick > list", "list s 2"]
    inside = tasks(
        ("g.pick", {"kind": "branch"}), "g.a < g.pick", "g.b < g.pick", ("z < g.a g.b", {"rule": "all_done"})
    )
    doubled = [["g", {"map": {"x": 2}}]]
    yield (
        "branch inside a mapped group",
        {"tasks": inside, "groups": doubled},
        [
            "g.pick#0 > g.a",
            "g.pick#1 > g.b",
            "g.a#0 s",
            "g.b#1 f",
            "z s",
        ],
    )


def short_circuits():
    for kind in ("short", "short_direct"):
        chain = tasks(
            ("stop", {"kind": kind}), "a < stop", ("b < a", {"rule": "all_done"}), ("t < b", {"role": "teardown"})
        )
        yield f"{kind} with a teardown", {"tasks": chain}, ["stop !", *(["b s"] if kind != "short" else []), "t s"]
        yield f"{kind} that lets go on", {"tasks": chain}, ["stop s", "a f", "b s", "t s"]
        direct = tasks(("stop", {"kind": kind}), ("t < stop", {"role": "teardown"}), "a < t")
        yield f"{kind} before a teardown", {"tasks": direct}, ["stop !", "t s", *(["a s"] if kind != "short" else [])]
        last = tasks(("stop", {"kind": kind}))
        yield f"{kind} before nothing", {"tasks": last}, ["stop !"]
        inside = tasks(("g.stop", {"kind": kind}), "g.a < g.stop", ("g.b < g.a", {"rule": "all_done"}))
        yield (
            f"{kind} inside a mapped group",
            {"tasks": inside, "groups": [["g", {"map": {"x": 2}}]]},
            [
                "g.stop#0 !",
                "g.b#0 s",
                "g.stop#1 s",
                "g.a#1 s",
                "g.b#1 s",
            ],
        )
    far = tasks(("stop", {"kind": "short"}), "a < stop", ("each < a", {"map": {"x": 2}, "rule": "all_done"}))
    yield "short over copies farther on", {"tasks": far}, ["stop !"]


def mappings():
    for source in (0, 2, "list", ["zip", "list", "more"], ["fill", "list", "more"], ["concat", "list", "more"]):
        for mapping in ({"x": source}, {"x": source, "y": "more"}, {"kwargs": source}):
            each = tasks("list", "more", ("each", {"map": mapping}), "after < each")
            name = f"mapped by {mapping}".replace("'", "")
            whole = isinstance(source, int) and "y" not in mapping
            yield (
                f"{name}, lists",
                {"tasks": each},
                [*(["each#1 k"] if whole and source else []), "list s 2", "more s 1"],
            )
            if not whole:
                yield f"{name}, empty", {"tasks": each}, ["list s 0", "more s 3"]
                yield f"{name}, failed", {"tasks": each}, ["list s 2", "more f"]
                yield f"{name}, skipped", {"tasks": each}, ["more k", "list s 1"]
    once = tasks(("list", {"retries": 1}), ("each", {"map": {"x": "list"}}))
    for result in ("5", "-", ""):
        yield f"mapped over {result or 'a number'}", {"tasks": once}, [f"list s {result}".strip(), "list s 4"]
        yield f"mapped over {result or 'a number'} twice", {"tasks": once}, [f"list s {result}".strip()] * 2
    for rule in ("all_done", "always", "none_failed", "all_failed", "one_failed", "all_skipped"):
        free = tasks("list", "other", ("each < other", {"rule": rule, "map": {"x": "list"}}))
        for end in "fk":
            yield f"mapped over {end} with {rule}", {"tasks": free}, ["other s", f"list {end}"]
            yield f"mapped over {end} with {rule}, first", {"tasks": free}, [f"list {end}", "other f"]
    again = tasks(("each", {"map": {"x": 3}}), ("again", {"rule": "all_done", "map": {"x": "each"}}))
    for ends in ("s s s", "s f k", "f f f", "s s - s -", "k k k"):
        letters = ends.replace(" -", "-").split()
        yield (
            f"mapped over copies {ends}",
            {"tasks": again},
            [f"each#{at} {'s -' if end == 's-' else end}" for at, end in enumerate(letters)],
        )
    never = tasks(
        "bad",
        ("each < bad", {"map": {"x": 2}}),
        "list < bad",
        ("more", {"map": {"x": "list"}}),
        ("again", {"map": {"x": "more"}, "rule": "all_done"}),
    )
    yield "mapped over what was never mapped", {"tasks": never}, ["bad f"]


def mapped_groups():
    chain = tasks("list", "g.a", "g.b < g.a", "g.c < g.b", ("z < g.c", {"rule": "all_done"}))
    by_list = [["g", {"map": {"x": "list"}}]]
    yield (
        "a group copy by copy",
        {"tasks": chain, "groups": by_list},
        [
            "list s 2",
            "g.a#0 s",
            "g.b#0 s",
            "g.a#1 f",
            "g.c#0 s",
            "z s",
        ],
    )
    yield "a group over nothing", {"tasks": chain, "groups": by_list}, ["list s 0", "z s"]
    yield "a group over what failed", {"tasks": chain, "groups": by_list}, ["list f", "z s"]
    yield "a group over what was skipped", {"tasks": chain, "groups": by_list}, ["list k", "z s"]
    for rule in (
        "all_failed",
        "all_done",
        "all_skipped",
        "one_failed",
        "one_success",
        "one_done",
        "none_failed",
        "none_failed_min_one_success",
        "none_skipped",
        "all_done_setup_success",
        "all_done_min_one_success",
    ):
        for groups in ([["g", {"map": {"x": 2}}]], by_list):
            pair = tasks("list", "g.a", ("g.b < g.a", {"rule": rule}))
            for ends in ("s f", "f f", "k s", "k k"):
                first, second = ends.split()
                yield (
                    f"a group of {groups[0][1]['map']['x']} with {rule}, {ends}",
                    {"tasks": pair, "groups": groups},
                    [
                        "list s 2",
                        f"g.a#1 {second}",
                        f"g.a#0 {first}",
                    ],
                )
    outside = tasks("list", "x", ("g.a", {}), ("g.b < g.a x", {"rule": "all_done"}), "g.c < x")
    yield (
        "a group and what is outside",
        {"tasks": outside, "groups": by_list},
        ["list s 2", "g.a#0 s", "x f", "g.b#0 s"],
    )
    nested = tasks("list", "g.a", "g.h.b < g.a", "g.h.c < g.h.b")
    yield (
        "a group in a mapped group",
        {"tasks": nested, "groups": [*by_list, ["g.h", {}]]},
        ["list s 2", "g.a#1 s", "g.h.b#1 s", "g.a#0 k"],
    )
    setup = tasks("list", ("g.s", {"role": "setup"}), "g.a < g.s", "g.b < g.a", ("g.t < g.s g.b", {"role": "teardown"}))
    yield (
        "a setup in a mapped group",
        {"tasks": setup, "groups": by_list},
        [
            "list s 2",
            "g.s#0 s",
            "g.a#0 s",
            "g.b#0 f",
            "g.t#0 s",
            "g.s#1 f",
        ],
    )
    over = tasks("g.a", ("each", {"map": {"x": "g.a"}}))
    yield (
        "mapped over a task of a mapped group",
        {"tasks": over, "groups": [["g", {"map": {"x": 2}}]]},
        ["g.a#0 s", "g.a#1 s"],
    )


def setups():
    for role in ("teardown", "teardown!"):
        scope = tasks(("s", {"role": "setup"}), "a < s", "b < a", ("t < s b", {"role": role}), "after < t")
        for events in (
            "s s,a s,b s,t s,after s",
            "s s,a f,t s,after f",
            "s s,a s,b f,t f",
            "s f",
            "s k",
            "s s,a k,t s",
            "s s,a s,b s,t f",
        ):
            yield f"{role} after {events}", {"tasks": scope}, events.split(",")
    two = tasks(
        ("s", {"role": "setup"}),
        ("r", {"role": "setup"}),
        "a < s r",
        ("t < s a", {"role": "teardown"}),
        ("q < r a", {"role": "teardown"}),
    )
    yield "two setups, one fails", {"tasks": two}, ["s s", "r f", "t s"]
    yield "two setups, one is skipped", {"tasks": two}, ["s k", "r s", "q s"]
    waits = tasks(("s", {"role": "setup"}), "a < s", "bad", ("b < a bad", {"rule": "one_failed"}), "c < a bad")
    yield "a setup that is not over, and a failure", {"tasks": waits}, ["bad f"]
    yield (
        "only teardowns",
        {"tasks": tasks(("t", {"role": "teardown"}), ("q < t", {"role": "teardown"}))},
        ["t f", "q f"],
    )
    inner = tasks(
        ("s", {"role": "setup"}),
        ("i < s", {"role": "setup"}),
        "a < i",
        ("j < i a", {"role": "teardown"}),
        ("t < s j", {"role": "teardown"}),
    )
    yield "a setup in a setup", {"tasks": inner}, ["s s", "i f", "t s"]
    yield "a setup in a setup, all well", {"tasks": inner}, ["s s", "i s", "a f", "j s", "t s"]


def others():
    deep = tasks("p", ("a < p", {"rule": "all_skipped"}), "b < p", "c < b", "x < a c")
    yield "the nearer decides first", {"tasks": deep}, ["p F"]
    fast = tasks(("each", {"map": {"x": 2}}), "runs", "waits", "after < waits", ("t < waits", {"role": "teardown"}))
    yield "fail_fast", {"tasks": fast, "fail_fast": True}, ["runs +", "each#0 f", "each#1 f", "t s"]
    stuck = tasks("a", ("b < a", {"rule": "all_skipped"}))
    yield "retries", {"tasks": tasks(("a", {"retries": 2}), "b < a")}, ["a f", "a f", "a f"]
    yield "retries that help", {"tasks": tasks(("a", {"retries": 2}), "b < a")}, ["a f", "a f", "a s", "b s"]
    yield "failed for good", {"tasks": tasks(("a", {"retries": 2}), "b < a")}, ["a F"]
    yield "skipped by itself", {"tasks": stuck}, ["a k", "b s"]


def clears():
    scope = tasks(("s", {"role": "setup"}), "a < s", "b < a", ("t < s b", {"role": "teardown"}), "c < s")
    through = ["s s", "c s", "a s", "b s", "t s"]
    yield "clear work in a scope", {"tasks": scope}, [*through, "b clear", "s s", "b s", "t s"]
    yield "clear a setup", {"tasks": scope}, [*through, "s clear", "s s", "t s"]
    yield "clear a teardown", {"tasks": scope}, [*through, "t clear", "t s"]
    yield "clear work outside of the scope", {"tasks": scope}, [*through, "c clear", "c s"]
    yield "clear work and what comes before", {"tasks": scope}, [*through, "a clear up", "s s", "a s", "t s"]
    fork = tasks(("pick", {"kind": "branch"}), "left < pick", "right < pick", "last < right")
    yield "clear what a branch left out", {"tasks": fork}, ["pick > left", "left s", "right clear"]
    yield "clear what comes after what a branch left out", {"tasks": fork}, ["pick > left", "left s", "last clear"]
    yield (
        "clear a branch",
        {"tasks": fork},
        ["pick > left", "left s", "pick clear down", "pick > right", "right s", "last s"],
    )
    yield "clear a branch that then fails", {"tasks": fork}, ["pick > left", "left s", "pick clear down", "pick f"]
    short = tasks(("stop", {"kind": "short"}), "a < stop", ("b < a", {"rule": "all_done"}))
    yield "clear what a short circuit left out", {"tasks": short}, ["stop !", "a clear"]
    yield "clear what a short circuit left out farther on", {"tasks": short}, ["stop !", "b clear", "b s"]
    retry = tasks(("a", {"retries": 1}), "b < a")
    yield "clear gives new retries", {"tasks": retry}, ["a f", "a f", "a clear down", "a f", "a s", "b s"]
    chain = tasks("list", "g.a", "g.b < g.a", "z < g.b")
    by_list = [["g", {"map": {"x": "list"}}]]
    through = ["list s 2", "g.a#0 s", "g.a#1 s", "g.b#0 s", "g.b#1 s", "z s"]
    yield (
        "clear a copy in a mapped group",
        {"tasks": chain, "groups": by_list},
        [
            *through,
            "g.a#1 clear down",
            "g.a#1 s",
            "g.b#1 s",
            "z s",
        ],
    )
    each = tasks("list", ("each", {"map": {"x": "list"}}), "after < each")
    through = ["list s 2", "each#0 s", "each#1 s", "after s"]
    yield "clear a copy", {"tasks": each}, [*through, "each#1 clear down", "each#1 s", "after s"]
    longer = [*through, "list clear down", "list s 3", "each#0 s", "each#1 s", "each#2 s", "after s"]
    yield "clear what is mapped over, longer", {"tasks": each}, longer
    shorter = [*through, "list clear down", "list s 1", "each#0 s", "after s"]
    yield "clear what is mapped over, shorter", {"tasks": each}, shorter
    yield "clear what is mapped over, failing", {"tasks": each}, [*through, "list clear down", "list f"]


def pasts():
    chain = tasks(("a", {"past": True}), "b < a")
    yield "depends on the past", {"tasks": chain}, ["a s", "b f", "a@2 s", "b@2 s"]
    yield "depends on a past that failed", {"tasks": chain}, ["a f"]
    yield "depends on a past that was skipped", {"tasks": chain}, ["a k", "a@2 s"]
    chain = tasks(("a", {"downstream": True}), "b < a", "c < b")
    yield "waits for downstream of the past", {"tasks": chain}, ["a s", "b s", "a@2 s", "c f", "b@2 s"]
    yield "waits for downstream that failed", {"tasks": chain}, ["a s", "b f"]
    fails = tasks("x", ("a < x", {"past": True}), ("b", {"past": True, "map": {"x": 2}}))
    yield (
        "upstream fails before the past is over",
        {"tasks": fails},
        ["x@2 f", "b#0 s", "x s", "b#1 s", "b#0@2 s", "a s"],
    )
    list_of = tasks("list", ("each", {"past": True, "map": {"x": "list"}}))
    yield (
        "mapped differently in the past",
        {"tasks": list_of},
        ["list@2 s 1", "list s 2", "each#0 s", "each#1 s", "each#0@2 s"],
    )


def all_named():
    for of_one_kind in (branches, short_circuits, mappings, mapped_groups, setups, clears, others, pasts):
        for name, dag, events in of_one_kind():
            yield name, dag, {"events": events, "runs": 2 if of_one_kind is pasts else 1}
