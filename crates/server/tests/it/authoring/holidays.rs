//! `holidays`: which days, and what is said of those that can't be had.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use updraft_bundles::Checkouts;
use updraft_core::{Namespace, schedule::Schedule};
use updraft_server::authoring::{Event, Folder, Reading, read_file, read_folder};

use super::{dag, errors, messages, read};

const CALENDAR: &str = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\n\
                        DTEND;VALUE=DATE:20261227\nEND:VEVENT\nEND:VCALENDAR\n";

/// A DAG at nine o'clock in Berlin, with these holidays.
fn with(holidays: &str) -> String {
    format!(
        "d:\n  schedule: 0 9 * * *\n  start_date: 2026-01-01\n  timezone: Europe/Berlin\n  \
         holidays: {holidays}\n  tasks: {{t: {{operator: empty}}}}\n"
    )
}

/// The zone and the days of a schedule.
fn shown(schedule: &Schedule) -> String {
    let Some(holidays) = schedule.holidays() else { return "none".into() };
    let days: Vec<String> = holidays.days().spans().iter().map(ToString::to_string).collect();
    format!("{}: {}", holidays.zone(), days.join(" "))
}

/// A folder that is not watched.
pub(super) fn folder(root: &Path) -> Folder {
    Folder {
        root: Some(root.into()),
        above: Vec::new(),
        namespace: Namespace::default(),
        check: Arc::new(super::check),
        variable: Arc::new(super::variable),
        owners: Default::default(),
        look_every: Duration::from_secs(600),
        git: None,
        deployed: None,
    }
}

fn days_of(reading: &Reading) -> String {
    assert_eq!(messages(&reading.errors), [""; 0]);
    shown(&reading.dags[0].spec.schedule)
}

#[test]
fn days_are_dates_and_spans_of_them() {
    for (written, days) in [
        ("2026-12-25", "2026-12-25"),
        ("[2026-12-25, '2026-04-03', 2026-12-24]", "2026-04-03 2026-12-24/2026-12-25"),
        ("[2026-07-01/2026-08-15]", "2026-07-01/2026-08-15"),
    ] {
        assert_eq!(shown(&dag(&with(written)).schedule), format!("Europe/Berlin: {days}"));
    }
    for none in ["", "[]", "null"] {
        assert_eq!(shown(&dag(&with(none)).schedule), "none");
    }
}

#[test]
fn the_zone_is_that_of_the_cron_or_else_of_the_dag() {
    let zone = |schedule: &str| {
        let text = with("2026-12-25").replace("0 9 * * *", schedule);
        shown(&dag(&text).schedule).split(':').next().unwrap().to_owned()
    };
    assert_eq!(zone("'@daily'"), "Europe/Berlin");
    assert_eq!(zone("{__type__: datetime.timedelta, hours: 5}"), "Europe/Berlin");
    let timetable =
        "{__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: 0 9 * * *, timezone: Asia/Tokyo}";
    assert_eq!(zone(timetable), "Asia/Tokyo");
}

#[test]
fn what_is_no_day_is_refused_where_it_stands() {
    let expected = "expected a day (`2026-12-25`, `2026-12-24/2026-12-26`), a calendar file (`holidays.ics`) or a list of such";
    for (written, place, found) in [
        ("[2026-12-25, christmas]", "26: d.holidays[1]", "the text `christmas`"),
        ("2026-12-25 09:00:00", "13: d.holidays", "the time 2026-12-25T09:00:00"),
        ("{from: 2026-12-25}", "13: d.holidays", "a mapping"),
        ("[25]", "14: d.holidays[0]", "the number 25"),
        ("2026-12-26/2026-12-24", "13: d.holidays", "the text `2026-12-26/2026-12-24`"),
        ("'2026-12-24T14:00:00'", "13: d.holidays", "the text `2026-12-24T14:00:00`"),
    ] {
        assert_eq!(errors(&with(written)), [format!("dags.yml:5:{place}: {expected}, found {found}")]);
    }
    assert_eq!(
        errors(&with("holidays.ics")),
        [
            "dags.yml:5:13: d.holidays: the calendar file `holidays.ics` can't be had: a document that lies in no \
          folder has no files beside it"
        ]
    );
}

