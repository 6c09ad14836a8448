//! The environments of Python that a bundle's `requirements.txt` or a task asks for: each a `venv`, made by whoever needs it
//! first, in a process that is guarded as tasks are, with what it says in the log of that attempt.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use tracing::{info, warn};
use updraft_bundles::{archive, remove};
use updraft_core::{
    input::{AttemptEnd, Outcome as Ended},
    protocol::Order,
};
use updraft_operators::{
    ProcessPlan,
    work::{Command, PythonEnvironment, ResultRule, TaskLog as _},
};

use super::{Bundles, KEPT, Missing, Tools, Wanted, blocking, stopped};
use crate::{
    process::{DEFAULT_PATH, Guard, Masks, Outcome, ProcessSpec, Program, log::TaskLogFile},
    worker::{attempt::process_spec, wanted::steer},
};

/// The Python of environments that name none.
const PYTHON: &str = "python3";

/// The file that asks for packages.
const REQUIREMENTS: &str = "requirements.txt";

/// It may have so many bytes.
const LONGEST: u64 = 1024 * 1024;

/// Stands in an environment that is whole.
const WHOLE: &str = "whole";

/// Makes one in the folder `$1`, of the Python `$2`, with that one's own packages where `$3` says so, and with what the file
/// `$4` asks for, if any; what comes behind is for pip.
const MAKE: &str = "\
set -e
folder=$1 python=$2 own=$3 requirements=$4
shift 4
if [ -z \"$requirements\" ]; then
  exec \"$python\" -m venv ${own:+--system-site-packages} --without-pip \"$folder\"
fi
\"$python\" -m venv ${own:+--system-site-packages} \"$folder\"
\"$folder/bin/python\" -m pip install --disable-pip-version-check --no-input --requirement \"$requirements\" \"$@\"
";

/// An environment, and that it is in use.
pub(in crate::worker) type Held = (PathBuf, Arc<File>);

/// What is to be made.
struct Wish<'a> {
    /// What it is known by.
    name: String,
    /// The file that asks for packages, or the text of one.
    requirements: Requirements<'a>,
    /// The Python that it is made of.
    python: &'a str,
    system_site_packages: bool,
    pip_options: &'a [String],
    /// Over what the worker has set for pip.
    env: BTreeMap<String, String>,
    /// Where paths among the requirements start.
    folder: &'a Path,
    /// Who asks for it, for people.
    asked_by: &'a str,
}

