//! The worker's tests against real processes.
#![expect(clippy::unwrap_used, reason = "a test fails by it, helpers included")]

#[cfg(target_os = "linux")]
mod callbacks;
#[cfg(target_os = "linux")]
mod conversation;
mod lease;
#[cfg(target_os = "linux")]
mod logs;
#[cfg(target_os = "linux")]
mod process;
