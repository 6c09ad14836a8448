//! `updraft db`: the database, with no server needed.

mod clean;

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use reqwest::Url;
use updraft_server::accounts::{Reset, reset_password};
use updraft_store::{SqlStore, Upkeep, restore};

use crate::config::{Config, Home, Kept};

/// What can be done with the database.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Bring the schema up to this program's version.
    #[command(after_help = "Example:\n  updraft db migrate")]
    Migrate,
    /// Say which version the schema is at.
    #[command(after_help = "Example:\n  updraft db version")]
    Version,
    /// Copy the database, the key file and large values into a new folder, also while a server is at work. Logs
    /// are not among them. PostgreSQL's own pg_dump copies a database there; then what lies beside it is copied
    /// with --beside, after the dump, so that no value is missing that the dump refers to.
    #[command(after_help = "Examples:\n  updraft db backup /backups/2026-11-21\n  \
                            updraft db backup --beside /backups/2026-11-21")]
    Backup {
        /// The folder to make.
        to: PathBuf,
        /// Only the key file and large values, not the database.
        #[arg(long)]
        beside: bool,
    },
    /// Put a backup in the place of the database; no server may be at work.
    #[command(after_help = "Examples:\n  updraft db restore /backups/2026-11-21\n  \
                            updraft db restore --beside /backups/2026-11-21")]
    Restore {
        /// The folder that `backup` made.
        from: PathBuf,
        /// Only the key file and large values, not the database.
        #[arg(long)]
        beside: bool,
    },
    /// Give an account a new random password, where the old one is lost; its tokens and logins end. A server may be
    /// at work.
    #[command(after_help = "Examples:\n  updraft db password\n  updraft db password ana")]
    Password {
        /// The account; the password of `admin` is kept in the home folder.
        #[arg(default_value = "admin")]
        user: String,
    },
    /// Delete what is over since long ago: runs with their logs, and records. No server may be at work; one that
    /// is cleans by itself (UPDRAFT__RETENTION__RUNS).
    #[command(after_help = "Examples:\n  updraft db clean --older-than 30d --dry-run\n  \
                            updraft db clean --before 2026-01-01 --tables runs,audit --yes")]
    Clean(clean::Clean),
}

/// Runs a command.
pub fn main(home: PathBuf, command: Command) -> Result<()> {
    let mut home = Home(home);
    let config = Config::read(&home.0)?;
    let url = config.database.url.clone().unwrap_or_else(|| home.database_url());
    match command {
        Command::Migrate | Command::Restore { .. } | Command::Backup { beside: true, .. } => {}
        Command::Version | Command::Backup { .. } | Command::Password { .. } | Command::Clean(_) => {
            expect_database(&url)?;
        }
    }
    if !matches!(command, Command::Version) {
        home = Home::open(home.0)?;
    }
    let kept = Beside { key: config.key_file(&home), kept: config.kept(&home)? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Clean(args) => clean::clean(&home, &kept.kept, &url, args).await?,
            Command::Migrate => {
                let store = SqlStore::open(&url).await?;
                store.migrate().await?;
                println!("the database is at schema version {}", store.schema_version().await?);
            }
            Command::Version => {
                let store = SqlStore::open(&url).await?;
                println!("{}", store.schema_version().await?);
            }
            Command::Password { user } => password(&home, &url, &user).await?,
            Command::Backup { to, beside } => backup(&kept, &url, &to, beside).await?,
            Command::Restore { from, beside } => put_back(&home, &kept, &url, &from, beside).await?,
        }
        Ok(())
    })
}

/// Refuses to make a database where one is to be there.
fn expect_database(url: &str) -> Result<()> {
    match sqlite_file(url) {
        Some(path) if !path.try_exists().with_context(|| format!("can't look for {}", path.display()))? => {
            bail!(
                "there is no database at {}: name the home folder that has one with --home; `updraft standalone` makes a \
             new one, `updraft db restore` one of a backup",
                path.display()
            )
        }
        Some(_) | None => Ok(()),
    }
}

/// Gives an account a new password, and says it.
async fn password(home: &Home, url: &str, user: &str) -> Result<()> {
    let store = SqlStore::open(url).await?;
    store.check_schema().await?;
    let Reset { password, kept, tokens, disabled } = reset_password(&store, &home.0, user).await?;
    println!("The password of `{user}` is now {password}");
    if let Some(path) = kept {
        println!("(kept in {})", path.display());
    }
    let mend = "make another with `updraft tokens create`";
    match tokens {
        0 => {}
        1 => eprintln!("1 token of `{user}` has ended: {mend}"),
        more => eprintln!("{more} tokens of `{user}` have ended: {mend}"),
    }
    if disabled {
        eprintln!("`{user}` is disabled, and can't log in until an administrator changes that");
    }
    Ok(())
}

/// The file of an SQLite database.
fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

