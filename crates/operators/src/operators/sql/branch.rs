//! `BranchSQLOperator`, as Airflow's common SQL provider documents it: which tasks come next, a database says.

use serde_json::{Map, Value, json};
use updraft_core::{
    TaskId,
    input::{AttemptEnd, Branch, Outcome},
};

use super::{DEFAULT, Parameters, cell::Cell, database, fault::Fault, server::Server, session::Session};
use crate::{
    Work,
    catalog::{
        Entry,
        argument::{OneOrMore, arguments},
    },
    outcome::with_result,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `BranchSQLOperator`.
    struct BranchArgs {
        /// The statement whose first value decides, or the name of a file that ends in `.sql`. True are a boolean true,
        /// a whole number but 0, and the texts `true`, `t`, `yes`, `y`, `on` and `1`; false are their opposites.
        templated sql: String,
        /// The task or task group to follow where it is true, or a list of them.
        plain follow_task_ids_if_true: OneOrMore,
        /// The task or task group to follow where it is false, or a list of them.
        plain follow_task_ids_if_false: OneOrMore,
        /// The connection, of type postgres, mysql or sqlite.
        templated conn_id: String,
        /// Values for `sql`, as in SQLExecuteQueryOperator.
        templated parameters: Parameters = Parameters::None,
        /// The database, in place of the connection's own.
        templated database: Option<String>,
    } accepted {
        /// `schema` or `database`: the database, in place of the connection's own.
        hook_params: Map<String, Value>,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "BranchSQLOperator",
    aliases: &[
        "branch_sql",
        "airflow.providers.common.sql.operators.sql.BranchSQLOperator",
        "airflow.operators.sql.BranchSQLOperator",
        "airflow.operators.sql_branch_operator.BranchSqlOperator",
    ],
    doc: "Follows some tasks where the first value that a statement gives is true, and others where it is false; of the \
          tasks directly after it, the others are skipped.",
    arguments: &[BranchArgs::LIST],
    plan: |job| {
        let args = job.read(BranchArgs::read)?;
        let database = database(job, args.database.clone());
        let server = Server::of(job, &args.conn_id, database.as_deref())?;
        let with_result = job.order.task.do_xcom_push;
        Ok(Work::Native(Box::new(Branching { server, args, with_result })))
    },
    ..DEFAULT
};

#[derive(Debug)]
struct Branching {
    server: Server,
    args: BranchArgs,
    with_result: bool,
}

impl NativeTask for Branching {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let OneOrMore(tasks) = match self.decide(&context).await {
                Ok(true) => self.args.follow_task_ids_if_true,
                Ok(false) => self.args.follow_task_ids_if_false,
                Err(fault) => return fault.into(),
            };
            let chosen = json!(tasks);
            context.log.line(&format!("follows {chosen}"));
            let tasks = tasks.into_iter().map(TaskId::from).collect();
            let outcome =
                Outcome { branch: Some(Branch::Follow(tasks)), ..Outcome::new(AttemptEnd::Success) };
            with_result(outcome, self.with_result.then_some(chosen))
        })
    }
}

impl Branching {
    async fn decide(&self, context: &TaskContext) -> Result<bool, Fault> {
        let BranchArgs { sql, parameters, .. } = &self.args;
        context.log.line(&format!("running at {}: {sql}", self.server.shown));
        let mut session = Session::open(&self.server).await?.telling(&context.log);
        let row = session.first(sql, parameters).await?;
        session.close().await;
        let Some(value) = row.and_then(|row| row.into_iter().next()) else {
            let why = format!(
                "the statement gives no row, and one with a value that is true or false decides; it was: {sql}"
            );
            return Err(self.server.fault(why));
        };
        context.log.line(&format!("the first value: {}", value.shown()));
        truth(&value).ok_or_else(|| {
            let why = format!(
                "the value {} is neither true nor false: have the statement give a boolean, a whole number, or a text \
                 such as 'yes' or 'no'; it was: {sql}",
                value.shown()
            );
            self.server.fault(why)
        })
    }
}

/// What a value says, where Airflow knows it too.
fn truth(value: &Cell) -> Option<bool> {
    match value {
        Cell::Bool(value) => Some(*value),
        Cell::Int(value) => Some(*value != 0),
        Cell::Text(text) => match &*text.to_lowercase() {
            "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
            "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
            _ => None,
        },
        Cell::Null
        | Cell::Float(_)
        | Cell::Decimal(_)
        | Cell::Bytes(_)
        | Cell::Json(_)
        | Cell::Date(_)
        | Cell::Time(_)
        | Cell::DateTime(_)
        | Cell::Instant(_)
        | Cell::List(_) => None,
    }
}
