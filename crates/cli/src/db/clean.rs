//! `updraft db clean`: what retention does, once and with no server.

use anyhow::{Context, Result, bail};
use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::json;
use updraft_server::{
    logs::Logs,
    retention::{ROWS_PER_STEP, Removed, remove_files},
};
use updraft_store::{Expired, Ledger as _, SqlStore, Upkeep};

use crate::{
    config::{Age, Home, Kept},
    output::{Columns, Printing, confirm, count},
};

/// What is to go.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("since").args(["before", "older_than"]).required(true)))]
#[command(override_usage = "updraft db clean [OPTIONS] --before <TIME>\n       \
                            updraft db clean [OPTIONS] --older-than <AGE>")]
pub struct Clean {
    /// What ended, or was written, before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
    /// What ended, or was written, longer ago than this.
    #[arg(long, value_name = "AGE")]
    older_than: Option<Age>,
    /// Only these kinds, with commas between [default: all but transitions and history: what runs that stay have of them
    /// stays with them].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    tables: Vec<Kind>,
    /// Only say how many it would be.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    printing: Printing,
}

/// What can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Runs that are over, with all that is theirs; but not a DAG's latest.
    Runs,
    /// Changes of state, also of runs that stay.
    Transitions,
    /// Earlier tries, also of runs that stay.
    History,
    /// The audit log.
    Audit,
    /// What became of the times of schedules.
    Ticks,
    /// Deliveries that came to an end.
    Deliveries,
    /// Backfills that are over.
    Backfills,
    /// What happened to assets, unless a DAG waits with it or a run that is there was made of it.
    AssetEvents,
    /// Tokens that have run out.
    Tokens,
}

impl Kind {
    /// What a server removes by itself.
    const BY_ITSELF: &[Self] = &[
        Self::Runs,
        Self::Audit,
        Self::Ticks,
        Self::Deliveries,
        Self::Backfills,
        Self::AssetEvents,
        Self::Tokens,
    ];

    fn expired(self) -> Expired {
        match self {
            Self::Runs => Expired::Runs,
            Self::Transitions => Expired::Transitions,
            Self::History => Expired::History,
            Self::Audit => Expired::Audit,
            Self::Ticks => Expired::Ticks,
            Self::Deliveries => Expired::Deliveries,
            Self::Backfills => Expired::Backfills,
            Self::AssetEvents => Expired::AssetEvents,
            Self::Tokens => Expired::Tokens,
        }
    }
}

const COUNTS: Columns = &[("WHAT", "/what"), ("COUNT", "/count")];

fn time(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<civil::Date>()?.to_zoned(TimeZone::UTC).map(|day| day.timestamp());
    let time = text.parse().or_else(|_| day());
    time.map_err(|_| format!("`{text}` is no time: write it like 2026-01-31 or 2026-01-31T12:00:00Z"))
}

/// Deletes, or says how many it would be.
pub async fn clean(home: &Home, kept: &Kept, url: &str, args: Clean) -> Result<()> {
    let before = match (args.before, args.older_than) {
        (Some(before), _) => before,
        (None, Some(Age(Some(age)))) => Timestamp::now().checked_sub(age).context("that is too long ago")?,
        (None, _) => bail!("say with --before or --older-than how long ago"),
    };
    let kinds = match args.tables.is_empty() {
        true => Kind::BY_ITSELF.to_vec(),
        false => args.tables,
    };
    let store = SqlStore::open(url).await?;
    store.check_schema().await?;
    let mut counts = Vec::new();
    for kind in &kinds {
        let count = store.expired(before, kind.expired()).await?;
        counts.push(json!({ "what": format!("{kind:?}").to_lowercase(), "count": count }));
    }
    args.printing.format().list(&counts, COUNTS)?;
    if args.dry_run {
        return Ok(());
    }
    let Some(_lock) = crate::keeper::lock(&home.server_lock())? else {
        bail!(
            "a server is at work for {}: it removes what is over by itself, as UPDRAFT__RETENTION__RUNS says; to do \
             it now, stop it first",
            home.0.display()
        );
    };
    // An SQLite has no server beside that of its home folder.
    let leader = store.leader().await?.filter(|leader| !leader.expired && super::sqlite_file(url).is_none());
    if let Some(leader) = leader {
        bail!(
            "another server, {}, is at work with this database: it removes what is over by itself, as \
             UPDRAFT__RETENTION__RUNS says; to do it now, stop it first",
            leader.address
        );
    }
    confirm(&format!("all this from before {before:.0} goes"), args.yes)?;
    let mut removed = Removed::default();
    for kind in &kinds {
        while removed.add(store.clean(before, kind.expired(), ROWS_PER_STEP).await?) {}
    }
    if kinds.contains(&Kind::Runs) {
        // With a bucket, a keeper's are in the home folder all the same.
        let logs = [kept.logs(home, true), kept.logs(home, false)];
        let logs: Vec<&dyn Logs> =
            logs[matches!(kept, Kept::Folder(_)).into()..].iter().map(|logs| &**logs).collect();
        remove_files(&store, &logs, &kept.blobs()?, before, &mut removed).await?;
    }
    let Removed { runs, rows, logs, blobs } = removed;
    eprintln!(
        "deleted {}, those of {} among them; logs of {}, and {}",
        count(rows, "row", "rows"),
        count(runs, "run", "runs"),
        count(logs, "run", "runs"),
        count(blobs, "large value", "large values"),
    );
    Ok(())
}
