//! `SQLCheckOperator`, `SQLValueCheckOperator` and `SQLThresholdCheckOperator`, as Airflow's common SQL provider
//! documents them: they fail where data are not as they should be.

use serde_json::{Map, Value};
use updraft_core::input::{AttemptEnd, Outcome};

use super::{
    DEFAULT, Parameters, cell::Cell, database, fault::Fault, number::Numeric, server::Server,
    session::Session, table_check::Condition,
};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{FromArgument, arguments, found},
    },
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// What the checks have in common.
    pub(super) struct CheckArgs {
        /// The statement whose first row is looked at, or the name of a file that ends in `.sql`.
        templated sql: String,
        /// The connection, of type postgres, mysql or sqlite.
        templated conn_id: String,
        /// Values for `sql`, as in SQLExecuteQueryOperator.
        templated parameters: Parameters = Parameters::None,
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
    /// The arguments of `SQLValueCheckOperator`.
    struct ValueArgs {
        /// What each value of the row must be; numbers are compared as numbers.
        templated pass_value: Number,
        /// How far a number may be off, as a part of `pass_value`: 0.1 is a tenth.
        templated tolerance: Option<Number>,
    }
}

arguments! {
    /// The arguments of `SQLThresholdCheckOperator`.
    struct ThresholdArgs {
        /// The least that the row's first value may be: a number, or a statement that gives one.
        templated min_threshold: Number,
        /// The most that it may be: a number, or a statement that gives one.
        templated max_threshold: Number,
    }
}

/// A number, or a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Number(String);

impl FromArgument for Number {
    const EXPECTS: &'static str = "a number or a string";
    const TYPES: &'static [&'static str] = &["number", "string"];
    fn from_argument(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self(text.clone())),
            Value::Number(number) => Ok(Self(number.to_string())),
            other => Err(format!("must be {}; {}", Self::EXPECTS, found(other))),
        }
    }
}

impl Number {
    fn number(&self) -> Option<Numeric> {
        Numeric::new(&self.0)
    }
}

pub(in crate::operators) const CHECK: Entry = Entry {
    name: "SQLCheckOperator",
    aliases: &[
        "sql_check",
        "airflow.providers.common.sql.operators.sql.SQLCheckOperator",
        "airflow.operators.sql.SQLCheckOperator",
    ],
    doc: "Fails unless each value of a statement's first row is true: not 0, not empty, not null.",
    arguments: &[CheckArgs::LIST],
    plan: |job| plan(job, Test::True),
    ..DEFAULT
};

pub(in crate::operators) const VALUE_CHECK: Entry = Entry {
    name: "SQLValueCheckOperator",
    aliases: &[
        "sql_value_check",
        "airflow.providers.common.sql.operators.sql.SQLValueCheckOperator",
        "airflow.operators.sql.SQLValueCheckOperator",
    ],
    doc: "Fails unless each value of a statement's first row is the one that is wanted.",
    arguments: &[CheckArgs::LIST, ValueArgs::LIST],
    plan: |job| {
        let ValueArgs { pass_value, tolerance } = job.read(ValueArgs::read)?;
        let tolerance = tolerance.map(|given| {
            let number = given.number().map(|number| number.float);
            number.ok_or_else(|| job.bad((Some("tolerance"), format!("is no number: {:?}", given.0))))
        });
        plan(job, Test::Value { wanted: pass_value, tolerance: tolerance.transpose()? })
    },
    ..DEFAULT
};

pub(in crate::operators) const THRESHOLD_CHECK: Entry = Entry {
    name: "SQLThresholdCheckOperator",
    aliases: &[
        "sql_threshold_check",
        "airflow.providers.common.sql.operators.sql.SQLThresholdCheckOperator",
        "airflow.operators.sql.SQLThresholdCheckOperator",
    ],
    doc: "Fails unless the first value that a statement gives lies between two others.",
    arguments: &[CheckArgs::LIST, ThresholdArgs::LIST],
    plan: |job| {
        let ThresholdArgs { min_threshold, max_threshold } = job.read(ThresholdArgs::read)?;
        plan(job, Test::Between(min_threshold, max_threshold))
    },
    ..DEFAULT
};

fn plan(job: &Job<'_>, test: Test) -> Result<Work, Refused> {
    plan_of(job, job.read(CheckArgs::read)?, test)
}

