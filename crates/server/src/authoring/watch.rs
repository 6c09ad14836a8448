//! Watching a folder of DAG files.
//!
//! The kernel's notices only say that it is time to look; what has changed is told by looking at the whole
//! folder, so that renames over a file, swapped links and lost notices all come to the same. A file is read
//! once two looks in a row found it the same: half-written ones settle first.

mod beside;
mod ignore;
mod once;
mod registry;
mod scan;
mod settle;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use updraft_bundles::Checkouts;
use updraft_core::{Bundle, DagId, Namespace};

pub use self::once::{read_file, read_folder, read_folder_within};
use self::{
    beside::{Calendars, Neighbours, Used},
    registry::Registry,
    scan::{Found, Scan},
    settle::{Files, SETTLE},
};
use super::{
    Check, Format, ImportError, Options, Read, Reading, Variable,
    document::{self, DefaultsFile},
};
use crate::{deployments, git};

/// A folder of DAG files, and what they are read with.
#[derive(Clone)]
pub struct Folder {
    /// The folder, where there is one that is no bundle. It need not be there yet.
    pub root: Option<PathBuf>,
    /// Folders above it whose `defaults.yml` count too, the outermost first.
    pub above: Vec<PathBuf>,
    /// The namespace its DAGs belong to.
    pub namespace: Namespace,
    /// The operators its tasks may name.
    pub check: Arc<Check>,
    /// The environment variables its files may see.
    pub variable: Arc<Variable>,
    /// The files from which DAGs came before: where two files name a DAG, such a one keeps it.
    pub owners: BTreeMap<DagId, Arc<str>>,
    /// How often to look where nothing was noticed: network file systems give no notice of what other
    /// machines do. Ten seconds are a good value.
    pub look_every: Duration,
    /// The checkouts of a repository, the current of which is read like another folder beside the root.
    pub git: Option<Checkouts>,
    /// What was deployed into this namespace, read in the same way.
    pub deployed: Option<Checkouts>,
}

impl Folder {
    /// The version that a file is of, with its bundle's name, and its place in that.
    fn version_of(&self, path: &Path) -> Option<(&'static str, &Checkouts, String, PathBuf)> {
        let git = self.git.iter().map(|git| (git::BUNDLE, git));
        let mut all = git.chain(self.deployed.iter().map(|deployed| (deployments::BUNDLE, deployed)));
        all.find_map(|(bundle, checkouts)| {
            let (version, place) = checkouts.place_of(path)?;
            Some((bundle, checkouts, version, place))
        })
    }

    /// The name under which a file is known. One of a bundle keeps it from version to version.
    fn source(&self, path: &Path) -> Arc<str> {
        match self.version_of(path) {
            // Whichever server reads it.
            Some((deployments::BUNDLE, _, _, place)) => deployments::source(&place),
            Some((_, checkouts, _, place)) => source(&checkouts.current().join(place)),
            None => source(path),
        }
    }

    /// The folder that a file belongs to.
    fn root_of(&self, path: &Path) -> PathBuf {
        if let Some((_, checkouts, version, _)) = self.version_of(path) {
            return checkouts.all().join(version).join(&checkouts.subdir);
        }
        match self.root.as_ref().filter(|root| path.starts_with(root)) {
            Some(root) => root.clone(),
            None => std::path::absolute(path)
                .ok()
                .and_then(|path| Some(path.parent()?.into()))
                .unwrap_or_default(),
        }
    }

    /// Notes in a DAG the version that it is from, where it is from one.
    fn sign(&self, path: &Path, read: &mut Read) {
        let Some((bundle, _, version, place)) = self.version_of(path) else { return };
        let file = if bundle == deployments::BUNDLE { &*place } else { path };
        let file = file.to_string_lossy().into_owned();
        let spec = Arc::make_mut(&mut read.spec);
        spec.bundle = Some(Bundle { name: bundle.into(), version, file });
        read.hash = document::hash(spec);
    }

    /// Whether DAGs are known of what was deployed, which then is there, if not here yet.
    fn has_deployed(&self) -> bool {
        self.owners.values().any(|source| deployments::is_source(source))
    }
}

/// What became of the files of a folder.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A file is new or reads otherwise than before.
    Changed {
        /// The file.
        source: Arc<str>,
        /// All its DAGs that read well.
        dags: Vec<Read>,
        /// What is wrong with others, or with all of it.
        errors: Vec<ImportError>,
        /// All DAGs that it names, good and bad. What came from it and is not among them is to be retired;
        /// `None`: it can't be read so far, so all of them stay as they are.
        named: Option<Vec<DagId>>,
    },
    /// A file is gone, and its DAGs with it.
    Removed {
        /// The file.
        source: Arc<str>,
    },
    /// Everything in the folder was looked at once.
    Scanned {
        /// The files there are. DAGs that came from others are to be retired. Comes only when the folder can be read.
        sources: Vec<Arc<str>>,
    },
}

