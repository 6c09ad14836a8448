use jiff::SignedDuration;

use super::*;

fn cron(expression: &str) -> Cron {
    Cron::new(expression).unwrap_or_else(|error| panic!("{error}"))
}

/// The next times after the first moment of 2024, by the wall clock.
fn first(expression: &str, count: usize) -> Vec<String> {
    let cron = cron(expression);
    let start: DateTime = "2023-12-31T23:59:59.5".parse().unwrap();
    std::iter::successors(cron.next_after(start), |last| cron.next_after(*last))
        .take(count)
        .map(|time| time.to_string())
        .collect()
}

fn refusal(expression: &str) -> String {
    Cron::new(expression).expect_err(expression).to_string()
}

#[test]
fn the_second_comes_sixth_and_the_year_seventh() {
    assert_eq!(first("0 12 * * * 30", 1), ["2024-01-01T12:00:30"]);
    assert_eq!(first("0 12 * * * 30 2031", 2), ["2031-01-01T12:00:30", "2031-01-02T12:00:30"]);
}

#[test]
fn presets_stand_for_their_fields_and_aliases_for_themselves() {
    assert_eq!(cron("@quarterly").as_str(), "0 0 1 */3 *");
    assert_eq!(first("@quarterly", 2), ["2024-01-01T00:00:00", "2024-04-01T00:00:00"]);
    assert_eq!(cron("@midnight").as_str(), "@midnight");
    assert_eq!(first("@Annually", 2), ["2024-01-01T00:00:00", "2025-01-01T00:00:00"]);
    assert!(refusal("@QUARTERLY").contains("did you mean \"@quarterly\"?"));
}

#[test]
fn either_day_is_enough_where_both_are_given() {
    assert_eq!(
        first("0 0 13 * fri", 3),
        ["2024-01-05T00:00:00", "2024-01-12T00:00:00", "2024-01-13T00:00:00"]
    );
    // A step from a `*` is no `*`, so every second day of the month and all Mondays.
    assert_eq!(first("0 0 */2 * mon", 3).last().unwrap(), "2024-01-05T00:00:00");
    assert_eq!(first("0 0 1-31 * mon", 2).last().unwrap(), "2024-01-02T00:00:00");
}

#[test]
fn ranges_wrap_round_the_end() {
    assert_eq!(
        first("0 0 * * sat-mon", 4),
        ["2024-01-01T00:00:00", "2024-01-06T00:00:00", "2024-01-07T00:00:00", "2024-01-08T00:00:00"]
    );
    assert_eq!(
        first("0 0 1 nov-feb *", 3),
        ["2024-01-01T00:00:00", "2024-02-01T00:00:00", "2024-11-01T00:00:00"]
    );
    assert_eq!(first("0 22-1 * * *", 3).last().unwrap(), "2024-01-01T22:00:00");
}

#[test]
fn an_equal_range_is_the_whole_cycle_but_a_start_at_the_end_is_not() {
    assert_eq!(first("0 5-5/6 * * *", 2), ["2024-01-01T00:00:00", "2024-01-01T06:00:00"]);
    assert_eq!(first("59/15 0 * * *", 2), ["2024-01-01T00:59:00", "2024-01-02T00:59:00"]);
}

#[test]
fn last_days_nearest_weekdays_and_occurrences_are_found() {
    assert_eq!(first("0 0 L * *", 2), ["2024-01-31T00:00:00", "2024-02-29T00:00:00"]);
    assert_eq!(first("0 0 * * L5", 2), ["2024-01-26T00:00:00", "2024-02-23T00:00:00"]);
    assert_eq!(first("0 0 * * wed#5", 2), ["2024-01-31T00:00:00", "2024-05-29T00:00:00"]);
    // 1 and 15 June 2024 are Saturdays, 1 September a Sunday, 30 June a Sunday at the end of its month.
    assert_eq!(first("0 0 15W 6 *", 1), ["2024-06-14T00:00:00"]);
    assert_eq!(first("0 0 1W 6 *", 1), ["2024-06-03T00:00:00"]);
    assert_eq!(first("0 0 1W 9 *", 1), ["2024-09-02T00:00:00"]);
    assert_eq!(first("0 0 W30 6 *", 1), ["2024-06-28T00:00:00"]);
}

#[test]
fn what_never_comes_has_no_next_and_no_previous_time() {
    let start: DateTime = "2024-01-01T00:00:00".parse().unwrap();
    for expression in ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 15W * 6", "0 0 31 2 1#1"] {
        assert_eq!(cron(expression).next_after(start), None, "{expression}");
        assert_eq!(cron(expression).previous_before(start), None, "{expression}");
    }
    // Fifty years are as far as croniter looks.
    assert_eq!(cron("0 0 1 1 * 0 2075").next_after(start), None);
    assert!(cron("0 0 1 1 * 0 2074").next_after(start).is_some());
}

