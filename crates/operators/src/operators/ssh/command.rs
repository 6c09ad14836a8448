//! `SSHOperator`, as Airflow's SSH provider documents it.

use std::time::Duration;

use russh::{Channel, ChannelMsg, Sig, client::Msg};
use serde_json::Value;
use tokio::time::timeout;
use updraft_core::{
    TaskKind,
    input::{AttemptEnd, Outcome},
};

use super::{fault::Fault, server::Server, session::Session};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{Duration as Length, ExitCodes, Strings, arguments},
    },
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture, TaskLog},
};

arguments! {
    /// The arguments of `SSHOperator`.
    struct CommandArgs {
        /// The command, which the shell of the account there reads, or the name of a file that ends in `.sh` or
        /// `.bash`, which is read and rendered as a template.
        templated command: String,
        /// The connection, of type ssh or sftp.
        templated ssh_conn_id: String = "ssh_default".to_owned(),
        /// The machine, in place of the connection's own.
        templated remote_host: Option<String>,
        /// What the command has in its environment. The server takes what its `AcceptEnv` names; what it does not
        /// take, the log says.
        templated environment: Strings = Strings::new(),
        /// How long the command may be silent; then it is ended and has failed. In place of the connection's
        /// `cmd_timeout`, and null for as long as it likes. 10 seconds where nobody says. How long it may take
        /// altogether, `execution_timeout` says.
        plain cmd_timeout: Option<Length>,
        /// How long the server may take to answer, in place of the connection's `conn_timeout`.
        plain conn_timeout: Option<Length>,
        /// Whether the command has a terminal; one that begins with `sudo` has it in any case. When the task is
        /// stopped, the command gets SIGTERM and, 5 seconds later, SIGKILL; where the server passes on no signals
        /// (OpenSSH does not to root), only a command with a terminal ends.
        plain get_pty: bool = false,
        /// It is skipped where it ends with this exit code, or one of these.
        plain skip_on_exit_code: Option<ExitCodes>,
    } accepted {
        /// No difference here: the server may take 30 seconds to let the account in.
        banner_timeout: Length,
    }
}

pub(in crate::operators) const ENTRY: Entry = Entry {
    name: "SSHOperator",
    aliases: &[
        "ssh",
        "airflow.providers.ssh.operators.ssh.SSHOperator",
        "airflow.contrib.operators.ssh_operator.SSHOperator",
    ],
    doc: "Runs a command on another machine. What it writes is in the task's log, line by line; its result is the last \
          line of its standard output, and any exit code but 0 is a failure.",
    takes_results: None,
    arguments: &[CommandArgs::LIST],
    template_ext: &[".sh", ".bash"],
    kind: |_| Ok(TaskKind::Run),
    plan,
};

/// How long a command that is to end has between the request and the order.
const GRACE: Duration = Duration::from_secs(5);

/// A longer line is cut in pieces, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// What the protocol calls standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(CommandArgs::read)?;
    if args.command.trim().is_empty() {
        return Err(job.bad((Some("command"), "is empty".into())));
    }
    let mut server = Server::of(job, &args.ssh_conn_id, args.remote_host.as_deref())?;
    match job.args.get("cmd_timeout") {
        Some(Value::Null) => server.silence = None,
        _ => server.silence = args.cmd_timeout.map(|length| length.0.unsigned_abs()).or(server.silence),
    }
    if let Some(Length(length)) = args.conn_timeout {
        server.patience = length.unsigned_abs();
    }
    Ok(Work::Native(Box::new(Commanding {
        server,
        terminal: args.get_pty || args.command.starts_with("sudo"),
        command: args.command,
        environment: args.environment,
        skip: args.skip_on_exit_code.map(|ExitCodes(codes)| codes).unwrap_or_default(),
        keep: job.order.task.do_xcom_push,
    })))
}

#[derive(Debug)]
struct Commanding {
    server: Server,
    command: String,
    environment: Strings,
    terminal: bool,
    skip: Vec<i32>,
    keep: bool,
}

impl NativeTask for Commanding {
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move { self.carry_out(&context).await.unwrap_or_else(Outcome::from) })
    }
}

/// How a command ended.
#[derive(Debug)]
enum End {
    Code(i32),
    Signal(String),
}

impl Commanding {
    async fn carry_out(&self, context: &TaskContext) -> Result<Outcome, Fault> {
        let session = Session::open(&self.server).await?;
        context.log.line(&format!("connected to {}", self.server.shown()));
        let channel = session.channel(&self.server).await?;
        let mut running = Running { held: Some((session, channel)) };
        let (end, last) = self.drive(&mut running, &*context.log).await?;
        running.close().await;
        Ok(self.judge(end, last))
    }

    fn judge(&self, end: End, last: Option<String>) -> Outcome {
        let said = |end, message| Outcome { message: Some(message), ..Outcome::new(end) };
        match end {
            End::Code(code) => {
                let outcome = match code {
                    code if self.skip.contains(&code) => {
                        said(AttemptEnd::Skipped, format!("exit code {code} means skip"))
                    }
                    0 => with_result(
                        Outcome::new(AttemptEnd::Success),
                        last.filter(|_| self.keep).map(|line| line.trim_end().into()),
                    ),
                    code => said(AttemptEnd::Failed, format!("ended with exit code {code}")),
                };
                Outcome { exit_code: Some(code), ..outcome }
            }
            End::Signal(name) => said(AttemptEnd::Failed, format!("ended by signal {name}")),
        }
    }

