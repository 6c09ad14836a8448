//! `SQLColumnCheckOperator` and `SQLTableCheckOperator`, as Airflow's common SQL provider documents them: whether the
//! data of a table are as they should be, by several checks at once.
//!
//! All checks of a task are one statement with a value for each, so that they see the table at one moment. Airflow
//! puts them one below the other with `UNION ALL`, which PostgreSQL refuses where a date stands below a number.

use std::cmp::Ordering;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use super::{
    DEFAULT,
    cell::Cell,
    check::{CheckArgs, Test, plan_of},
    database,
    number::Numeric,
    text::Parameters,
};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{FromArgument, arguments, found},
    },
    prepare::Job,
};

arguments! {
    /// What the checks of tables have in common.
    struct TableArgs {
        /// The table.
        templated table: String,
        /// A condition in SQL: only rows for which it holds are looked at.
        templated partition_clause: Option<Clause>,
        /// The connection, of type postgres, mysql or sqlite.
        templated conn_id: String,
        /// The database, in place of the connection's own.
        templated database: Option<String>,
        /// Whether a check that fails is tried again, as often as the task says.
        plain retry_on_failure: bool = true,
    } accepted {
        /// `schema` or `database`: the database, in place of the connection's own.
        hook_params: Map<String, Value>,
    }
}

arguments! {
    /// The arguments of `SQLColumnCheckOperator`.
    struct ColumnArgs {
        /// For each column its checks (`null_check`, `distinct_check`, `unique_check`, `min`, `max`), and for each of
        /// these what its value has to be: `equal_to`, or `greater_than` or `geq_to` and `less_than` or `leq_to`,
        /// with a `tolerance` (0.1 is a tenth) and a `partition_clause` of its own where wanted. The texts of a
        /// column are compared as texts with a string, and as numbers with a number.
        templated column_mapping: Columns,
        /// Whether a value that is null, as those of a table without rows are, counts as 0; where it has to be a
        /// date or a text, it passes.
        plain accept_none: bool = true,
    }
}

arguments! {
    /// The arguments of `SQLTableCheckOperator`.
    struct StatementArgs {
        /// For each check its `check_statement`, a condition in SQL over a row or over all of them
        /// (`COUNT(*) > 1000`), and a `partition_clause` of its own where wanted.
        templated checks: Statements,
        /// Whether a check for which there are no rows is passed.
        plain accept_none: bool = false,
    }
}

pub(in crate::operators) const COLUMN_CHECK: Entry = Entry {
    name: "SQLColumnCheckOperator",
    aliases: &["sql_column_check", "airflow.providers.common.sql.operators.sql.SQLColumnCheckOperator"],
    doc: "Fails unless what is counted and measured of a table's columns is as it should be.",
    arguments: &[TableArgs::LIST, ColumnArgs::LIST],
    template_ext: &[],
    plan: |job| {
        let ColumnArgs { column_mapping, accept_none } = job.read(ColumnArgs::read)?;
        let conditions = column_mapping.0.into_iter().map(|(value, clause, limits)| Condition {
            name: value.name(),
            value: value.of(),
            clause,
            wanted: Wanted::Within(limits),
            accept_none,
        });
        check(job, conditions.collect())
    },
    ..DEFAULT
};

pub(in crate::operators) const TABLE_CHECK: Entry = Entry {
    name: "SQLTableCheckOperator",
    aliases: &["sql_table_check", "airflow.providers.common.sql.operators.sql.SQLTableCheckOperator"],
    doc: "Fails unless conditions hold of a table, for each of its rows or for all of them together.",
    arguments: &[TableArgs::LIST, StatementArgs::LIST],
    template_ext: &[],
    plan: |job| {
        let StatementArgs { checks, accept_none } = job.read(StatementArgs::read)?;
        let conditions = checks.0.into_iter().map(|(name, statement, clause)| Condition {
            name,
            value: Measured::Statement(statement),
            clause,
            wanted: Wanted::True,
            accept_none,
        });
        check(job, conditions.collect())
    },
    ..DEFAULT
};

