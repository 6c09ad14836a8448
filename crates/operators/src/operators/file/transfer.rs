//! `FileTransferOperator`, as Airflow's common IO provider documents it: a copy of a file, here or in S3.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::io::AsyncRead;
use updraft_core::TaskKind;

use super::named;
#[cfg(feature = "s3")]
use crate::operators::s3::Object;
use crate::{
    Files, Refused, Work,
    catalog::{Entry, argument::arguments},
    operators::local::{self, Incoming, outgoing},
    prepare::Job,
    work::TaskContext,
};

arguments! {
    /// The arguments of `FileTransferOperator`.
    struct TransferArgs {
        /// The file: a path of this machine, also as `file:///path`, or `s3://bucket/key`. A relative path starts at the
        /// DAG file's folder or, where there is none, at the folder for what tasks write (`UPDRAFT_FILES`).
        templated src: String,
        /// What it is copied to, in the same words. A relative path starts at the folder for what tasks write; folders
        /// on the way that are missing are made.
        templated dst: String,
        /// The connection of type aws for `src`, where that is in S3; otherwise the one that is named before the bucket
        /// (`s3://conn_id@bucket/key`), or `aws_default`.
        templated source_conn_id: Option<String>,
        /// The same for `dst`.
        templated dest_conn_id: Option<String>,
        /// Whether a file that is there is replaced; otherwise it is an error.
        plain overwrite: bool = false,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "FileTransferOperator",
    aliases: &["file_transfer", "airflow.providers.common.io.operators.file_transfer.FileTransferOperator"],
    doc: "Copies a file of any size between folders of this machine and buckets of S3; the copy has its name when it is \
          whole. The result is where it is.",
    takes_results: None,
    arguments: &[TransferArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

/// One end of a transfer.
#[derive(Debug)]
enum Place {
    Local(PathBuf),
    #[cfg(feature = "s3")]
    S3(Object),
}

impl Place {
    fn of(
        job: &Job<'_>,
        argument: &'static str,
        text: &str,
        conn_id: Option<&str>,
        local: impl FnOnce(&str) -> Result<PathBuf, Refused>,
    ) -> Result<Self, Refused> {
        let bad = |why: String| job.bad((Some(argument), why));
        let path = match text.split_once("://") {
            None => text,
            #[cfg(feature = "s3")]
            Some(("s3", _)) => return Object::of(job, argument, text, conn_id).map(Self::S3),
            Some(("file", path)) => {
                let path = path.strip_prefix("localhost").unwrap_or(path);
                if !path.starts_with('/') {
                    let why =
                        "which names another machine or no whole path: write `file:///path`, or the path";
                    return Err(bad(format!("is {text:?}, {why}")));
                }
                path
            }
            Some((scheme, _)) => {
                let why = "can't be had here: write a path of this machine, or `s3://bucket/key`";
                return Err(bad(format!("is {text:?}, and {scheme}:// {why}")));
            }
        };
        if let Some(conn_id) = conn_id {
            return Err(bad(format!(
                "is {text:?}, a path of this machine, for which there is no connection: leave `{conn_id}` out"
            )));
        }
        named(path).map_err(bad)?;
        local(path).map(Self::Local)
    }

    fn shown(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            #[cfg(feature = "s3")]
            Self::S3(object) => object.address(),
        }
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(TransferArgs::read)?;
    let from = Place::of(job, "src", &args.src, args.source_conn_id.as_deref(), |path| job.found(path))?;
    let to = Place::of(job, "dst", &args.dst, args.dest_conn_id.as_deref(), |path| job.written(path))?;
    let transfer =
        Transfer { from, to, overwrite: args.overwrite, files: job.host.files()?.clone(), mark: job.mark() };
    Ok(local::work(job, move |context| transfer.carry_out(context)))
}

#[derive(Debug)]
struct Transfer {
    from: Place,
    to: Place,
    overwrite: bool,
    files: Files,
    mark: String,
}

impl Transfer {
    async fn carry_out(self, context: TaskContext) -> Result<Value, String> {
        let (from, to) = (self.from.shown(), self.to.shown());
        #[cfg(feature = "s3")]
        if let (Place::S3(source), Place::S3(copy)) = (&self.from, &self.to)
            && source.is_beside(copy)
        {
            copy.is_free(self.overwrite).await?;
            source.copy_to(copy).await?;
            context.log.line(&format!("copied {from} to {to}"));
            return Ok(json!(to));
        }
        let (mut content, length) = self.content().await?;
        let bytes = match &self.to {
            Place::Local(path) => {
                let mut incoming = Incoming::begin(&self.files, path, &self.mark, true).await?;
                if !self.overwrite && tokio::fs::symlink_metadata(path).await.is_ok() {
                    return Err(format!("{to} is there already: set `overwrite: true`, or name another"));
                }
                let copied = tokio::io::copy(&mut content, &mut incoming.file).await;
                let bytes = copied.map_err(|error| format!("copying {from} to {to} failed: {error}"))?;
                incoming.finish().await?;
                bytes
            }
            #[cfg(feature = "s3")]
            Place::S3(object) => {
                object.is_free(self.overwrite).await?;
                object.write(content, length).await?
            }
        };
        #[cfg(not(feature = "s3"))]
        let _ = length;
        context.log.line(&format!("copied {bytes} bytes from {from} to {to}"));
        Ok(json!(to))
    }

    /// What is to be copied, and how long it is.
    async fn content(&self) -> Result<(Box<dyn AsyncRead + Send + Unpin>, u64), String> {
        Ok(match &self.from {
            Place::Local(path) => {
                let file = outgoing(&self.files, path).await?;
                let length = file.metadata().await.map_err(|error| error.to_string())?.len();
                (Box::new(file), length)
            }
            #[cfg(feature = "s3")]
            Place::S3(object) => {
                let (content, length) = object.content().await?;
                (Box::new(content), length)
            }
        })
    }
}
