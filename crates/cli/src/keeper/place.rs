//! The places that keepers of one home may have: each a name, and a file that is locked for as long as its keeper lives and
//! says who that is.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use updraft_server::workers::Workers;

use super::{lock, lock_soon};
use crate::config::Home;

/// Keepers that end the tasks that they have, and the one that takes their place, are never more.
const MOST: u32 = 9;

/// What stands in the place of what a keeper was started with, once it only ends what it has.
const FINISHES: &str = "finishes";

/// A place that is taken.
pub struct Place(File);

/// How a place was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody has it, and nobody has left anything.
    Free,
    /// Who had it was killed, and may have left processes.
    Deserted,
    /// A keeper is at work, or is about to say who it is.
    Held {
        /// Its process.
        pid: Option<i32>,
        /// What it was started with.
        made_for: Option<String>,
    },
}

/// Says who has a place. Who reads meanwhile sees the beginning, and perhaps more lines behind it.
fn say(mut file: &File, made_for: &str) -> io::Result<()> {
    let text = format!("{}\n{made_for}\n", std::process::id());
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

impl Found {
    /// The process of a keeper that takes tasks, and what it was started with.
    pub fn takes_tasks(&self) -> Option<(i32, &str)> {
        match self {
            Self::Held { pid: Some(pid), made_for: Some(of) } if of != FINISHES => Some((*pid, of)),
            Self::Held { .. } | Self::Free | Self::Deserted => None,
        }
    }
}

impl Place {
    /// Takes a place for as long as this lives; `None` where another has it. Who only looks has it for a moment.
    pub fn take(path: &Path, made_for: &str) -> Result<Option<Self>> {
        let Some(file) = lock_soon(path, || std::thread::sleep(Duration::from_millis(5)))? else {
            return Ok(None);
        };
        say(&file, made_for).with_context(|| format!("can't write {}", path.display()))?;
        Ok(Some(Self(file)))
    }

    /// Says that nothing new is taken here: whatever a server would start a keeper with, this is not the one.
    pub fn finish(&self) -> Result<()> {
        say(&self.0, FINISHES).context("can't say that the keeper finishes")
    }

    /// Leaves it, and nothing behind.
    pub fn leave(&self) -> Result<()> {
        self.0.set_len(0).context("can't leave the keeper's place")
    }
}

/// The places that were ever taken, in their order, and one that is free after them if there may be more.
pub fn places(home: &Home) -> Result<Vec<(String, Found)>> {
    let mut found = Vec::new();
    for number in 1..=MOST {
        let name = match number {
            1 => Workers::KEEPER.to_owned(),
            _ => format!("{}-{number}", Workers::KEEPER),
        };
        let path = home.keeper_lock(&name);
        let there = path.exists();
        found.push((name, if there { look(&path)? } else { Found::Free }));
        if !there {
            break;
        }
    }
    Ok(found)
}

fn look(path: &Path) -> Result<Found> {
    let free = lock(path)?;
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let mut lines = text.lines();
    let (pid, made_for) = (lines.next().and_then(|line| line.parse().ok()), lines.next().map(str::to_owned));
    Ok(match free {
        None => Found::Held { pid, made_for },
        Some(_) if text.is_empty() => Found::Free,
        Some(_) => Found::Deserted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_who_has_it_and_whether_its_keeper_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().to_owned()).unwrap();
        let one = |found| vec![("keeper".to_owned(), found)];
        let two = |found| [one(found), vec![("keeper-2".to_owned(), Found::Free)]].concat();
        assert_eq!(places(&home).unwrap(), one(Found::Free));
        let path = home.keeper_lock("keeper");
        let place = Place::take(&path, "this").unwrap().unwrap();
        assert!(Place::take(&path, "that").unwrap().is_none());
        let pid = i32::try_from(std::process::id()).ok();
        assert_eq!(places(&home).unwrap(), two(Found::Held { pid, made_for: Some("this".into()) }));
        place.finish().unwrap();
        assert_eq!(places(&home).unwrap(), two(Found::Held { pid, made_for: Some(FINISHES.into()) }));
        drop(place);
        assert_eq!(places(&home).unwrap(), two(Found::Deserted));
        Place::take(&path, "that").unwrap().unwrap().leave().unwrap();
        assert_eq!(places(&home).unwrap(), two(Found::Free));
    }
}
