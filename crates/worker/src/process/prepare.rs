//! Everything a process needs, made ready before it is started.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::process::{Gid, Uid};

use super::env::{BaseEnv, ChildEnv, RESULT_VARIABLE};
use super::error::SpawnError;
use super::folder::{Folder, Scratches};
use super::mark::Mark;
use super::mask::Masks;
use super::output::output_pipe;
use super::script::{self, c_string};
use super::slots::Slots;
use super::spec::{MAX_HANDED_SECRETS, ProcessSpec, Program, ResultRule, Secret, Stdin, Streams};
use super::sys::{self, Launch, Launched, Stack, Step};
use super::user::Identity;

/// The child's first three descriptors, the ruleset, and the handed secrets.
pub(super) const SLOTS: usize = 3 + 1 + MAX_HANDED_SECRETS;

/// A process that can be started without any further question.
pub(super) struct Prepared {
    /// The first that its user may execute is the one.
    programs: Vec<PathBuf>,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: PathBuf,
    stdin: Option<OwnedFd>,
    out: (OwnedFd, OwnedFd),
    err: Option<(OwnedFd, OwnedFd)>,
    handed: Vec<OwnedFd>,
    is_guarded: bool,
    mark: Mark,
    identity: Option<Identity>,
    folder: Folder,
    masks: Masks,
}

/// A process that has been started, and our ends of its pipes.
pub(super) struct Started {
    pub(super) launched: Launched,
    pub(super) out: OwnedFd,
    pub(super) err: Option<OwnedFd>,
    pub(super) folder: Folder,
    pub(super) masks: Masks,
    pub(super) uid: u32,
}

impl Prepared {
    pub(super) fn new(spec: &ProcessSpec, scratches: &Scratches, base: &BaseEnv) -> Result<Self, SpawnError> {
        if spec.handed.len() > MAX_HANDED_SECRETS {
            return Err(SpawnError::TooManySecrets { count: spec.handed.len() });
        }
        let identity = spec.run_as_user.as_deref().map(Identity::of).transpose()?;
        spec.masked.add(spec.handed.values().cloned())?;
        let mut env = base.with(&spec.env, spec.inherit_env)?;
        if let Some(identity) = identity.as_ref().filter(|_| spec.inherit_env) {
            for (name, value) in [("HOME", &identity.home), ("SHELL", &identity.shell)] {
                env.set_unless_given(&spec.env, name, value);
            }
            for name in ["USER", "LOGNAME"] {
                env.set_unless_given(&spec.env, name, &identity.name);
            }
        }
        // Before anything is made on disk: what is wrong with a request should cost nothing.
        // Which of them another user may execute shows only as this user.
        let most = if identity.is_some() { usize::MAX } else { 1 };
        let argv = Argv::of(&spec.program, &env.path(), most)?;
        let scratch = if identity.is_some() { scratches.of_others()? } else { &scratches.own };
        let in_scratch = |source| SpawnError::Scratch { path: scratch.root().to_owned(), source };
        let mut folder = scratch.folder().map_err(in_scratch)?;
        let cwd = furnish(spec, &folder, identity.as_ref()).map_err(in_scratch)?;
        let handed = hand_over(spec, &mut env)?;
        if spec.result == ResultRule::File {
            env.set(RESULT_VARIABLE, folder.result());
        }
        if let Some(guard) = &spec.guard {
            guard.lay_rules(&mut folder)?;
        }
        let pipe = || owned_pipe(identity.as_ref()).map_err(system("make a pipe"));
        Ok(Self {
            args: argv.with_script(&folder.script())?,
            programs: argv.programs,
            env: env.block(spec.marker.as_str())?,
            cwd,
            stdin: stdin(&spec.stdin)?,
            out: pipe()?,
            err: if spec.streams == Streams::Apart { Some(pipe()?) } else { None },
            handed,
            is_guarded: spec.guard.is_some(),
            mark: Mark::of(spec.marker.as_str()),
            identity,
            folder,
            masks: spec.masked.clone(),
        })
    }

