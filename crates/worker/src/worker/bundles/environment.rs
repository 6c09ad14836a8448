//! The environment of Python that a bundle's `requirements.txt` asks for: a `venv`, made by whoever needs it first, in a
//! process that is guarded as tasks are, with what it says in the log of that attempt.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;
use tracing::{info, warn};
use updraft_bundles::{archive, remove};
use updraft_core::protocol::Order;
use updraft_operators::{
    ProcessPlan,
    work::{Command, ResultRule, TaskLog as _},
};

use super::{Bundles, KEPT, Tools, Wanted, blocking, hold};
use crate::{
    process::{Guard, Masks, Outcome, ProcessSpec, Program, log::TaskLogFile},
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
    ) -> Result<Option<(PathBuf, File)>, String> {
        let requirements = folder.join(REQUIREMENTS);
        let Some(name) = name_of(&requirements).await? else { return Ok(None) };
        let _turn = self.turn(&name).await;
        let environment = self.environments.all().join(&name);
        if environment.join(WHOLE).exists()
            && let Some(held) = hold(&self.environments, &name)
        {
            return Ok(Some((environment, held)));
        }
        let half = environment.clone();
        blocking(move || remove(&half)).await?;
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
            env: BTreeMap::new(),
            inherit_env: true,
            secrets: BTreeMap::new(),
            asks: false,
            cwd: Some(folder.to_owned()),
            stdin: None,
            result: ResultRule::None,
            skip_exit_codes: Vec::new(),
        };
        self.make(order, tools, (masks, log), &plan, wanted).await?;
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
        let held = hold(&self.environments, &name).ok_or("the environment of Python has just gone")?;
        Ok(Some((environment, held)))
    }

    async fn make(
        &self,
        order: &Arc<Order>,
        tools: &Arc<Tools>,
        (masks, log): (&Masks, &Path),
        plan: &ProcessPlan,
        wanted: watch::Receiver<Wanted>,
    ) -> Result<(), String> {
        let failed = |why: String| format!("what its {REQUIREMENTS} asks for can't be installed: {why}");
        let name = order.attempt.to_string();
        let (mut spec, _granted) =
            process_spec(order, tools, &name, plan, masks.clone(), log.to_owned()).map_err(&failed)?;
        let guard = self.guard.clone().map(Guard::new).transpose();
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
            Outcome::Killed => Err(failed("it was ended".into())),
            Outcome::TimedOut => Err(failed("it took longer than the task's execution_timeout".into())),
            _ => Err(failed(
                "see above. It needs `python3` with `venv` (`apt install python3-venv`), and an index of \
                             packages that this machine reaches"
                    .into(),
            )),
        }
    }
}

/// The name of the environment: the same for the same requirements. `None` where there are none.
async fn name_of(requirements: &Path) -> Result<Option<String>, String> {
    let text = match tokio::fs::metadata(requirements).await {
        Ok(metadata) if metadata.len() > LONGEST => {
            return Err(format!("its {REQUIREMENTS} has more than {LONGEST} bytes"));
        }
        Ok(_) => tokio::fs::read(requirements).await,
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => archive::hash(&*text).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("its {REQUIREMENTS} can't be read: {error}")),
    }
}

/// Has a process use the programs of an environment before all others.
pub(in crate::worker) fn use_environment(spec: &mut ProcessSpec, environment: &Path, inherit_env: bool) {
    let programs = environment.join("bin");
    let of_worker = || std::env::var("PATH").ok().filter(|_| inherit_env);
    let path = match spec.env.get("PATH").cloned().or_else(of_worker) {
        Some(rest) => format!("{}:{rest}", programs.display()),
        None => programs.display().to_string(),
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
