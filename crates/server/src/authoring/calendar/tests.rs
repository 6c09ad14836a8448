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
    assert!(compared >= 250, "{compared}");
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
    fn no_file_makes_the_reader_fail(text in "(BEGIN:VEVENT|END:VEVENT|DTSTART:|DTEND:|RRULE:FREQ=|YEARLY|WEEKLY|;BYDAY=|;BYMONTHDAY=|;COUNT=|-?[0-9]{1,9}|SU|MO|,|é|Z|\n| ){0,40}") {
        drop(read(&format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{text}\nEND:VEVENT\nEND:VCALENDAR")));
        drop(read(&text));
    }
}