    /// Starts the process on the calling thread, which sleeps until its program is executed.
    pub(super) fn start(
        self,
        slots: &mut Slots,
        stack: &mut Stack,
        open_files: u64,
    ) -> Result<Started, SpawnError> {
        let programs = self.programs.iter().map(|program| c_string(program, "the program's path"));
        let programs = programs.collect::<Result<Vec<_>, _>>()?;
        let cwd = c_string(&self.cwd, "the working folder's path")?;
        let out = self.out.1.as_fd();
        let err = self.err.as_ref().map_or(out, |(_, writer)| writer.as_fd());
        let mut sources: Vec<Option<BorrowedFd<'_>>> =
            vec![self.stdin.as_ref().map(AsFd::as_fd), Some(out), Some(err)];
        sources.extend(self.handed.iter().map(|secret| Some(secret.as_fd())));
        let descriptor_count = sources.len();
        sources.extend(
            self.folder.ruleset.iter().filter(|_| self.is_guarded).map(|ruleset| Some(ruleset.as_fd())),
        );
        let below = slots.below();
        let launched = slots.fill(&sources, |numbers| {
            let (descriptors, ruleset) = numbers.split_at(descriptor_count);
            let launch = Launch {
                programs: &programs,
                args: &self.args,
                env: &self.env,
                cwd: &cwd,
                descriptors,
                below,
                credentials: self.identity.as_ref().map(|identity| &identity.credentials),
                ruleset: ruleset.first().copied(),
                open_files,
                file_locks: self.mark.limit(),
            };
            sys::launch(stack, &launch)
        });
        let launched = launched.map_err(system("put the task's descriptors in place"))?;
        let launched = launched.map_err(|(step, error)| self.explain(step, error))?;
        let uid = self
            .identity
            .map_or_else(|| rustix::process::geteuid().as_raw(), |identity| identity.credentials.uid);
        let err = self.err.map(|(reader, _)| reader);
        Ok(Started { launched, out: self.out.0, err, folder: self.folder, masks: self.masks, uid })
    }

    fn explain(&self, step: Step, source: io::Error) -> SpawnError {
        let doing = match step {
            Step::Clone => "start a process",
            Step::Descriptors => "arrange the task's descriptors (this needs Linux 5.11 or newer)",
            Step::Session => "open a session for the task",
            Step::Credentials => "become the task's user",
            Step::Guard => "put the task under Landlock",
            Step::Cwd => {
                if let Some(identity) = &self.identity
                    && self.cwd.starts_with(self.folder.path())
                {
                    return SpawnError::OutOfReach {
                        path: self.cwd.clone(),
                        user: identity.name.clone(),
                        source,
                    };
                }
                let user = self.identity.as_ref().map(|identity| format!("the user {:?}", identity.name));
                let user = user.unwrap_or_else(|| "this worker's user".to_owned());
                return SpawnError::Cwd { path: self.cwd.clone(), user, source };
            }
            Step::Exec => return self.explain_exec(source),
        };
        SpawnError::System { doing, source }
    }

    fn explain_exec(&self, source: io::Error) -> SpawnError {
        let path = self.cwd.join(self.programs.first().map_or(Path::new(""), PathBuf::as_path));
        match source.kind() {
            io::ErrorKind::NotFound => {
                script::explain_not_found(&path).unwrap_or_else(|| SpawnError::ProgramMissing {
                    program: path.display().to_string(),
                    searched: format!("no such file as {}", path.display()),
                })
            }
            io::ErrorKind::ArgumentListTooLong => SpawnError::TooLong,
            io::ErrorKind::PermissionDenied if let Some(identity) = &self.identity => {
                SpawnError::NotExecutableBy { path, user: identity.name.clone(), source }
            }
            _ => SpawnError::NotExecutable { path, source },
        }
    }
}

