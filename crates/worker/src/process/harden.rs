//! What this program does to be out of its tasks' reach.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Makes this program's memory, environment and descriptors unreadable for other processes of its user, whether or not the
/// kernel has Landlock (`PR_SET_DUMPABLE` 0: no ptrace, no `/proc/<pid>/environ`, `mem` or `fd`; no core dumps
/// either). Does nothing against root. The server and the keeper call it first; their tasks are not affected.
pub fn harden_self() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
