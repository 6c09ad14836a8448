//! `EmailOperator`, as Airflow's SMTP provider documents it.

use serde_json::{Map, Value, json};
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{OneOrMore, Strings, arguments},
    },
    mail::{self, Body, FileAttached, Mail, MailError, MailServer, addresses, message_id, send},
    outcome::with_result,
    prepare::{Job, no_connection},
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `EmailOperator`.
    struct EmailArgs {
        /// To whom: one address, several with commas between them, or a list.
        templated to: OneOrMore,
        /// The subject.
        templated subject: String,
        /// The text, as HTML; or the name of a file that ends in `.html`.
        templated html_content: String,
        /// Who it comes from; what the connection or the configuration says, where nothing is said here.
        templated from_email: Option<String>,
        /// Files that go with it. A relative path starts at the DAG file's folder or, where there is none, at the folder
        /// for what tasks write (`UPDRAFT_FILES`).
        templated files: Option<Vec<Value>>,
        /// Who gets a copy.
        templated cc: OneOrMore = OneOrMore::default(),
        /// Who gets a copy that the others don't see.
        templated bcc: OneOrMore = OneOrMore::default(),
        /// The connection of type `smtp`; where there is none of this name, the configuration's mail server.
        templated conn_id: String = DEFAULT_CONNECTION.to_owned(),
        /// Further headers.
        templated custom_headers: Strings = Strings::new(),
    } accepted {
        /// Only `mixed`.
        mime_subtype: String,
        /// Only `utf-8`.
        mime_charset: String,
    }
}

const DEFAULT_CONNECTION: &str = "smtp_default";

/// What the files of a mail may come to together. Hardly a mail server takes more.
const MOST_ATTACHED: u64 = 25 << 20;

pub(super) const ENTRY: Entry = Entry {
    name: "EmailOperator",
    aliases: &[
        "email",
        "airflow.providers.smtp.operators.smtp.EmailOperator",
        "airflow.operators.email.EmailOperator",
        "airflow.operators.email_operator.EmailOperator",
    ],
    doc: "Sends a mail. Where its server takes it for some of those that it is to and refuses others, the task succeeds, and its \
          result is who has it and who was refused: `{\"sent\": [\"a@x.org\"], \"refused\": {\"b@x.org\": \"why\"}}`.",
    takes_results: None,
    arguments: &[EmailArgs::LIST],
    template_ext: &[".html"],
    kind: |written| {
        for (name, only) in [("mime_subtype", "mixed"), ("mime_charset", "utf-8")] {
            let found = written.literal(name).and_then(Value::as_str);
            if found.is_some_and(|found| !found.eq_ignore_ascii_case(only)) {
                return Err((Some(name), format!("can only be {only}")));
            }
        }
        Ok(TaskKind::Run)
    },
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(EmailArgs::read)?;
    let server = server(job, &args.conn_id)?;
    let from = match args.from_email.or_else(|| server.from.clone()) {
        None => job.host.smtp()?.and_then(|smtp| smtp.from),
        from => from,
    };
    let missing = "is required: neither the connection nor the configuration says it";
    let from = from.ok_or_else(|| job.bad((Some("from_email"), missing.into())))?;
    let list =
        |OneOrMore(texts): OneOrMore| texts.iter().flat_map(|text| addresses(text)).collect::<Vec<_>>();
    let (run, task) = (&job.order.run, &job.order.task);
    let reason = format!("{}.{}.{}.{}", job.work_id(), run.dag_id, task.task_id, run.run_id);
    let mail = Mail {
        message_id: message_id(&reason, &from),
        from,
        to: list(args.to),
        cc: list(args.cc),
        bcc: list(args.bcc),
        subject: args.subject,
        body: Body::Html(args.html_content),
        attachments: attachments(job, args.files.unwrap_or_default())?,
        headers: args.custom_headers.into_iter().collect(),
    };
    if mail.to.is_empty() {
        return Err(job.bad((Some("to"), "names nobody".into())));
    }
    mail.check().map_err(|error| job.bad((None, error.to_string())))?;
    Ok(Work::Native(Box::new(SendMail { server, mail, hold: task.hold_doubts, keep: task.do_xcom_push })))
}

