//! The program `updraft`.

mod client;
mod commands;
mod config;
mod dag_files;
mod db;
mod failure;
mod help;
mod import;
mod keeper;
mod manual;
mod output;
mod presence;
#[cfg(test)]
mod reference;
mod serve;
mod server;
mod standalone;
mod tls;
mod trial;
mod worker;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::{
    commands::{Asking, Noun},
    failure::Failure,
};

/// A large commit takes much memory for a moment. The system's allocator keeps most of that for ever.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What threads keep at hand of larger pieces is half a megabyte of a worker's three.
#[expect(
    unsafe_code,
    reason = "jemalloc looks for its options by this name, and reads a text that ends in NUL"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 16] = b"tcache_max:1024\0";

/// Workflows and event streams in one binary.
#[derive(Parser)]
#[command(name = "updraft", version, arg_required_else_help = true)]
#[command(after_help = "Try `updraft dags --help`; each command's own --help has examples.")]
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
    /// Run a server whose tasks run on workers elsewhere; several of them on one PostgreSQL stand in for one another.
    #[command(
        after_help = "Examples:\n  updraft server --alone\n  UPDRAFT__DATABASE__URL=postgres://… \\\n  \
                            UPDRAFT__BLOB__URL=file:///mnt/updraft updraft server --address http://10.0.0.1:8080"
    )]
    Server(server::Args),
    /// Run tasks for a server of another machine.
    #[command(
        after_help = "Examples:\n  UPDRAFT_WORKER_TOKEN=… updraft worker --server https://updraft.example.com\n  \
                            updraft worker --server http://10.0.0.1:8080 --slots 8 --queues default,gpu"
    )]
    Worker(worker::Args),
    /// Look at DAGs, start their runs, pause them.
    Dags(Noun<commands::dags::Command>),
    /// Have a folder of DAG files count in a namespace, as a whole and at once.
    #[command(
        after_help = "Examples:\n  updraft deploy ./dags --namespace prod --message 'orders twice a day'\n  \
                            updraft deployments rollback --namespace prod"
    )]
    Deploy(Asking<commands::deployments::Deploy>),
    /// Look at what was deployed into a namespace, and go back to it.
    Deployments(Noun<commands::deployments::Command>),
    /// Look at runs, and have them begin anew.
    Runs(Noun<commands::runs::Command>),
    /// Make runs for times that are past.
    Backfill(Noun<commands::backfill::Command>),
    /// Let nothing new begin anywhere, while a database is moved or a fault is looked for.
    #[command(after_help = "Examples:\n  updraft pause\n  updraft pause --show")]
    Pause(Asking<commands::pause::Pause>),
    /// Let everything begin again that `updraft pause` holds.
    #[command(after_help = "Example:\n  updraft resume")]
    Resume(Asking<commands::pause::Resume>),
    /// Look at tasks and their logs, and control them.
    Tasks(Noun<commands::tasks::Command>),
    /// Look at the values that tasks left for others.
    Xcoms(Noun<commands::xcoms::Command>),
    /// See what tasks make and DAGs wait for, and tell that it has changed.
    Assets(Noun<commands::assets::Command>),
    /// Look after variables, which tasks read by name.
    Variables(Noun<commands::variables::Command>),
    /// Look after connections: where tasks find other systems, and with which password.
    Connections(Noun<commands::connections::Command>),
    /// Look after pools, which say how many tasks of a kind run at once.
    Pools(Noun<commands::pools::Command>),
    /// Look after accounts; for administrators.
    Users(Noun<commands::users::Command>),
    /// Look after tokens, by which programs and workers are known.
    Tokens(Noun<commands::tokens::Command>),
    /// See whether alerts come.
    Alerts(Noun<commands::alerts::Command>),
    /// Look at what is told to people, and send it anew.
    Deliveries(Noun<commands::deliveries::Command>),
    /// Look at the servers of the database.
    Servers(Noun<commands::servers::Command>),
    /// Look at the workers that are connected.
    Workers(Noun<commands::workers::Command>),
    /// Say how the server and its parts are; fails where one is not well.
    #[command(after_help = "Example:\n  updraft health")]
    Health(Asking<commands::health::Health>),
    /// Say which version this program and the server are.
    #[command(after_help = "Example:\n  updraft version")]
    Version(Asking<commands::health::Version>),
    /// Say what is set, and where: in `updraft.toml` of the home folder, or by UPDRAFT__SECTION__KEY.
    #[command(
        after_help = "Examples:\n  updraft config\n  UPDRAFT__SERVER__PORT=9090 updraft config -o json"
    )]
    Config(config::Show),
    /// Make DAG files of what other schedulers read.
    #[command(subcommand)]
    Import(import::Command),
    /// Look after the database.
    #[command(subcommand)]
    Db(db::Command),
    /// Print the JSON Schema of DAG files, with which editors complete and check them.
    #[command(after_help = "Example:\n  updraft schema > dag.schema.json\n\n\
                            As a file's first line: # yaml-language-server: $schema=dag.schema.json")]
    Schema,
    /// Print what a shell has to know to complete commands.
    #[command(after_help = "Examples:\n  updraft completion bash > /etc/bash_completion.d/updraft\n  \
                            updraft completion fish > ~/.config/fish/completions/updraft.fish")]
    Completion(manual::Completion),
    /// Write manual pages, one for each command.
    #[command(after_help = "Example:\n  updraft man ~/.local/share/man/man1")]
    Man(manual::Man),
    /// Hold the tasks' processes; started by `standalone`.
    #[command(hide = true)]
    Keeper(keeper::Args),
}