/// How long after a notice to look, so that one look sees all that was done together.
const GATHER: Duration = Duration::from_millis(50);
/// How often to look where the kernel can't be asked for notices.
const WITHOUT_NOTICES: Duration = Duration::from_secs(1);

/// Watches a folder until nobody listens any more: first tells what is there, then what changes.
pub async fn watch(folder: Folder, events: mpsc::Sender<Event>) {
    let noticed = Arc::new(Notify::new());
    let look_every = folder.look_every;
    let mut watching = Watching::new(folder, &noticed);
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let news = watching.look();
            (watching, news)
        });
        let news;
        (watching, news) = match look.await {
            Ok(looked) => looked,
            // A bug in the reading of files is not hidden; on shutdown the look is cancelled.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        };
        for event in news {
            if events.send(event).await.is_err() {
                return;
            }
        }
        let pause = match (watching.files.are_settled(), watching.has_notices) {
            (false, _) => SETTLE,
            (true, true) => look_every,
            (true, false) => look_every.min(WITHOUT_NOTICES),
        };
        tokio::select! {
            () = events.closed() => return,
            () = tokio::time::sleep(pause) => {}
            () = noticed.notified() => tokio::time::sleep(GATHER).await,
        }
    }
}

struct Watching {
    folder: Folder,
    notices: Option<notify::RecommendedWatcher>,
    has_notices: bool,
    watched: BTreeMap<PathBuf, (u64, u64)>,
    files: Files,
    registry: Registry,
    /// The links to nothing that were told of.
    dangling: BTreeSet<PathBuf>,
    /// Whether all there is has been told once.
    scanned: bool,
}

