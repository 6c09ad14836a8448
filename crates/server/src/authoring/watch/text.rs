//! The text of a file, as far as it is one that a DAG file can be.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use crate::authoring::yaml::MAX_BYTES;

/// Reads a file. One that is too large is not read, and what is no file (a pipe never ends) not opened.
pub(super) fn of(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let too_large = |bytes: u64| {
        let message = format!("{bytes} bytes are more than the {MAX_BYTES} a DAG file may have: split it");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    let most = MAX_BYTES as u64;
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}
