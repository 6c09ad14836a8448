//! The program `updraft`.

mod config;
mod dags;
mod db;
mod keeper;
mod standalone;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Workflows and event streams in one binary.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    /// The folder with everything Updraft keeps [default: ~/.updraft].
    #[arg(long, global = true, env = "UPDRAFT_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine: the server, and a keeper that holds the tasks' processes.
    #[command(after_help = "Examples:\n  updraft standalone\n  updraft standalone --dags ./dags --port 9090")]
    Standalone(standalone::Args),
    /// Look at DAGs.
    #[command(subcommand)]
    Dags(dags::Command),
    /// Look after the database.
    #[command(subcommand)]
    Db(db::Command),
    /// Hold the tasks' processes; started by `standalone`.
    #[command(hide = true)]
    Keeper(keeper::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let home = cli.home.unwrap_or_else(config::default_home);
    let done = match cli.command {
        Command::Standalone(args) => standalone::main(home, args),
        Command::Dags(command) => dags::main(command),
        Command::Db(command) => db::main(home, command),
        Command::Keeper(args) => keeper::main(&home, args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("updraft: {error:#}");
            ExitCode::FAILURE
        }
    }
}
