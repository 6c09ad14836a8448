//! What can be asked of a server, a noun each.

pub mod alerts;
pub mod assets;
pub mod backfill;
pub mod connections;
pub mod dags;
pub mod deliveries;
pub mod deployments;
pub mod health;
mod near;
pub mod pause;
pub mod pools;
pub mod runs;
pub mod servers;
pub mod tasks;
pub mod tokens;
pub mod users;
pub mod variables;
pub mod workers;
pub mod xcoms;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::{
    client::{Client, Server},
    output::{Columns, Format, Printing},
};

/// A command that asks a server.
#[derive(clap::Args)]
pub struct Asking<A: clap::Args> {
    #[command(flatten)]
    command: A,
    #[command(flatten)]
    output: Printing,
    #[command(flatten)]
    server: Server,
}

/// A noun, and what is done with it.
pub type Noun<C> = Asking<Verbs<C>>;

/// What is done with a noun.
#[derive(clap::Args)]
pub struct Verbs<C: clap::Subcommand> {
    #[command(subcommand)]
    verb: C,
}

/// The server, and how results are printed.
pub struct Session {
    pub home: PathBuf,
    pub client: Client,
    pub format: Format,
}

impl Session {
    /// Whether a program reads what is printed.
    pub fn is_for_programs(&self) -> bool {
        self.format != Format::Table
    }

    /// Prints what a change led to, for programs: a person was told in a sentence.
    pub fn echo(&self, value: &Value) -> Result<()> {
        match self.is_for_programs() {
            true => self.format.value(value),
            false => Ok(()),
        }
    }

    /// Prints the rows that an answer has under a key.
    pub fn list_in(&self, answer: &Value, key: &str, columns: Columns) -> Result<()> {
        self.format.list(answer[key].as_array().map(Vec::as_slice).unwrap_or_default(), columns)
    }
}

/// Something that is done with the help of a server.
pub trait Ask {
    async fn ask(self, session: &Session) -> Result<()>;
}

impl<C: clap::Subcommand + Ask> Ask for Verbs<C> {
    async fn ask(self, session: &Session) -> Result<()> {
        self.verb.ask(session).await
    }
}

impl<A: clap::Args + Ask> Asking<A> {
    pub fn main(self, home: PathBuf) -> Result<()> {
        let client = Client::new(self.server, home.clone())?;
        let session = Session { home, client, format: self.output.format() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.command.ask(&session).await {
                Ok(()) => Ok(()),
                Err(error) => Err(near::with_hint(error, &session).await),
            }
        })
    }
}

/// Says that a list is not all there is.
pub fn tell_of_more(shown: usize, total: usize) {
    eprintln!("{shown} of {total}; there are more with a higher --limit");
}

/// How many rows of a list are wanted.
#[derive(clap::Args)]
pub struct Limit {
    /// So many at most; all, where nothing is said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl Limit {
    pub fn rows(&self) -> Option<usize> {
        self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Leaves so many of a list that is there already.
    pub fn cut(&self, rows: &mut Vec<Value>) {
        if let Some(limit) = self.rows().filter(|limit| *limit < rows.len()) {
            tell_of_more(limit, rows.len());
            rows.truncate(limit);
        }
    }
}