/// What a person may see of the URL of a database.
fn without_password(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return "the URL of the database".into() };
    // A URL without a host has no password.
    let _ = parsed.set_password(None);
    let kept = |(name, _): &(std::borrow::Cow<'_, str>, _)| name != "password";
    let query: Vec<(String, String)> =
        parsed.query_pairs().filter(kept).map(|(name, value)| (name.into(), value.into())).collect();
    parsed.set_query(None);
    if !query.is_empty() {
        parsed.query_pairs_mut().extend_pairs(query);
    }
    parsed.into()
}

/// What lies beside a database, and belongs to it.
struct Beside {
    /// The key file.
    key: PathBuf,
    /// Where large values are.
    kept: Kept,
}

impl Beside {
    /// In a backup.
    fn of_backup(folder: &Path) -> Self {
        Self { key: folder.join("key"), kept: Kept::Folder(folder.to_owned()) }
    }
}

/// Copies an installation into a new folder: all of it, or nothing is left there.
async fn backup(kept: &Beside, url: &str, to: &Path, beside: bool) -> Result<()> {
    if !beside && sqlite_file(url).is_none() {
        bail!(
            "the database is PostgreSQL's, whose own program copies it: run\n  \
             pg_dump --format=custom --file={to}.dump '{url}'\n\
             and then, for the key file and large values,\n  updraft db backup --beside {to}",
            to = to.display(),
            url = without_password(url)
        );
    }
    let store = match beside {
        true => None,
        false => Some(SqlStore::open(url).await?),
    };
    // With the key in it, it is for nobody else.
    let made = std::fs::DirBuilder::new().mode(0o700).create(to);
    made.with_context(|| format!("can't make {}", to.display()))?;
    let copied = async {
        if let Some(store) = store {
            store.backup(&to.join("updraft.db")).await?;
        }
        copy_beside(kept, &Beside::of_backup(to)).await
    };
    if let Err(error) = copied.await {
        // So that the next try finds the place free.
        let _ = std::fs::remove_dir_all(to);
        return Err(error);
    }
    println!("backed up {}to {}", if beside { "the key file and large values " } else { "" }, to.display());
    Ok(())
}

/// Puts a backup in the place of what is there.
async fn put_back(home: &Home, kept: &Beside, url: &str, from: &Path, beside: bool) -> Result<()> {
    let Some(_lock) = crate::keeper::lock(&home.server_lock())? else {
        bail!("a server is at work for {}: stop it first", home.0.display());
    };
    check_key(&from.join("key"), &kept.key)?;
    match (beside, sqlite_file(url)) {
        (true, _) => {}
        (false, Some(path)) => drop(restore(&from.join("updraft.db"), path).await?),
        (false, None) => bail!(
            "the database is PostgreSQL's, whose own program puts it back: run\n  \
             pg_restore --dbname='{}' {from}.dump\n\
             and then, for the key file and large values,\n  updraft db restore --beside {from}",
            without_password(url),
            from = from.display()
        ),
    }
    copy_beside(&Beside::of_backup(from), kept).await?;
    println!("restored from {}", from.display());
    Ok(())
}

/// Refuses to lose a key: without it, what it encrypted is lost.
fn check_key(backup: &Path, present: &Path) -> Result<()> {
    if missing_keys(backup, present)? && present.exists() {
        bail!(
            "the key file {present} has not the keys of the backup's, {backup}, which would take its place, and \
             what was encrypted with it could be read no more: move it away first (mv {present} {present}.old)",
            present = present.display(),
            backup = backup.display()
        );
    }
    Ok(())
}

/// Whether a key file lacks keys that another has. A key is a line.
fn missing_keys(of: &Path, present: &Path) -> Result<bool> {
    let keys = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect::<BTreeSet<String>>()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    Ok(!keys(of)?.is_subset(&keys(present)?))
}

/// Copies what the database refers to. It comes after the database: a value is written before its row is. When
/// this returns, all of it is there for good.
async fn copy_beside(from: &Beside, to: &Beside) -> Result<()> {
    // One that has these keys and others is not replaced.
    if missing_keys(&from.key, &to.key)? {
        copy_file(&from.key, &to.key).context("can't copy the key file")?;
    }
    let copied =
        async { from.kept.blobs()?.copy_to(&to.kept.blobs()?).await.context("can't copy large values") };
    copied.await?;
    let folder = match &to.kept {
        Kept::Folder(folder) => Some(&**folder),
        Kept::Bucket(_) => None,
    };
    for folder in [to.key.parent(), folder].into_iter().flatten() {
        sync(folder).with_context(|| format!("can't write {}", folder.display()))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::copy(from, to)?;
    sync(to)
}

/// Has what a file or a folder has in it on the disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_the_password_of_a_database() {
        for (url, shown) in [
            ("postgres://me:s%40cret@db/updraft?sslmode=require", "postgres://me@db/updraft?sslmode=require"),
            ("postgres://db/updraft?user=me&password=s3cret", "postgres://db/updraft?user=me"),
            ("postgresql://me@db:5433/updraft", "postgresql://me@db:5433/updraft"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
