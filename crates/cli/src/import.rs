//! `updraft import`: DAG files made of what other schedulers read.

mod crontab;

use std::path::PathBuf;

use anyhow::Result;

/// What can be imported.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a DAG of each line of a crontab, without a server.
    ///
    /// Each line becomes a DAG file with one task, named for the program that it runs: with the variables set above
    /// it, in the folder and the zone that cron runs it in, and with what stands behind `%` as its input. Where
    /// MAILTO names an address, that is told of failures. What is not as it was is listed for each line. A line that
    /// can't be carried over keeps no other from being so; where there is one, the command fails.
    ///
    /// Some things are so for every line. A time that passes while no server is there is made up for once, when it is
    /// there again; cron lets it go. Sixteen runs of a DAG may be at work at once (`max_active_runs`); cron has no such
    /// limit. A clock that is set forward or back is met as Airflow meets it. Exit code 99 is a skip. Tasks are kept
    /// from `sudo`, and from making files directly in the folders above the home folder of Updraft, unless
    /// `worker.guard` is off.
    #[command(
        after_help = "Examples:\n  updraft import crontab --dry-run\n  updraft import crontab /etc/crontab /etc/cron.d\n  \
                      crontab -l -u www-data | updraft import crontab - --user www-data --paused"
    )]
    Crontab(crontab::Crontab),
}

/// Runs a command.
pub fn main(home: PathBuf, command: Command) -> Result<()> {
    match command {
        Command::Crontab(crontab) => crontab.main(home),
    }
}