fn main() -> ExitCode {
    let matches = help::grouped(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // The one provider of TLS; where it is there already, it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = cli.home.unwrap_or_else(config::default_home);
    let done = match cli.command {
        Command::Standalone(args) => standalone::main(home, args),
        Command::Server(args) => server::main(home, args),
        Command::Dags(noun) => noun.main(home),
        Command::Deploy(command) => command.main(home),
        Command::Deployments(noun) => noun.main(home),
        Command::Runs(noun) => noun.main(home),
        Command::Backfill(noun) => noun.main(home),
        Command::Pause(asking) => asking.main(home),
        Command::Resume(asking) => asking.main(home),
        Command::Tasks(noun) => noun.main(home),
        Command::Xcoms(noun) => noun.main(home),
        Command::Variables(noun) => noun.main(home),
        Command::Connections(noun) => noun.main(home),
        Command::Pools(noun) => noun.main(home),
        Command::Users(noun) => noun.main(home),
        Command::Tokens(noun) => noun.main(home),
        Command::Alerts(noun) => noun.main(home),
        Command::Assets(noun) => noun.main(home),
        Command::Deliveries(noun) => noun.main(home),
        Command::Servers(noun) => noun.main(home),
        Command::Workers(noun) => noun.main(home),
        Command::Health(asking) => asking.main(home),
        Command::Version(asking) => asking.main(home),
        Command::Config(show) => show.main(&home),
        Command::Import(command) => import::main(home, command),
        Command::Db(command) => db::main(home, command),
        Command::Schema => output::Format::Json.value(&updraft_server::authoring::schema()),
        Command::Completion(args) => manual::completion(Cli::command(), &args),
        Command::Man(args) => manual::man(Cli::command(), &args),
        Command::Keeper(args) => keeper::main(&home, args),
        Command::Worker(args) => worker::main(home, args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads that, the exit code says it all the same.
            let _ = writeln!(std::io::stderr(), "updraft: {error:#}");
            error.downcast_ref::<Failure>().map_or(ExitCode::FAILURE, |failure| failure.exit.into())
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    /// The commands that do something, by their names.
    fn leaves(command: &clap::Command, name: &str, found: &mut Vec<(String, clap::Command)>) {
        let mut inner = command.get_subcommands().filter(|inner| !inner.is_hide_set()).peekable();
        if inner.peek().is_none() {
            found.push((name.to_owned(), command.clone()));
        }
        inner.for_each(|inner| leaves(inner, &format!("{name} {}", inner.get_name()), found));
    }

    #[test]
    fn every_noun_is_in_the_help() {
        let help = help::grouped(Cli::command()).render_help().to_string();
        for inner in Cli::command().get_subcommands() {
            let line = format!("\n  {:<12} ", inner.get_name());
            assert_eq!(help.contains(&line), !inner.is_hide_set(), "{}: {help}", inner.get_name());
        }
    }

    #[test]
    fn every_command_says_what_it_is_and_shows_an_example() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "updraft", &mut found);
        assert!(found.len() > 30, "{}", found.len());
        for (name, command) in found {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{name} says nothing");
            assert!(
                example.starts_with("Example") && example.contains(&format!("  {name}")),
                "{name}: {example}"
            );
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{name} {} says nothing", argument.get_id());
            }
        }
    }
}
