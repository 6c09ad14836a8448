//! Low descriptor numbers kept for starting children, so that a child copies a handful of descriptors
//! instead of every one that this process holds (see `sys`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this program's soft limit of open files to the hard one: each task needs three, and 1024 is a common default.
/// Gives what it was, which is the limit for tasks.
pub(super) fn raise_file_limit() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(current.unwrap_or(u64::MAX))
}

/// The slots of one launching thread.
pub(super) struct Slots {
    null: OwnedFd,
    slots: Vec<OwnedFd>,
}

impl Slots {
    /// Reserves `count` numbers, each at least `count`: a child's targets are below that, so that putting a
    /// descriptor in its place never overwrites one that is still to come.
    pub(super) fn reserve(count: usize) -> io::Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let lowest = RawFd::try_from(count).unwrap_or(RawFd::MAX);
        let slots = (0..count).map(|_| fcntl_dupfd_cloexec(&null, lowest)).collect::<Result<_, _>>()?;
        Ok(Self { null, slots })
    }

    /// The number that all slots are below.
    pub(super) fn below(&self) -> RawFd {
        self.slots.iter().map(|slot| slot.as_raw_fd() + 1).max().unwrap_or(0)
    }

    /// Puts copies of `sources` into the slots while `launch` runs, which gets their numbers in the same order.
    /// `None` stands for `/dev/null`. There must not be more sources than slots.
    pub(super) fn fill<T>(
        &mut self,
        sources: &[Option<BorrowedFd<'_>>],
        launch: impl FnOnce(&[RawFd]) -> T,
    ) -> io::Result<T> {
        debug_assert!(sources.len() <= self.slots.len(), "more descriptors than slots");
        let mut numbers = Vec::with_capacity(sources.len());
        let mut filled = Ok(());
        for (slot, source) in self.slots.iter_mut().zip(sources) {
            if let Some(source) = source {
                filled = filled.and(dup3(source, slot, DupFlags::CLOEXEC));
            }
            numbers.push(slot.as_raw_fd());
        }
        let launched = filled.map(|()| launch(&numbers));
        // A slot must not keep the writing end of a pipe: its reader waits for the end of the file.
        for (slot, source) in self.slots.iter_mut().zip(sources) {
            if source.is_some() {
                dup3(&self.null, slot, DupFlags::CLOEXEC)?;
            }
        }
        Ok(launched?)
    }
}
