//! `FTPSensor` and `FTPSSensor`, as Airflow's FTP provider documents them: wait until there is a file.

use updraft_core::TaskKind;

use super::{
    server::{Fault, Server},
    session::Session,
};
use crate::{
    Refused, Work,
    catalog::{Entry, argument::arguments},
    prepare::Job,
    sensor::{Look, Looking, Seen, Sensor, SensorArgs},
    work::TaskContext,
};

arguments! {
    /// The arguments of `FTPSensor`.
    struct LookArgs {
        /// The file there.
        templated path: String,
        /// The connection, of type ftp or ftps.
        templated ftp_conn_id: String = "ftp_default".to_owned(),
        /// Whether a look fails where the server says that it can't answer now. Otherwise it counts as one that found
        /// nothing.
        plain fail_on_transient_errors: bool = true,
    }
}

/// What a server answers when it can't for now, as Airflow's sensor counts them.
const PASSING: &[u32] = &[421, 425, 426, 434, 450, 451, 452];

pub(in crate::operators) const FTP: Entry = Entry {
    name: "FTPSensor",
    aliases: &[
        "ftp_sensor",
        "airflow.providers.ftp.sensors.ftp.FTPSensor",
        "airflow.contrib.sensors.ftp_sensor.FTPSensor",
    ],
    doc: "Waits until there is a file on an FTP server. Holds no slot.",
    plan: |job| plan(job, false),
    ..DEFAULT
};

pub(in crate::operators) const FTPS: Entry = Entry {
    name: "FTPSSensor",
    aliases: &[
        "ftps_sensor",
        "airflow.providers.ftp.sensors.ftp.FTPSSensor",
        "airflow.contrib.sensors.ftp_sensor.FTPSSensor",
    ],
    doc: "Waits until there is a file on an FTP server with TLS (`AUTH TLS`), whose certificate is checked. Holds no \
          slot.",
    plan: |job| plan(job, true),
    ..DEFAULT
};

const DEFAULT: Entry = Entry {
    name: "",
    aliases: &[],
    doc: "",
    takes_results: None,
    arguments: &[LookArgs::LIST, SensorArgs::LIST],
    template_ext: &[],
    kind: |_| Ok(TaskKind::Watch),
    plan: |job| plan(job, false),
};

fn plan(job: &Job<'_>, with_tls: bool) -> Result<Work, Refused> {
    let args = job.read(LookArgs::read)?;
    let look = Box::new(FileLook { server: Server::of(job, &args.ftp_conn_id, with_tls)?, args });
    Ok(Work::Native(Box::new(Sensor::new(job, job.read(SensorArgs::read)?, look))))
}

#[derive(Debug)]
struct FileLook {
    server: Server,
    args: LookArgs,
}

impl Look for FileLook {
    fn look<'a>(&'a self, context: &'a TaskContext) -> Looking<'a> {
        Box::pin(async {
            let _turn = context.shared.turns.of(&self.server.shown()).await;
            match self.find().await {
                Ok(there) => {
                    if there {
                        context.log.line(&format!("found {}", self.args.path));
                    }
                    Ok(Seen::from(there))
                }
                Err(fault) if self.may_pass(&fault) => {
                    context.log.line(&fault.why);
                    Ok(Seen::NotYet)
                }
                Err(fault) => Err(fault.why),
            }
        })
    }
}

impl FileLook {
    fn may_pass(&self, fault: &Fault) -> bool {
        !self.args.fail_on_transient_errors && fault.code.is_some_and(|code| PASSING.contains(&code))
    }

    async fn find(&self) -> Result<bool, Fault> {
        let mut session = Session::open(&self.server).await?;
        let found = session.has(&self.args.path).await;
        session.close().await;
        found
    }
}