impl Watching {
    fn new(folder: Folder, noticed: &Arc<Notify>) -> Self {
        let noticed = Arc::clone(noticed);
        let notices = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading files gives notices too, which would go round for ever.
            let only_read = event.is_ok_and(|event| {
                use notify::event::{AccessKind, AccessMode, EventKind};
                let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
                matches!(event.kind, EventKind::Access(_)) && event.kind != written
            });
            if !only_read {
                noticed.notify_one();
            }
        });
        let registry = Registry::new(folder.owners.clone());
        Self {
            folder,
            has_notices: notices.is_ok(),
            notices: notices.ok(),
            watched: BTreeMap::new(),
            files: Files::default(),
            registry,
            dangling: BTreeSet::new(),
            scanned: false,
        }
    }

    /// Looks at the folder, reads what has changed and settled, and tells what is new. Blocks.
    fn look(&mut self) -> Vec<Event> {
        let mut scan = self.scan();
        if self.follow(&scan) {
            // What came into a folder before it was watched has given no notice.
            scan = self.scan();
            self.follow(&scan);
        }
        // At the first look nothing is known of before, and what is there has to be there at once.
        let (to_read, gone) = self.files.settle(&scan, !self.scanned, Instant::now());
        let mut changes: Vec<(Arc<str>, Option<Reading>)> =
            gone.iter().map(|path| (self.folder.source(path), None)).collect();
        changes.extend(self.read_all(&to_read));
        self.tell_unreadable(&scan, &mut changes);
        self.tell_dangling(&scan, &mut changes);
        let complete = self.scanned || scan.unreadable.is_empty() && !scan.is_partial;
        let mut events = self.registry.take(changes, complete);
        if !self.scanned && complete {
            self.scanned = true;
            events.push(Event::Scanned { sources: self.registry.sources() });
        }
        events
    }

    /// Looks at the folder, and at the versions that are current now.
    fn scan(&self) -> Scan {
        let root = self.folder.root.as_deref().map(|root| Scan::of(root, &self.folder.above));
        let mut scan = root.unwrap_or_default();
        let git = self.folder.git.iter().map(|git| (git, true));
        let deployed = self.folder.deployed.iter().map(|deployed| (deployed, self.folder.has_deployed()));
        for (checkouts, awaited) in git.chain(deployed) {
            scan.note_way_to(&checkouts.current());
            match checkouts.dags() {
                Some(dags) => scan.add(Scan::of(&dags, &[])),
                None => scan.is_partial |= awaited,
            }
        }
        scan
    }

    /// Asks for notices of all folders in which a change shows; whether any is new.
    fn follow(&mut self, scan: &Scan) -> bool {
        let Some(notices) = &mut self.notices else { return false };
        self.watched.retain(|folder, identity| {
            let stays = scan.folders.get(folder) == Some(identity);
            if !stays {
                // The folder may be gone, and its watch with it.
                let _ = notices.unwatch(folder);
            }
            stays
        });
        self.has_notices = true;
        let mut any_new = false;
        for (folder, identity) in &scan.folders {
            if self.watched.contains_key(folder) {
                continue;
            }
            match notices.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    any_new = true;
                    self.watched.insert(folder.clone(), *identity);
                }
                Err(error) => {
                    if self.scanned {
                        tracing::debug!(folder = %folder.display(), %error, "no notice of changes in a folder");
                    } else {
                        tracing::warn!(folder = %folder.display(), %error, "no notice of changes in a folder");
                    }
                    self.has_notices = false;
                }
            }
        }
        any_new
    }

    /// Reads files, as many at once as there are processors.
    fn read_all(&mut self, files: &[(PathBuf, Found)]) -> Vec<(Arc<str>, Option<Reading>)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
        let next = AtomicUsize::new(0);
        let all = Mutex::new(Vec::with_capacity(files.len()));
        let calendars = Calendars::default();
        let folder = &self.folder;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((path, found)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let reading = read(path, found, folder, &calendars);
                        all.lock().unwrap_or_else(PoisonError::into_inner).push((path, found, reading));
                    }
                });
            }
        });
        let mut changes = Vec::new();
        for (path, found, reading) in all.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match reading {
                Some((reading, used)) => {
                    self.files.was_read(path, found, used);
                    changes.push((folder.source(path), Some(reading)));
                }
                None => self.files.was_gone(path, Instant::now()),
            }
        }
        changes
    }

    /// A folder that can't be looked into is told of like a file that can't be read.
    fn tell_unreadable(&self, scan: &Scan, changes: &mut Vec<(Arc<str>, Option<Reading>)>) {
        for (folder, reason) in &scan.unreadable {
            let another = match self.folder.root.as_ref() == Some(folder) {
                true => "make it, or name another by `dags.folder` or `--dags`",
                false => "let the server's user read it",
            };
            let message = format!(
                "this folder can't be read ({reason}): {another}; until then the DAGs from it stay as they are"
            );
            let source = self.folder.source(folder);
            let errors = vec![ImportError::of_file(source.clone(), message)];
            changes.push((source, Some(Reading { dags: Vec::new(), errors, named: Some(Vec::new()) })));
        }
        // Once it can be, nothing is wrong with it.
        for folder in scan.folders.keys().filter(|folder| !scan.unreadable.contains_key(*folder)) {
            changes.push((self.folder.source(folder), None));
        }
    }

    /// A link to nothing is told of like a file that can't be read.
    fn tell_dangling(&mut self, scan: &Scan, changes: &mut Vec<(Arc<str>, Option<Reading>)>) {
        let no_more = self.dangling.iter().filter(|link| !scan.dangling.contains(*link));
        changes.extend(
            // One that leads to a file again is read as that.
            no_more
                .filter(|link| !scan.files.contains_key(*link))
                .map(|link| (self.folder.source(link), None)),
        );
        for link in &scan.dangling {
            let target = std::fs::read_link(link).unwrap_or_default();
            let message = format!(
                "this link leads to `{}`, where nothing is: put the file there, or take the link out; its DAGs stay as \
                 they are",
                target.display()
            );
            let source = self.folder.source(link);
            let errors = vec![ImportError::of_file(source.clone(), message)];
            changes.push((source, Some(Reading { dags: Vec::new(), errors, named: None })));
        }
        self.dangling.clone_from(&scan.dangling);
    }
}

/// A path as text.
fn source(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

/// Reads a file, and tells which others beside it were looked into; `None` where it is not there.
fn read(path: &Path, found: &Found, folder: &Folder, calendars: &Calendars) -> Option<(Reading, Used)> {
    let mut defaults = Vec::new();
    let unreadable = |path: &Path, error: &io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::InvalidData => "it is not UTF-8; save it as UTF-8".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied; let the server's user read it".to_owned(),
            _ => error.to_string(),
        };
        let message = format!("this file can't be read: {reason}");
        let errors = vec![ImportError::of_file(folder.source(path), message)];
        Some((Reading { dags: Vec::new(), errors, named: None }, Used::new()))
    };
    for (path, _) in &found.defaults {
        match text::of(path) {
            Ok(text) => defaults.push(DefaultsFile { name: folder.source(path), text: text.into() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return unreadable(path, &error),
        }
    }
    let text = match text::of(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return unreadable(path, &error),
    };
    let options = Options {
        namespace: folder.namespace.clone(),
        check: &*folder.check,
        variable: &*folder.variable,
        now: Timestamp::now(),
    };
    let documents = std::iter::once(path).chain(found.defaults.iter().map(|(path, _)| &**path));
    let beside = Neighbours::new(&folder.root_of(path), documents, calendars);
    let mut reading = document::read(folder.source(path), &text, Format::Yaml, &defaults, &beside, &options);
    reading.dags.iter_mut().for_each(|read| folder.sign(path, read));
    Some((reading, beside.used()))
}
