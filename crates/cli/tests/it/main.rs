//! The whole system: real processes, killed where it hurts.

#![cfg(test)]

mod alerts;
mod assets;
mod backup;
mod bad;
mod callbacks;
mod classes;
mod commands;
mod deploy;
mod deployments;
mod eztable;
mod fleet;
mod git;
mod import;
mod kill;
mod macros;
mod mail;
mod other_runs;
mod outage;
mod pause;
mod remote;
mod restart;
mod results;
mod scripts;
mod secrets;
mod system;
mod tls;
