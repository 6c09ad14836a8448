//! A stream of bytes cut into the printable lines of a log.

use std::io::Write;

/// A longer line is cut into pieces of this many bytes.
pub const PIECE_BYTES: usize = 8 * 1024;

/// Cuts one stream into lines, of which it holds at most one piece.
#[derive(Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// The last line ended with CR: an LF right after it belongs to that end.
    after_cr: bool,
    /// Pieces of the present line have been given out, so that its end must be, too.
    continued: bool,
}

impl Lines {
    /// Takes the stream's next bytes and gives out `(text, goes_on)` for each line and each piece of a long one.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut give: impl FnMut(&[u8], bool)) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            match (end, rest.split_first()) {
                (Some(_), Some((terminator, rest))) => {
                    if self.begun.is_empty() && text.len() <= PIECE_BYTES {
                        give(text, false);
                    } else {
                        self.add(text, &mut give);
                        give(&self.begun, false);
                        self.begun.clear();
                    }
                    self.continued = false;
                    self.after_cr = *terminator == b'\r';
                    bytes = rest;
                }
                _ => {
                    self.add(text, &mut give);
                    return;
                }
            }
        }
    }

    /// Whether there is text that has not been given out, since its line has not ended.
    pub(crate) fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Gives out what has been begun, for followers who should not wait for the end of the line.
    pub(crate) fn show_begun(&mut self, mut give: impl FnMut(&[u8], bool)) {
        let whole = whole_characters(&self.begun);
        if whole > 0 {
            give(&self.begun[..whole], true);
            self.begun.drain(..whole);
            self.continued = true;
        }
        if self.begun.is_empty() {
            self.begun = Vec::new();
        }
    }

    /// The stream has ended: gives out a last line that has no end of its own.
    pub(crate) fn finish(&mut self, mut give: impl FnMut(&[u8], bool)) {
        if !self.begun.is_empty() || self.continued {
            give(&self.begun, false);
            self.begun = Vec::new();
        }
    }

    fn add(&mut self, mut text: &[u8], give: &mut impl FnMut(&[u8], bool)) {
        while self.begun.len() + text.len() > PIECE_BYTES {
            if self.begun.is_empty() {
                let whole = whole_characters(&text[..PIECE_BYTES]);
                give(&text[..whole], true);
                text = &text[whole..];
            } else {
                let (more, rest) = text.split_at(PIECE_BYTES - self.begun.len());
                self.begun.extend_from_slice(more);
                let whole = whole_characters(&self.begun);
                give(&self.begun[..whole], true);
                self.begun.drain(..whole);
                text = rest;
            }
            self.continued = true;
        }
        self.begun.extend_from_slice(text);
    }
}

/// How much of `text` to give out so that no UTF-8 character is torn: all but an unfinished one at the end.
fn whole_characters(text: &[u8]) -> usize {
    let longest_torn = text.len().saturating_sub(3);
    let Some(start) = (longest_torn..text.len()).rev().find(|at| text[*at] & 0b1100_0000 != 0b1000_0000)
    else {
        return text.len();
    };
    let needed = match text[start] {
        0b1100_0000..=0b1101_1111 => 2,
        0b1110_0000..=0b1110_1111 => 3,
        0b1111_0000..=0b1111_0111 => 4,
        _ => 1,
    };
    if start + needed > text.len() { start } else { text.len() }
}

/// Appends `text` as printable UTF-8, see the module above.
pub(super) fn append_printable(buffer: &mut Vec<u8>, text: &[u8]) {
    if !text.iter().any(|byte| is_escaped(*byte)) && std::str::from_utf8(text).is_ok() {
        buffer.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            if is_escaped(byte) { append_escaped(buffer, byte) } else { buffer.push(byte) }
        }
        chunk.invalid().iter().for_each(|byte| append_escaped(buffer, *byte));
    }
}

fn is_escaped(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t' && byte != b'\x1b'
}

fn append_escaped(buffer: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
    // Writing to a vector cannot fail.
    let _ = buffer.write_all(&[b'\\', b'x', high, low]);
}