#[test]
fn a_time_by_itself_is_neither_its_next_nor_its_previous() {
    let noon: DateTime = "2024-01-01T12:00:00".parse().unwrap();
    let daily = cron("0 12 * * *");
    assert_eq!(daily.next_after(noon).unwrap().to_string(), "2024-01-02T12:00:00");
    assert_eq!(daily.previous_before(noon).unwrap().to_string(), "2023-12-31T12:00:00");
    let shortly = noon.checked_add(SignedDuration::from_nanos(1)).unwrap();
    assert_eq!(daily.previous_before(shortly), Some(noon));
}

#[test]
fn at_the_ends_of_the_calendar_the_search_ends() {
    assert_eq!(cron("* * * * *").next_after(DateTime::MAX), None);
    assert_eq!(cron("* * * * *").previous_before(DateTime::MIN), None);
    assert_eq!(cron("0 0 29 2 *").next_after(DateTime::MAX), None);
    assert_eq!(cron("0 0 30 2 *").previous_before(DateTime::MIN), None);
}

#[test]
fn a_refusal_names_the_field_the_token_and_what_to_write() {
    assert_eq!(
        refusal("0 25 * * *"),
        "cron \"0 25 * * *\": the hour \"25\" is out of range; give 0 to 23, ranges (0-23), steps (*/5) and \
         lists of them"
    );
    assert_eq!(
        refusal("* * * * * * * *"),
        "cron \"* * * * * * * *\" has 8 fields; give 5 (minute hour day-of-month month day-of-week), 6 (a \
         second after them) or 7 (a year after that)"
    );
    assert_eq!(refusal("@dayly"), "cron \"@dayly\" is no preset; did you mean \"@daily\"?");
    for (expression, token, words) in [
        ("0 0 * foo *", "\"foo\"", "jan to dec"),
        ("0 0 0 * *", "\"0\"", "1 to 31"),
        ("*/0 * * * *", "\"*/0\"", "step of 1 or more"),
        ("? * * * *", "\"?\"", "write * here"),
        ("0 0 * * 1#6", "\"1#6\"", "1 to 5"),
        ("0 0 * * 1,2#1", "\"1,2#1\"", "two cron expressions"),
        ("0 0 1,15W * *", "\"15w\"", "one single day"),
        ("0 0 * * 5L", "\"5l\"", "L5 (the last Friday)"),
        ("H * * * *", "\"h\"", "hashed form"),
        ("0 H(0-7)/2 * * *", "\"h(0-7)/2\"", "hashed form"),
        ("R * * * *", "\"r\"", "random form"),
        ("0 0 1-5-7 * *", "\"1-5-7\"", "cannot be read"),
        ("1,,2 * * * *", "\"\"", "cannot be read"),
        ("0 0 1 1 * 0 1969", "\"1969\"", "1970 to 2099"),
        ("99999999999999999999 * * * *", "\"99999999999999999999\"", "out of range"),
    ] {
        let refusal = refusal(expression);
        assert!(refusal.contains(token) && refusal.contains(words), "{refusal}");
    }
}

#[test]
fn what_is_no_cron_among_the_presets_is_sent_to_its_place() {
    assert!(refusal("@once").contains("a schedule by itself"));
    assert!(refusal("@continuous").contains("a schedule by itself"));
    assert!(refusal("@").contains("there are @hourly") && refusal("@").ends_with("@once and @continuous"));
    assert!(refusal("").contains("has 0 fields"));
    assert!(refusal("0").contains("has 1 field;"));
}

#[test]
fn an_expression_of_a_megabyte_is_refused_in_a_few_words() {
    for long in ["1,".repeat(500_000), format!("{} * * * *", "9".repeat(1_000_000)), "@x".repeat(500_000)] {
        assert!(refusal(&long).len() < 600);
    }
}

#[test]
fn only_white_space_of_ascii_parts_fields() {
    assert!(Cron::new("  0\t0 \x0b* * *\n").is_ok());
    assert!(refusal("0\u{a0}0 * * *").contains("has 4 fields"));
    assert!(refusal("\u{663} * * * *").contains("cannot be read"));
}

#[test]
fn a_list_of_crons_is_never_empty() {
    assert_eq!(Crons::try_from(Vec::new()), Err(CronError::NoExpression));
    let json = "[\"0 0 * * *\",\"@hourly\"]";
    let crons: Crons = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&crons).unwrap(), "[\"0 0 * * *\",\"0 * * * *\"]");
    assert!(serde_json::from_str::<Crons>("[]").unwrap_err().to_string().contains("at least one"));
}
