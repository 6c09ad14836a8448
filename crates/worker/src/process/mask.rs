//! Secrets replaced by `***` in a stream of bytes that arrives in pieces.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use super::spec::Secret;

/// Shorter secrets are left alone, as by Airflow's secrets masker (`MIN_LENGTH_TO_MASK`).
const MIN_CHARS: usize = 5;
const STARS: &[u8] = b"***";
/// A longer secret is hidden in parts of so many bytes: to make ready to search for a text takes time that, where it repeats
/// itself, grows with the square of its length.
const PART_BYTES: usize = 1024;

/// Texts that must not appear in an attempt's log. There may come more while it runs: what a task asks for is
/// hidden from then on. Clones are the same. Texts shorter than five characters are not masked, as in Airflow:
/// they would blank out half of every log.
#[derive(Clone, Default)]
pub struct Masks(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    secrets: Vec<Secret>,
    mask: Option<Arc<Mask>>,
}

/// Secrets that can't be searched for: there are gigabytes of them.
#[derive(Debug, thiserror::Error)]
#[error("the secrets can't be masked: {0}")]
pub struct MaskError(#[from] BuildError);

impl Masks {
    /// These secrets.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, MaskError> {
        let masks = Self::default();
        masks.add(secrets)?;
        Ok(masks)
    }

    /// These too. What is captured after this does not show them.
    pub fn add(&self, secrets: impl IntoIterator<Item = Secret>) -> Result<(), MaskError> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.secrets.len();
        known.secrets.extend(secrets);
        if known.secrets.len() > before {
            known.mask = Mask::new(known.secrets.iter())?;
        }
        Ok(())
    }

    /// Whether there is a secret in a text.
    pub fn hides(&self, text: &str) -> bool {
        self.current().is_some_and(|mask| mask.automaton.is_match(text))
    }

    /// A text with the secrets in it hidden.
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        let mut masker = Masker::new(self.clone());
        masker.push(text, |piece| shown.extend_from_slice(piece));
        masker.finish(|piece| shown.extend_from_slice(piece));
        shown
    }

    fn current(&self) -> Option<Arc<Mask>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).mask.clone()
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks(***)")
    }
}

/// The secrets of one attempt, made ready for searching.
struct Mask {
    automaton: AhoCorasick,
    patterns: Vec<Vec<u8>>,
    longest: usize,
}

impl Mask {
    /// `None` if there is nothing to mask; fails only for gigabytes of secrets. A secret of several lines is
    /// masked as a whole and line by line, since programs indent and prefix what they print.
    fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Result<Option<Arc<Self>>, BuildError> {
        let mut patterns: Vec<Vec<u8>> = secrets
            .flat_map(|secret| {
                let whole = secret.bytes().trim_ascii_end();
                let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                std::iter::once(whole).chain(lines).filter(|text| is_long_enough(text)).flat_map(parts)
            })
            .map(<[u8]>::to_vec)
            .collect();
        patterns.sort_unstable();
        patterns.dedup();
        let Some(longest) = patterns.iter().map(Vec::len).max() else { return Ok(None) };
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns)?;
        Ok(Some(Arc::new(Self { automaton, patterns, longest })))
    }

    /// The parts of `text` that some secret covers, in order, overlapping and touching ones merged.
    fn covered(&self, text: &[u8], first: Option<(usize, usize)>) -> Vec<(usize, usize)> {
        let mut ranges: Vec<(usize, usize)> = first.into_iter().collect();
        // Overlapping matches come ordered by their ends, so that only the newest ranges can grow.
        for found in self.automaton.find_overlapping_iter(text) {
            let (mut start, end) = (found.start(), found.end());
            while let Some(&(last_start, last_end)) = ranges.last()
                && last_end >= start
            {
                start = start.min(last_start);
                ranges.pop();
            }
            ranges.push((start, end));
        }
        ranges
    }

    /// The length of the longest end of `text` with which a secret may be beginning.
    fn open_end(&self, text: &[u8]) -> usize {
        let tail = &text[text.len() - text.len().min(self.longest - 1)..];
        let mut open = 0;
        for pattern in &self.patterns {
            let longest = tail.len().min(pattern.len() - 1);
            if let Some(length) =
                (open + 1..=longest).rev().find(|length| tail.ends_with(&pattern[..*length]))
            {
                open = length;
            }
        }
        open
    }
}

/// What is searched for so that a text is hidden whole: itself, or its parts, of which the last may overlap the one before.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = &text[text.len().saturating_sub(PART_BYTES)..];
    text.chunks_exact(PART_BYTES).chain(std::iter::once(last))
}

fn is_long_enough(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).chars().count() >= MIN_CHARS
}

/// One stream on its way through [`Masks`]. It holds back only what may be the beginning of a secret.
pub(super) struct Masker {
    masks: Masks,
    held: Vec<u8>,
    /// How many of the held bytes belong to a secret whose stars have gone out.
    covered: usize,
    /// Whether the last thing that went out were stars that a touching secret continues.
    starred: bool,
}

impl Masker {
    pub(super) fn new(masks: Masks) -> Self {
        Self { masks, held: Vec::new(), covered: 0, starred: false }
    }

    /// Takes the stream's next piece and gives out what is safe to show.
    pub(super) fn push(&mut self, piece: &[u8], show: impl FnMut(&[u8])) {
        self.pass(piece, false, show);
    }

    /// The stream has ended: gives out what was held back.
    pub(super) fn finish(&mut self, show: impl FnMut(&[u8])) {
        self.pass(&[], true, show);
    }

    fn pass(&mut self, piece: &[u8], at_end: bool, mut show: impl FnMut(&[u8])) {
        let Some(mask) = self.masks.current() else {
            if !piece.is_empty() {
                show(piece);
            }
            return;
        };
        let mut joined = std::mem::take(&mut self.held);
        let text = if joined.is_empty() {
            piece
        } else {
            joined.extend_from_slice(piece);
            &joined
        };
        let safe = if at_end { text.len() } else { text.len() - mask.open_end(text) };
        let carried = self.starred.then_some((0, self.covered));
        let (mut shown, mut covered, mut starred) = (0, 0, false);
        for (start, end) in mask.covered(text, carried) {
            if start >= safe && !(start == 0 && self.starred) {
                break;
            }
            if start > shown {
                show(&text[shown..start]);
            }
            if !(start == 0 && self.starred) {
                show(STARS);
            }
            shown = end.min(safe);
            covered = end - shown;
            starred = end >= safe;
        }
        if shown < safe {
            show(&text[shown..safe]);
        }
        self.held = text[safe..].to_vec();
        self.covered = covered;
        self.starred = starred;
    }
}

#[cfg(test)]
mod tests;