fn check(job: &Job<'_>, conditions: Vec<Condition>) -> Result<Work, Refused> {
    let TableArgs { table, partition_clause, conn_id, database: given, retry_on_failure } =
        job.read(TableArgs::read)?;
    let names = conditions.iter().filter_map(|condition| match &condition.value {
        Measured::Plain(value) => Some(value),
        Measured::Statement(_) => None,
    });
    if names.chain([&table]).any(|name| name.contains(';')) {
        let mend = "and its columns' names have a semicolon, which would end the statement: take it out";
        return Err(job.bad((Some("table"), mend.into())));
    }
    let values = conditions.iter().map(|condition| {
        let clauses = [partition_clause.as_ref(), condition.clause.as_ref()];
        let clauses: Vec<String> = clauses.into_iter().flatten().map(|clause| format!("({})", clause.0)).collect();
        let rows = match &*clauses {
            [] => table.clone(),
            clauses => format!("{table} WHERE {}", clauses.join(" AND ")),
        };
        match &condition.value {
            Measured::Plain(value) => format!("(SELECT {value} FROM {rows})"),
            Measured::Statement(statement) => format!(
                "(SELECT MIN(checked) FROM (SELECT CASE WHEN {statement} THEN 1 ELSE 0 END AS checked FROM {rows}) AS rows_checked)"
            ),
        }
    });
    let sql = format!("SELECT {}", values.collect::<Vec<_>>().join(", "));
    let database = database(job, given);
    let args = CheckArgs { sql, conn_id, parameters: Parameters::None, database, retry_on_failure };
    plan_of(job, args, Test::Each(conditions))
}

/// A value of a table, and what it has to be.
#[derive(Debug)]
pub(super) struct Condition {
    name: String,
    value: Measured,
    clause: Option<Clause>,
    wanted: Wanted,
    accept_none: bool,
}

#[derive(Debug)]
enum Measured {
    /// An expression over all rows.
    Plain(String),
    /// A condition over each row or over all.
    Statement(String),
}

#[derive(Debug)]
enum Wanted {
    True,
    Within(Limits),
}

impl Condition {
    /// What does not hold of the value that was found; an error where the two can't be compared.
    pub(super) fn failure(&self, found: &Cell) -> Result<Option<String>, String> {
        let Self { name, accept_none, .. } = self;
        let is_none = *found == Cell::Null;
        match &self.wanted {
            Wanted::True if is_none && *accept_none => Ok(None),
            Wanted::True if is_none => {
                Ok(Some(format!("`{name}`: there are no rows (`accept_none: true` lets that pass)")))
            }
            Wanted::True => Ok((!found.is_true()).then(|| format!("`{name}` does not hold"))),
            // What is no number can't be 0 either.
            Wanted::Within(limits) if is_none && *accept_none && !limits.are_numbers() => Ok(None),
            Wanted::Within(limits) => {
                let zero = Cell::Int(0);
                let value = if is_none && *accept_none { &zero } else { found };
                let holds = limits.hold(value).map_err(|why| format!("{name}: {why}"))?;
                Ok((!holds).then(|| format!("{name} is {}, and not {}", found.shown(), limits.shown())))
            }
        }
    }
}

