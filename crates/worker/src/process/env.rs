//! The environment of a child: an allow-list of this program's own, then what the spec asks for.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::error::SpawnError;

/// What passes from this program's environment. A name that ends in `*` stands for all that begin so.
pub const BASE_ENV: &[&str] = &[
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
];

/// The name under which an attempt's id stands in the environment of its processes.
pub const MARKER_VARIABLE: &str = "UPDRAFT_ATTEMPT";
/// The name of the file that a task writes its result to.
pub const RESULT_VARIABLE: &str = "UPDRAFT_RESULT";

/// Configuration, connections and variables: not passed on, and not to be set by a spec either.
const NEVER: &[&str] = &["UPDRAFT__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"];
/// Where programs are looked for where nothing is said.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What every child gets of this program's environment.
pub fn base_env() -> BTreeMap<OsString, OsString> {
    BaseEnv::new(std::env::vars_os()).0
}

/// The part of this program's environment that every child gets.
#[derive(Debug, Clone)]
pub(super) struct BaseEnv(BTreeMap<OsString, OsString>);

impl BaseEnv {
    /// Takes what [`BASE_ENV`] allows out of `variables`.
    pub(super) fn new(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let allowed =
            |name: &OsString| BASE_ENV.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()));
        let mut base: BTreeMap<_, _> = variables.filter(|(name, _)| allowed(name)).collect();
        base.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
        // Else what Python prints into a pipe is seen by nobody before a block is full, or its end.
        base.insert("PYTHONUNBUFFERED".into(), "1".into());
        Self(base)
    }

    /// A child's variables so far: `over`, laid over the base where that is inherited.
    pub(super) fn with(
        &self,
        over: &BTreeMap<String, String>,
        inherit: bool,
    ) -> Result<ChildEnv, SpawnError> {
        for name in over.keys() {
            check_name(name)?;
        }
        let mut variables = if inherit { self.0.clone() } else { BTreeMap::new() };
        variables.extend(over.iter().map(|(name, value)| (name.into(), value.into())));
        Ok(ChildEnv { variables })
    }
}

/// The variables of one child.
pub(super) struct ChildEnv {
    variables: BTreeMap<OsString, OsString>,
}

impl ChildEnv {
    /// Sets a variable of our own making.
    pub(super) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Sets a variable unless the spec has set it: `base` is what it would be otherwise.
    pub(super) fn set_unless_given(
        &mut self,
        given: &BTreeMap<String, String>,
        name: &str,
        value: impl Into<OsString>,
    ) {
        if !given.contains_key(name) {
            self.set(name, value);
        }
    }

    /// Where programs are looked up.
    pub(super) fn path(&self) -> OsString {
        self.variables
            .get("PATH".as_ref() as &std::ffi::OsStr)
            .cloned()
            .unwrap_or_else(|| DEFAULT_PATH.into())
    }

    /// The form that `execve` takes. The marker comes last: a daemon that writes its title over its arguments
    /// writes over the environment's beginning first.
    pub(super) fn block(self, marker: &str) -> Result<Vec<CString>, SpawnError> {
        let marker = (OsString::from(MARKER_VARIABLE), OsString::from(marker));
        self.variables
            .into_iter()
            .chain([marker])
            .map(|(name, value)| {
                let mut line = name.clone().into_vec();
                line.push(b'=');
                line.extend_from_slice(value.as_bytes());
                let what = || format!("the environment variable {name:?}");
                CString::new(line).map_err(|_| SpawnError::Nul { what: what() })
            })
            .collect()
    }
}

/// Refuses names that a spec may not set.
pub(super) fn check_name(name: &str) -> Result<(), SpawnError> {
    let why = if name.is_empty() || name.contains('=') {
        "a name is not empty and has no '='"
    } else if is_never(name.as_bytes()) {
        "configuration and connections are not passed in the environment, where every process of the task can read them; hand the value over as a secret"
    } else if name == MARKER_VARIABLE || name == RESULT_VARIABLE {
        "the name is reserved; choose another"
    } else {
        return Ok(());
    };
    Err(SpawnError::Env { name: name.to_owned(), why })
}

fn is_never(name: &[u8]) -> bool {
    NEVER.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}