enum Requirements<'a> {
    File(&'a Path),
    Text(&'a str),
}

impl Bundles {
    /// The environment that the bundle in this folder asks for, if it does.
    pub(super) async fn environment(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        at: (&Masks, &Path),
        folder: &Path,
        wanted: watch::Receiver<Wanted>,
    ) -> Result<Option<Held>, Missing> {
        if order.task.run_as_user.is_some() {
            // The worker's folder is closed to that user.
            return Ok(None);
        }
        let Some(name) = name_of(order, folder).await? else { return Ok(None) };
        let wish = Wish {
            name,
            requirements: Requirements::File(&folder.join(REQUIREMENTS)),
            python: PYTHON,
            system_site_packages: false,
            pip_options: &[],
            env: BTreeMap::new(),
            folder,
            asked_by: REQUIREMENTS,
        };
        self.have(order, tools, at, wish, wanted).await.map(Some)
    }

    /// The environment that a task asks for.
    pub(super) async fn environment_of_task(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        at: (&Masks, &Path),
        asked: &PythonEnvironment,
        wanted: watch::Receiver<Wanted>,
    ) -> Result<Held, Missing> {
        let folder = Path::new(&order.run.source).parent().unwrap_or(Path::new("/"));
        let version = python(&asked.python).await.map_err(|why| format!("it needs {why}"))?;
        let mut named = vec![order.run.namespace.to_string(), version, format!("{asked:?}")];
        if names_own_files(&asked.requirements, folder) {
            named.push(folder.to_string_lossy().into_owned());
        }
        let name = archive::hash(named.join("\0").as_bytes()).map_err(|error| error.to_string())?;
        let mut env = BTreeMap::new();
        if let Some(urls) = &asked.index_urls {
            let (index, more) =
                urls.split_first().map_or((None, &[][..]), |(index, more)| (Some(index), more));
            let set = [
                ("PIP_NO_INDEX", if index.is_none() { "1".to_owned() } else { String::new() }),
                ("PIP_INDEX_URL", index.cloned().unwrap_or_default()),
                ("PIP_EXTRA_INDEX_URL", more.join(" ")),
            ];
            env.extend(set.map(|(name, value)| (name.to_owned(), value)));
        }
        let wish = Wish {
            name,
            requirements: Requirements::Text(&asked.requirements),
            python: &asked.python,
            system_site_packages: asked.system_site_packages,
            pip_options: &asked.pip_options,
            env,
            folder,
            asked_by: "the task",
        };
        self.have(order, tools, at, wish, wanted).await
    }

    /// The environment, which is made where it is not there.
    async fn have(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        wish: Wish<'_>,
        wanted: watch::Receiver<Wanted>,
    ) -> Result<Held, Missing> {
        let name = &wish.name;
        let _turn = tokio::select! {
            turn = self.turn(name) => turn,
            outcome = stopped(order, wanted.clone()) => return Err(Missing::Stopped(outcome)),
        };
        let environment = self.environments.all().join(name);
        if environment.join(WHOLE).exists()
            && let Some(held) = self.hold(&self.environments, name)
        {
            return Ok((environment, held));
        }
        let (half, text) = (
            environment.clone(),
            match wish.requirements {
                Requirements::Text(text) if !text.trim().is_empty() => Some(text.to_owned()),
                Requirements::Text(_) | Requirements::File(_) => None,
            },
        );
        let requirements = match (&wish.requirements, &text) {
            (Requirements::File(file), _) => file.to_string_lossy().into_owned(),
            (Requirements::Text(_), Some(_)) => half.join(REQUIREMENTS).to_string_lossy().into_owned(),
            (Requirements::Text(_), None) => String::new(),
        };
        blocking(move || {
            remove(&half)?;
            // Only what is there can be opened to the process that makes it.
            let made = std::fs::create_dir(&half);
            let written = made.and_then(|()| match text {
                Some(text) => std::fs::write(half.join(REQUIREMENTS), text),
                None => Ok(()),
            });
            written.map_err(|source| {
                let path = half.display().to_string();
                updraft_bundles::Error::Files { path, source }
            })
        })
        .await?;
        TaskLogFile::masked(log.to_owned(), masks.clone())
            .line(&format!("Installing what {} asks for; this is done once on each worker", wish.asked_by));
        self.make(
            order,
            tools,
            (masks, log),
            (&environment, &plan(&environment, requirements, &wish)),
            wanted,
        )
        .await
        .map_err(|missing| match missing {
            Missing::Because(why) => {
                Missing::Because(format!("what {} asks for can't be installed: {why}", wish.asked_by))
            }
            stopped @ Missing::Stopped(_) => stopped,
        })?;
        let (environments, whole) = (self.environments.clone(), environment.join(WHOLE));
        blocking(move || {
            std::fs::write(&whole, "")?;
            if let Err(error) = environments.keep_last(KEPT) {
                warn!(%error, "environments that nothing runs in can't be removed");
            }
            Ok::<_, std::io::Error>(())
        })
        .await?;
        info!(name, "an environment of Python was made");
        let gone = || "the environment of Python has just gone".to_owned();
        let held = self.hold(&self.environments, name).ok_or_else(gone)?;
        Ok((environment, held))
    }

    async fn make(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        (environment, plan): (&Path, &ProcessPlan),
        wanted: watch::Receiver<Wanted>,
    ) -> Result<(), Missing> {
        let name = order.attempt.to_string();
        let (mut spec, _granted) = process_spec(order, tools, &name, plan, masks.clone(), log.to_owned())?;
        let guard = self.guard.clone().map(|mut policy| {
            policy.writable.push(environment.to_owned());
            Guard::new(policy)
        });
        spec.guard = guard.transpose().map_err(|error| error.to_string())?.map(Arc::new);
        // One environment is for all users.
        spec.run_as_user = None;
        let running = tools.spawner.spawn(spec).await.map_err(|error| error.to_string())?;
        let control = running.control();
        let ended = tokio::select! {
            ended = running.wait() => ended.map_err(|error| error.to_string())?,
            never = steer(control, wanted) => match never {},
        };
        match ended.outcome {
            Outcome::Succeeded => Ok(()),
            Outcome::Killed => Err(Missing::Stopped(Ended::new(AttemptEnd::Cancelled))),
            Outcome::TimedOut => Err("it took longer than the task's execution_timeout".to_owned().into()),
            _ => {
                let mend = "see above. It needs `python3` with `venv` (`apt install python3-venv`), and an index of packages \
                            that this machine reaches";
                Err(mend.to_owned().into())
            }
        }
    }
}

/// The process that makes one in this folder.
fn plan(environment: &Path, requirements: String, wish: &Wish<'_>) -> ProcessPlan {
    let own = if wish.system_site_packages { "yes" } else { "" };
    let arguments =
        [environment.to_string_lossy().into_owned(), wish.python.into(), own.into(), requirements];
    // What is no text is nothing that pip reads.
    let of_worker = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_of_pip(name));
    let env = of_worker.chain(wish.env.clone()).filter(|(_, value)| !value.is_empty());
    ProcessPlan {
        command: Command::Script {
            text: MAKE.into(),
            interpreter: vec!["sh".into()],
            arguments: arguments.into_iter().chain(wish.pip_options.iter().cloned()).collect(),
        },
        env: env.collect(),
        inherit_env: true,
        secrets: BTreeMap::new(),
        asks: false,
        cwd: Some(wish.folder.to_owned()),
        stdin: None,
        result: ResultRule::None,
        skip_exit_codes: Vec::new(),
        environment: None,
    }
}

