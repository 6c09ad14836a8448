//! `ConnectionTestOperator`: whether a connection leads anywhere.

use std::{fmt, pin::Pin};

use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
    protocol::Connection,
};

use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    prepare::{Job, no_connection},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    struct TestArgs {
        /// The connection.
        templated conn_id: String,
    }
}

pub(super) const TEST: Entry = Entry {
    name: "ConnectionTestOperator",
    aliases: &["connection_test"],
    doc: "Tries a connection: logs in where it leads, or asks for an answer, and changes nothing there. For databases, \
          HTTP, SSH, SFTP, FTP, FTPS, SMTP, S3 and Slack's API.",
    takes_results: None,
    arguments: &[TestArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

/// What comes of trying: where it led, or why it led nowhere.
pub(super) type Trying = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let conn_id = job.read(TestArgs::read)?.conn_id;
    let connection = job.connection_if_any(&conn_id)?.ok_or_else(|| no_connection(&conn_id))?;
    let trying = trying(job, &conn_id, &connection)?;
    Ok(Work::Native(Box::new(Test { conn_id, trying })))
}

fn trying(job: &Job<'_>, conn_id: &str, connection: &Connection) -> Result<Trying, Refused> {
    match &*connection.conn_type {
        #[cfg(feature = "sql")]
        "postgres" | "postgresql" | "redshift" | "mysql" | "mariadb" | "sqlite" => {
            super::sql::tried(job, conn_id)
        }
        #[cfg(feature = "ssh")]
        "ssh" | "sftp" => super::ssh::tried(job, conn_id),
        #[cfg(feature = "ftp")]
        "ftp" | "ftps" => super::ftp::tried(job, conn_id),
        #[cfg(feature = "http")]
        "http" | "https" => super::http::tried(job, conn_id),
        #[cfg(feature = "s3")]
        "aws" => super::s3::tried(job, conn_id),
        #[cfg(feature = "slack")]
        "slack" => super::slack::tried(job, connection),
        "slackwebhook" => {
            let mend = "leads to a webhook, which can't be tried without posting something: `updraft alerts test` posts, \
                        and so does SlackWebhookOperator";
            Err(job.bad((Some("conn_id"), mend.into())))
        }
        #[cfg(feature = "email")]
        "smtp" | "email" => {
            let server = crate::mail::MailServer::from_connection(connection);
            let server =
                server.map_err(|error| job.bad((Some("conn_id"), format!("can't be used: {error}"))))?;
            Ok(Box::pin(async move { crate::mail::log_in(&server).await.map_err(|error| error.to_string()) }))
        }
        other => {
            let mend = format!(
                "`{conn_id}` is of type `{other}`, and whether such a one works only a task tells that uses it"
            );
            Err(job.bad((Some("conn_id"), mend)))
        }
    }
}

struct Test {
    conn_id: String,
    trying: Trying,
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Test").field("conn_id", &self.conn_id).finish_non_exhaustive()
    }
}

impl NativeTask for Test {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.trying.await {
                Ok(place) => {
                    context.log.line(&format!("the connection `{}` works: {place}", self.conn_id));
                    Outcome::new(AttemptEnd::Success)
                }
                Err(why) => Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Failed) },
            }
        })
    }
}
