//! Starts processes, on threads of its own.

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Signal, WaitOptions, kill_process_group, waitpid};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::ended::LeftBehind;
use super::env::BaseEnv;
use super::error::SpawnError;
use super::folder::{API_SOCKET, Scratch, Scratches};
use super::guard::{Guard, GuardStatus};
use super::log::LogWriter;
use super::output::{Capture, Output};
use super::prepare::{Prepared, SLOTS, Started};
use super::result::Collector;
use super::running::{Control, Running};
use super::slots::{Slots, raise_file_limit};
use super::spec::ProcessSpec;
use super::supervise::{Supervisor, Watched};
use super::survivors::end_all;
use super::sys::{self, Stack};
use super::tree::Orphans;

/// How often dead orphans are looked for while nothing else happens.
const BURY_EVERY: Duration = Duration::from_secs(1);

/// Starts processes and watches them. Clones are the same spawner. One per program: making it turns this
/// program into the parent of its tasks' orphans, which the kernel makes children of the first thread. Other
/// parts of the program that start processes should do so from other threads, or each end of a task looks at
/// theirs, too.
#[derive(Clone)]
pub struct Spawner {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

struct Shared {
    scratches: Scratches,
    base_env: BaseEnv,
    orphans: Orphans,
    /// The soft limit of open files that tasks get.
    open_files: u64,
}

/// One process to start, and where to say what came of it.
struct Job {
    spec: ProcessSpec,
    runtime: Handle,
    spawner: Spawner,
    started: oneshot::Sender<Result<Running, SpawnError>>,
}

impl Spawner {
    /// Makes the scratch folder, for attempts' private folders, and the launching threads. Tasks that run as other
    /// users must be able to pass through the folders above theirs: if these are to be somewhere else than in the
    /// scratch folder, `of_others` says where; it is made when the first comes, in a folder that is there. What a
    /// former program left in them stays until [`Spawner::clear_former`]: its processes may be alive. Call it early:
    /// the lower the descriptors it gets, the better.
    pub fn new(scratch: &Path, of_others: Option<PathBuf>) -> io::Result<Self> {
        sys::keep_child_statuses();
        let shared = Arc::new(Shared {
            scratches: Scratches::new(scratch, of_others)?,
            base_env: BaseEnv::new(std::env::vars_os()),
            orphans: Orphans::adopt()?,
            open_files: raise_file_limit()?,
        });
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        // Each sleeps for the 0.3 ms or so that a start takes, and for longer where many want the processors: one
        // alone is then what everything waits for.
        for number in 0..processors.clamp(2, 4) {
            let (shared, queue, mut slots) =
                (Arc::clone(&shared), Arc::clone(&queue), Slots::reserve(SLOTS)?);
            let thread = std::thread::Builder::new().name(format!("spawn-{number}"));
            thread.spawn(move || serve(&shared, &queue, &mut slots))?;
        }
        Ok(Self { jobs, shared })
    }

    /// Starts a process. Must be called within a tokio runtime with IO and time, which then watches the
    /// process. If the caller stops waiting, the process may have been started all the same, and is watched
    /// to its end.
    pub async fn spawn(&self, spec: ProcessSpec) -> Result<Running, SpawnError> {
        let (started, answer) = oneshot::channel();
        let gone = || SpawnError::System {
            doing: "start a process",
            source: io::Error::other("no launching thread is left"),
        };
        let job = Job { spec, runtime: Handle::current(), spawner: self.clone(), started };
        self.jobs.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Removes the private folders and results that a former program has left in the scratch folders, and
    /// tells how many. Only once its [`survivors`](super::survivors) are ended: they may be at work there.
    pub fn clear_former(&self) -> io::Result<usize> {
        self.shared.scratches.clear_former()
    }

    /// Ends every orphan there is (SIGTERM, the grace, SIGKILL): those that are no running task's as far as one
    /// can tell, and those of tasks that run. For when this program ends, and its tasks have.
    pub async fn end_orphans(&self, grace: Duration) -> io::Result<LeftBehind> {
        end_all(|| Ok(self.orphans().all()), grace).await
    }

    /// A path for the socket at which tasks ask this program: beside their folders.
    pub fn api_socket(&self) -> PathBuf {
        self.shared.scratches.own.api_socket()
    }

    /// A path for such a socket in a scratch folder that may not have been made yet.
    pub fn api_socket_in(scratch: &Path) -> PathBuf {
        scratch.join(API_SOCKET)
    }

    /// The same for tasks that run as other users: beside the folders of these, which are made ready by this.
    pub fn api_socket_of_others(&self) -> Result<PathBuf, SpawnError> {
        self.shared.scratches.of_others().map(Scratch::api_socket)
    }

    /// Removes the folder for tasks that run as other users, if none is left. For when this program ends.
    pub fn leave(&self) {
        self.shared.scratches.leave();
    }

    pub(super) fn scratches(&self) -> &Scratches {
        &self.shared.scratches
    }

    pub(super) fn orphans(&self) -> &Orphans {
        &self.shared.orphans
    }
}

/// What a launching thread does until the last spawner and the last process of its are gone.
fn serve(shared: &Shared, queue: &Mutex<Receiver<Job>>, slots: &mut Slots) {
    let mut stack = Stack::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(BURY_EVERY);
        match job {
            Ok(Job { spec, runtime, spawner, started }) => {
                let _within = runtime.enter();
                // The caller may have stopped waiting; the process is watched all the same.
                let _ = started.send(start(spec, spawner, slots, &mut stack));
            }
            Err(RecvTimeoutError::Timeout) => shared.orphans.bury(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn start(
    spec: ProcessSpec,
    spawner: Spawner,
    slots: &mut Slots,
    stack: &mut Stack,
) -> Result<Running, SpawnError> {
    let shared = &spawner.shared;
    let prepared = Prepared::new(&spec, &shared.scratches, &shared.base_env)?;
    let own_max_rss_bytes = sys::own_max_rss_bytes();
    let Started { launched, out, err, folder, masks, uid } =
        prepared.start(slots, stack, shared.open_files)?;
    let pid = launched.pid;
    let log = LogWriter::new(spec.log, spec.log_limit_bytes).leaving(spec.unwritten_log_bytes);
    let capture = Capture::new(log, Collector::new(spec.result, spec.result_limit_bytes), folder, masks);
    let watch = || {
        let output = Output::new(out, err, capture)?;
        Ok((output, sys::awaitable(launched.pidfd)?))
    };
    let (output, ended) = watch().map_err(|source| {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
        SpawnError::Unwatched { source }
    })?;
    let guard = spec.guard.as_deref().map_or(GuardStatus::NotAsked, |guard: &Guard| guard.status().clone());
    let watched = Watched {
        pid,
        marker: spec.marker,
        uid,
        timeout: spec.timeout,
        kill_grace: spec.kill_grace,
        skip_codes: spec.skip_codes,
        guard: guard.clone(),
        started_at: SystemTime::now(),
        started: Instant::now(),
        own_max_rss_bytes,
    };
    let (commands, receiver) = mpsc::unbounded_channel();
    let (over, has_ended) = oneshot::channel();
    let supervisor = Supervisor::new(watched, ended, output, receiver, spawner);
    tokio::spawn(async move {
        // Nobody may be waiting.
        let _ = over.send(supervisor.run().await);
    });
    Ok(Running { control: Control { pid, commands }, guard, ended: has_ended })
}
