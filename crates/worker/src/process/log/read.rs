//! Reading a log by offsets, whole or while it grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;

use super::Stream;

/// No entry is longer: a piece in which every byte is escaped, with its head.
const LONGEST_ENTRY_BYTES: usize = 4 * super::PIECE_BYTES + 64;
const TIME_BYTES: usize = 27;

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the file, in bytes.
    pub offset: u64,
    /// When it was read from the process.
    pub at: Timestamp,
    /// Whose it is.
    pub stream: Stream,
    /// The line goes on in the next entry of this stream.
    pub goes_on: bool,
    /// The text, without its line end.
    pub text: String,
}

/// Some consecutive entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the file's order.
    pub entries: Vec<Entry>,
    /// Where the next page begins.
    pub next_offset: u64,
    /// Nothing follows yet.
    pub at_end: bool,
    /// Lines that are no entries: torn by a full disk, or not of our making.
    pub unreadable: u64,
}

/// Reads the entries that stand whole in the file from `offset` on, about `most_bytes` of them and at least one if there is
/// one. An offset in the middle of an entry counts as that of the next. A log that does not exist yet is an empty one.
pub fn read_page(path: &Path, offset: u64, most_bytes: usize) -> io::Result<Page> {
    let mut page = Page { entries: Vec::new(), next_offset: offset, at_end: true, unreadable: 0 };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(page),
        Err(error) => return Err(error),
    };
    // One byte more at the front tells whether the offset is the start of a line.
    let before = u64::from(offset > 0);
    let mut bytes = vec![0; most_bytes.max(LONGEST_ENTRY_BYTES) + 1];
    let read = read_at(&file, &mut bytes, offset - before)?;
    page.at_end = read < bytes.len();
    let bytes = &bytes[..read];
    let mut start = 0;
    if before == 1 {
        start = memchr::memchr(b'\n', bytes).map_or(read, |end| end + 1);
    }
    let base = offset - before;
    for end in memchr::memchr_iter(b'\n', &bytes[start..]).map(|end| start + end).collect::<Vec<_>>() {
        match parse(&bytes[start..end], base + start as u64) {
            Some(entry) => page.entries.push(entry),
            None => page.unreadable += 1,
        }
        start = end + 1;
    }
    if start < read && page.entries.is_empty() && page.unreadable == 0 && !page.at_end {
        // A line longer than any entry is none of ours; skipping it keeps a reader from standing still.
        page.unreadable = 1;
        start = read;
    }
    page.next_offset = (base + start as u64).max(offset);
    Ok(page)
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn parse(line: &[u8], offset: u64) -> Option<Entry> {
    let line = std::str::from_utf8(line).ok()?;
    let at = line.get(..TIME_BYTES)?.parse().ok()?;
    let (tag, text) = line.get(TIME_BYTES..)?.strip_prefix('\t')?.split_once('\t')?;
    let (tag, goes_on) = tag.strip_suffix('+').map_or((tag, false), |tag| (tag, true));
    let stream = [Stream::Out, Stream::Err, Stream::Sys].into_iter().find(|stream| stream.tag() == tag)?;
    Some(Entry { offset, at, stream, goes_on, text: text.to_owned() })
}
