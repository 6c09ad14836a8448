//! From a schedule as a DAG file writes it to the engine's.

use updraft_core::schedule::{Cron, Crons, Delta, RunImmediately, Schedule, Zone};

use super::schedule::{Immediately, Step, When};

/// The engine's schedule; where it can't be one, why.
pub(super) fn schedule(when: When) -> Result<Schedule, String> {
    Ok(match when {
        When::Manual => Schedule::Manual,
        When::Once => Schedule::Once,
        When::Continuous => Schedule::Continuous,
        When::Crons { crons, zone, interval, immediately } => {
            let crons: Result<Vec<Cron>, String> = crons.iter().map(|text| cron(text)).collect();
            Schedule::CronTrigger {
                crons: Crons::try_from(crons?).map_err(|error| error.to_string())?,
                zone: self::zone(&zone)?,
                interval: interval.map(delta).transpose()?,
                run_immediately: match immediately {
                    Immediately::No => RunImmediately::IfRecent,
                    Immediately::Yes => RunImmediately::Always,
                    Immediately::Within(length) => RunImmediately::Within(length),
                },
            }
        }
        When::CronIntervals { cron, zone } => {
            Schedule::CronDataInterval { cron: self::cron(&cron)?, zone: self::zone(&zone)? }
        }
        When::Every { step, interval } => {
            Schedule::DeltaTrigger { every: delta(step)?, interval: interval.map(delta).transpose()? }
        }
        When::Intervals { step } => Schedule::DeltaDataInterval { every: delta(step)? },
        When::Times { times, restrict_to_events } => {
            Schedule::ListOfTimes { times: times.into(), restrict_to_events }
        }
    })
}

fn cron(text: &str) -> Result<Cron, String> {
    Cron::new(text).map_err(|error| error.to_string())
}

fn zone(name: &str) -> Result<Zone, String> {
    Zone::new(name).map_err(|error| error.to_string())
}

fn delta(step: Step) -> Result<Delta, String> {
    Delta::new(step.months, step.exact).map_err(|error| error.to_string())
}