#[test]
fn holidays_that_change_nothing_are_warned_of() {
    let warnings = |text: &str| messages(&read(text).dags[0].warnings);
    assert_eq!(
        warnings(&with("[2025-12-25, 2026-01-01]")),
        ["dags.yml:5:13: d.holidays: the last of these holidays, 2026-01-01, has passed: add those to come"]
    );
    let once = with("2026-12-25").replace("0 9 * * *", "'@once'");
    assert_eq!(
        warnings(&once),
        ["dags.yml:5:3: d.holidays: holidays have no effect on a schedule that names no times"]
    );
    assert_eq!(shown(&dag(&once).schedule), "none");
    assert_eq!(warnings(&with("2026-12-25")), [""; 0]);
}

#[test]
fn calendar_files_lie_beside_the_file_that_names_them() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("dags");
    fs::create_dir_all(root.join("team/calendars")).unwrap();
    fs::write(root.join("company.ics"), CALENDAR).unwrap();
    fs::write(root.join("team/calendars/own.ics"), CALENDAR.replace("202612", "202605")).unwrap();
    let file = root.join("team/d.yml");
    let read = |holidays: &str| {
        fs::write(&file, with(holidays)).unwrap();
        read_file(&folder(&root), &file)
    };
    assert_eq!(
        days_of(&read("[calendars/own.ics, ../company.ics, 2026-12-24]")),
        "Europe/Berlin: 2026-05-25/2026-05-26 2026-12-24/2026-12-26"
    );
    // One in defaults is found from there.
    fs::write(root.join("defaults.yml"), "holidays: company.ics\n").unwrap();
    let text = with("").replace("  holidays: \n", "");
    fs::write(&file, text).unwrap();
    assert_eq!(days_of(&read_file(&folder(&root), &file)), "Europe/Berlin: 2026-12-25/2026-12-26");
    // A document with a time of day is told of.
    fs::write(root.join("team/timed.ics"), CALENDAR.replace(";VALUE=DATE:20261225", ":20261225T140000"))
        .unwrap();
    assert_eq!(
        messages(&read("timed.ics").dags[0].warnings)[0].split_once("holidays: ").unwrap().1,
        "`timed.ics` has no all-day events from 1970 on but 1 with a time of day, and takes no day out of the schedule: \
         write holidays as `DTSTART;VALUE=DATE:20261225`"
    );
    let timed = "BEGIN:VEVENT\nDTSTART:20261225T140000\nEND:VEVENT\nEND:VCALENDAR";
    fs::write(root.join("team/both.ics"), CALENDAR.replace("END:VCALENDAR", timed)).unwrap();
    assert_eq!(
        messages(&read("both.ics").dags[0].warnings)[0].split_once("holidays: ").unwrap().1,
        "1 events of `both.ics` have a time of day, and are passed over: holidays are whole days"
    );
    fs::write(root.join("team/empty.ics"), "BEGIN:VCALENDAR\nEND:VCALENDAR\n").unwrap();
    assert_eq!(
        messages(&read("empty.ics").dags[0].warnings)[0].split_once("holidays: ").unwrap().1,
        "`empty.ics` has no all-day events from 1970 on, and takes no day out of the schedule: write holidays as \
         `DTSTART;VALUE=DATE:20261225`"
    );
}

#[test]
fn calendar_files_of_a_folder_that_a_link_leads_to_are_read_as_its_dag_files_are() {
    let dir = TempDir::new().unwrap();
    let (root, team) = (dir.path().join("dags"), dir.path().join("team"));
    fs::create_dir(&root).unwrap();
    fs::create_dir_all(team.join("etl")).unwrap();
    std::os::unix::fs::symlink(&team, root.join("team")).unwrap();
    fs::write(team.join("days.ics"), CALENDAR).unwrap();
    fs::write(dir.path().join("out.ics"), CALENDAR).unwrap();
    for (file, holidays, outside) in
        [("team/a.yml", "days.ics", "../out.ics"), ("team/etl/b.yml", "../days.ics", "../../out.ics")]
    {
        let file = root.join(file);
        fs::write(&file, with(holidays)).unwrap();
        assert_eq!(days_of(&read_file(&folder(&root), &file)), "Europe/Berlin: 2026-12-25/2026-12-26");
        fs::write(&file, with(outside)).unwrap();
        let told = messages(&read_file(&folder(&root), &file).errors);
        assert!(told[0].contains("lies outside of the folder of DAG files"), "{told:?}");
    }
}

