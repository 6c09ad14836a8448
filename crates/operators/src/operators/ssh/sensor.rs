//! `SFTPSensor`, as Airflow's SFTP provider documents it: waits until there is a file.

use glob::{MatchOptions, Pattern};
use jiff::Timestamp;
use serde_json::Value;
use updraft_core::TaskKind;

use super::{fault::Fault, server::Server, sftp::Sftp};
use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    prepare::Job,
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// The arguments of `SFTPSensor`.
    struct LookArgs {
        /// The file or folder there; with `file_pattern`, the folder that the files are in.
        templated path: String,
        /// Which files count, by their names: `*`, `?` and `[…]` stand for many.
        templated file_pattern: Option<String>,
        /// Only what was changed at this time or later counts.
        templated newer_than: Option<Timestamp>,
        /// The connection, of type sftp or ssh.
        templated sftp_conn_id: String = "sftp_default".to_owned(),
    } accepted {
        /// Not here: a Python callable can't be called.
        python_callable: Value,
        /// Not here: a Python callable can't be called.
        op_args: Value,
        /// Not here: a Python callable can't be called.
        op_kwargs: Value,
        /// No difference here: the server is asked about each file.
        use_managed_conn: bool,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SFTPSensor",
    aliases: &[
        "sftp_sensor",
        "airflow.providers.sftp.sensors.sftp.SFTPSensor",
        "airflow.contrib.sensors.sftp_sensor.SFTPSensor",
    ],
    doc: "Waits until there is a file on another machine, by SFTP. Holds no slot.",
    takes_results: None,
    arguments: &[LookArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |written| match written.literal("python_callable") {
        Some(_) => Err((
            Some("python_callable"),
            "can't be had: have a PythonOperator behind this task do what is to be done with the files"
                .into(),
        )),
        None => Ok(TaskKind::Watch),
    },
    plan,
};

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(LookArgs::read)?;
    let pattern = args.file_pattern.filter(|pattern| !pattern.is_empty());
    let pattern = pattern.map(|pattern| Pattern::new(&pattern)).transpose();
    let look = Box::new(FileLook {
        server: Server::of(job, &args.sftp_conn_id, None)?,
        path: args.path,
        pattern: pattern
            .map_err(|error| job.bad((Some("file_pattern"), format!("is no pattern: {error}"))))?,
        newer_than: args.newer_than,
    });
    Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, look))))
}

#[derive(Debug)]
struct FileLook {
    server: Server,
    path: String,
    pattern: Option<Pattern>,
    newer_than: Option<Timestamp>,
}

impl Look for FileLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            let found = {
                let _turn = context.shared.turns.of(&self.server.shown()).await;
                self.find().await.map_err(|fault| fault.to_string())?
            };
            if let Some(path) = &found {
                context.log.line(&format!("found {path}"));
            }
            Ok(Seen::from(found.is_some()))
        })
    }
}

impl FileLook {
    /// The first file that fits.
    async fn find(&self) -> Result<Option<String>, Fault> {
        let sftp = Sftp::open(&self.server).await?;
        let found = self.first(&sftp).await;
        sftp.close().await;
        found
    }

    async fn first(&self, sftp: &Sftp) -> Result<Option<String>, Fault> {
        // As Python's `fnmatch`: a star stands for a leading dot too.
        let fits = |pattern: &Pattern, name: &str| pattern.matches_with(name, MatchOptions::new());
        let paths = match &self.pattern {
            None => vec![self.path.clone()],
            Some(pattern) => {
                let names = sftp.names(&self.path).await?.into_iter().filter(|name| fits(pattern, name));
                names.map(|name| format!("{}/{name}", self.path.trim_end_matches('/'))).collect()
            }
        };
        for path in paths {
            let Some(about) = sftp.about_if_any(&path).await? else { continue };
            let changed = about.mtime.and_then(|seconds| Timestamp::from_second(seconds.into()).ok());
            if self.newer_than.is_none_or(|since| changed.is_some_and(|changed| since <= changed)) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
