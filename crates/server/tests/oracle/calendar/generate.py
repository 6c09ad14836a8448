"""What recurring-ical-events makes of calendars: the days that ours are compared with.

    python3 -m venv /tmp/oracle
    /tmp/oracle/bin/pip install icalendar==7.3.2 recurring-ical-events==3.8.2
    /tmp/oracle/bin/python crates/server/tests/oracle/calendar/generate.py \\
        > crates/server/tests/oracle/calendar/cases.jsonl

Each line is a calendar (`ics`) and its days from 1970 to 2099, in order, those that follow one another as
`FIRST/LAST`. Rules begin with a day that they name: what another first day means, RFC 5545 leaves open. In the
last of the calendars events go from midnight to midnight in a zone, and what else they say stands in UTC.
"""

import datetime
import itertools
import json
import random
import zoneinfo

import icalendar
import recurring_ical_events
from dateutil.rrule import rrulestr

DAY = datetime.timedelta(days=1)
WEEKDAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


def some(random, values, most):
    return ",".join(str(value) for value in sorted(random.sample(values, random.randint(1, most)), key=str))


def signed(most):
    return [n for n in range(-most, most + 1) if n]


def rule(random, start):
    frequency = random.choice(["YEARLY", "YEARLY", "YEARLY", "MONTHLY", "WEEKLY", "DAILY"])
    parts = [f"FREQ={frequency}"]
    if random.random() < 0.3:
        parts.append(f"INTERVAL={random.randint(2, 5)}")
    if random.random() < 0.5:
        parts.append("BYMONTH=" + some(random, range(1, 13), 4))
    days = random.random()
    if days < 0.3:
        parts.append("BYDAY=" + some(random, WEEKDAYS, 3))
    elif days < 0.6 and frequency in ("YEARLY", "MONTHLY"):
        places = [f"{n}{day}" for n in signed(5) for day in WEEKDAYS]
        parts.append("BYDAY=" + some(random, places, 3))
    if random.random() < 0.3 and frequency != "WEEKLY":
        parts.append("BYMONTHDAY=" + some(random, signed(31), 5))
    elif random.random() < 0.2 and frequency == "YEARLY":
        parts.append("BYYEARDAY=" + some(random, signed(366), 12))
    # In the first week, dateutil counts positions from the first day of the event on.
    counts = frequency != "WEEKLY" and any(part.startswith("BY") for part in parts)
    if random.random() < 0.3 and counts:
        parts.append("BYSETPOS=" + some(random, signed(3), 2))
    if random.random() < 0.2:
        parts.append("WKST=" + random.choice(["SU", "MO", "SA"]))
    end = random.random()
    if end < 0.6:
        parts.append(f"COUNT={random.randint(1, 16)}")
    elif end < 0.95 or frequency != "YEARLY":
        parts.append(f"UNTIL={start + random.randint(0, 900) * DAY:%Y%m%d}")
    return ";".join(parts)


def event(random, number):
    start = datetime.date(random.randint(1995, 2020), random.randint(1, 12), random.randint(1, 28))
    lines = [f"UID:{number}@example.org", "SUMMARY:A day; with: signs"]
    occurrences = [start]
    text = None
    if random.random() < 0.85:
        text = rule(random, start)
        midnight = datetime.datetime.combine(start, datetime.time())
        found = rrulestr(text, dtstart=midnight)
        occurrences = []
        for at in itertools.islice(found, 40):
            occurrences.append(at.date())
        if not occurrences:
            return None
        lines.append(f"RRULE:{text}")
    length = random.choice([1, 1, 1, 2, 3, 8])
    first = occurrences[0]
    lines.insert(1, f"DTSTART;VALUE=DATE:{first:%Y%m%d}")
    how = random.random()
    if how < 0.5 or length == 1 and how < 0.7:
        lines.insert(2, f"DTEND;VALUE=DATE:{first + length * DAY:%Y%m%d}")
    elif length > 1:
        lines.insert(2, f"DURATION:P{length}D")
    if text and len(occurrences) > 7 and random.random() < 0.3:
        # None that is moved or cancelled below: which of the two counts, RFC 5545 leaves open.
        gone = random.sample(occurrences[5:], 2)
        lines.append("EXDATE;VALUE=DATE:" + ",".join(f"{day:%Y%m%d}" for day in gone))
    if random.random() < 0.15:
        lines.append(f"RDATE;VALUE=DATE:{first + 400 * DAY:%Y%m%d},{first + 900 * DAY:%Y%m%d}")
    events = [lines]
    if text and len(occurrences) > 3 and random.random() < 0.3:
        of = occurrences[2]
        moved = [
            f"UID:{number}@example.org",
            f"RECURRENCE-ID;VALUE=DATE:{of:%Y%m%d}",
            f"DTSTART;VALUE=DATE:{of + 3 * DAY:%Y%m%d}",
            f"DTEND;VALUE=DATE:{of + 5 * DAY:%Y%m%d}",
            "SEQUENCE:1",
        ]
        events.append(moved)
    if text and len(occurrences) > 5 and random.random() < 0.2:
        of = occurrences[4]
        cancelled = [
            f"UID:{number}@example.org",
            f"RECURRENCE-ID;VALUE=DATE:{of:%Y%m%d}",
            f"DTSTART;VALUE=DATE:{of:%Y%m%d}",
            "STATUS:CANCELLED",
            "SEQUENCE:1",
        ]
        events.append(cancelled)
    # It is said once for an event, and for each of its moved occurrences.
    return [["BEGIN:VEVENT", "DTSTAMP:20200101T000000Z"] + lines + ["END:VEVENT"] for lines in events]


