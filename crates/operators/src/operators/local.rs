//! Files of this machine that operators read and write while they are at work.

use std::{fmt, path::Path};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use updraft_core::input::{AttemptEnd, Outcome};

use crate::{
    Files, Work,
    files::NewFile,
    outcome::with_result,
    prepare::Job,
    work::{NativeTask, TaskContext, TaskFuture},
};

/// A local file that another takes the place of when it is whole.
pub(super) struct Incoming {
    new: NewFile,
    pub(super) file: tokio::fs::File,
}

impl Incoming {
    /// Begins one; makes the folders that it is in, where that is wanted.
    pub(super) async fn begin(
        files: &Files,
        path: &Path,
        mark: &str,
        make_folders: bool,
    ) -> Result<Self, String> {
        let (files, path, mark) = (files.clone(), path.to_owned(), mark.to_owned());
        blocking(move || {
            if let Some(folder) = path.parent().filter(|_| make_folders) {
                files.make_folders(folder).map_err(|error| error.to_string())?;
            }
            let (new, file) = files.write(&path, &mark).map_err(|error| error.to_string())?;
            Ok(Self { new, file: tokio::fs::File::from_std(file) })
        })
        .await
    }

    /// Puts it into its place.
    pub(super) async fn finish(mut self) -> Result<(), String> {
        self.file.flush().await.map_err(|error| error.to_string())?;
        let file = self.file.into_std().await;
        let new = self.new;
        blocking(move || new.finish(&file).map_err(|error| error.to_string())).await
    }
}

/// Opens a local file to be read.
pub(super) async fn outgoing(files: &Files, path: &Path) -> Result<tokio::fs::File, String> {
    let (files, path) = (files.clone(), path.to_owned());
    let open = move || files.open(&path).map(tokio::fs::File::from_std).map_err(|error| error.to_string());
    blocking(open).await
}

/// Does what blocks where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// Work that is one future: the result, or why there is none.
pub(super) fn work<D, F>(job: &Job<'_>, deed: D) -> Work
where
    D: FnOnce(TaskContext) -> F + Send + 'static,
    F: Future<Output = Result<Value, String>> + Send + 'static,
{
    Work::Native(Box::new(Deed { deed, with_result: job.order.task.do_xcom_push }))
}

struct Deed<D> {
    deed: D,
    with_result: bool,
}

impl<D> fmt::Debug for Deed<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Deed").finish_non_exhaustive()
    }
}

impl<D, F> NativeTask for Deed<D>
where
    D: FnOnce(TaskContext) -> F + Send + 'static,
    F: Future<Output = Result<Value, String>> + Send + 'static,
{
    fn run(self: Box<Self>, context: TaskContext) -> TaskFuture {
        Box::pin(async move {
            match (self.deed)(context).await {
                Ok(result) => {
                    with_result(Outcome::new(AttemptEnd::Success), self.with_result.then_some(result))
                }
                // Airflow tries whatever failed again, as often as the task says; so is it here.
                Err(why) => Outcome { message: Some(why), ..Outcome::new(AttemptEnd::Failed) },
            }
        })
    }
}
