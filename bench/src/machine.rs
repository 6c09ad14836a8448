//! What the machine and its processes say of themselves, from `/proc`.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};

/// The machine, in a line.
pub fn describe() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let sync = sync_millis(&std::env::temp_dir()).unwrap_or(f64::NAN);
    format!(
        "{cpus} processors ({}), one sync of 4 KiB on the disk of {}: {sync:.2} ms (median); {}",
        model.unwrap_or("unknown"),
        std::env::temp_dir().display(),
        load()
    )
}

/// How busy the machine is, whoever makes it so.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// What the disk takes for the least durable write there is: the median, in milliseconds.
pub fn sync_millis(folder: &Path) -> Result<f64> {
    use std::io::Write;
    let mut file = tempfile::tempfile_in(folder).context("can't make a file")?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(super::statistics::millis(began.elapsed()));
    }
    Ok(super::statistics::median(&times))
}

/// The memory of a process in megabytes (10^6): its own, and its share of what it shares (PSS).
pub fn pss_megabytes(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| {
        format!("can't read {path}: the processes hide their memory from others; measure as root")
    })?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("no number in Pss")?;
    Ok(kib * 1024.0 / 1e6)
}

/// The time that a process and its children that have ended have used of processors, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields.get(11..15).with_context(|| path.clone())?;
    let ticks: f64 = ticks.iter().map(|field| field.parse::<f64>().unwrap_or(f64::NAN)).sum();
    // In hundredths of a second, on every Linux that there is.
    Ok(ticks / 100.0)
}