/// What a value may be.
#[derive(Debug, Default)]
struct Limits {
    /// By the names of [`COMPARISONS`].
    bounds: Vec<(&'static str, Value)>,
    tolerance: Option<f64>,
}

/// How a value is compared with a bound: the name that Airflow gives it, what holds of the two, and whether a
/// tolerance makes the bound smaller.
type Comparison = (&'static str, fn(Ordering) -> bool, bool);

const COMPARISONS: [Comparison; 5] = [
    ("equal_to", Ordering::is_eq, true),
    ("greater_than", Ordering::is_gt, true),
    ("geq_to", Ordering::is_ge, true),
    ("less_than", Ordering::is_lt, false),
    ("leq_to", Ordering::is_le, false),
];

impl Limits {
    fn are_numbers(&self) -> bool {
        self.bounds.iter().all(|(_, bound)| number(bound).is_some())
    }

    fn hold(&self, value: &Cell) -> Result<bool, String> {
        // Nothing is more or less than null, or equal to it.
        if *value == Cell::Null {
            return Ok(false);
        }
        for (name, holds, lowers) in COMPARISONS {
            let Some((_, bound)) = self.bounds.iter().find(|(known, _)| *known == name) else { continue };
            let holds = match (name, self.tolerance) {
                ("equal_to", Some(_)) => {
                    self.order(value, bound, true)?.is_ge() && self.order(value, bound, false)?.is_le()
                }
                _ => holds(self.order(value, bound, lowers)?),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How a value stands to a bound, which the tolerance makes smaller or larger: numbers as numbers, dates as the
    /// moments that they are, and texts as they stand, also those of digits, as the database has it.
    fn order(&self, value: &Cell, bound: &Value, lowers: bool) -> Result<Ordering, String> {
        let found = value.shown();
        if let (Cell::Text(value), Value::String(bound), None) = (value, bound, self.tolerance) {
            return Ok(value.cmp(bound));
        }
        if let (Some(number), Some(bound)) = (value.number(), number(bound)) {
            let order = match self.tolerance {
                None => number.partial_cmp(&bound),
                Some(tolerance) => {
                    let off = bound.float.abs() * tolerance;
                    number.float.partial_cmp(&if lowers { bound.float - off } else { bound.float + off })
                }
            };
            return order.ok_or_else(|| format!("{found} can't be compared with {bound}"));
        }
        if let (Some(value), Value::String(bound), None) = (moment(value), bound, self.tolerance) {
            return match moment_of(bound) {
                Some(bound) => Ok(value.cmp(&bound)),
                None => Err(format!("{found} can't be compared with {bound}, which is no date")),
            };
        }
        match (value.clone().into_json(), bound) {
            (Value::String(value), Value::String(bound)) if self.tolerance.is_none() => Ok(value.cmp(bound)),
            (Value::String(_), Value::String(_)) => {
                Err(format!("{found} is no number, which a tolerance needs"))
            }
            _ => Err(format!("{found} can't be compared with {bound}")),
        }
    }

    fn shown(&self) -> String {
        let one = |(name, bound): &(&str, Value)| format!("{name} {bound}");
        let all = self.bounds.iter().map(one).collect::<Vec<_>>().join(" and ");
        self.tolerance.map_or(all.clone(), |tolerance| format!("{all} (tolerance {tolerance})"))
    }

    /// Reads them; the rules are Airflow's `_column_mapping_validation`.
    fn read(given: &Map<String, Value>) -> Result<Self, String> {
        let bound =
            |name: &'static str| Some((name, given.get(name).filter(|value| !value.is_null())?.clone()));
        let bounds: Vec<(&'static str, Value)> =
            COMPARISONS.iter().filter_map(|(name, ..)| bound(name)).collect();
        let get = |name: &str| bounds.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        if bounds.is_empty() {
            return Err("needs one or more of less_than, leq_to, greater_than, geq_to and equal_to".into());
        }
        if get("equal_to").is_some() && bounds.len() > 1 {
            return Err("has equal_to beside another bound: keep one, or write geq_to and leq_to".into());
        }
        for (one, other) in [("greater_than", "geq_to"), ("less_than", "leq_to")] {
            if get(one).is_some() && get(other).is_some() {
                return Err(format!("has {one} and {other}: keep one of the two"));
            }
        }
        let numbers = |one: &str, other: &str| Some((number(get(one)?)?, number(get(other)?)?));
        for (low, high) in [
            ("greater_than", "less_than"),
            ("greater_than", "leq_to"),
            ("geq_to", "less_than"),
            ("geq_to", "leq_to"),
        ] {
            let is_both = (low, high) == ("geq_to", "leq_to");
            if numbers(low, high).is_some_and(|(low, high)| low > high || low == high && !is_both) {
                return Err(format!("lets nothing through: {low} has to be less than {high}"));
            }
        }
        if let Some((name, bound)) = bounds.iter().find(|(_, bound)| bound.is_object() || bound.is_array()) {
            return Err(format!("{name} must be a number or a string; {}", found(bound)));
        }
        let tolerance = given.get("tolerance").filter(|value| !value.is_null());
        let tolerance = tolerance.map(|given| {
            let number = number(given).map(|number| number.float);
            number.ok_or_else(|| format!("tolerance must be a number; {}", found(given)))
        });
        Ok(Self { bounds, tolerance: tolerance.transpose()? })
    }
}

/// A date, a time on no clock, or an instant, all on one line: that of UTC. A day is its midnight.
fn moment(cell: &Cell) -> Option<DateTime> {
    match cell {
        Cell::Date(date) => Some(date.at(0, 0, 0, 0)),
        Cell::DateTime(time) => Some(*time),
        Cell::Instant(time) => Some(TimeZone::UTC.to_datetime(*time)),
        _ => None,
    }
}

/// The same of a text: `2026-01-31`, `2026-01-31 06:00:00`, with `T` or a space, and with an offset or none.
fn moment_of(text: &str) -> Option<DateTime> {
    let text = text.trim();
    let instant = text.parse::<Timestamp>().map(|time| TimeZone::UTC.to_datetime(time));
    instant.or_else(|_| text.parse::<DateTime>()).ok()
}

fn number(value: &Value) -> Option<Numeric> {
    match value {
        Value::Bool(value) => Numeric::new(&u8::from(*value).to_string()),
        Value::Number(number) => Numeric::new(&number.to_string()),
        Value::String(text) => Numeric::new(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A condition in SQL. One with a semicolon is refused, as Airflow does: it would end the statement.
#[derive(Clone, Debug, PartialEq)]
struct Clause(String);

impl FromArgument for Clause {
    const EXPECTS: &'static str = "a condition in SQL";
    const TYPES: &'static [&'static str] = &["string"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) if text.contains(';') => {
                Err("has a semicolon, which would end the statement: take it out".into())
            }
            Value::String(text) => Ok(Self(text.trim().to_owned())),
            other => Err(format!("must be {}; {}", Self::EXPECTS, found(other))),
        }
    }
}

/// What is checked of a column.
#[derive(Debug)]
struct Measure {
    column: String,
    check: String,
    value: String,
}

impl Measure {
    /// The checks that there are, of the column `{}`: Airflow's `column_checks`.
    const ALL: [(&str, &str); 5] = [
        ("null_check", "SUM(CASE WHEN {} IS NULL THEN 1 ELSE 0 END)"),
        ("distinct_check", "COUNT(DISTINCT {})"),
        ("unique_check", "COUNT({}) - COUNT(DISTINCT {})"),
        ("min", "MIN({})"),
        ("max", "MAX({})"),
    ];

    fn new(column: &str, check: &str) -> Option<Self> {
        let (_, value) = Self::ALL.into_iter().find(|(name, _)| *name == check)?;
        Some(Self { column: column.into(), check: check.into(), value: value.replace("{}", column) })
    }

    fn name(&self) -> String {
        format!("`{}`: {}", self.column, self.check)
    }

    fn of(self) -> Measured {
        Measured::Plain(self.value)
    }
}

/// What is checked of columns.
#[derive(Debug)]
struct Columns(Vec<(Measure, Option<Clause>, Limits)>);

impl FromArgument for Columns {
    const EXPECTS: &'static str = "a map of columns to maps of checks";
    const TYPES: &'static [&'static str] = &["object"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let mut all = Vec::new();
        for (column, checks) in entries(value, Self::EXPECTS)? {
            let of_column = |why: String| format!("of `{column}` {why}");
            for (check, limits) in entries(checks, "a map of checks").map_err(of_column)? {
                let of_check = |why: String| format!("of `{column}`, {check}, {why}");
                let Some(measure) = Measure::new(column, check) else {
                    let known = Measure::ALL.map(|(name, _)| name).join(", ");
                    return Err(of_check(format!("is no check: there are {known}")));
                };
                let limits = entries(limits, "a map of what it has to be").map_err(of_check)?;
                only(
                    limits,
                    &[
                        "equal_to",
                        "greater_than",
                        "geq_to",
                        "less_than",
                        "leq_to",
                        "tolerance",
                        "partition_clause",
                    ],
                )
                .map_err(of_check)?;
                all.push((
                    measure,
                    clause(limits).map_err(of_check)?,
                    Limits::read(limits).map_err(of_check)?,
                ));
            }
        }
        if all.is_empty() { Err("names no check".into()) } else { Ok(Self(all)) }
    }
}

/// Conditions with their names.
#[derive(Debug)]
struct Statements(Vec<(String, String, Option<Clause>)>);

impl FromArgument for Statements {
    const EXPECTS: &'static str = "a map of checks, each with its `check_statement`";
    const TYPES: &'static [&'static str] = &["object"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        let mut all = Vec::new();
        for (name, check) in entries(value, Self::EXPECTS)? {
            let of_check = |why: String| format!("of `{name}` {why}");
            let check = entries(check, "a map with a `check_statement`").map_err(of_check)?;
            only(check, &["check_statement", "partition_clause"]).map_err(of_check)?;
            let statement = check.get("check_statement").and_then(Value::as_str);
            let Some(statement) = statement.filter(|statement| !statement.contains(';')) else {
                return Err(of_check(
                    "needs a `check_statement`: a condition in SQL, without a semicolon".into(),
                ));
            };
            all.push((name.clone(), statement.trim().to_owned(), clause(check).map_err(of_check)?));
        }
        if all.is_empty() { Err("names no check".into()) } else { Ok(Self(all)) }
    }
}

fn entries<'a>(value: &'a Value, expected: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("must be {expected}; {}", found(value)))
}

fn only(map: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(format!("has `{unknown}`, which is none of {}", known.join(", "))),
        None => Ok(()),
    }
}

fn clause(map: &Map<String, Value>) -> Result<Option<Clause>, String> {
    let given = map.get("partition_clause").filter(|value| !value.is_null());
    given.map(Clause::from_argument).transpose().map_err(|why| format!("partition_clause {why}"))
}

#[cfg(test)]
mod tests {
    use jiff::civil;

