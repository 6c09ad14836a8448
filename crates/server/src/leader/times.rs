//! How long the loop takes, and whether it can write.

use std::time::Instant;

use prometheus_client::metrics::{
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

/// What the loop measures of itself. It comes with the channel, so that whoever has the way to the leader can
/// show it, on whichever side each of the two was made.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// Each batch that the store wrote.
    pub commits: Histogram,
    /// Each turn of the loop, its commit included.
    pub turns: Histogram,
    /// 1 while the store refuses what is to be written, as a full disk does, and it is tried again.
    pub refused: Gauge,
}

impl Default for Times {
    fn default() -> Self {
        Self { commits: histogram(), turns: histogram(), refused: Gauge::default() }
    }
}

/// Tells that the store refuses what is to be written, until it is dropped.
pub(super) struct Refused(Gauge);

impl Refused {
    pub fn by(times: &Times) -> Self {
        times.refused.set(1);
        Self(times.refused.clone())
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        self.0.set(0);
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