def folded(line):
    pieces = [line[:70]] + [" " + line[at : at + 69] for at in range(70, len(line), 69)]
    return "\r\n".join(pieces)


def calendar(random):
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Days//EN"]
    for number in range(random.randint(1, 3)):
        for part in event(random, number) or []:
            lines += part
    lines.append("END:VCALENDAR")
    return "\r\n".join(folded(line) for line in lines) + "\r\n"


# By the name that a file gives it, a zone, and what the file says of it where that is no name of IANA's.
ZONES = {
    **{
        name: (name, "")
        for name in [
            "Europe/Berlin",
            "Asia/Tokyo",
            "Asia/Kolkata",
            "Australia/Sydney",
            "Pacific/Auckland",
            "America/New_York",
            "America/Los_Angeles",
        ]
    },
    "Customized Time Zone": (
        "Europe/Berlin",
        """BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT""",
    ),
    # It changed its rules in 2007, by one that ends in UTC.
    "/example.org/Eastern": (
        "America/New_York",
        """BEGIN:DAYLIGHT
TZOFFSETFROM:-0500
TZOFFSETTO:-0400
DTSTART:19870405T020000
RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20060402T070000Z
END:DAYLIGHT
BEGIN:DAYLIGHT
TZOFFSETFROM:-0500
TZOFFSETTO:-0400
DTSTART:20070311T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU
END:DAYLIGHT
BEGIN:STANDARD
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
DTSTART:19671029T020000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20061029T060000Z
END:STANDARD
BEGIN:STANDARD
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
DTSTART:20071104T020000
RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU
END:STANDARD""",
    ),
}


def zoned_event(random, number, name):
    zone = zoneinfo.ZoneInfo(ZONES[name][0])

    def utc(day, hour=0, minute=0):
        at = datetime.datetime.combine(day, datetime.time(hour, minute), zone)
        return f"{at.astimezone(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"

    def local(key, day, time="000000"):
        return f"{key};TZID={name}:{day:%Y%m%d}T{time}"

    start = datetime.date(random.randint(1995, 2020), random.randint(1, 12), random.randint(1, 28))
    frequency = random.choice(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
    text = f"FREQ={frequency};INTERVAL={random.randint(1, 3)}"
    midnight = datetime.datetime.combine(start, datetime.time())
    occurrences = [at.date() for at in itertools.islice(rrulestr(text, dtstart=midnight), 12)]
    last = random.choice(occurrences[6:])
    # At the last occurrence's own time, at the end of its day, or just before the next one.
    until = random.choice([utc(last), utc(last, 23, 59), utc(last - DAY, 23, 59)])
    uid = f"UID:{number}@example.org"
    length = random.choice([1, 1, 2])
    lines = [uid, local("DTSTART", start), local("DTEND", start + length * DAY), f"RRULE:{text};UNTIL={until}"]
    if random.random() < 0.5:
        lines.append("EXDATE:" + ",".join(utc(day) for day in random.sample(occurrences[4:], 2)))
    events = [lines]
    if random.random() < 0.5:
        of, to = occurrences[2], occurrences[2] + 3 * DAY
        events.append(
            [uid, f"RECURRENCE-ID:{utc(of)}", local("DTSTART", to), local("DTEND", to + DAY), "SEQUENCE:1"]
        )
    if random.random() < 0.5:
        of = occurrences[1]
        events.append(
            [
                uid,
                f"RECURRENCE-ID:{utc(of)}",
                local("DTSTART", of, "140000"),
                local("DTEND", of, "153000"),
                "SEQUENCE:1",
            ]
        )
    return [["BEGIN:VEVENT", "DTSTAMP:20200101T000000Z"] + lines + ["END:VEVENT"] for lines in events]


def zoned_calendar(random):
    name = random.choice(list(ZONES))
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Days//EN"]
    if ZONES[name][1]:
        lines += ["BEGIN:VTIMEZONE", f"TZID:{name}"] + ZONES[name][1].split("\n") + ["END:VTIMEZONE"]
    for number in range(random.randint(1, 2)):
        for part in zoned_event(random, number, name):
            lines += part
    lines.append("END:VCALENDAR")
    return "\r\n".join(folded(line) for line in lines) + "\r\n"


def as_date(value):
    return value.date() if isinstance(value, datetime.datetime) else value


def is_day(value):
    return not isinstance(value, datetime.datetime) or value.time() == datetime.time()


def days(text):
    events = recurring_ical_events.of(icalendar.Calendar.from_ical(text), keep_recurrence_attributes=True)
    found = set()
    for one in events.between((1970, 1, 1), (2100, 1, 1)):
        if one.get("STATUS") == "CANCELLED":
            continue
        if not all(is_day(one[key].dt) for key in ("DTSTART", "DTEND") if key in one):
            continue
        start = as_date(one["DTSTART"].dt)
        end = as_date(one["DTEND"].dt) if "DTEND" in one else start + DAY
        for n in range(max((end - start).days, 1)):
            found.add(start + n * DAY)
    return sorted(found)


def spans(all):
    merged = []
    for day in all:
        if merged and merged[-1][1] + DAY == day:
            merged[-1][1] = day
        else:
            merged.append([day, day])
    return [f"{a}" if a == b else f"{a}/{b}" for a, b in merged]


def main():
    drawn = random.Random(3)
    for _ in range(400):
        text = calendar(drawn)
        if "BEGIN:VEVENT" in text:
            print(json.dumps({"ics": text, "days": spans(days(text))}))
    drawn = random.Random(4)
    for _ in range(200):
        text = zoned_calendar(drawn)
        print(json.dumps({"ics": text, "days": spans(days(text))}))


main()
