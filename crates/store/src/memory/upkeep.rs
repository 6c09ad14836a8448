//! The administrator's side: see [`crate::Upkeep`]. There is no schema and nothing to back up.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{DagKey, RunKey, record::RunRow};

use super::{MemoryStore, backfills::Backfill, tables::Tables};
use crate::{Change, Cleaned, DeliveryState, Error, Expired, RecordKind, Upkeep, sql::SCHEMA_VERSION};

#[async_trait]
impl Upkeep for MemoryStore {
    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn schema_version(&self) -> Result<u32, Error> {
        Ok(SCHEMA_VERSION)
    }

    async fn check_schema(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn clean(&self, before: Timestamp, what: Expired, limit: u32) -> Result<Cleaned, Error> {
        let cleaned = clean(&mut self.tables(), before, what, usize::try_from(limit).unwrap_or(usize::MAX));
        if cleaned.rows > 0 {
            self.tell(Change::Record(RecordKind::Cleaned));
        }
        Ok(cleaned)
    }

    async fn expired(&self, before: Timestamp, what: Expired) -> Result<u64, Error> {
        let mut tables = self.tables().clone();
        let backfills = tables.backfills.len();
        let cleaned = clean(&mut tables, before, what, usize::MAX);
        Ok(match what {
            Expired::Runs => cleaned.runs,
            Expired::Backfills => u64::try_from(backfills - tables.backfills.len()).unwrap_or(u64::MAX),
            _ => cleaned.rows,
        })
    }

    async fn backup(&self, _: &Path) -> Result<(), Error> {
        Err(Error::Invalid("the store is in memory only: there is nothing to back up".into()))
    }
}

fn clean(tables: &mut Tables, before: Timestamp, what: Expired, limit: usize) -> Cleaned {
    let rows = match what {
        Expired::Runs => return clean_runs(tables, before, limit),
        Expired::Transitions => clean_transitions(tables, before, limit),
        Expired::History => {
            let mut gone = 0;
            for run in tables.runs.values_mut() {
                let old = |run: &super::tables::Run| -> Vec<_> {
                    let old =
                        run.history.iter().filter(|(_, row)| row.ended_at.is_some_and(|at| at < before));
                    old.map(|(key, _)| *key).take(limit - gone).collect()
                };
                for key in old(run) {
                    Arc::make_mut(run).history.remove(&key);
                    gone += 1;
                }
            }
            gone
        }
        Expired::Audit => {
            let first = tables.audit.iter().take(limit).filter(|(_, entry)| entry.row.at < before);
            let old: Vec<i64> = first.map(|(id, _)| *id).collect();
            old.iter().filter_map(|id| tables.audit.remove(id)).count()
        }
        Expired::Ticks => {
            let last: BTreeSet<(DagKey, Timestamp)> =
                tables.snapshot().ticks.into_iter().map(|row| (row.dag, row.first)).collect();
            let old = tables.ticks.iter().filter(|(key, row)| row.last < before && !last.contains(key));
            let old: Vec<_> = old.map(|(key, _)| key.clone()).take(limit).collect();
            old.iter().filter_map(|key| tables.ticks.remove(key)).count()
        }
        Expired::Deliveries => {
            use DeliveryState::{Failed, Sent, Undeliverable};
            let over = |state| matches!(state, Sent | Failed | Undeliverable);
            let old = tables.deliveries.iter().filter(|(_, row)| row.changed_at < before && over(row.state));
            let old: Vec<_> = old.map(|(id, _)| *id).take(limit).collect();
            old.iter().filter_map(|id| tables.deliveries.remove(id)).count()
        }
        Expired::Backfills => {
            let over = |backfill: &Backfill| backfill.row.completed_at.is_some_and(|at| at < before);
            let old: Vec<_> = tables.backfills.iter().filter(|(_, backfill)| over(backfill)).collect();
            let old: Vec<_> = old.into_iter().map(|(id, _)| *id).take(limit).collect();
            old.iter().filter_map(|id| tables.backfills.remove(id)).map(|gone| 1 + gone.runs.len()).sum()
        }
        Expired::AssetEvents => {
            let wanted: BTreeSet<_> = tables.queued_events.keys().map(|(_, event)| *event).collect();
            let old = tables.asset_events.values().filter(|event| event.at < before);
            let old = old.map(|event| event.id).filter(|id| !wanted.contains(id));
            let old: Vec<_> = old.take(limit).collect();
            old.iter().filter_map(|id| tables.asset_events.remove(id)).count()
        }
        Expired::Tokens => {
            let old =
                tables.tokens.iter().filter(|(_, row)| row.token.expires_at.is_some_and(|at| at < before));
            let old: Vec<_> = old.map(|(id, _)| *id).take(limit).collect();
            old.iter().filter_map(|id| tables.tokens.remove(id)).count()
        }
    };
    Cleaned { runs: 0, rows: u64::try_from(rows).unwrap_or(u64::MAX), more: rows == limit }
}

fn clean_transitions(tables: &mut Tables, before: Timestamp, limit: usize) -> usize {
    let mut all: Vec<(i64, Timestamp, RunKey)> = Vec::new();
    for run in tables.runs.values() {
        all.extend(run.transitions.iter().map(|(id, row)| (*id, row.at, run.row.key)));
    }
    all.sort_unstable();
    let old: Vec<_> = all.into_iter().take(limit).filter(|(_, at, _)| *at < before).collect();
    for (id, _, run) in &old {
        if let Some(run) = tables.runs.get_mut(run) {
            Arc::make_mut(run).transitions.retain(|(other, _)| other != id);
        }
    }
    old.len()
}

/// Whether a run that is not over comes right after this one.
fn is_followed(tables: &Tables, run: &RunRow) -> bool {
    let date = |run: &RunRow| run.logical_date.unwrap_or(run.run_after);
    let after: Vec<_> = tables.runs_of(&run.dag).filter(|next| date(&next.row) > date(run)).collect();
    let same =
        after.iter().filter(|next| next.row.run_type == run.run_type).map(|next| date(&next.row)).min();
    let mut open = after.iter().filter(|next| !next.row.state.is_finished());
    open.any(|open| same.is_none_or(|same| same >= date(&open.row)))
}

fn clean_runs(tables: &mut Tables, before: Timestamp, limit: usize) -> Cleaned {
    let mut old: Vec<(Timestamp, RunKey, usize)> = Vec::new();
    for run in tables.runs.values() {
        let latest = tables.runs_of(&run.row.dag).next_back().is_some_and(|last| last.row.key == run.row.key);
        if let (true, false, Some(ended_at)) = (run.row.state.is_finished(), latest, run.row.ended_at)
            && ended_at < before
            && !is_followed(tables, &run.row)
        {
            old.push((ended_at, run.row.key, run.tis.len() + run.transitions.len() + 1));
        }
    }
    old.sort_unstable();
    let mut runs = BTreeSet::new();
    let mut rows = 0;
    let candidates = old.len();
    for (_, run, size) in old {
        if !runs.is_empty() && rows + size > limit {
            break;
        }
        rows += size;
        runs.insert(run);
    }
    tables.delete_runs(&runs);
    let more = runs.len() < candidates;
    if !more {
        let current = |dag: &DagKey| tables.dags.get(dag).map_or(0, |row| row.version);
        let used = |dag: &DagKey, version| tables.runs_of(dag).any(|run| run.row.version == version);
        let unused = tables.versions.iter().filter(|((dag, version), row)| {
            *version < current(dag) && row.created_at < before && !used(dag, *version)
        });
        let unused: Vec<_> = unused.map(|(key, _)| key.clone()).take(limit).collect();
        rows += unused.iter().filter_map(|key| tables.versions.remove(key)).count();
    }
    Cleaned {
        runs: u64::try_from(runs.len()).unwrap_or(u64::MAX),
        rows: u64::try_from(rows).unwrap_or(u64::MAX),
        more,
    }
}
