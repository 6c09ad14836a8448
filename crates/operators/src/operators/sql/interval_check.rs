//! `SQLIntervalCheckOperator`, as Airflow's common SQL provider documents it: whether what is measured of one day's rows
//! is about what it was of another's.

use serde_json::{Map, Value, json};
use updraft_core::input::{AttemptEnd, Outcome};

use super::{
    DEFAULT, Parameters, cell::Cell, database, fault::Fault, number::Numeric, server::Server,
    session::Session,
};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{FromArgument, arguments, found},
    },
    prepare::{Job, as_text},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `SQLIntervalCheckOperator`.
    struct IntervalArgs {
        /// The table.
        templated table: String,
        /// What is measured, each an expression in SQL over the rows of one day (`COUNT(*)`), with what the ratio of
        /// the two days has to be below.
        templated metrics_thresholds: Thresholds,
        /// The column with the day. Of the rows those count in which it is the run's `ds`, and those of the other day.
        templated date_filter_column: String = "ds".to_owned(),
        /// How many days before the run's the other day is.
        plain days_back: Days = Days(7),
        /// The ratio: `max_over_min`, the larger by the smaller, or `relative_diff`, the difference by the other day's.
        plain ratio_formula: Formula = Formula::MaxOverMin,
        /// Whether what is 0 on one of the days passes.
        plain ignore_zero: bool = true,
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

/// Expressions with what their ratios have to be below, in the order of the expressions.
#[derive(Clone, Debug, PartialEq)]
struct Thresholds(Vec<(String, f64)>);

impl FromArgument for Thresholds {
    const EXPECTS: &'static str = "a map of SQL expressions to numbers";
    const TYPES: &'static [&'static str] = &["object"];

    fn from_argument(value: &Value) -> Result<Self, String> {
        let map = value.as_object().filter(|map| !map.is_empty());
        let map = map.ok_or_else(|| format!("must be {}; {}", Self::EXPECTS, found(value)))?;
        let number = |(metric, threshold): (&String, &Value)| {
            let number = Numeric::new(&as_text(threshold)).map(|number| number.float);
            let number = number.filter(|number| !number.is_nan());
            number.map(|number| (metric.clone(), number)).ok_or_else(|| {
                format!("has the entry `{metric}`, which must be a number; {}", found(threshold))
            })
        };
        let mut thresholds = map.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        thresholds.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self(thresholds))
    }
}

/// A number of days; a negative one means the same, as in Airflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Days(u32);

