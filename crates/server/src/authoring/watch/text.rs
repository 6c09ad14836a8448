//! The text of a file, as far as it is one that a DAG file can be.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    string::FromUtf8Error,
};

use crate::authoring::yaml::MAX_BYTES;

/// Reads a file that is a DAG file or beside one.
pub(super) fn of(path: &Path) -> io::Result<String> {
    at_most(MAX_BYTES, "a DAG file", path)
}

/// Reads a file. One that is too large is not read, and what is no file (a pipe never ends) not opened.
pub(super) fn at_most(most: usize, what: &str, path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let too_large = |bytes: u64| {
        let message = format!("{bytes} bytes are more than the {most} {what} may have: split it");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    if metadata.len() > most as u64 {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(too_large(bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, encoding(&error)))
}

/// How bytes that are no UTF-8 are written, as far as they tell.
fn encoding(error: &FromUtf8Error) -> String {
    let bytes = error.as_bytes();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return "is UTF-16 and not UTF-8".into();
    }
    let good = &bytes[..error.utf8_error().valid_up_to()];
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("is not UTF-8 but another encoding, such as Latin-1, on line {line}")
}