/// A check by these arguments, whatever the job's own are.
pub(super) fn plan_of(job: &Job<'_>, args: CheckArgs, test: Test) -> Result<Work, Refused> {
    let database = database(job, args.database.clone());
    let server = Server::of(job, &args.conn_id, database.as_deref())?;
    Ok(Work::Native(Box::new(Checking { server, args, test })))
}

/// What must hold of a row.
#[derive(Debug)]
pub(super) enum Test {
    True,
    /// Of each of its values another thing.
    Each(Vec<Condition>),
    Value {
        wanted: Number,
        tolerance: Option<f64>,
    },
    Between(Number, Number),
}

#[derive(Debug)]
struct Checking {
    server: Server,
    args: CheckArgs,
    test: Test,
}

impl NativeTask for Checking {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let failed = match self.check(&context).await {
                Ok(None) => return Outcome::new(AttemptEnd::Success),
                Ok(Some(why)) => why,
                Err(fault) => return fault.into(),
            };
            let end = if self.args.retry_on_failure { AttemptEnd::Failed } else { AttemptEnd::FailedForGood };
            let message = format!("the check failed: {failed}; it was: {}", self.args.sql);
            Outcome { message: Some(message), ..Outcome::new(end) }
        })
    }
}

impl Checking {
    /// What does not hold; an error where that can't be told.
    async fn check(&self, context: &TaskContext) -> Result<Option<String>, Fault> {
        let CheckArgs { sql, parameters, .. } = &self.args;
        context.log.line(&format!("running at {}: {sql}", self.server.shown));
        let mut session = Session::open(&self.server).await?.telling(&context.log);
        let Some(row) = session.first(sql, parameters).await? else {
            return Ok(Some("the statement gives no row".into()));
        };
        let shown = row.iter().map(Cell::shown).collect::<Vec<_>>().join(", ");
        context.log.line(&format!("the first row: {shown}"));
        let bounds = match &self.test {
            Test::Between(least, most) => {
                Some((self.bound(&mut session, least).await?, self.bound(&mut session, most).await?))
            }
            Test::True | Test::Value { .. } | Test::Each(_) => None,
        };
        session.close().await;
        match &self.test {
            Test::True if row.iter().all(Cell::is_true) => Ok(None),
            Test::True => Ok(Some(format!("not all of ({shown}) is true"))),
            Test::Each(conditions) => {
                let failures = conditions.iter().zip(&row).map(|(condition, cell)| condition.failure(cell));
                let failures = failures.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>();
                let failures = failures.map_err(|why| self.server.fault(why))?;
                Ok((!failures.is_empty()).then(|| failures.join("; ")))
            }
            Test::Value { wanted, tolerance } => self.compared(&row, wanted, *tolerance, &shown),
            Test::Between(..) => {
                let value = self.number(row.first().unwrap_or(&Cell::Null))?;
                let (least, most) = bounds.unwrap_or_else(|| (value.clone(), value.clone()));
                let holds = least <= value && value <= most;
                Ok((!holds).then(|| format!("{value} does not lie between {least} and {most}")))
            }
        }
    }

    fn compared(
        &self,
        row: &[Cell],
        wanted: &Number,
        tolerance: Option<f64>,
        shown: &str,
    ) -> Result<Option<String>, Fault> {
        let off = tolerance.map(|off| format!(" (within {}%)", off * 100.0)).unwrap_or_default();
        let holds = match wanted.number() {
            None => row.iter().all(|cell| cell.shown() == wanted.0),
            Some(wanted) => {
                let numbers = row.iter().map(|cell| self.number(cell)).collect::<Result<Vec<_>, _>>()?;
                let holds = |number: Numeric| match tolerance {
                    None => number == wanted,
                    Some(off) => {
                        let (one, other) = (wanted.float * (1.0 - off), wanted.float * (1.0 + off));
                        one.min(other) <= number.float && number.float <= one.max(other)
                    }
                };
                numbers.into_iter().all(holds)
            }
        };
        Ok((!holds).then(|| format!("not all of ({shown}) is {}{off}", wanted.0)))
    }

    fn number(&self, cell: &Cell) -> Result<Numeric, Fault> {
        cell.number().ok_or_else(|| self.server.fault(format!("{:?} is no number to compare", cell.shown())))
    }

    async fn bound(&self, session: &mut Session, bound: &Number) -> Result<Numeric, Fault> {
        if let Some(number) = bound.number() {
            return Ok(number);
        }
        let row = session.first(&bound.0, &Parameters::None).await?.unwrap_or_default();
        self.number(row.first().unwrap_or(&Cell::Null))
    }
}
