//! `updraft tasks logs`: the log of an attempt, whole or as it grows.

mod shown;

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

pub use self::shown::Shown;
use super::{super::Session, Ti};
use crate::{
    client::{Followed, patiently},
    failure::{Exit, Failure},
    output::{Format, yaml},
};

/// Between two looks for an attempt that has not begun.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Which log.
#[derive(clap::Args)]
pub struct Logs {
    #[command(flatten)]
    ti: Ti,
    /// The attempt [default: the last].
    #[arg(long = "try", value_name = "N")]
    try_number: Option<u32>,
    /// Stay while the attempt runs, and print what it writes as it does; JSON is then one entry a line.
    #[arg(short, long)]
    follow: bool,
}

/// Prints a log.
pub async fn logs(session: &Session, args: Logs) -> Result<()> {
    let try_number = match args.try_number {
        Some(try_number) => try_number,
        None => last_try(session, &args).await?,
    };
    let try_number = try_number.to_string();
    let path = [&args.ti.path()[..], &["logs", &try_number]].concat();
    match (session.format, args.follow) {
        (Format::Table, _) => {
            let mut query = args.ti.query();
            query.push(("follow", args.follow.to_string()));
            match text(session, &path, &query).await? {
                true => tell_why_empty(session, &args, &try_number).await,
                false => Ok(()),
            }
        }
        (Format::Json | Format::Yaml, true) => follow(session, &path, &args).await,
        (Format::Json | Format::Yaml, false) => whole(session, &path, &args).await,
    }
}

/// Says of a log with nothing in it why that may be.
async fn tell_why_empty(session: &Session, args: &Logs, try_number: &str) -> Result<()> {
    let path = [&args.ti.path()[..], &["tries", try_number]].concat();
    let attempt = session.client.call(Method::GET, &path, &args.ti.query(), None).await?;
    match attempt["end_date"].is_null() {
        true if attempt["start_date"].is_null() => {
            eprintln!(
                "nothing is written yet: try {try_number} has not begun; why, `updraft tasks explain` says"
            );
        }
        true => {
            eprintln!("nothing is written yet: try {try_number} runs; with --follow you see what it writes")
        }
        false => eprintln!("{EMPTY}"),
    }
    Ok(())
}

/// What is said where a log that is over is empty.
pub const EMPTY: &str =
    "nothing is in this log: nothing was written, or it is not kept (backups have no logs)";

/// For people: the server's text as it comes, and whether there was none. It is long at times, and nothing is to be done
/// with it.
pub async fn text(session: &Session, path: &[&str], query: &[(&str, String)]) -> Result<bool> {
    let mut followed = Followed::new(&session.client, path, query, "text/plain").await?;
    let mut shown = stdout().is_terminal().then(Shown::default);
    let mut is_empty = true;
    while let Some(bytes) = followed.next().await? {
        is_empty &= bytes.is_empty();
        match &mut shown {
            Some(shown) => write(&shown.of(&bytes))?,
            None => write(&bytes)?,
        }
    }
    Ok(is_empty)
}

/// For programs: all of a log as one list.
async fn whole(session: &Session, path: &[&str], args: &Logs) -> Result<()> {
    let mut query = args.ti.query();
    query.push(("full_content", "true".into()));
    let mut entries = Vec::new();
    loop {
        let mut page = session.client.call(Method::GET, path, &query, None).await?;
        let Value::Array(mut more) = page["content"].take() else { bail!("the server's answer has no log") };
        let none = more.is_empty();
        entries.append(&mut more);
        query.retain(|(name, _)| *name != "token");
        match page["continuation_token"].as_str() {
            // An attempt that runs always has a token; for now this is all.
            Some(token) if !none => query.push(("token", token.to_owned())),
            Some(_) | None => break,
        }
    }
    session.format.value(&entries)
}

/// The last attempt that began, or is with a worker; where one is followed that has not begun yet, it is waited for.
async fn last_try(session: &Session, args: &Logs) -> Result<u32> {
    let path = [&args.ti.path()[..], &["tries"]].concat();
    let mut told = false;
    loop {
        let ask = async || session.client.call(Method::GET, &path, &args.ti.query(), None).await;
        let tries = if told { patiently(ask).await? } else { ask().await? };
        let tries = tries["task_instances"].as_array().map(Vec::as_slice).unwrap_or_default();
        // Who has it may say why it is not begun yet.
        let begun = |row: &&Value| !row["start_date"].is_null() || row["state"] == "queued";
        if let Some(number) = tries.iter().rev().find(begun).and_then(|row| row["try_number"].as_u64()) {
            return u32::try_from(number).context("the server's answer has no number of an attempt");
        }
        let state = tries.last().map_or(&Value::Null, |row| &row["state"]).as_str().unwrap_or("not begun");
        let over = matches!(state, "success" | "failed" | "upstream_failed" | "skipped" | "removed");
        if !args.follow || over {
            let why = "why, `updraft tasks explain` says";
            let message = format!("{} has no log: it is {state} and never ran; {why}", args.ti.task_id);
            return Err(Failure::new(Exit::NotFound, message).into());
        }
        if !std::mem::replace(&mut told, true) {
            eprintln!("{} is {state}; waiting for it to begin", args.ti.task_id);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// For programs: entry by entry.
async fn follow(session: &Session, path: &[&str], args: &Logs) -> Result<()> {
    let query = args.ti.query();
    let mut followed = Followed::new(&session.client, path, &query, "application/x-ndjson").await?;
    let mut rest = Vec::new();
    while let Some(bytes) = followed.next().await? {
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let entry: Value = serde_json::from_slice(&line).context("a line of the log is no JSON")?;
            match session.format {
                Format::Table | Format::Json => write(format!("{entry}\n").as_bytes())?,
                // Lists of one entry, one after the other, are one list.
                Format::Yaml => write(yaml(&json!([entry]))?.as_bytes())?,
            }
        }
    }
    Ok(())
}

fn write(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes)?;
    // Whoever follows sees it now, also through a pipe.
    out.flush()?;
    Ok(())
}