/// The program to execute and the words it gets.
struct Argv<'a> {
    programs: Vec<PathBuf>,
    before: Vec<String>,
    is_script: bool,
    after: &'a [String],
}

impl<'a> Argv<'a> {
    fn of(program: &'a Program, path: &OsStr, most: usize) -> Result<Self, SpawnError> {
        match program {
            Program::Argv(words) => {
                let first = words.first().ok_or(SpawnError::NoProgram)?;
                let programs = script::find(first, path, most)?;
                Ok(Self { programs, before: words.clone(), is_script: false, after: &[] })
            }
            Program::Script { body, interpreter, args } => {
                let before = match interpreter {
                    Some(words) => words.clone(),
                    None => script::interpreter(&script::normalised(body), path)?,
                };
                let programs = script::find(before.first().ok_or(SpawnError::NoProgram)?, path, most)?;
                Ok(Self { programs, before, is_script: true, after: args })
            }
        }
    }

    fn with_script(&self, script: &Path) -> Result<Vec<CString>, SpawnError> {
        let before = self.before.iter().map(OsString::from);
        let script = self.is_script.then(|| script.into());
        before
            .chain(script)
            .chain(self.after.iter().map(OsString::from))
            .map(|word| c_string(word, "an argument"))
            .collect()
    }
}

/// Puts into the private folder what the spec needs there and tells where the process is to run.
fn furnish(spec: &ProcessSpec, folder: &Folder, identity: Option<&Identity>) -> io::Result<PathBuf> {
    let own = |path: &Path| match identity {
        Some(identity) => {
            let (uid, gid) = (identity.credentials.uid, identity.credentials.gid);
            rustix::fs::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(io::Error::from)
        }
        None => Ok(()),
    };
    if let Program::Script { body, .. } = &spec.program {
        let path = folder.script();
        std::fs::write(&path, script::normalised(body).as_bytes())?;
        // A script may execute itself or be executed by what it starts.
        rustix::fs::chmod(&path, Mode::RWXU)?;
        own(&path)?;
    }
    own(&folder.work())?;
    own(folder.path())?;
    Ok(spec.cwd.clone().unwrap_or_else(|| folder.work()))
}

/// Each secret in a sealed file of memory, whose number stands in the environment.
fn hand_over(spec: &ProcessSpec, env: &mut ChildEnv) -> Result<Vec<OwnedFd>, SpawnError> {
    let mut handed = Vec::with_capacity(spec.handed.len());
    for (name, secret) in &spec.handed {
        super::env::check_name(name)?;
        env.set(&format!("{name}_FD"), (3 + handed.len()).to_string());
        handed.push(in_memory(secret).map_err(system("hand a secret over"))?);
    }
    Ok(handed)
}

fn in_memory(secret: &Secret) -> io::Result<OwnedFd> {
    let file = memory_file(secret.bytes())?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file)
}

/// A file that has no name and no disk, to be read from its start.
fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("updraft", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let file = File::from(file);
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0)?;
    Ok(file.into())
}

fn stdin(stdin: &Stdin) -> Result<Option<OwnedFd>, SpawnError> {
    match stdin {
        Stdin::Empty => Ok(None),
        Stdin::Bytes(bytes) => {
            memory_file(bytes).map(Some).map_err(system("keep the task's standard input in memory"))
        }
    }
}

/// A pipe that its writer may also open by name (`/dev/stderr`), which the kernel allows its owner only.
fn owned_pipe(identity: Option<&Identity>) -> io::Result<(OwnedFd, OwnedFd)> {
    let pipe = output_pipe()?;
    if let Some(identity) = identity {
        rustix::fs::fchown(&pipe.1, Some(Uid::from_raw(identity.credentials.uid)), None)?;
    }
    Ok(pipe)
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> SpawnError {
    move |source| SpawnError::System { doing, source }
}