impl FromArgument for Days {
    const EXPECTS: &'static str = "a whole number of days";
    const TYPES: &'static [&'static str] = &["integer"];

    fn from_argument(value: &Value) -> Result<Self, String> {
        let days = value.as_i64().and_then(|days| u32::try_from(days.unsigned_abs()).ok());
        days.map(Self).ok_or_else(|| format!("must be {}; {}", Self::EXPECTS, found(value)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Formula {
    MaxOverMin,
    RelativeDiff,
}

impl FromArgument for Formula {
    const EXPECTS: &'static str = "max_over_min or relative_diff";
    const TYPES: &'static [&'static str] = &["string"];

    fn from_argument(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("max_over_min") => Ok(Self::MaxOverMin),
            Some("relative_diff") => Ok(Self::RelativeDiff),
            _ => Err(format!("must be {}; {}", Self::EXPECTS, found(value))),
        }
    }
}

impl Formula {
    /// The ratio of two numbers of which none is 0.
    fn ratio(self, now: f64, then: f64) -> f64 {
        match self {
            Self::MaxOverMin => now.max(then) / now.min(then),
            Self::RelativeDiff => (now - then).abs() / then,
        }
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SQLIntervalCheckOperator",
    aliases: &[
        "sql_interval_check",
        "airflow.providers.common.sql.operators.sql.SQLIntervalCheckOperator",
        "airflow.operators.sql.SQLIntervalCheckOperator",
    ],
    doc: "Fails unless what is measured of the rows of the run's day is about what it was some days before.",
    arguments: &[IntervalArgs::LIST],
    template_ext: &[],
    plan,
    ..DEFAULT
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(IntervalArgs::read)?;
    let database = database(job, args.database.clone());
    let server = Server::of(job, &args.conn_id, database.as_deref())?;
    let metrics: Vec<&str> = args.metrics_thresholds.0.iter().map(|(metric, _)| &**metric).collect();
    let metrics = metrics.join(", ");
    let statement = |day: String| {
        let day = job.with_renderer(Map::new(), |renderer| renderer.render("ds", &json!(day), &[]))?;
        let (table, column) = (&args.table, &args.date_filter_column);
        Ok::<_, Refused>(format!("SELECT {metrics} FROM {table} WHERE {column}='{}'", as_text(&day)))
    };
    let now = statement("{{ ds }}".to_owned())?;
    let then = statement(format!("{{{{ macros.ds_add(ds, -{}) }}}}", args.days_back.0))?;
    Ok(Work::Native(Box::new(Comparing { server, args, now, then })))
}

#[derive(Debug)]
struct Comparing {
    server: Server,
    args: IntervalArgs,
    /// The statement about the run's day.
    now: String,
    /// That about the day before it.
    then: String,
}

impl NativeTask for Comparing {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let failures = match self.compare(&context).await {
                Ok(failures) if failures.is_empty() => return Outcome::new(AttemptEnd::Success),
                Ok(failures) => failures.join("; "),
                Err(fault) => return fault.into(),
            };
            let end = if self.args.retry_on_failure { AttemptEnd::Failed } else { AttemptEnd::FailedForGood };
            let message = format!("the check failed: {failures}; it was: {}; and: {}", self.now, self.then);
            Outcome { message: Some(message), ..Outcome::new(end) }
        })
    }
}

impl Comparing {
    /// What does not hold; an error where that can't be told.
    async fn compare(&self, context: &TaskContext) -> Result<Vec<String>, Fault> {
        let mut session = Session::open(&self.server).await?.telling(&context.log);
        let mut rows = Vec::with_capacity(2);
        for sql in [&self.then, &self.now] {
            context.log.line(&format!("running at {}: {sql}", self.server.shown));
            match session.first(sql, &Parameters::None).await? {
                Some(row) => rows.push(row),
                None => return Ok(vec![format!("there is no row: {sql}")]),
            }
        }
        session.close().await;
        let mut failures = Vec::new();
        for (place, (metric, threshold)) in self.args.metrics_thresholds.0.iter().enumerate() {
            let number = |row: usize| self.number(metric, rows[row].get(place).unwrap_or(&Cell::Null));
            let (then, now) = (number(0)?, number(1)?);
            let said = match self.ratio(&now, &then) {
                Some(ratio) => {
                    let holds = ratio < *threshold;
                    if !holds {
                        failures.push(format!(
                            "`{metric}` is {now} and was {then}: the ratio {ratio} is not below {threshold}"
                        ));
                    }
                    format!("the ratio {ratio} has to be below {threshold}")
                }
                None => {
                    if !self.args.ignore_zero {
                        failures.push(format!("`{metric}` is {now} and was {then} (`ignore_zero` is false)"));
                    }
                    "there is no ratio".to_owned()
                }
            };
            context.log.line(&format!("`{metric}` is {now} and was {then}: {said}"));
        }
        Ok(failures)
    }

    /// None, where one of them is 0.
    fn ratio(&self, now: &Numeric, then: &Numeric) -> Option<f64> {
        let (now, then) = (now.float, then.float);
        (now != 0.0 && then != 0.0).then(|| self.args.ratio_formula.ratio(now, then))
    }

    fn number(&self, metric: &str, cell: &Cell) -> Result<Numeric, Fault> {
        cell.number().ok_or_else(|| {
            let shown = cell.shown();
            self.server.fault(match cell {
                Cell::Null => format!(
                    "`{metric}` is null, as it is of no rows, and can't be compared: write COALESCE({metric}, 0)"
                ),
                _ => format!("`{metric}` is {shown:?}, which is no number to compare"),
            })
        })
    }
}
