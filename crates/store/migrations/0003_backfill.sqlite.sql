-- Runs of a DAG for times that are past, made a few at once. A DAG has one at a time that is not over.
CREATE TABLE backfill (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    from_date INTEGER NOT NULL,
    to_date INTEGER NOT NULL,
    reprocess TEXT NOT NULL CHECK (reprocess IN ('none', 'failed', 'completed')),
    run_backwards INTEGER NOT NULL CHECK (run_backwards IN (0, 1)),
    max_active_runs INTEGER NOT NULL,
    conf TEXT NOT NULL,
    tasks TEXT NOT NULL,
    account TEXT NOT NULL,
    is_paused INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    completed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX backfill_open ON backfill (namespace, dag_id) WHERE completed_at IS NULL;
CREATE INDEX backfill_completed ON backfill (completed_at);

CREATE TABLE backfill_run (
    backfill INTEGER NOT NULL REFERENCES backfill ON DELETE CASCADE,
    ix INTEGER NOT NULL,
    logical_date INTEGER NOT NULL,
    interval_start INTEGER NOT NULL,
    interval_end INTEGER NOT NULL,
    progress TEXT NOT NULL CHECK (progress IN ('waiting', 'starting', 'started', 'passed_over')),
    run INTEGER,
    clear_number INTEGER,
    reason TEXT,
    PRIMARY KEY (backfill, ix)
) STRICT, WITHOUT ROWID;
-- What is next.
CREATE INDEX backfill_run_open ON backfill_run (backfill, ix) WHERE progress IN ('waiting', 'starting');
