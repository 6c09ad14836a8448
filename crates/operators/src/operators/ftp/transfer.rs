//! `FTPFileTransmitOperator` and `FTPSFileTransmitOperator`, as Airflow's FTP provider documents them.

use std::path::Path;

use serde_json::Value;
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{
    server::{Fault, Server},
    session::Session,
};
use crate::{
    Files, Refused, Work,
    catalog::{
        Entry,
        argument::{OneOrMore, arguments},
    },
    operators::{
        local::{Incoming, outgoing},
        transfer::{self, Operation, Step, half_name},
    },
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

arguments! {
    /// The arguments of `FTPFileTransmitOperator`.
    struct TransferArgs {
        /// The file here, or several in a list. A relative path starts at the folder for what tasks write
        /// (`UPDRAFT_FILES`); what is sent is looked for in the DAG file's folder first. Not with
        /// `operation: delete`.
        templated local_filepath: Option<OneOrMore>,
        /// The file there, or as many in a list as there are of `local_filepath`. A relative path starts at the
        /// account's folder.
        templated remote_filepath: OneOrMore,
        /// `put` (from here to there), `get` (from there to here), or, other than in Airflow, `delete` (there).
        plain operation: Operation = Operation::Put,
        /// The connection, of type ftp or ftps.
        templated ftp_conn_id: String = "ftp_default".to_owned(),
        /// Whether the folders that the file goes to are made where they are missing.
        plain create_intermediate_dirs: bool = false,
    }
}

pub(in crate::operators) const FTP: Entry = Entry {
    name: "FTPFileTransmitOperator",
    aliases: &["ftp", "airflow.providers.ftp.operators.ftp.FTPFileTransmitOperator"],
    doc: "Moves files to or from an FTP server, of any size, or deletes them there. A file has its name only when it \
          is whole. The result is `local_filepath`.",
    plan: |job| plan(job, false),
    ..DEFAULT
};

pub(in crate::operators) const FTPS: Entry = Entry {
    name: "FTPSFileTransmitOperator",
    aliases: &["ftps", "airflow.providers.ftp.operators.ftp.FTPSFileTransmitOperator"],
    doc: "Moves files to or from an FTP server with TLS (`AUTH TLS`), whose certificate is checked, or deletes them \
          there. A file has its name only when it is whole. The result is `local_filepath`.",
    plan: |job| plan(job, true),
    ..DEFAULT
};

const DEFAULT: Entry = Entry {
    name: "",
    aliases: &[],
    doc: "",
    takes_results: None,
    arguments: &[TransferArgs::LIST],
    template_ext: &[],
    kind: |written| transfer::check(written).map(|()| TaskKind::Run),
    plan: |job| plan(job, false),
};

fn plan(job: &Job<'_>, with_tls: bool) -> Result<Work, Refused> {
    let args = job.read(TransferArgs::read)?;
    let steps = transfer::steps(job, args.operation, args.local_filepath, args.remote_filepath);
    Ok(Work::Native(Box::new(Transferring {
        steps: steps?,
        server: Server::of(job, &args.ftp_conn_id, with_tls)?,
        files: job.host.files()?.clone(),
        mark: job.mark(),
        make_folders: args.create_intermediate_dirs,
        result: job.args.get("local_filepath").cloned(),
    })))
}

#[derive(Debug)]
struct Transferring {
    server: Server,
    steps: Vec<Step>,
    files: Files,
    mark: String,
    make_folders: bool,
    result: Option<Value>,
}

impl NativeTask for Transferring {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match self.carry_out(&context).await {
                Ok(()) => with_result(Outcome::new(AttemptEnd::Success), self.result),
                Err(fault) => fault.into(),
            }
        })
    }
}

impl Transferring {
    async fn carry_out(&self, context: &TaskContext) -> Result<(), Fault> {
        let mut session = Session::open(&self.server).await?;
        context.log.line(&format!("connected to {}", self.server.shown()));
        for step in &self.steps {
            let done = match step {
                Step::Put { local, remote } => {
                    let bytes = self.put(&mut session, local, remote).await?;
                    format!("put {} to {remote}, {bytes} bytes", local.display())
                }
                Step::Get { remote, local } => {
                    let bytes = self.get(&mut session, remote, local).await?;
                    format!("got {remote} to {}, {bytes} bytes", local.display())
                }
                Step::Delete { remote } => {
                    session.delete(remote).await?;
                    format!("deleted {remote}")
                }
            };
            context.log.line(&done);
        }
        session.close().await;
        Ok(())
    }

    async fn put(&self, session: &mut Session, local: &Path, remote: &str) -> Result<u64, Fault> {
        let file = outgoing(&self.files, local).await?;
        if self.make_folders {
            session.make_folders_of(remote).await?;
        }
        session.put(file, half_name(remote, &self.mark), remote).await
    }

    async fn get(&self, session: &mut Session, remote: &str, local: &Path) -> Result<u64, Fault> {
        let mut incoming = Incoming::begin(&self.files, local, &self.mark, self.make_folders).await?;
        let bytes = session.get(remote, &mut incoming.file).await?;
        incoming.finish().await?;
        Ok(bytes)
    }
}
