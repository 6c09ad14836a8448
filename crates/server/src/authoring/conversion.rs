//! From a schedule as a DAG file writes it to the engine's.

use jiff::Timestamp;
use updraft_core::schedule::{Cron, Crons, Delta, RunImmediately, Schedule, TimeRestriction, Zone};

use super::schedule::{Immediately, Step, When};

/// The engine's schedule; where it can't be one, why.
pub(super) fn schedule(when: When) -> Result<Schedule, String> {
    Ok(match when {
        When::Manual => Schedule::Manual,
        When::AtBoot => Schedule::AtBoot,
        When::Once => Schedule::Once,
        When::Continuous => Schedule::Continuous,
        When::Crons { crons, zone, interval, immediately } => {
            let crons: Result<Vec<Cron>, _> = crons.iter().map(|cron| Cron::new(cron)).collect();
            Schedule::CronTrigger {
                crons: crons.and_then(Crons::try_from).map_err(told)?,
                zone: Zone::new(&zone).map_err(told)?,
                interval: interval.map(delta).transpose()?,
                run_immediately: match immediately {
                    Immediately::No => RunImmediately::IfRecent,
                    Immediately::Yes => RunImmediately::Always,
                    Immediately::Within(length) => RunImmediately::Within(length),
                },
            }
        }
        When::CronIntervals { cron, zone } => Schedule::CronDataInterval {
            cron: Cron::new(&cron).map_err(told)?,
            zone: Zone::new(&zone).map_err(told)?,
        },
        When::Every { step, interval } => {
            Schedule::DeltaTrigger { every: delta(step)?, interval: interval.map(delta).transpose()? }
        }
        When::Intervals { step } => Schedule::DeltaDataInterval { every: delta(step)? },
        When::Times { times, restrict_to_events } => {
            Schedule::ListOfTimes { times: times.into(), restrict_to_events }
        }
    })
}

/// Its crons that have no tick from now on.
pub(super) fn never_due(when: &When, now: Timestamp) -> Vec<&str> {
    let crons = match when {
        When::Crons { crons, .. } => &crons[..],
        When::CronIntervals { cron, .. } => std::slice::from_ref(cron),
        When::Manual
        | When::AtBoot
        | When::Once
        | When::Continuous
        | When::Every { .. }
        | When::Intervals { .. }
        | When::Times { .. } => &[],
    };
    let from_now_on = TimeRestriction { earliest: None, latest: None, catchup: false };
    let is_never_due = |cron: &&str| {
        // What is no cron is an error by itself.
        let schedule = Zone::new("UTC").ok().and_then(|utc| Schedule::from_text(cron, utc).ok());
        schedule.is_some_and(|schedule| schedule.ticks_from(now, &from_now_on).next().is_none())
    };
    crons.iter().map(String::as_str).filter(is_never_due).collect()
}

fn delta(step: Step) -> Result<Delta, String> {
    Delta::new(step.months, step.exact).map_err(told)
}

fn told(error: impl std::error::Error) -> String {
    error.to_string()
}
