//! Doing what backfills plan.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tracing::{info, warn};
use updraft_core::{
    DagKey,
    input::{Clear, Command, Reply, Trigger},
    record::{RunRow, RunType},
};
use updraft_store::{
    BackfillRow, BackfillRunRow, Change, Error, Progress, RecordKind, Reprocess, RunQuery, Store,
};

use super::plan::{Action, run_id};
use crate::leader::{Handle, Refusal, now};

/// What ends meanwhile is taken together.
const GATHER: Duration = Duration::from_millis(50);

/// However little is heard, it looks so often.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Does what backfills plan, for as long as this server leads.
pub struct Backfiller {
    /// Where backfills are.
    pub store: Arc<dyn Store>,
    /// The way to the leader.
    pub leader: Handle,
}

/// Why a backfill stands still for now.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(transparent)]
    Leader(Refusal),
}

impl Backfiller {
    /// Runs for as long as it is let.
    pub async fn run(self) {
        let mut changes = self.store.subscribe();
        loop {
            let began = tokio::time::Instant::now();
            let any = self.advance_all().await.unwrap_or_else(|fault| {
                match fault {
                    Fault::Leader(refusal) => info!(%refusal, "backfills go on later"),
                    Fault::Store(error) => warn!(%error, "backfills can't go on; trying again"),
                }
                true
            });
            if tokio::time::timeout_at(began + LOOK_EVERY, heard(&mut changes, any)).await.is_err() {
                continue;
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Whether there are any.
    async fn advance_all(&self) -> Result<bool, Fault> {
        let open = self.store.open_backfills().await?;
        for backfill in &open {
            self.advance(backfill).await?;
        }
        Ok(!open.is_empty())
    }

    /// Makes as many runs as may be at work, and ends the backfill where there is nothing left to do.
    async fn advance(&self, row: &BackfillRow) -> Result<(), Fault> {
        let (id, backfill) = (row.id, &row.backfill);
        loop {
            let counts = self.store.backfill_counts(id).await?;
            if counts.waiting == 0 && counts.active == 0 {
                self.store.complete_backfill(id, now()).await?;
                let (dag, success, failed) = (&backfill.dag, counts.success, counts.failed);
                info!(%dag, backfill = id.0, success, failed, "a backfill is over");
                return Ok(());
            }
            if counts.active >= u64::from(backfill.max_active_runs) {
                return Ok(());
            }
            // It may have been paused or cancelled since.
            let current = self.store.backfill(&backfill.dag.namespace, id).await?;
            let goes_on = |row: BackfillRow| row.completed_at.is_none() && !row.backfill.is_paused;
            if !current.is_some_and(goes_on) {
                return Ok(());
            }
            let Some(next) = self.store.next_backfill_run(id).await? else { return Ok(()) };
            self.begin(row, next).await?;
        }
    }

    /// Makes a date's run, or has it begin anew, or passes the date over.
    async fn begin(&self, row: &BackfillRow, next: BackfillRunRow) -> Result<(), Fault> {
        let there = self.run_of(&row.backfill.dag, &next).await?;
        let action = match (&there, next.progress) {
            // Begun by who was there before, and done.
            (Some(run), Progress::Starting { clear_number: None })
                if run.run_id == run_id(next.data_interval.1) =>
            {
                return self.put(row, BackfillRunRow { run: Some(run.key), ..next }, Progress::Started).await;
            }
            (Some(run), Progress::Starting { clear_number: Some(before) }) if run.clear_number > before => {
                return self.put(row, BackfillRunRow { run: Some(run.key), ..next }, Progress::Started).await;
            }
            (run, _) => Action::of(run.as_ref(), row.backfill.reprocess),
        };
        match (action, there) {
            (Action::PassOver(reason), _) => self.pass_over(row, next, reason).await,
            (Action::Clear, Some(run)) => self.clear(row, next, &run).await,
            (Action::Make | Action::Clear, _) => self.make(row, next).await,
        }
    }

    async fn make(&self, row: &BackfillRow, next: BackfillRunRow) -> Result<(), Fault> {
        self.put(row, next.clone(), Progress::Starting { clear_number: None }).await?;
        let backfill = &row.backfill;
        let trigger = Trigger {
            dag: backfill.dag.clone(),
            run_id: Some(run_id(next.data_interval.1)),
            logical_date: Some(next.logical_date),
            data_interval: Some(next.data_interval),
            // Not in the past, as Airflow has it: so it is not before the runs of the schedule that wait.
            run_after: None,
            conf: backfill.conf.clone(),
            tasks: backfill.tasks.clone(),
            run_type: RunType::Backfill,
            triggered_by: "backfill",
        };
        match self.leader.command(&*backfill.account, Command::Trigger(trigger)).await {
            Ok(Reply::Run(key, _)) => {
                self.put(row, BackfillRunRow { run: Some(key), ..next }, Progress::Started).await
            }
            Ok(_) => self.pass_over(row, next, "its run was not made".into()).await,
            Err(Refusal::Command(error)) => match self.run_of(&backfill.dag, &next).await? {
                // An earlier request has arrived meanwhile.
                Some(run) if run.run_id == run_id(next.data_interval.1) => {
                    self.put(row, BackfillRunRow { run: Some(run.key), ..next }, Progress::Started).await
                }
                Some(_) | None => self.pass_over(row, next, error.to_string()).await,
            },
            Err(refusal) => Err(Fault::Leader(refusal)),
        }
    }

    async fn clear(&self, row: &BackfillRow, next: BackfillRunRow, run: &RunRow) -> Result<(), Fault> {
        let next = BackfillRunRow { run: Some(run.key), ..next };
        let starting = Progress::Starting { clear_number: Some(run.clear_number) };
        self.put(row, next.clone(), starting).await?;
        let backfill = &row.backfill;
        let clear = Clear {
            run: run.key,
            tasks: backfill.tasks.iter().map(|task| (task.clone(), None)).collect(),
            upstream: false,
            downstream: false,
            only_failed: !backfill.tasks.is_empty() && backfill.reprocess == Reprocess::Failed,
            only_running: false,
            reset_run: true,
            latest: false,
            dry_run: false,
        };
        match self.leader.command(&*backfill.account, Command::Clear(clear)).await {
            Ok(Reply::Tis(tis)) if tis.is_empty() => {
                let reason = format!("of its run `{}` there is nothing to do again", run.run_id);
                self.pass_over(row, next, reason).await
            }
            Ok(_) => self.put(row, next, Progress::Started).await,
            Err(Refusal::Command(error)) => self.pass_over(row, next, error.to_string()).await,
            Err(refusal) => Err(Fault::Leader(refusal)),
        }
    }

    async fn pass_over(&self, row: &BackfillRow, next: BackfillRunRow, reason: String) -> Result<(), Fault> {
        let next = BackfillRunRow { run: None, reason: Some(reason), ..next };
        self.put(row, next, Progress::PassedOver).await
    }

    async fn put(&self, row: &BackfillRow, next: BackfillRunRow, progress: Progress) -> Result<(), Fault> {
        self.store.put_backfill_run(row.id, &BackfillRunRow { progress, ..next }).await?;
        Ok(())
    }

    /// The run of a date, where there is one.
    async fn run_of(&self, dag: &DagKey, date: &BackfillRunRow) -> Result<Option<RunRow>, Fault> {
        let query = RunQuery::dated(dag, date.logical_date);
        Ok(self.store.runs(&query).await?.rows.pop().map(|listing| listing.row))
    }
}

/// Waits until something is written that may concern a backfill. What becomes of runs does only where there is one.
async fn heard(changes: &mut Receiver<Arc<Change>>, any: bool) {
    loop {
        match changes.recv().await {
            Ok(change) => match &*change {
                Change::Committed { runs, .. } if runs.is_empty() || !any => {}
                Change::Committed { .. } | Change::Record(RecordKind::Backfill) => return,
                Change::Record(_) => {}
            },
            Err(RecvError::Lagged(_)) => return,
            // The store is gone, and soon this is, too.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
