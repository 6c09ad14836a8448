//! The lines of an attempt's log.
//!
//! ```text
//! 2026-11-21T03:48:10.123456Z<TAB>out<TAB>text<LF>
//! ```
//!
//! The time is UTC with six decimals. The stream is `out`, `err`, or `sys` for what Updraft says itself;
//! `out+` and `err+` say that the line goes on in the next entry of that stream. The text has no control
//! characters but tab and escape, so that no output can forge an entry.

use jiff::Timestamp;

/// So long is a time: always 27 bytes.
const TIME_BYTES: usize = 27;

/// Which stream an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// Updraft's own remarks.
    Sys,
}

impl Stream {
    /// Its name in the log and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Sys => "sys",
        }
    }
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was read from the process.
    pub at: Timestamp,
    /// Whose it is.
    pub stream: Stream,
    /// The line goes on in the next entry of this stream.
    pub goes_on: bool,
    /// The text, without its line end.
    pub text: String,
}

impl Entry {
    /// Reads a line, without its line end. `None` where it is no entry: torn by a full disk, or not ours.
    pub fn parse(line: &str) -> Option<Self> {
        let at = line.get(..TIME_BYTES)?.parse().ok()?;
        let (tag, text) = line.get(TIME_BYTES..)?.strip_prefix('\t')?.split_once('\t')?;
        let (tag, goes_on) = tag.strip_suffix('+').map_or((tag, false), |tag| (tag, true));
        let stream = [Stream::Out, Stream::Err, Stream::Sys].into_iter().find(|s| s.as_str() == tag)?;
        Some(Self { at, stream, goes_on, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_with_its_tabs() {
        let entry = Entry::parse("2026-11-21T03:48:10.123456Z\terr+\ta\tb").unwrap();
        assert_eq!((entry.stream, entry.goes_on, &*entry.text), (Stream::Err, true, "a\tb"));
        assert_eq!(entry.at.to_string(), "2026-11-21T03:48:10.123456Z");
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for line in ["", "torn", "2026-11-21T03:48:10.123456Z\tout", "2026-11-21T03:48:10.123456Z\tin\tx"] {
            assert_eq!(Entry::parse(line), None);
        }
    }
}