fn server(job: &Job<'_>, conn_id: &str) -> Result<MailServer, Refused> {
    let bad = |error: MailError| job.bad((Some("conn_id"), format!("can't be used: {error}")));
    if let Some(connection) = job.connection_if_any(conn_id)? {
        return MailServer::from_connection(&connection).map_err(bad);
    }
    match job.host.smtp()? {
        Some(smtp) if conn_id == DEFAULT_CONNECTION => {
            let mut server = MailServer::from_url(&smtp.url).map_err(bad)?;
            job.keep_secret(server.login.as_ref().map_or("", |(_, password)| password));
            server.from = smtp.from;
            Ok(server)
        }
        Some(_) => Err(no_connection(conn_id)),
        None if conn_id == DEFAULT_CONNECTION => Err(Refused::Missing(
            "there is no mail server: set `smtp.url` (UPDRAFT__SMTP__URL), or add the connection `smtp_default`".into(),
        )),
        None => Err(no_connection(conn_id)),
    }
}

fn attachments(job: &Job<'_>, files: Vec<Value>) -> Result<Vec<FileAttached>, Refused> {
    let mut attached = Vec::new();
    let mut bytes = 0;
    for file in files {
        let Some(file) = file.as_str() else {
            return Err(job.bad((Some("files"), "must be a list of file names".into())));
        };
        let path = job.found(file)?;
        let content = job.host.files()?.read(&path, MOST_ATTACHED)?;
        bytes += content.len() as u64;
        if bytes > MOST_ATTACHED {
            let mend =
                format!("come to more than {} MiB: send a link to where they are", MOST_ATTACHED >> 20);
            return Err(job.bad((Some("files"), mend)));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        attached.push(FileAttached { name: name.unwrap_or_default(), content });
    }
    Ok(attached)
}

#[derive(Debug)]
struct SendMail {
    server: MailServer,
    mail: Mail,
    /// One that may have gone out is not sent again.
    hold: bool,
    /// Whether there is a result.
    keep: bool,
}

impl NativeTask for SendMail {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            let end = match send(&self.server, &self.mail).await {
                Ok(refused) => {
                    for refused in &refused {
                        context.log.line(&format!("refused: {refused}"));
                    }
                    let has_it = |to: &&String| !refused.iter().any(|refused| refused.is(to));
                    let Mail { to, cc, bcc, .. } = &self.mail;
                    let seen = [to, cc].into_iter().flatten().filter(has_it);
                    let seen: Vec<_> = seen.map(String::as_str).collect();
                    let sent: Vec<_> = [to, cc, bcc].into_iter().flatten().filter(has_it).collect();
                    context.log.line(&format!(
                        "sent to {}, Message-ID <{}>",
                        seen.join(", "),
                        self.mail.message_id
                    ));
                    let why = |refused: &mail::Refused| (refused.to.clone(), Value::from(&*refused.why));
                    let in_part = (self.keep && !refused.is_empty()).then(
                        || json!({"sent": sent, "refused": refused.iter().map(why).collect::<Map<_, _>>()}),
                    );
                    return with_result(Outcome::new(AttemptEnd::Success), in_part);
                }
                Err(error) => error,
            };
            // Airflow tries whatever failed again, as often as the task says; so is it here.
            let again = match end {
                MailError::Doubt(_) if self.hold => AttemptEnd::FailedForGood,
                MailError::Doubt(_) | MailError::Temporary(_) | MailError::Permanent(_) => AttemptEnd::Failed,
            };
            Outcome { message: Some(end.to_string()), ..Outcome::new(again) }
        })
    }
}
