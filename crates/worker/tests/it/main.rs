//! The worker's tests against real processes.

#[cfg(target_os = "linux")]
mod process;
