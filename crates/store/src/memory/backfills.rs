//! Backfills: see [`crate::Backfills`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use updraft_core::{Namespace, RunKey, record::AuditRow};

use super::{MemoryStore, filter::page, tables::Tables};
use crate::{
    BackfillCounts, BackfillId, BackfillQuery, BackfillRow, BackfillRunListing, BackfillRunRow, Backfills,
    Change, Error, NewBackfill, Page, Progress, RecordKind, Window,
};

/// A backfill with its dates.
#[derive(Clone, Debug)]
pub(super) struct Backfill {
    pub row: BackfillRow,
    pub runs: BTreeMap<u32, BackfillRunRow>,
}

impl Tables {
    fn open_backfill(&mut self, id: BackfillId) -> Option<&mut Backfill> {
        self.backfills.get_mut(&id).filter(|backfill| backfill.row.completed_at.is_none())
    }
}

#[async_trait]
impl Backfills for MemoryStore {
    async fn create_backfill(
        &self,
        backfill: &NewBackfill,
        runs: &[BackfillRunRow],
        audit: &AuditRow,
    ) -> Result<Option<BackfillId>, Error> {
        let mut tables = self.tables();
        let is_open =
            |other: &Backfill| other.row.completed_at.is_none() && other.row.backfill.dag == backfill.dag;
        if tables.backfills.values().any(is_open) {
            return Ok(None);
        }
        let id = BackfillId(tables.next_id());
        let row = BackfillRow {
            id,
            backfill: backfill.clone(),
            created_at: audit.at,
            updated_at: audit.at,
            completed_at: None,
        };
        let runs = runs.iter().map(|run| (run.ix, run.clone())).collect();
        tables.backfills.insert(id, Backfill { row, runs });
        self.changed(tables, true, RecordKind::Backfill, audit).map(|_| Some(id))
    }

    async fn backfills(&self, query: &BackfillQuery) -> Result<Page<BackfillRow>, Error> {
        let tables = self.tables();
        let of = |row: &&BackfillRow| {
            row.backfill.dag.namespace == query.namespace
                && query.dag_id.as_ref().is_none_or(|dag_id| row.backfill.dag.dag_id == *dag_id)
                && query.is_completed.is_none_or(|completed| row.completed_at.is_some() == completed)
        };
        let rows = tables.backfills.values().rev().map(|backfill| &backfill.row).filter(of);
        Ok(page(rows.cloned().collect(), query.window))
    }

    async fn backfill(&self, namespace: &Namespace, id: BackfillId) -> Result<Option<BackfillRow>, Error> {
        let tables = self.tables();
        let found = tables.backfills.get(&id).map(|backfill| &backfill.row);
        Ok(found.filter(|row| row.backfill.dag.namespace == *namespace).cloned())
    }

    async fn open_backfills(&self) -> Result<Vec<BackfillRow>, Error> {
        let tables = self.tables();
        let rows = tables.backfills.values().map(|backfill| &backfill.row);
        Ok(rows.filter(|row| row.completed_at.is_none()).cloned().collect())
    }

    async fn backfill_counts(&self, id: BackfillId) -> Result<BackfillCounts, Error> {
        let tables = self.tables();
        let mut counts = BackfillCounts::default();
        for run in tables.backfills.get(&id).into_iter().flat_map(|backfill| backfill.runs.values()) {
            let state = run.run.and_then(|key| tables.runs.get(&key)).map(|run| run.row.state);
            counts.add(run.progress.as_str(), state, 1);
        }
        Ok(counts)
    }

    async fn backfill_runs(&self, id: BackfillId, window: Window) -> Result<Page<BackfillRunListing>, Error> {
        let tables = self.tables();
        let named = |key: RunKey| tables.runs.get(&key).map(|run| (run.row.run_id.clone(), run.row.state));
        let runs = tables.backfills.get(&id).into_iter().flat_map(|backfill| backfill.runs.values());
        let rows = runs.map(|row| BackfillRunListing { row: row.clone(), run: row.run.and_then(named) });
        Ok(page(rows.collect(), window))
    }

    async fn next_backfill_run(&self, id: BackfillId) -> Result<Option<BackfillRunRow>, Error> {
        let tables = self.tables();
        let mut runs = tables.backfills.get(&id).into_iter().flat_map(|backfill| backfill.runs.values());
        Ok(runs.find(|run| run.progress.is_open()).cloned())
    }

    async fn put_backfill_run(&self, id: BackfillId, row: &BackfillRunRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let found = tables.backfills.get_mut(&id).and_then(|backfill| backfill.runs.get_mut(&row.ix));
        let found = found.filter(|run| run.progress != Progress::PassedOver);
        let changed = found.map(|run| *run = row.clone()).is_some();
        drop(tables);
        self.tell(Change::Record(RecordKind::Backfill));
        Ok(changed)
    }

    async fn pause_backfill(&self, id: BackfillId, paused: bool, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let found = tables.open_backfill(id).filter(|open| open.row.backfill.is_paused != paused);
        let changed = found.map(|open| {
            open.row.backfill.is_paused = paused;
            open.row.updated_at = audit.at;
        });
        self.changed(tables, changed.is_some(), RecordKind::Backfill, audit)
    }

    async fn cancel_backfill(&self, id: BackfillId, reason: &str, audit: &AuditRow) -> Result<bool, Error> {
        let mut tables = self.tables();
        let changed = tables.open_backfill(id).map(|open| {
            (open.row.completed_at, open.row.updated_at) = (Some(audit.at), audit.at);
            for run in open.runs.values_mut().filter(|run| run.progress == Progress::Waiting) {
                run.progress = Progress::PassedOver;
                run.reason = Some(reason.into());
            }
        });
        self.changed(tables, changed.is_some(), RecordKind::Backfill, audit)
    }

    async fn complete_backfill(&self, id: BackfillId, at: Timestamp) -> Result<(), Error> {
        if let Some(open) = self.tables().open_backfill(id) {
            (open.row.completed_at, open.row.updated_at) = (Some(at), at);
        }
        self.tell(Change::Record(RecordKind::Backfill));
        Ok(())
    }
}
