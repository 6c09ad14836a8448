//! Seeing to it that there is always a keeper, of this program and with these settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::File,
    os::unix::{ffi::OsStrExt, fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};
use updraft_server::workers::{Keepers, Workers};
use updraft_worker::{process, worker::Guarding};

use super::{
    hung::{Hung, Verdict},
    place::{Found, places},
};
use crate::config::Home;

/// A keeper that is asked to finish says within this that it does.
const FINISHES_WITHIN: Duration = Duration::from_secs(2);

/// How often the server looks whether its keeper is there.
pub const WATCH_EVERY: Duration = Duration::from_millis(100);

/// So long another has for going before one is started beside it: with nothing to do it goes at once, and leaves its name.
const GOES_WITHIN: Duration = Duration::from_millis(500);

/// Sees to it that there is always a keeper, one that was there before or a new one. One that an earlier server started
/// with other settings, or of another program, takes nothing more and goes when its tasks are over; another takes its
/// place at once.
pub struct Supervisor {
    /// The home folder.
    pub home: Home,
    /// The connections of keepers.
    pub workers: Arc<Workers>,
    /// For how long a keeper that says nothing is believed to be there.
    pub lease: Duration,
    /// The folders of DAG files, which tasks may read.
    pub readable: Vec<PathBuf>,
    /// The folder for logs.
    pub logs: PathBuf,
    /// What tasks may not see, beside the home folder.
    pub denied: Vec<PathBuf>,
    /// The folder for the folders in which tasks run.
    pub scratch: PathBuf,
    /// The folder for those of tasks that run as other users, if it is another one.
    pub scratch_of_others: Option<PathBuf>,
    /// The folder for what tasks write.
    pub files: PathBuf,
    /// Whether tasks are guarded.
    pub guarding: Guarding,
    /// Seconds that a callback may take.
    pub callback_timeout_s: u64,
    /// Bytes that are kept of a log.
    pub log_limit_bytes: u64,
}

/// What this server knows of keepers.
struct Known {
    /// Those that it has started, by name.
    children: BTreeMap<String, Started>,
    /// Those that it has asked to go, and since when they could have.
    asked: BTreeSet<i32>,
    asked_at: Option<Instant>,
    /// Those that do nothing.
    hung: Hung,
    told: Vec<String>,
    /// Whether it was said that all places are taken.
    told_full: bool,
}

/// A keeper that this server has started.
struct Started {
    child: Child,
    /// Only to end what another has left.
    finishes: bool,
}

