//! `SqlSensor`, as Airflow's common SQL provider documents it: asks a database until its answer is as wished.

use serde_json::{Map, Value};
use updraft_core::{TaskKind, jinja};

use super::{DEFAULT, Parameters, cell::Cell, database, fault::Fault, server::Server, session::Session};
use crate::{
    Refused, Work,
    catalog::{Entry, Written, argument::BadArgument, argument::arguments},
    operators::{
        expression,
        python::check::{Check, Names},
    },
    prepare::Job,
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// The arguments of `SqlSensor`.
    struct SqlArgs {
        /// The connection, of type postgres, mysql or sqlite.
        templated conn_id: String,
        /// The statement whose first row is looked at, or the name of a file that ends in `.sql`.
        templated sql: String,
        /// Values for `sql`, as in SQLExecuteQueryOperator.
        templated parameters: Parameters = Parameters::None,
        /// A Jinja expression that says whether it has waited enough; it sees `value` (what is selected) and `row`
        /// (the first row, a list): `value > 100`. Without it, a value that is not 0, `'0'`, empty or null is enough.
        plain success: Option<String>,
        /// In its place, a function of Python that returns something true where it has waited enough: this one of
        /// `success_check_file`. It gets `value`, a date as text; each call is a process of its own, with 60 seconds at
        /// most.
        plain success_check_name: Option<String>,
        /// The Python file; a relative path starts at the DAG file's folder.
        plain success_check_file: Option<String>,
        /// The same function as a text, where no file is named: `lambda value: value > 100`.
        plain success_check_lambda: Option<String>,
        /// A Jinja expression that says whether it has failed; it sees the same.
        plain failure: Option<String>,
        /// In its place, a function of Python as that of `success_check_name`: this one of `failure_check_file`.
        plain failure_check_name: Option<String>,
        /// The Python file; a relative path starts at the DAG file's folder.
        plain failure_check_file: Option<String>,
        /// The same function as a text, where no file is named.
        plain failure_check_lambda: Option<String>,
        /// A Jinja expression for `value`; it sees `row`: `row[1]`. Without it, the first of the row.
        plain selector: Option<String>,
        /// Whether it fails where there is no row.
        plain fail_on_empty: bool = false,
        /// The database, in place of the connection's own.
        templated database: Option<String>,
    } accepted {
        /// `schema` or `database`: the database, in place of the connection's own.
        hook_params: Map<String, Value>,
    }
}

const MEND: &str = "a Python callable can't be called here. Write a Jinja expression, such as `value > 100`; it sees \
                    `value` and `row`";

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SqlSensor",
    aliases: &[
        "sql_sensor",
        "airflow.providers.common.sql.sensors.sql.SqlSensor",
        "airflow.sensors.sql.SqlSensor",
        "airflow.sensors.sql_sensor.SqlSensor",
    ],
    doc: "Asks a database until its answer is as wished. Holds no slot.",
    arguments: &[SqlArgs::LIST, SensorArgs::LIST],
    kind,
    plan,
    ..DEFAULT
};

const SUCCESS: Names = Names {
    expression: "success",
    name: "success_check_name",
    file: "success_check_file",
    lambda: "success_check_lambda",
};

const FAILURE: Names = Names {
    expression: "failure",
    name: "failure_check_name",
    file: "failure_check_file",
    lambda: "failure_check_lambda",
};

fn kind(written: &Written<'_>) -> Result<TaskKind, BadArgument> {
    SUCCESS.check(written)?;
    FAILURE.check(written)?;
    let names: [(&str, &[&str]); 3] =
        [("success", &["value", "row"]), ("failure", &["value", "row"]), ("selector", &["row"])];
    for (name, sees) in names {
        if let Some(text) = written.literal(name).and_then(Value::as_str) {
            expression::read(text, sees, MEND).map_err(|error| (Some(name), error))?;
        }
    }
    Ok(TaskKind::Watch)
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(SqlArgs::read)?;
    let database = database(job, args.database.clone());
    let server = Server::of(job, &args.conn_id, database.as_deref())?;
    let success = [&args.success_check_name, &args.success_check_file, &args.success_check_lambda];
    let failure = [&args.failure_check_name, &args.failure_check_file, &args.failure_check_lambda];
    let (success, failure) = (SUCCESS.function(job, success)?, FAILURE.function(job, failure)?);
    let look = Box::new(SqlLook { server, success, failure, args });
    Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, look))))
}

#[derive(Debug)]
struct SqlLook {
    server: Server,
    /// Functions in the place of the expressions.
    success: Option<Check>,
    failure: Option<Check>,
    args: SqlArgs,
}

impl Look for SqlLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            let row = {
                let _turn = context.shared.turns.of(&self.server.shown).await;
                self.first(context).await.map_err(|fault| fault.to_string())?
            };
            match row {
                Some(row) => self.judged(context, row).await.map(Seen::from),
                None if self.args.fail_on_empty => Err("there is no row (`fail_on_empty`)".into()),
                None => Ok(Seen::NotYet),
            }
        })
    }
}

impl SqlLook {
    async fn first(&self, context: &TaskContext) -> Result<Option<Vec<Cell>>, Fault> {
        let mut session = Session::open(&self.server).await?.telling(&context.log);
        let row = session.first(&self.args.sql, &self.args.parameters).await?;
        session.close().await;
        Ok(row)
    }

    async fn judged(&self, context: &TaskContext, row: Vec<Cell>) -> Result<bool, String> {
        let row: Vec<Value> = row.into_iter().map(Cell::into_json).collect();
        let value = match &self.args.selector {
            Some(selector) => {
                expression::value("selector", selector, &expression::sees([("row", row.clone().into())]))?
            }
            None => row.first().cloned().unwrap_or_default(),
        };
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        context.log.line(&format!("found {shown}"));
        if let Some(failure) = &self.failure
            && failure.holds("value", value.clone(), context).await?
        {
            return Err(format!("the value {shown} means failure, as the function of `failure_check` says"));
        }
        if let Some(success) = &self.success {
            return success.holds("value", value, context).await;
        }
        let sees = expression::sees([("value", value.clone()), ("row", row.into())]);
        if let Some(failure) = &self.args.failure
            && expression::holds("failure", failure, &sees)?
        {
            return Err(format!("the value {shown} means failure (`failure`: {failure})"));
        }
        match &self.args.success {
            Some(success) => expression::holds("success", success, &sees),
            None => Ok(value != "0" && jinja::Value::from(&value).truth().is_ok_and(|truth| truth)),
        }
    }
}