/// The name of the environment: the same for the same requirements of a namespace, or of a bundle where they name its own
/// files. `None` where there are none.
async fn name_of(order: &Order, folder: &Path) -> Result<Option<String>, String> {
    let requirements = folder.join(REQUIREMENTS);
    let text = match tokio::fs::metadata(&requirements).await {
        Ok(metadata) if metadata.len() > LONGEST => {
            return Err(format!("its {REQUIREMENTS} has more than {LONGEST} bytes"));
        }
        Ok(_) => tokio::fs::read(&requirements).await,
        Err(error) => Err(error),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("its {REQUIREMENTS} can't be read: {error}")),
    };
    let of = match (&order.run.bundle, names_own_files(&String::from_utf8_lossy(&text), folder)) {
        (Some(bundle), true) => &*bundle.hash,
        _ => "",
    };
    let python = python(PYTHON).await.map_err(|why| format!("its {REQUIREMENTS} needs {why}"))?;
    let namespace = &order.run.namespace;
    let named = [namespace.as_bytes(), b"\0", of.as_bytes(), b"\0", python.as_bytes(), b"\0", &text].concat();
    archive::hash(&*named).map(Some).map_err(|error| error.to_string())
}

/// Whether a variable says where packages come from, or by which way.
fn is_of_pip(name: &str) -> bool {
    let proxies =
        ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "requests_ca_bundle", "ssl_cert_file"];
    name.starts_with("PIP_") || proxies.contains(&&*name.to_ascii_lowercase())
}

/// What this Python says of itself.
async fn python(program: &str) -> Result<String, String> {
    static SAID: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let known = || SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(said) = known().get(program) {
        return Ok(said.clone());
    }
    let asked = tokio::process::Command::new(program).arg("-VV").stdin(Stdio::null()).output().await;
    let said = asked.map_err(|error| format!("`{program}`, which can't be started: {error}"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    known().insert(program.to_owned(), said.clone());
    Ok(said)
}

/// Whether anything in requirements may be a file of the bundle: an option (`-r other.txt`, `-e .`), or a path.
fn names_own_files(text: &str, folder: &Path) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_own = |word: &str| {
        word.starts_with(['-', '.', '/']) || word.contains("file:") || folder.join(word).exists()
    };
    lines.flat_map(str::split_whitespace).any(is_own)
}

/// Has a process use the programs of an environment before all others.
pub(in crate::worker) fn use_environment(spec: &mut ProcessSpec, environment: &Path, inherit_env: bool) {
    let programs = environment.join("bin");
    let of_worker = || std::env::var("PATH").ok().filter(|_| inherit_env);
    let path = match spec.env.get("PATH").cloned().or_else(of_worker) {
        Some(rest) => format!("{}:{rest}", programs.display()),
        None => format!("{}:{DEFAULT_PATH}", programs.display()),
    };
    spec.env.insert("PATH".into(), path);
    spec.env.insert("VIRTUAL_ENV".into(), environment.display().to_string());
    let name = match &mut spec.program {
        Program::Argv(argv) => argv.first_mut(),
        Program::Script { interpreter, .. } => interpreter.as_mut().and_then(|argv| argv.first_mut()),
    };
    if let Some(name) = name.filter(|name| !name.contains('/') && programs.join(&**name).exists()) {
        *name = programs.join(&**name).display().to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_that_name_files_of_the_bundle_are_that_bundles_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.whl"), "").unwrap();
        for own in
            ["./wheels/a.whl", "requests\n-r more.txt", "-e .", "shop @ file:shop.whl", "shop.whl", "  ../x"]
        {
            assert!(names_own_files(own, folder.path()), "{own}");
        }
        for others in [
            "",
            "# ./x\nrequests==2.0",
            "requests >= 2 ; python_version < '3.9'",
            "a @ https://x.example/a.whl",
        ] {
            assert!(!names_own_files(others, folder.path()), "{others}");
        }
    }
}