impl Supervisor {
    /// Starts a keeper whenever none is there.
    pub async fn run(self) {
        let made_for = self.made_for();
        let mut known = Known {
            children: BTreeMap::new(),
            asked: BTreeSet::new(),
            asked_at: None,
            hung: Hung::new(self.lease, Instant::now()),
            told: Vec::new(),
            told_full: false,
        };
        loop {
            if let Err(error) = self.look(&made_for, &mut known) {
                warn!(error = format!("{error:#}"), "can't see to the keeper; trying again");
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// Asks keepers that were started otherwise to finish, and waits until they say that they do: so they are given nothing
    /// of what waited for this server.
    pub async fn ask_others(&self) {
        let made_for = self.made_for();
        let mut asked = BTreeSet::new();
        let until = Instant::now() + FINISHES_WITHIN;
        while Instant::now() < until {
            let others = places(&self.home).unwrap_or_default().into_iter().filter_map(|(_, found)| {
                found.takes_tasks().filter(|(_, of)| *of != made_for).map(|(pid, _)| pid)
            });
            let others: Vec<i32> = others.collect();
            if others.is_empty() {
                return;
            }
            for pid in others {
                if asked.insert(pid)
                    && let Err(error) = process::ask_to_finish(pid)
                {
                    warn!(%error, pid, "can't ask a keeper that was started otherwise to finish");
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        warn!("a keeper that was started otherwise does not answer, and may still take tasks");
    }

    fn look(&self, made_for: &str, known: &mut Known) -> Result<()> {
        known.children.retain(|name, started| match started.child.try_wait() {
            Ok(Some(ended)) => {
                if !ended.success() {
                    warn!(%ended, name, "the keeper has ended");
                }
                false
            }
            Ok(None) | Err(_) => true,
        });
        let places = places(&self.home)?;
        let hung = self.end_hung(&places, known)?;
        // One that has its place and has not said yet what it was made for says it in a moment.
        let is_right = |found: &Found| match found {
            Found::Held { made_for: of, .. } => of.as_deref().is_none_or(|of| of == made_for),
            Found::Free | Found::Deserted => false,
        };
        let mut there = places.iter().any(|(_, found)| is_right(found))
            || known.children.values().any(|started| !started.finishes);
        let mut others = false;
        for (name, found) in &places {
            match found {
                Found::Deserted if !known.children.contains_key(name) => {
                    known.children.insert(name.clone(), self.start(name, made_for, there)?);
                    there = true;
                }
                Found::Held { pid: Some(pid), made_for: Some(_) }
                    if !is_right(found) && !known.children.contains_key(name) =>
                {
                    others = true;
                    self.ask_to_go(name, *pid, known)?;
                }
                Found::Free | Found::Deserted | Found::Held { .. } => {}
            }
        }
        let is_going = others && known.asked_at.is_some_and(|at| at.elapsed() < GOES_WITHIN);
        let free = places.iter().find(|(_, found)| *found == Found::Free);
        if let Some((name, _)) = free.filter(|_| !there && !is_going) {
            known.children.insert(name.clone(), self.start(name, made_for, false)?);
        }
        let full = free.is_none() && !there;
        if full && !known.told_full {
            let count = places.len();
            warn!(
                count,
                "no keeper takes tasks here: so many are there that end what they have, and no other is started before one of them has gone"
            );
        }
        known.told_full = full;
        self.workers.note_keepers(Keepers { hung, full });
        Ok(())
    }

    /// Says which keepers do nothing, and kills those for which that lasts. What they have left, the next one ends.
    fn end_hung(&self, places: &[(String, Found)], known: &mut Known) -> Result<Vec<String>> {
        let held = |(name, found): &(String, Found)| match found {
            Found::Held { pid: Some(pid), made_for: Some(_) } => Some((name.clone(), *pid)),
            Found::Held { .. } | Found::Free | Found::Deserted => None,
        };
        let held: Vec<(String, i32)> = places.iter().filter_map(held).collect();
        known.hung.look(&held.iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), Instant::now());
        let mut hung = Vec::new();
        for (name, pid) in held {
            match known.hung.judge(pid, self.workers.silence(&name)) {
                Verdict::Well => {}
                Verdict::Hung => hung.push(name),
                Verdict::Lost => {
                    error!(
                        name,
                        pid,
                        "this keeper is there and does nothing: killing it; another ends what it has left"
                    );
                    process::kill(pid).context("can't kill the keeper that does nothing")?;
                    hung.push(name);
                }
            }
        }
        for name in hung.iter().filter(|name| !known.told.contains(*name)) {
            warn!(name, "this keeper is there and says nothing; it is killed if that lasts");
        }
        known.told.clone_from(&hung);
        Ok(hung)
    }

    fn ask_to_go(&self, name: &str, pid: i32, known: &mut Known) -> Result<()> {
        if !known.asked.contains(&pid) {
            process::ask_to_finish(pid).context("can't ask the keeper to go")?;
            info!(name, pid, "this keeper was started otherwise: it goes when its tasks are over");
            known.asked.insert(pid);
            known.asked_at = Some(Instant::now());
        }
        Ok(())
    }

    /// What a keeper that this server starts is made for, so that it is known for one that is as it should be: the program,
    /// the settings, and what of the environment tasks are given.
    fn made_for(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        if let Ok(program) = std::env::current_exe() {
            add(program.as_os_str().as_bytes());
            if let Ok(file) = program.metadata() {
                add(format!("{:?}", (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
                    .as_bytes());
            }
        }
        for argument in self.settings() {
            add(argument.as_bytes());
        }
        for (name, value) in process::base_env() {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The arguments that say how tasks are to run.
    fn settings(&self) -> Vec<OsString> {
        let guard = serde_json::to_value(self.guarding).unwrap_or_default();
        let mut settings: Vec<OsString> = vec![
            "--logs".into(),
            self.logs.clone().into(),
            "--files".into(),
            self.files.clone().into(),
            "--guard".into(),
            guard.as_str().unwrap_or_default().into(),
            "--callback-timeout".into(),
            self.callback_timeout_s.to_string().into(),
            "--log-limit".into(),
            self.log_limit_bytes.to_string().into(),
            "--scratch".into(),
            self.scratch.clone().into(),
        ];
        let scratch_of_others = self.scratch_of_others.iter().map(|folder| ("--scratch-of-others", folder));
        let readable = self.readable.iter().map(|folder| ("--readable", folder));
        let denied = self.denied.iter().map(|path| ("--denied", path));
        for (name, path) in scratch_of_others.chain(readable).chain(denied) {
            settings.extend([name.into(), path.clone().into()]);
        }
        settings
    }

    fn start(&self, name: &str, made_for: &str, finishes: bool) -> Result<Started> {
        let program = std::env::current_exe().context("can't find this program's own file")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.0.join("run").join("keeper.log"))
            .context("can't open the keeper's log")?;
        let mut command = Command::new(program);
        command.arg("--home").arg(&self.home.0).args(["keeper", "--name", name]);
        command.args(["--made-for", if finishes { "its end" } else { made_for }]).args(self.settings());
        if finishes {
            command.arg("--finish");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in the server's terminal is not for the keeper: it is told by the server.
            .process_group(0)
            .spawn()
            .context("can't start the keeper")?;
        Ok(Started { child, finishes })
    }
}
