//! What happened, line by line.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
};

use crate::Micros;

/// How many of the last lines are kept for the report of a failure.
const KEPT: usize = 80;

#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    print: bool,
    last: VecDeque<String>,
    line: String,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, print, last: VecDeque::new(), line: String::new() }
    }

    pub fn line(&mut self, now: Micros, what: fmt::Arguments<'_>) {
        let mut line = if self.last.len() >= KEPT {
            self.last.pop_front().unwrap_or_default()
        } else {
            std::mem::take(&mut self.line)
        };
        line.clear();
        // Writing to a string cannot fail.
        let _ = write!(line, "{:>12.3} {what}", now as f64 / 1e6);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.print {
            println!("{line}");
        }
        self.last.push_back(line);
    }

    /// The same for the same lines.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn into_tail(self) -> Vec<String> {
        self.last.into()
    }
}
