//! A log as objects, each a segment of it that never changes.

use std::ops::Range;

use object_store::{ObjectMeta, path::Path};

/// So many segments as they were added make one object.
pub(super) const SMALL_AT_ONCE: usize = 16;

/// An object that is made of others has up to so many bytes: it passes through memory.
const LARGEST: u64 = 8 << 20;

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it begins in the log, in bytes.
    pub at: u64,
    /// Where the next begins.
    pub end: u64,
    /// Whether it was made of others. One that was added is named by where it begins, so that nobody else can add there;
    /// one that was made of others also by where it ends.
    pub merged: bool,
    /// Where it is.
    pub object: Path,
}

/// The name of what is added there.
pub(super) fn added(at: u64) -> String {
    format!("{at:020}")
}

/// The name of what is made of others.
pub(super) fn merged(Range { start, end }: &Range<u64>) -> String {
    format!("{start:020}-{end:020}")
}

impl Segment {
    /// What an object is, by its name and its size; `None` where it is no segment.
    pub fn of(object: ObjectMeta) -> Option<Self> {
        let (at, end): (u64, Option<u64>) = match object.location.filename()?.split_once('-') {
            Some((at, end)) => (at.parse().ok()?, Some(end.parse().ok()?)),
            None => (object.location.filename()?.parse().ok()?, None),
        };
        let by_size = u64::checked_add(at, object.size)?;
        let is_whole = end.is_none_or(|end| end == by_size);
        is_whole.then_some(Self { at, end: by_size, merged: end.is_some(), object: object.location })
    }

    fn bytes(&self) -> u64 {
        self.end - self.at
    }
}

/// Those that make up a log, one behind the other from its beginning. What is in several is taken from the one that ends
/// last: one that is made of others stands beside these until they are deleted.
pub(super) fn in_a_row(mut all: Vec<Segment>) -> Vec<Segment> {
    all.sort_by_key(|segment| (segment.at, segment.end));
    let mut row: Vec<Segment> = Vec::new();
    let mut all = all.into_iter().peekable();
    loop {
        let end = end_of(&row);
        let mut furthest: Option<Segment> = None;
        while let Some(segment) = all.next_if(|segment| segment.at <= end) {
            if segment.end > furthest.as_ref().map_or(end, |furthest| furthest.end) {
                furthest = Some(segment);
            }
        }
        match furthest {
            Some(segment) => row.push(segment),
            None => return row,
        }
    }
}

/// Where a log ends.
pub(super) fn end_of(row: &[Segment]) -> u64 {
    row.last().map_or(0, |segment| segment.end)
}

/// Where these bytes of a log are: objects, and what of each.
pub(super) fn places(row: &[Segment], bytes: &Range<u64>) -> Vec<(Path, Range<u64>)> {
    let mut places = Vec::new();
    let mut from = bytes.start;
    for segment in row.iter().filter(|segment| segment.end > bytes.start) {
        let to = segment.end.min(bytes.end);
        if from < to {
            places.push((segment.object.clone(), from - segment.at..to - segment.at));
            from = to;
        }
    }
    places
}

/// What of a log is to be made one object: what was added last, and before it what is no longer than all behind it. So a
/// log of n additions has some log n objects, and each byte is written so often.
pub(super) fn to_merge(row: &[Segment]) -> Option<Range<u64>> {
    let mut bytes = 0;
    let chosen = row.iter().rev().take_while(|segment| {
        let fits = bytes + segment.bytes() <= LARGEST && (!segment.merged || segment.bytes() <= bytes);
        bytes += segment.bytes();
        fits
    });
    let chosen = chosen.count();
    (chosen > 1).then(|| row[row.len() - chosen].at..end_of(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &str, size: u64) -> Option<Segment> {
        Segment::of(ObjectMeta {
            location: Path::from(format!("a.log/{name}")),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size,
            e_tag: None,
            version: None,
        })
    }

    fn row(segments: &[(&str, u64)]) -> Vec<(u64, u64)> {
        let all = segments.iter().map(|(name, size)| segment(name, *size).unwrap()).collect();
        in_a_row(all).iter().map(|segment| (segment.at, segment.end)).collect()
    }

    #[test]
    fn what_is_in_several_objects_is_read_once() {
        assert_eq!(row(&[("0", 4), ("4", 4), ("8", 1)]), [(0, 4), (4, 8), (8, 9)]);
        assert_eq!(row(&[("0", 4), ("4", 4), ("0-8", 8), ("8", 1)]), [(0, 8), (8, 9)]);
        assert_eq!(row(&[("0", 4), ("2", 9), ("0-8", 8)]), [(0, 8), (2, 11)], "what begins earlier");
        assert_eq!(row(&[("0", 4), ("5", 4)]), [(0, 4)], "something between is missing");
        assert_eq!(row(&[("1", 4)]), []);
    }

    #[test]
    fn what_is_no_segment_is_none() {
        for (name, size) in [("x", 1), ("0-8", 7), ("0-8-9", 8), ("-1", 1), ("18446744073709551615", 1)] {
            assert_eq!(segment(name, size), None, "{name}");
        }
    }

    #[test]
    fn bytes_are_where_their_segments_are() {
        let all = [("0", 4), ("2", 9)].map(|(name, size)| segment(name, size).unwrap());
        let found = |bytes: Range<u64>| {
            let places = places(&all, &bytes);
            places.into_iter().map(|(path, of)| (path.filename().unwrap().to_owned(), of)).collect::<Vec<_>>()
        };
        assert_eq!(found(1..6), [("0".into(), 1..4), ("2".into(), 2..4)]);
        assert_eq!(found(7..99), [("2".into(), 5..9)]);
        assert_eq!(found(11..99), []);
    }

    #[test]
    fn a_log_of_many_additions_has_few_objects_and_is_not_written_often() {
        for size in [100, 100_000] {
            let (mut row, mut written): (Vec<Segment>, u64) = (Vec::new(), 0);
            for _ in 0..20_000 {
                let at = end_of(&row);
                row.push(segment(&added(at), size).unwrap());
                written += size;
                if row.iter().filter(|segment| !segment.merged).count() < SMALL_AT_ONCE {
                    continue;
                }
                let of = to_merge(&row).unwrap();
                written += of.end - of.start;
                row.push(segment(&merged(&of), of.end - of.start).unwrap());
                row = in_a_row(std::mem::take(&mut row));
            }
            let large = end_of(&row) / (LARGEST / 2);
            assert!(row.len() as u64 <= 16 + 11 + large, "{} objects", row.len());
            assert!(written <= 12 * end_of(&row), "{written} of {}", end_of(&row));
        }
    }
}
