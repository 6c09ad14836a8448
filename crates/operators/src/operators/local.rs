//! Files of this machine that operators read and write while they are at work.

use std::path::Path;

use tokio::io::AsyncWriteExt;

use crate::{Files, files::NewFile};

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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
