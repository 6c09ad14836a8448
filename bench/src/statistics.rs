//! Medians and percentiles.

use std::time::Duration;

/// The value below which this part of all lies (by the nearest rank); NaN where there are none.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (part * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The median of the quotients of two lists' values, pair by pair.
pub fn median_ratio(ours: &[f64], beside: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(beside).map(|(ours, beside)| ours / beside).collect();
    median(&ratios)
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
