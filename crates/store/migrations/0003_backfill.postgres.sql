-- Runs of a DAG for times that are past, made a few at once. A DAG has one at a time that is not over.
CREATE TABLE backfill (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    from_date BIGINT NOT NULL,
    to_date BIGINT NOT NULL,
    reprocess TEXT COLLATE "C" NOT NULL CHECK (reprocess IN ('none', 'failed', 'completed')),
    run_backwards BOOLEAN NOT NULL,
    max_active_runs BIGINT NOT NULL,
    conf TEXT COLLATE "C" NOT NULL,
    tasks TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    is_paused BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    completed_at BIGINT
);
CREATE UNIQUE INDEX backfill_open ON backfill (namespace, dag_id) WHERE completed_at IS NULL;
CREATE INDEX backfill_completed ON backfill (completed_at);

CREATE TABLE backfill_run (
    backfill BIGINT NOT NULL REFERENCES backfill ON DELETE CASCADE,
    ix BIGINT NOT NULL,
    logical_date BIGINT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end BIGINT NOT NULL,
    progress TEXT COLLATE "C" NOT NULL CHECK (progress IN ('waiting', 'starting', 'started', 'passed_over')),
    run BIGINT,
    clear_number BIGINT,
    reason TEXT COLLATE "C",
    PRIMARY KEY (backfill, ix)
);
-- What is next.
CREATE INDEX backfill_run_open ON backfill_run (backfill, ix) WHERE progress IN ('waiting', 'starting');