    /// Begins the command and hears it to its end. What it says last on its standard output, too.
    async fn drive(&self, running: &mut Running, log: &dyn TaskLog) -> Result<(End, Option<String>), Fault> {
        let Some((_, channel)) = &mut running.held else { return Err(self.broke_off()) };
        self.begin(channel, log).await?;
        let (mut output, mut errors) = (Lines::default(), Lines::default());
        let mut end = None;
        loop {
            let message = match self.server.silence {
                Some(limit) => timeout(limit, channel.wait()).await.map_err(|_| {
                    self.server.fault(format!(
                        "the command has been silent for {limit:?} and is told to end: give it a longer `cmd_timeout`, or \
                         null for none"
                    ))
                })?,
                None => channel.wait().await,
            };
            match message {
                Some(ChannelMsg::Data { data }) => output.take(&data, |line| log.line(line)),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                    errors.take(&data, |line| log.line(line));
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    end = Some(End::Code(i32::try_from(exit_status).unwrap_or(i32::MAX)));
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    end = Some(End::Signal(format!("{signal_name:?}")));
                }
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        errors.finish(|line| log.line(line));
        output.finish(|line| log.line(line));
        Ok((end.ok_or_else(|| self.broke_off())?, output.last))
    }

    async fn begin(&self, channel: &mut Channel<Msg>, log: &dyn TaskLog) -> Result<(), Fault> {
        let broken = |error: russh::Error| self.server.broken(error.into());
        for (name, value) in &self.environment {
            channel.set_env(true, name, value).await.map_err(broken)?;
            if !self.is_taken(channel).await? {
                log.line(&format!(
                    "the server does not take `{name}` of `environment`: name it in AcceptEnv of its sshd_config, or \
                     set it in the command"
                ));
            }
        }
        if self.terminal {
            channel.request_pty(true, "vt100", 80, 24, 0, 0, &[]).await.map_err(broken)?;
            if !self.is_taken(channel).await? {
                return Err(self.server.fault("the server gives no terminal (`get_pty`)"));
            }
        }
        log.line(&format!("running: {}", self.command));
        channel.exec(true, self.command.as_bytes()).await.map_err(broken)?;
        if !self.is_taken(channel).await? {
            return Err(self.server.fault("the server runs no commands for this account"));
        }
        // It has nothing to read, as other tasks have not.
        channel.eof().await.map_err(broken)
    }

    /// Whether the server does what it was asked.
    async fn is_taken(&self, channel: &mut Channel<Msg>) -> Result<bool, Fault> {
        loop {
            match timeout(self.server.patience, channel.wait()).await {
                Ok(Some(ChannelMsg::Success)) => return Ok(true),
                Ok(Some(ChannelMsg::Failure)) => return Ok(false),
                Ok(Some(ChannelMsg::Close) | None) => return Err(self.broke_off()),
                Ok(Some(_)) => {}
                Err(_) => {
                    let limit = self.server.patience;
                    return Err(self.server.fault(format!("the server has not answered within {limit:?}")));
                }
            }
        }
    }

    fn broke_off(&self) -> Fault {
        self.server.fault(
            "the connection broke off before the command ended: the server, or something on the way, ended it. The \
             command may still be at work there",
        )
    }
}

/// A command at work. Where it is dropped before its end, the command is ended, too.
struct Running {
    held: Option<(Session, Channel<Msg>)>,
}

impl Running {
    async fn close(mut self) {
        if let Some((session, _)) = self.held.take() {
            session.close().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(end(held));
        }
    }
}

/// Requests the end of a command, and orders it where that is no use. What can't be sent has nobody to hear it. OpenSSH
/// passes signals on, but for root; there, as with servers that pass on none, only a terminal (`get_pty`) ends a command
/// with its channel.
async fn end((session, mut channel): (Session, Channel<Msg>)) {
    let _ = channel.signal(Sig::TERM).await;
    let ended = async { while !matches!(channel.wait().await, Some(ChannelMsg::Close) | None) {} };
    if timeout(GRACE, ended).await.is_err() {
        let _ = channel.signal(Sig::KILL).await;
        let _ = channel.close().await;
    }
    session.close().await;
}

/// Bytes as they come, in lines.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
    last: Option<String>,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.flush(&mut line);
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() >= LONGEST_LINE {
            self.flush(&mut line);
        }
    }

    fn finish(&mut self, line: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            self.flush(line);
        }
    }

    fn flush(&mut self, mut line: impl FnMut(&str)) {
        let text =
            String::from_utf8_lossy(self.begun.strip_suffix(b"\r").unwrap_or(&self.begun)).into_owned();
        line(&text);
        self.last = Some(text);
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_comes_in_pieces_is_logged_in_lines() {
        let (mut lines, mut logged) = (Lines::default(), Vec::new());
        for piece in ["on", "e\r\ntwo\n", "\nthr", "ee"] {
            lines.take(piece.as_bytes(), |line| logged.push(line.to_owned()));
        }
        assert_eq!(logged, ["one", "two", ""]);
        lines.finish(|line| logged.push(line.to_owned()));
        assert_eq!((logged.pop(), lines.last.as_deref()), (Some("three".into()), Some("three")));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (mut lines, mut logged) = (Lines::default(), 0);
        for _ in 0..100 {
            lines.take(&[b'x'; 32 * 1024], |_| logged += 1);
        }
        assert!(logged >= 40 && lines.begun.len() < LONGEST_LINE, "{logged}");
    }
}