#[test]
fn calendar_files_of_a_repository_are_those_of_the_same_commit() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("dags")).unwrap();
    let git = Checkouts { folder: dir.path().join("git"), subdir: "dags".into() };
    let write = |commit: &str, name: &str, text: &str| {
        let file = git.all().join(commit).join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    for (commit, holidays, day) in
        [("c1", "days.ics", "20261225"), ("c2", "days.ics", "20261226"), ("c3", "../out.ics", "20261227")]
    {
        write(commit, "dags/d.yml", &with(holidays));
        write(commit, "dags/days.ics", &CALENDAR.replace("20261225", day));
        write(commit, "out.ics", CALENDAR);
    }
    let read = |commit: &str| {
        let current = git.current();
        drop(fs::remove_file(&current));
        std::os::unix::fs::symlink(git.all().join(commit), current).unwrap();
        let folder = Folder { git: Some(git.clone()), ..folder(&dir.path().join("dags")) };
        let changed = read_folder(folder).into_iter().find_map(|event| match event {
            Event::Changed { dags, errors, .. } => Some((dags, messages(&errors))),
            Event::Removed { .. } | Event::Scanned { .. } => None,
        });
        changed.unwrap()
    };
    for (commit, days) in [("c1", "2026-12-25/2026-12-26"), ("c2", "2026-12-26")] {
        let (dags, errors) = read(commit);
        assert_eq!(errors, [""; 0]);
        assert_eq!(shown(&dags[0].spec.schedule), format!("Europe/Berlin: {days}"));
    }
    let (dags, errors) = read("c3");
    assert!(
        dags.is_empty() && errors[0].contains("`../out.ics` lies outside of the folder of DAG files"),
        "{errors:?}"
    );
}

#[test]
fn a_calendar_file_that_is_missing_broken_or_elsewhere_is_an_error_of_its_dag() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("dags");
    fs::create_dir(&root).unwrap();
    fs::write(dir.path().join("secret.ics"), CALENDAR).unwrap();
    fs::write(root.join("broken.ics"), CALENDAR.replace("20261225", "soon")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret.ics"), root.join("link.ics")).unwrap();
    let file = root.join("d.yml");
    let shown = root.display();
    let outside = format!("lies outside of the folder of DAG files, {shown}: put it beside the DAG file");
    for (name, reason) in [
        ("missing.ics", format!("is not there: put it into {shown}")),
        ("../secret.ics", outside.clone()),
        ("link.ics", outside.clone()),
        (dir.path().join("secret.ics").to_str().unwrap(), outside),
    ] {
        fs::write(&file, with(name)).unwrap();
        let told = messages(&read_file(&folder(&root), &file).errors);
        let name = if name.len() > 60 { format!("{}…", &name[..60]) } else { name.to_owned() };
        assert_eq!(
            told,
            [format!("{}:5:13: d.holidays: the calendar file `{name}` {reason}", file.display())]
        );
    }
    let latin = CALENDAR.replace("END:VEVENT", "SUMMARY:K\u{f6}nigstag\nEND:VEVENT");
    let latin: Vec<u8> = latin.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
    fs::write(root.join("latin.ics"), latin).unwrap();
    let wide: Vec<u8> = CALENDAR.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(root.join("wide.ics"), [&[0xff, 0xfe], &*wide].concat()).unwrap();
    fs::write(root.join("large.ics"), vec![b'\n'; (4 << 20) + 1]).unwrap();
    for (name, expected) in [
        ("broken.ics", ", line 3: DTSTART: `soon` is no date: write it as 20261224"),
        ("latin.ics", " is not UTF-8 but another encoding, such as Latin-1, on line 5: save it as UTF-8"),
        ("wide.ics", " is UTF-16 and not UTF-8: save it as UTF-8"),
        (
            "large.ics",
            " can't be read: 4194305 bytes are more than the 4194304 a calendar file may have: split it",
        ),
    ] {
        fs::write(&file, with(name)).unwrap();
        let told = messages(&read_file(&folder(&root), &file).errors);
        assert!(told[0].ends_with(&format!("the calendar file `{name}`{expected}")), "{told:?}");
    }
}
