//! The environment of Python that a bundle's `requirements.txt` asks for: a `venv`, made by whoever needs it first, in a
//! process that is guarded as tasks are, with what it says in the log of that attempt.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
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
    work::{Command, ResultRule, TaskLog as _},
};

use super::{Bundles, KEPT, Missing, Tools, Wanted, blocking, stopped};
use crate::{
    process::{DEFAULT_PATH, Guard, Masks, Outcome, ProcessSpec, Program, log::TaskLogFile},
    worker::{attempt::process_spec, wanted::steer},
};

/// The file that asks for packages.
const REQUIREMENTS: &str = "requirements.txt";

/// It may have so many bytes.
const LONGEST: u64 = 1024 * 1024;

/// Stands in an environment that is whole.
const WHOLE: &str = "whole";

/// Makes one in the folder `$1` with what the file `$2` asks for.
const MAKE: &str = "\
set -e
python3 -m venv \"$1\"
\"$1/bin/python\" -m pip install --disable-pip-version-check --no-input --requirement \"$2\"
";

impl Bundles {
    /// The environment that the bundle in this folder asks for, if it does.
    pub(super) async fn environment(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        folder: &Path,
        wanted: watch::Receiver<Wanted>,
    ) -> Result<Option<(PathBuf, Arc<File>)>, Missing> {
        if order.task.run_as_user.is_some() {
            // The worker's folder is closed to that user.
            return Ok(None);
        }
        let requirements = folder.join(REQUIREMENTS);
        let Some(name) = name_of(order, folder).await? else { return Ok(None) };
        let _turn = tokio::select! {
            turn = self.turn(&name) => turn,
            outcome = stopped(order, wanted.clone()) => return Err(Missing::Stopped(outcome)),
        };
        let environment = self.environments.all().join(&name);
        if environment.join(WHOLE).exists()
            && let Some(held) = self.hold(&self.environments, &name)
        {
            return Ok(Some((environment, held)));
        }
        let half = environment.clone();
        blocking(move || {
            remove(&half)?;
            // Only what is there can be opened to the process that makes it.
            std::fs::create_dir(&half).map_err(|source| {
                let path = half.display().to_string();
                updraft_bundles::Error::Files { path, source }
            })
        })
        .await?;
        TaskLogFile::masked(log.to_owned(), masks.clone())
            .line(&format!("Installing what {REQUIREMENTS} asks for; this is done once on each worker"));
        let plan = ProcessPlan {
            command: Command::Script {
                text: MAKE.into(),
                interpreter: vec!["sh".into()],
                arguments: [&environment, &requirements]
                    .map(|path| path.to_string_lossy().into_owned())
                    .into(),
            },
            // What is no text is nothing that pip reads.
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| is_of_pip(name))
                .collect(),
            inherit_env: true,
            secrets: BTreeMap::new(),
            asks: false,
            cwd: Some(folder.to_owned()),
            stdin: None,
            result: ResultRule::None,
            skip_exit_codes: Vec::new(),
        };
        self.make(order, tools, (masks, log), (&environment, &plan), wanted).await?;
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
        let held = self.hold(&self.environments, &name).ok_or_else(gone)?;
        Ok(Some((environment, held)))
    }

    async fn make(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        (environment, plan): (&Path, &ProcessPlan),
        wanted: watch::Receiver<Wanted>,
    ) -> Result<(), Missing> {
        let failed = |why: String| format!("what its {REQUIREMENTS} asks for can't be installed: {why}");
        let name = order.attempt.to_string();
        let (mut spec, _granted) =
            process_spec(order, tools, &name, plan, masks.clone(), log.to_owned()).map_err(&failed)?;
        let guard = self.guard.clone().map(|mut policy| {
            policy.writable.push(environment.to_owned());
            Guard::new(policy)
        });
        let guard = guard.transpose();
        spec.guard = guard.map_err(|error| failed(error.to_string()))?.map(Arc::new);
        // One environment is for all users.
        spec.run_as_user = None;
        let running = tools.spawner.spawn(spec).await.map_err(|error| failed(error.to_string()))?;
        let control = running.control();
        let ended = tokio::select! {
            ended = running.wait() => ended.map_err(|error| failed(error.to_string()))?,
            never = steer(control, wanted) => match never {},
        };
        match ended.outcome {
            Outcome::Succeeded => Ok(()),
            Outcome::Killed => Err(Missing::Stopped(Ended::new(AttemptEnd::Cancelled))),
            Outcome::TimedOut => Err(failed("it took longer than the task's execution_timeout".into()).into()),
            _ => Err(failed(
                "see above. It needs `python3` with `venv` (`apt install python3-venv`), and an index of packages that \
                 this machine reaches"
                    .into(),
            )
            .into()),
        }
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
    let (namespace, python) = (&order.run.namespace, python().await?);
    let named = [namespace.as_bytes(), b"\0", of.as_bytes(), b"\0", python.as_bytes(), b"\0", &text].concat();
    archive::hash(&*named).map(Some).map_err(|error| error.to_string())
}

/// Whether a variable says where packages come from, or by which way.
fn is_of_pip(name: &str) -> bool {
    let proxies =
        ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "requests_ca_bundle", "ssl_cert_file"];
    name.starts_with("PIP_") || proxies.contains(&&*name.to_ascii_lowercase())
}

/// What `python3` is here.
async fn python() -> Result<String, String> {
    static SAID: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
    let said = SAID.get_or_try_init(|| async {
        let said = tokio::process::Command::new("python3").arg("-VV").stdin(Stdio::null()).output().await?;
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    });
    let failed = |error: std::io::Error| {
        format!("its {REQUIREMENTS} needs `python3`, which can't be started: {error}")
    };
    said.await.cloned().map_err(failed)
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
