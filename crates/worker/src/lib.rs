//! Runs task instances: slots, processes, log capture. It talks to a server, never to the store.

#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod worker;