    use super::*;

    #[test]
    fn dates_are_compared_as_the_moments_that_they_are() {
        let six = || civil::date(2026, 1, 31).at(6, 0, 0, 0);
        let instant = || Cell::Instant("2026-01-31T06:00:00Z".parse().unwrap());
        for (cell, bound, expected) in [
            (Cell::DateTime(six()), "2026-01-31 06:00:00", Ordering::Equal),
            (Cell::DateTime(six()), "2026-01-31T06:30:00", Ordering::Less),
            (Cell::DateTime(six()), "2026-01-31", Ordering::Greater),
            (Cell::DateTime(six()), "2026-01-31 06:00:00+00:00", Ordering::Equal),
            (instant(), "2026-01-31T06:30:00+01:00", Ordering::Greater),
            (Cell::Date(civil::date(2026, 1, 31)), "2026-01-31T00:00:00", Ordering::Equal),
            (Cell::Date(civil::date(2026, 1, 31)), "2026-02-01", Ordering::Less),
        ] {
            let given = serde_json::json!({"leq_to": bound});
            let bounds = Limits::read(given.as_object().unwrap()).unwrap();
            assert_eq!(bounds.order(&cell, &bound.into(), false), Ok(expected), "{cell:?} and {bound}");
        }
        let bounds = Limits::read(serde_json::json!({"leq_to": "soon"}).as_object().unwrap()).unwrap();
        assert!(bounds.order(&instant(), &"soon".into(), false).unwrap_err().contains("which is no date"));
    }
}
