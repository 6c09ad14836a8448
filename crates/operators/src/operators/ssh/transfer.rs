//! `SFTPOperator`, as Airflow's SFTP provider documents it.

use std::{path::Path, sync::Arc};

use serde_json::Value;
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{
    fault::Fault,
    server::Server,
    sftp::{Half, Sftp},
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
    /// The arguments of `SFTPOperator`.
    struct TransferArgs {
        /// The file here, or several in a list. A relative path starts at the folder for what tasks write
        /// (`UPDRAFT_FILES`); what is sent is looked for in the DAG file's folder first. Not with
        /// `operation: delete`.
        templated local_filepath: Option<OneOrMore>,
        /// The file there, or as many in a list as there are of `local_filepath`. A relative path starts at the
        /// account's folder.
        templated remote_filepath: OneOrMore,
        /// `put` (from here to there), `get` (from there to here), or `delete` (there).
        plain operation: Operation = Operation::Put,
        /// The connection, of type sftp or ssh.
        templated ssh_conn_id: String = "sftp_default".to_owned(),
        /// The machine, in place of the connection's own.
        templated remote_host: Option<String>,
        /// Whether the server is asked how long a file is when all of it was sent.
        plain confirm: bool = true,
        /// Whether the folders that the file goes to are made where they are missing.
        plain create_intermediate_dirs: bool = false,
    } accepted {
        /// No difference here: many requests are on their way at once.
        concurrency: Value,
        /// No difference here: many requests are on their way at once.
        prefetch: bool,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SFTPOperator",
    aliases: &[
        "sftp",
        "airflow.providers.sftp.operators.sftp.SFTPOperator",
        "airflow.contrib.operators.sftp_operator.SFTPOperator",
    ],
    doc: "Moves files to or from another machine by SFTP, of any size, or deletes them there. A file has its name only \
          when it is whole. The result is `local_filepath`.",
    takes_results: None,
    arguments: &[TransferArgs::LIST],
    template_ext: &[],
    kind: |written| transfer::check(written).map(|()| TaskKind::Run),
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(TransferArgs::read)?;
    let steps = transfer::steps(job, args.operation, args.local_filepath, args.remote_filepath);
    Ok(Work::Native(Box::new(Transferring {
        steps: steps?,
        server: Server::of(job, &args.ssh_conn_id, args.remote_host.as_deref())?,
        files: job.host.files()?.clone(),
        mark: job.mark(),
        confirm: args.confirm,
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
    confirm: bool,
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
        let sftp = Arc::new(Sftp::open(&self.server).await?);
        context.log.line(&format!("connected to {}", self.server.shown()));
        for step in &self.steps {
            let done = match step {
                Step::Put { local, remote } => {
                    let bytes = self.put(&sftp, local, remote).await?;
                    format!("put {} to {remote}, {bytes} bytes", local.display())
                }
                Step::Get { remote, local } => {
                    let bytes = self.get(&sftp, remote, local).await?;
                    format!("got {remote} to {}, {bytes} bytes", local.display())
                }
                Step::Delete { remote } => {
                    sftp.remove(remote).await?;
                    format!("deleted {remote}")
                }
            };
            context.log.line(&done);
        }
        if let Some(sftp) = Arc::into_inner(sftp) {
            sftp.close().await;
        }
        Ok(())
    }

    async fn put(&self, sftp: &Arc<Sftp>, local: &Path, remote: &str) -> Result<u64, Fault> {
        let file = outgoing(&self.files, local).await.map_err(Fault)?;
        if self.make_folders {
            sftp.make_folders_of(remote).await?;
        }
        let half = half_name(remote, &self.mark);
        let held = Half::new(sftp, half.clone());
        match self.put_half(sftp, file, &half, remote).await {
            Ok(bytes) => {
                held.keep();
                Ok(bytes)
            }
            Err(fault) => {
                held.discard().await;
                Err(fault)
            }
        }
    }

    async fn put_half(
        &self,
        sftp: &Sftp,
        file: tokio::fs::File,
        half: &str,
        remote: &str,
    ) -> Result<u64, Fault> {
        let bytes = sftp.write(half, file).await?;
        if self.confirm {
            let there = sftp.about_if_any(half).await?.and_then(|about| about.size);
            if there != Some(bytes) {
                let there = there.map_or("none".into(), |there| there.to_string());
                return Err(self
                    .server
                    .fault(format!("{bytes} bytes were sent for {remote}, and {there} are there")));
            }
        }
        sftp.replace(half, remote).await?;
        Ok(bytes)
    }

    async fn get(&self, sftp: &Sftp, remote: &str, local: &Path) -> Result<u64, Fault> {
        let begun = Incoming::begin(&self.files, local, &self.mark, self.make_folders).await;
        let mut incoming = begun.map_err(Fault)?;
        let bytes = sftp.read(remote, &mut incoming.file).await?;
        incoming.finish().await.map_err(Fault)?;
        Ok(bytes)
    }
}
