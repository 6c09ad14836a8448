//! What the worker itself says in a task's log about the process that it runs.

use std::{io::SeekFrom, path::Path};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use updraft_core::protocol::Order;
use updraft_operators::work::{Command, TaskLog as _};

use super::attempt::Tools;
use crate::process::{Masks, log::TaskLogFile};

/// A failed process says within so many bytes what it failed by.
const LAST_WORDS_BYTES: u64 = 4096;

/// Says that a secret is where others can read it.
pub(super) fn secret_arguments(command: &Command, masks: &Masks, log: &Path) {
    let (Command::Argv(arguments) | Command::Script { arguments, .. }) = command;
    if arguments.iter().any(|argument| masks.hides(argument)) {
        TaskLogFile::masked(log.to_owned(), masks.clone()).line(
            "A secret is among the arguments of this process, where every user of this machine can read it while it runs: \
             hand it over by `secrets`, or by `env`",
        );
    }
}

/// Says in the log, where a task's last words are that something was refused, what may have refused it: another
/// user's rights, or else what there is besides rights.
pub(super) async fn refusal(order: &Order, tools: &Tools, log: &Path) {
    let guard = tools.guard.as_deref().filter(|guard| guard.is_active());
    let user = order.task.run_as_user.as_deref();
    if guard.is_none() && user.is_none() {
        return;
    }
    let words = last_of(log).await.unwrap_or_default();
    if !["Permission denied", "PermissionError", "no new privileges"].iter().any(|said| words.contains(said))
    {
        return;
    }
    let files = tools.files.own().unwrap_or(Path::new("which is not set")).display();
    if let Some(user) = user {
        TaskLogFile::new(log.to_owned()).line(&format!(
            "this ran as the user {user:?}, to whom what it uses has to be open, with all folders above it. Updraft's \
             home folder is closed to that user: the setting dags.folder can name another place for Python files, and \
             worker.files one for $UPDRAFT_FILES, {files}"
        ));
    }
    let Some(guard) = guard else { return };
    let folders = guard.narrowed_folders();
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    TaskLogFile::new(log.to_owned()).line(&format!(
        "the guard that keeps tasks off Updraft's own files may have refused this: under it no task makes files \
         directly in {} (folders below these are free, and so is $UPDRAFT_FILES, {files}), or uses sudo. Whoever runs \
         this installation can turn it off: UPDRAFT__WORKER__GUARD=off",
        folders.join(", "),
    ));
}

/// The end of a log.
pub(super) async fn last_of(log: &Path) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(log).await?;
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES))).await?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
