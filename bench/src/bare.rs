//! The limit: a bare loop that starts scripts and takes in what they print. No log, no result, no state.

use std::{
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rustix::event::epoll;

/// What one loop took.
pub struct Took {
    pub seconds: f64,
    /// Of processors, by the loop and the scripts.
    pub cpu_seconds: f64,
}

/// The same shell as that of a `BashOperator`, found once.
pub fn bash() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("bash")).find(|bash| bash.is_file());
    found.context("there is no bash in PATH")
}

/// Runs `scripts` times `bash -c script`, at most so many at once, each with standard output and standard error
/// in one pipe. The standard library starts a process by `posix_spawn` where nothing forbids it, as here.
pub fn run(bash: &Path, script: &str, expected: &[u8], scripts: usize, at_once: usize) -> Result<Took> {
    let cpu = super::machine::cpu_seconds(std::process::id())?;
    let began = Instant::now();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut events = Vec::with_capacity(at_once);
    let mut running: HashMap<u64, (Child, std::io::PipeReader, Vec<u8>)> = HashMap::new();
    let (mut started, mut ended) = (0, 0);
    let mut buffer = [0; 4096];
    while ended < scripts {
        while started < scripts && running.len() < at_once {
            let (reader, writer) = std::io::pipe()?;
            let mut command = Command::new(bash);
            command.args(["-c", script]).stdin(Stdio::null());
            let child = command.stdout(writer.try_clone()?).stderr(writer).spawn().context("bash")?;
            let number = started as u64;
            let data = epoll::EventData::new_u64(number);
            epoll::add(&poll, &reader, data, epoll::EventFlags::IN | epoll::EventFlags::HUP)?;
            running.insert(number, (child, reader, Vec::new()));
            started += 1;
        }
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let number = event.data.u64();
            let Some((_, pipe, output)) = running.get_mut(&number) else { continue };
            let read = pipe.read(&mut buffer)?;
            output.extend_from_slice(&buffer[..read]);
            if read == 0
                && let Some((mut child, _, output)) = running.remove(&number)
            {
                let status = child.wait()?;
                ensure!(status.success() && output == expected, "a script of the loop: {status}, {output:?}");
                ended += 1;
            }
        }
    }
    Ok(Took {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: super::machine::cpu_seconds(std::process::id())? - cpu,
    })
}
