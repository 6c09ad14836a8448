//! Which files are to be read: those that have changed and come to rest.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    beside::Used,
    scan::{Found, Scan},
};

/// How long a file has to stay the same before it is read.
pub(super) const SETTLE: Duration = Duration::from_millis(100);
/// A file that does not come to rest is read after so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the files of a folder.
#[derive(Debug, Default)]
pub(super) struct Files {
    states: BTreeMap<PathBuf, State>,
}

#[derive(Debug, Default)]
struct State {
    /// As it was when it was read.
    read: Option<Found>,
    unsettled: Option<Unsettled>,
}

/// A file that is otherwise than it was read.
#[derive(Debug)]
struct Unsettled {
    /// As it was at the last look; `None` where it was not there.
    found: Option<Found>,
    /// When it was first seen so.
    since: Instant,
    /// When it was first seen to have changed.
    changing_since: Instant,
}

impl Files {
    pub fn are_settled(&self) -> bool {
        self.states.values().all(|state| state.unsettled.is_none())
    }

    /// What is to be read, and what is gone. `at_once` takes what is there without waiting.
    pub fn settle(
        &mut self,
        scan: &Scan,
        at_once: bool,
        now: Instant,
    ) -> (Vec<(PathBuf, Found)>, Vec<PathBuf>) {
        for path in scan.files.keys() {
            self.states.entry(path.clone()).or_default();
        }
        let (mut to_read, mut gone) = (Vec::new(), Vec::new());
        for (path, state) in &mut self.states {
            let used = state.read.as_ref().map(|read| &read.used).filter(|used| !used.is_empty());
            let with_used = used.and_then(|used| Some(scan.files.get(path)?.with_used(used)));
            let found = with_used.as_ref().or_else(|| scan.files.get(path));
            let before = state.unsettled.take();
            if found.is_none() && scan.is_hidden(path) || found.is_some() && found == state.read.as_ref() {
                continue;
            }
            let changing_since = before.as_ref().map_or(now, |before| before.changing_since);
            let same = before.filter(|before| before.found.as_ref() == found);
            let since = same.map_or(now, |before| before.since);
            let settled =
                now.duration_since(since) >= SETTLE || now.duration_since(changing_since) >= PATIENCE;
            match found {
                Some(found) if at_once || settled => to_read.push((path.clone(), found.clone())),
                None if settled => gone.push(path.clone()),
                Some(_) | None => {
                    state.unsettled = Some(Unsettled { found: found.cloned(), since, changing_since });
                }
            }
        }
        for path in &gone {
            self.states.remove(path);
        }
        (to_read, gone)
    }

    /// A file was read, as it was found, with these others.
    pub fn was_read(&mut self, path: &Path, found: &Found, used: Used) {
        if let Some(state) = self.states.get_mut(path) {
            state.read = Some(Found { used, ..found.clone() });
        }
    }

    /// A file was gone when it was to be read: the next looks will tell.
    pub fn was_gone(&mut self, path: &Path, now: Instant) {
        if let Some(state) = self.states.get_mut(path) {
            state.unsettled = Some(Unsettled { found: None, since: now, changing_since: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look that found the one file with so many bytes, or did not find it.
    fn look(size: Option<u64>) -> Scan {
        let mut scan = Scan::default();
        scan.files.extend(size.map(|size| (PathBuf::from("a.yml"), Found::of_size(size))));
        scan
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What a look comes to: how many bytes are read, or that the file is gone.
    fn step(files: &mut Files, size: Option<u64>, now: Instant) -> &'static str {
        let (to_read, gone) = files.settle(&look(size), false, now);
        for (path, found) in &to_read {
            files.was_read(path, found, Used::new());
        }
        match (to_read.len(), gone.len()) {
            (0, 0) => "nothing",
            (1, 0) => "read",
            (0, 1) => "gone",
            _ => "too much",
        }
    }

    #[test]
    fn a_file_that_is_still_being_written_is_left_alone() {
        let (mut files, start) = (Files::default(), Instant::now());
        for (millis, size, expected) in [
            (0, 10, "nothing"),
            (90, 20, "nothing"),
            (180, 30, "nothing"),
            (270, 30, "nothing"),
            (280, 30, "read"),
            (400, 30, "nothing"),
        ] {
            assert_eq!(step(&mut files, Some(size), start + ms(millis)), expected, "after {millis} ms");
        }
        assert!(files.are_settled());
    }

    #[test]
    fn a_file_that_never_rests_is_read_all_the_same() {
        let (mut files, start) = (Files::default(), Instant::now());
        let read = (0..60).find(|n| step(&mut files, Some(*n), start + ms(n * 90)) == "read");
        assert_eq!(read, Some(56), "after five seconds and a bit");
    }

    #[test]
    fn a_file_that_is_away_for_a_moment_is_not_gone() {
        let (mut files, start) = (Files::default(), Instant::now());
        step(&mut files, Some(1), start);
        assert_eq!(step(&mut files, Some(1), start + ms(100)), "read");
        assert_eq!(step(&mut files, None, start + ms(200)), "nothing");
        assert_eq!(step(&mut files, Some(1), start + ms(250)), "nothing");
        assert_eq!(step(&mut files, None, start + ms(300)), "nothing");
        assert_eq!(step(&mut files, None, start + ms(400)), "gone");
    }
}
