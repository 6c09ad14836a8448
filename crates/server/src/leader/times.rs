//! How long the loop takes.

use std::time::Instant;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// What the loop measures of itself. It comes with the channel, so that whoever has the way to the leader can
/// show it, on whichever side each of the two was made.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// Each batch that the store wrote.
    pub commits: Histogram,
    /// Each turn of the loop, its commit included.
    pub turns: Histogram,
}

impl Default for Times {
    fn default() -> Self {
        Self { commits: histogram(), turns: histogram() }
    }
}

/// From a tenth of a millisecond to about half a minute.
pub(crate) fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}

/// Counts what has taken since then.
pub(super) fn observe(histogram: &Histogram, since: Instant) {
    histogram.observe(since.elapsed().as_secs_f64());
}
