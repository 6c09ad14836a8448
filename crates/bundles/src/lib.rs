//! Bundles: folders of DAG files with all that is beside them. Each version of one is unpacked into a folder of its own,
//! which never changes ([`Checkouts`]). Between machines it goes as an archive, known by the hash of its bytes
//! ([`archive`]).
//!
//! # Architecture Invariant
//!
//! Nothing that an archive or a repository has in it is written, or leads, out of its folder.

pub mod archive;
mod checkouts;
mod links;

use std::{io, path::Path};

pub use self::checkouts::{Checkouts, remove};

/// Why files can't be packed, unpacked or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files can't be written or read.
    #[error("can't use {path}: {source}")]
    Files {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is something that a bundle may not have.
    #[error("`{path}` is {what}, which a bundle may not have in it: leave it out")]
    Entry {
        /// Its name in the bundle.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The archive is none.
    #[error("this is no archive of a bundle (a tar packed by gzip): {0}")]
    NoArchive(io::Error),
    /// Its bytes are others than those that are known by this hash.
    #[error("the archive is damaged: its hash is {found}, and should be {wanted}")]
    Damaged {
        /// What they should be.
        wanted: String,
        /// What they are.
        found: String,
    },
    /// It is larger than it may be.
    #[error("the bundle is too large: {what} is the most")]
    TooLarge {
        /// What it may have.
        what: String,
    },
}

/// An error at a path.
fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Files { path, source }
}
