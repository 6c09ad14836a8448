//! `run_as_user`: who a task becomes, where this program is root.

use std::ffi::{CString, OsString};

use nix::unistd::{User, getgrouplist};

use super::error::SpawnError;
use super::sys::Credentials;

/// A user to run as, as the system's user database has it.
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) credentials: Credentials,
    pub(super) home: OsString,
    pub(super) shell: OsString,
}

impl Identity {
    pub(super) fn of(name: &str) -> Result<Self, SpawnError> {
        let refused = |why: String| SpawnError::User { user: name.to_owned(), why };
        if !rustix::process::geteuid().is_root() {
            return Err(refused(
                "the worker does not run as root; run it as root or leave run_as_user out".into(),
            ));
        }
        let user = User::from_name(name)
            .map_err(|error| refused(format!("the user database could not be read: {error}")))?;
        let user = user.ok_or_else(|| {
            refused("this machine knows no such user; create it or correct the name".into())
        })?;
        let c_name = CString::new(name).map_err(|_| refused("the name contains a NUL byte".into()))?;
        let groups = getgrouplist(&c_name, user.gid)
            .map_err(|error| refused(format!("its groups could not be read: {error}")))?;
        Ok(Self {
            name: user.name,
            credentials: Credentials {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            },
            home: user.dir.into(),
            shell: user.shell.into(),
        })
    }
}
