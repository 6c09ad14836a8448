use serde_json::Value;

use super::*;

const COMPARED: &str = include_str!("../../../tests/oracle/calendar/cases.jsonl");

/// A calendar of these events, each a line or several.
fn calendar(events: &[&str]) -> String {
    let events = events.iter().map(|event| format!("BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n"));
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", events.collect::<String>())
}

fn days(text: &str) -> Vec<String> {
    let calendar = read(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    calendar.days.spans().iter().map(ToString::to_string).collect()
}

fn error(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn the_days_of_calendars_are_those_that_another_reader_finds() {
    let (mut compared, mut differences) = (0, Vec::new());
    for line in COMPARED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["ics"].as_str().unwrap();
        let expected: Vec<&str> =
            case["days"].as_array().unwrap().iter().map(|day| day.as_str().unwrap()).collect();
        let found = days(text);
        if found != expected {
            differences.push(format!("{text}here:  {found:?}\nthere: {expected:?}"));
        }
        compared += 1;
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(compared >= 500, "{compared}");
}

#[test]
fn an_event_lasts_until_its_end_or_for_its_duration() {
    for (event, expected) in [
        ("DTSTART;VALUE=DATE:20261225", "2026-12-25"),
        ("DTSTART:20261225", "2026-12-25"),
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261226", "2026-12-25"),
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227", "2026-12-25/2026-12-26"),
        // Not what RFC 5545 wants, and written.
        ("DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261225", "2026-12-25"),
        ("DTSTART;VALUE=DATE:20261225\r\nDURATION:P1W", "2026-12-25/2026-12-31"),
        // As Outlook writes it.
        (
            "DTSTART;TZID=\"W. Europe\":20261225T000000\r\nDTEND;TZID=\"W. Europe\":20261226T000000",
            "2026-12-25",
        ),
    ] {
        assert_eq!(days(&calendar(&[event])), [expected], "{event}");
    }
}

#[test]
fn lines_are_unfolded_and_what_is_no_event_is_passed_over() {
    let text = "\u{feff}BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:Europe/Berlin\nBEGIN:STANDARD\n\
                DTSTART:19701025T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nEND:STANDARD\nEND:VTIMEZONE\n\
                BEGIN:VEVENT\nSUMMARY;X-A=\"a:b;c\":Christmas\nDTSTART;VALUE=DA\n TE:2026\n\t1225\n\
                BEGIN:VALARM\nTRIGGER:-PT15M\nDURATION:P3D\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n";
    assert_eq!(days(text), ["2026-12-25"]);
}

#[test]
fn a_yearly_day_comes_until_the_end_of_the_century() {
    let all = days(&calendar(&["DTSTART;VALUE=DATE:19001225\r\nRRULE:FREQ=YEARLY"]));
    assert_eq!((all.len(), &*all[0], &*all[129]), (130, "1970-12-25", "2099-12-25"));
    // The fourth Thursday of November, Memorial Day, and the day between the years that is a Friday.
    let thanksgiving = "DTSTART;VALUE=DATE:20261126\r\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=3";
    assert_eq!(days(&calendar(&[thanksgiving])), ["2026-11-26", "2027-11-25", "2028-11-23"]);
    let memorial = "DTSTART;VALUE=DATE:20260525\r\nRRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;UNTIL=20280101";
    assert_eq!(days(&calendar(&[memorial])), ["2026-05-25", "2027-05-31"]);
}

#[test]
fn cancelled_and_timed_events_are_no_holidays() {
    let text = calendar(&[
        "DTSTART;VALUE=DATE:20260501\r\nSTATUS:CANCELLED",
        "DTSTART:20261224T140000\r\nDTEND:20261224T180000",
        "DTSTART:20261225T000000Z\r\nDTEND:20261226T000000Z",
        "DTSTART;VALUE=DATE:20261226",
    ]);
    assert_eq!(days(&text), ["2026-12-26"]);
    assert_eq!(read(&text).unwrap().timed, 2);
}

#[test]
fn what_stands_in_utc_lies_on_the_day_of_the_zone_s_clock() {
    let event = |zone: &str, more: &str| {
        format!("UID:1\r\nDTSTART;TZID={zone}:20261224T000000\r\nRRULE:FREQ=DAILY;{more}")
    };
    for (zone, more, expected) in [
        // In Auckland it is the 26th since eleven o'clock in UTC, in New York until five.
        ("Pacific/Auckland", "UNTIL=20261225T110000Z", "2026-12-24/2026-12-26"),
        ("Pacific/Auckland", "UNTIL=20261225T105959Z", "2026-12-24/2026-12-25"),
        ("America/New_York", "UNTIL=20261227T045959Z", "2026-12-24/2026-12-26"),
        ("Pacific/Auckland", "COUNT=3\r\nEXDATE:20261225T110000Z", "2026-12-24/2026-12-25"),
        ("Pacific/Auckland", "COUNT=2\r\nDTEND:20261225T110000Z", "2026-12-24/2026-12-26"),
        ("Pacific/Auckland", "COUNT=1\r\nRDATE:20261224T110000Z", "2026-12-24/2026-12-25"),
        // To the end of the calendar, of which there is no later instant.
        ("America/New_York", "COUNT=2;UNTIL=99991231T235959Z", "2026-12-24/2026-12-25"),
    ] {
        assert_eq!(days(&calendar(&[&event(zone, more)])), [expected], "{zone} {more}");
    }
    let instead = "UID:1\r\nRECURRENCE-ID:20261224T110000Z\r\nDTSTART;VALUE=DATE:20270101";
    let first = event("Pacific/Auckland", "COUNT=3");
    assert_eq!(days(&calendar(&[&first, instead])), ["2026-12-24", "2026-12-26", "2027-01-01"]);
}

#[test]
fn a_zone_of_its_own_is_followed_as_the_file_says() {
    let zone = |observances: &str, event: &str| {
        let zone = format!("BEGIN:VTIMEZONE\nTZID:Ours\n{observances}END:VTIMEZONE\n");
        format!("BEGIN:VCALENDAR\n{zone}BEGIN:VEVENT\n{event}\nEND:VEVENT\nEND:VCALENDAR\n")
    };
    let standard =
        "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0530\nTZOFFSETTO:+0530\nEND:STANDARD\n";
    // It went half an hour further east in 2000, and before 1970 it was where it came from.
    let moved = "BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:-0200\nTZOFFSETTO:+0530\nEND:STANDARD\n\
                 BEGIN:STANDARD\nDTSTART:19990101T000000\nRDATE:20000101T000000\nTZOFFSETFROM:+0530\n\
                 TZOFFSETTO:+060030\nEND:STANDARD\n";
    let event =
        |day: &str, until: &str| format!("DTSTART;TZID=Ours:{day}T000000\nRRULE:FREQ=DAILY;UNTIL={until}");
    for (observances, day, until, expected) in [
        (standard, "20261224", "20261224T183000Z", "2026-12-24/2026-12-25"),
        (standard, "20261224", "20261224T182959Z", "2026-12-24"),
        (moved, "20261224", "20261224T175930Z", "2026-12-24/2026-12-25"),
        (moved, "20261224", "20261224T175929Z", "2026-12-24"),
        (moved, "19891224", "19891224T183000Z", "1989-12-24/1989-12-25"),
    ] {
        assert_eq!(days(&zone(observances, &event(day, until))), [expected], "{until}");
    }
    assert_eq!(days(&zone(moved, &event("19691230", "19700101T015959Z"))), ["1970-01-01"; 0]);
    let bad = standard.replace("+0530\nEND", "east\nEND");
    assert_eq!(
        error(&zone(&bad, &event("20261224", "20261224T183000Z"))),
        "line 7: TZOFFSETTO: `east` is no offset: write it as +0100"
    );
    // What is not needed is not looked at.
    assert_eq!(days(&zone(&bad, &event("20261224", "20261225"))), ["2026-12-24/2026-12-25"]);
    let until = event("20261224", "20261224T183000Z");
    for (text, line) in [(calendar(&[&until]), 5), (zone("", &until), 7)] {
        assert_eq!(
            error(&text),
            format!(
                "line {line}: RRULE: to know on which day `FREQ=DAILY;UNTIL=20261224T183000Z` lies, the zone `Ours` has \
                 to be known: add its VTIMEZONE, or name it as IANA does (Europe/Berlin)"
            )
        );
    }
}

#[test]
fn an_occurrence_that_has_got_a_time_of_day_is_no_holiday_any_more() {
    let rule = "UID:1\r\nDTSTART;VALUE=DATE:20261224\r\nRRULE:FREQ=DAILY;COUNT=3";
    let timed = "UID:1\r\nRECURRENCE-ID;VALUE=DATE:20261225\r\nDTSTART;TZID=Europe/Berlin:20261225T140000";
    let text = calendar(&[rule, timed]);
    assert_eq!(days(&text), ["2026-12-24", "2026-12-26"]);
    assert_eq!(read(&text).unwrap().timed, 1);
    // Where the first of them has a time of day as well, it does not matter how the others are told.
    let appointment = "UID:1\r\nDTSTART:20261224T140000Z\r\nRRULE:FREQ=HOURLY";
    let changed = "UID:1\r\nRECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Nowhere:20261225T140000Z\r\nDTSTART:20261225T150000Z";
    assert_eq!(days(&calendar(&[appointment, changed, "DTSTART:20261226"])), ["2026-12-26"]);
}

#[test]
fn an_appointment_at_midnight_is_no_holiday() {
    for (duration, expected) in [
        ("PT1H", None),
        ("P1DT12H", None),
        ("P0D", None),
        ("PT24H", Some("2026-12-24")),
        ("P1DT24H", Some("2026-12-24/2026-12-25")),
        ("+P2D", Some("2026-12-24/2026-12-25")),
    ] {
        let text = calendar(&[&format!("DTSTART;TZID=Europe/Berlin:20261224T000000\r\nDURATION:{duration}")]);
        assert_eq!(days(&text), Vec::from_iter(expected), "{duration}");
        assert_eq!(read(&text).unwrap().timed, usize::from(expected.is_none()), "{duration}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_and_the_mend() {
    let event = |lines: &str| calendar(&[&format!("DTSTART;VALUE=DATE:20261225\r\n{lines}")]);
    for (text, expected) in [
        (String::new(), "line 1: this is no iCalendar file: it has to begin with BEGIN:VCALENDAR"),
        ("a: 1\n".into(), "line 1: this is no iCalendar file: it has to begin with BEGIN:VCALENDAR"),
        ("<html>".into(), "line 1: `<html>` is no line of an iCalendar file: it has no value after a colon"),
        (
            "BEGIN:VCARD\nEND:VCARD\n".into(),
            "line 1: this is no iCalendar file: it has to begin with BEGIN:VCALENDAR",
        ),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\n".into(),
            "line 2: BEGIN:VEVENT without an END:VEVENT: was the file cut short?",
        ),
        (
            "BEGIN:VCALENDAR\nEND:VEVENT\n".into(),
            "line 2: END:VEVENT where END:VCALENDAR has to stand, for line 1",
        ),
        ("END:VEVENT\n".into(), "line 1: END:VEVENT without a BEGIN:VEVENT before it"),
        (calendar(&["SUMMARY:x"]), "line 5: this event has no DTSTART: add the day on which it begins"),
        (calendar(&["DTSTART:20260230"]), "line 4: DTSTART: `20260230` is no date: write it as 20261224"),
        (calendar(&["DTSTART:2026-12-25"]), "line 4: DTSTART: `2026-12-25` is no date: write it as 20261224"),
        (event("DTEND:20261224"), "line 5: DTEND: 2026-12-24 is before the DTSTART, 2026-12-25"),
        (event("DURATION:PT36H"), "line 5: DURATION: `PT36H` are no whole days: write P2D, or P1W"),
        (event("DURATION:P1Y"), "line 5: DURATION: `P1Y` is no duration: write P2D, or P1W"),
        (event("DURATION:2 days"), "line 5: DURATION: `2 days` is no duration: write P2D, or P1W"),
        (event("DURATION:P999999999D"), "line 5: DURATION: `P999999999D` is no duration: write P2D, or P1W"),
        (
            event("RRULE:FREQ=HOURLY"),
            "line 5: RRULE: a rule for days has FREQ=DAILY, WEEKLY, MONTHLY or YEARLY",
        ),
        (event("RRULE:FREQ=DAILY;INTERVAL=0"), "line 5: RRULE: `INTERVAL=0` can't be read"),
        (
            event("RRULE:FREQ=YEARLY;BYWEEKNO=20"),
            "line 5: RRULE: `BYWEEKNO=20` is not supported: write the days as RDATE",
        ),
        (
            event("RRULE:FREQ=WEEKLY;BYDAY=1MO"),
            "line 5: RRULE: BYDAY has a number, which only FREQ=MONTHLY and FREQ=YEARLY can have",
        ),
        (event("RRULE:FREQ=YEARLY;BYDAY=é"), "line 5: RRULE: `BYDAY=é` can't be read"),
        (
            event("EXRULE:FREQ=DAILY"),
            "line 5: EXRULE: such rules are no part of RFC 5545 any more: write EXDATE",
        ),
        (
            event("RECURRENCE-ID;RANGE=THISANDFUTURE:20261225"),
            "line 5: RECURRENCE-ID: RANGE can't be read: end the first event's rule, and write another event",
        ),
    ] {
        assert_eq!(error(&text), expected, "{text}");
    }
}

#[test]
fn a_file_that_would_keep_its_reader_at_work_is_refused() {
    let forever = "DTSTART;VALUE=DATE:00010101\r\nRRULE:FREQ=DAILY;BYMONTHDAY=31";
    let text = calendar(&vec![forever; 1000]);
    assert_eq!(
        error(&text),
        "line 13: RRULE: to follow this file's rules takes more than two million days: end them by UNTIL"
    );
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_fail(text in "(BEGIN:VEVENT|END:VEVENT|BEGIN:VTIMEZONE\nTZID:A|BEGIN:STANDARD|END:|TZOFFSET(TO|FROM):[+-]|DTSTART:|DTSTART;TZID=A:20261224T000000|UNTIL=20261224T230000Z|DTEND:|DURATION:P|RRULE:FREQ=|YEARLY|WEEKLY|;BYDAY=|;BYMONTHDAY=|;COUNT=|-?[0-9]{1,9}|SU|MO|,|é|Z|\n| ){0,40}") {
        drop(read(&format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{text}\nEND:VEVENT\nEND:VCALENDAR")));
        drop(read(&text));
    }
}
