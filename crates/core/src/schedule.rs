//! What schedules mean.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Never by itself.
    #[default]
    None,
}

/// A tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// When its run is due.
    pub run_after: Timestamp,
    /// Interval.
    pub data_interval: (Timestamp, Timestamp),
    /// Logical date.
    pub logical_date: Option<Timestamp>,
}
