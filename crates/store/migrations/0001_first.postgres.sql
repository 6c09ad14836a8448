-- The first schema, as PostgreSQL has it; its twin is 0001_first.sqlite.sql.
-- Times are microseconds since 1970, durations microseconds (`_us`), JSON is text.
-- Texts compare by their bytes (collation C), as in SQLite. JSON is text and not jsonb, which would refuse
-- a \u0000 that a script wrote.

-- Who leads, and the counters that outlive what they count. One row: each commit locks and changes it.
CREATE TABLE engine (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    fence BIGINT NOT NULL,
    -- Commits under this fence, by which a commit in doubt is found again.
    commits BIGINT NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    held_until BIGINT NOT NULL,
    last_run BIGINT NOT NULL,
    last_delivery BIGINT NOT NULL
);
INSERT INTO engine VALUES (1, 0, 0, '', '', 0, 0, 0);

CREATE TABLE dag (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    is_paused BOOLEAN NOT NULL,
    is_stale BOOLEAN NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    last_tick TEXT COLLATE "C",
    next_tick TEXT COLLATE "C",
    next_run_after BIGINT,
    consecutive_failures BIGINT NOT NULL,
    PRIMARY KEY (namespace, dag_id)
);

-- Owner, display_name, header and tasks are taken from the spec when it is written, so that a list needn't
-- read specs of megabytes.
CREATE TABLE dag_version (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    display_name TEXT COLLATE "C" NOT NULL,
    header TEXT COLLATE "C" NOT NULL,
    tasks BIGINT NOT NULL,
    spec TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, dag_id, version),
    FOREIGN KEY (namespace, dag_id) REFERENCES dag
);

CREATE TABLE dag_tag (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    tag TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, dag_id, version, tag)
);

-- What lists of task instances and the occupancy of pools need of a task.
CREATE TABLE dag_task (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    task BIGINT NOT NULL,
    operator TEXT COLLATE "C" NOT NULL,
    pool TEXT COLLATE "C" NOT NULL,
    pool_slots BIGINT NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, dag_id, version, task)
);

CREATE TABLE run (
    key BIGINT NOT NULL PRIMARY KEY,
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed')),
    run_type TEXT COLLATE "C" NOT NULL CHECK (run_type IN ('scheduled', 'manual', 'backfill', 'asset_triggered')),
    triggered_by TEXT COLLATE "C" NOT NULL,
    triggering_user TEXT COLLATE "C",
    owner TEXT COLLATE "C" NOT NULL,
    logical_date BIGINT,
    interval_start BIGINT,
    interval_end BIGINT,
    run_after BIGINT NOT NULL,
    conf TEXT COLLATE "C" NOT NULL,
    selection TEXT COLLATE "C",
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    clear_number BIGINT NOT NULL,
    reason TEXT COLLATE "C",
    UNIQUE (namespace, dag_id, run_id),
    FOREIGN KEY (namespace, dag_id) REFERENCES dag,
    CHECK ((interval_start IS NULL) = (interval_end IS NULL))
);
-- A DAG's latest run, and the run before another.
CREATE INDEX run_dag_key ON run (namespace, dag_id, key);
CREATE INDEX run_dag_after ON run (namespace, dag_id, run_after);
CREATE INDEX run_dag_state ON run (namespace, dag_id, state, run_after);
CREATE INDEX run_dag_version ON run (namespace, dag_id, version);
CREATE INDEX run_after ON run (namespace, run_after);
CREATE INDEX run_started ON run (namespace, started_at DESC NULLS LAST);
CREATE INDEX run_state ON run (namespace, state, run_after);
-- What a new leader loads, however many runs are over.
CREATE INDEX run_unfinished ON run (key) WHERE state IN ('queued', 'running');
-- What retention looks for.
CREATE INDEX run_ended ON run (ended_at);

CREATE TABLE ti (
    run BIGINT NOT NULL REFERENCES run,
    task BIGINT NOT NULL,
    map_index BIGINT NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    holder_worker TEXT COLLATE "C",
    holder_incarnation BIGINT,
    holder_lease BIGINT,
    wake_at BIGINT,
    try_number BIGINT NOT NULL,
    max_tries BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    lease BIGINT NOT NULL,
    scheduled_at BIGINT,
    queued_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    paused_at BIGINT,
    paused_us BIGINT NOT NULL,
    exit_code BIGINT,
    worker TEXT COLLATE "C",
    reason TEXT COLLATE "C",
    result_length BIGINT,
    skips TEXT COLLATE "C",
    PRIMARY KEY (run, task, map_index),
    -- A state has what belongs to it, and nothing else: see TiState.
    CHECK ((holder_worker IS NULL) = (holder_incarnation IS NULL)),
    CHECK ((holder_worker IS NULL) = (holder_lease IS NULL)),
    CHECK (CASE
        WHEN state IN ('queued', 'running', 'paused', 'restarting')
            THEN holder_worker IS NOT NULL AND wake_at IS NULL
        WHEN state IN ('up_for_retry', 'up_for_reschedule') THEN holder_worker IS NULL AND wake_at IS NOT NULL
        WHEN state = 'deferred' THEN (holder_worker IS NULL) <> (wake_at IS NULL)
        ELSE holder_worker IS NULL AND wake_at IS NULL
    END)
);
CREATE INDEX ti_state ON ti (state, started_at DESC NULLS LAST);
CREATE INDEX ti_started ON ti (started_at DESC NULLS LAST);
CREATE INDEX ti_task ON ti (task_id, started_at DESC NULLS LAST);

-- Tries that were followed by another.
CREATE TABLE ti_history (
    run BIGINT NOT NULL,
    task BIGINT NOT NULL,
    map_index BIGINT NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    holder_worker TEXT COLLATE "C",
    holder_incarnation BIGINT,
    holder_lease BIGINT,
    wake_at BIGINT,
    try_number BIGINT NOT NULL,
    max_tries BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    lease BIGINT NOT NULL,
    scheduled_at BIGINT,
    queued_at BIGINT,
    started_at BIGINT,
    ended_at BIGINT,
    paused_at BIGINT,
    paused_us BIGINT NOT NULL,
    exit_code BIGINT,
    worker TEXT COLLATE "C",
    reason TEXT COLLATE "C",
    result_length BIGINT,
    skips TEXT COLLATE "C",
    PRIMARY KEY (run, task, map_index, try_number),
    -- A state has what belongs to it, and nothing else: see TiState.
    CHECK ((holder_worker IS NULL) = (holder_incarnation IS NULL)),
    CHECK ((holder_worker IS NULL) = (holder_lease IS NULL)),
    CHECK (CASE
        WHEN state IN ('queued', 'running', 'paused', 'restarting')
            THEN holder_worker IS NOT NULL AND wake_at IS NULL
        WHEN state IN ('up_for_retry', 'up_for_reschedule') THEN holder_worker IS NULL AND wake_at IS NOT NULL
        WHEN state = 'deferred' THEN (holder_worker IS NULL) <> (wake_at IS NULL)
        ELSE holder_worker IS NULL AND wake_at IS NULL
    END)
);
CREATE INDEX ti_history_ended ON ti_history (ended_at);

CREATE TABLE transition (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run BIGINT NOT NULL,
    task BIGINT NOT NULL,
    map_index BIGINT NOT NULL,
    try_number BIGINT NOT NULL,
    from_state TEXT COLLATE "C" NOT NULL CHECK (from_state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    to_state TEXT COLLATE "C" NOT NULL CHECK (to_state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    at BIGINT NOT NULL,
    reason TEXT COLLATE "C"
);
CREATE INDEX transition_run ON transition (run, id);

CREATE TABLE xcom (
    run BIGINT NOT NULL,
    task BIGINT NOT NULL,
    map_index BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C",
    blob_path TEXT COLLATE "C",
    blob_bytes BIGINT,
    at BIGINT NOT NULL,
    PRIMARY KEY (run, task, map_index, key),
    CHECK ((value IS NULL) <> (blob_path IS NULL)),
    CHECK ((blob_path IS NULL) = (blob_bytes IS NULL))
);

CREATE TABLE rendered (
    run BIGINT NOT NULL,
    task BIGINT NOT NULL,
    map_index BIGINT NOT NULL,
    fields TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run, task, map_index)
);

CREATE TABLE tick (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    count BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL CHECK (outcome IN ('on_time', 'late', 'skipped', 'missed')),
    reason TEXT COLLATE "C" NOT NULL,
    run BIGINT,
    PRIMARY KEY (namespace, dag_id, first_at)
);
CREATE INDEX tick_last ON tick (last_at);

CREATE TABLE pool (
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    slots BIGINT,
    description TEXT COLLATE "C" NOT NULL,
    include_deferred BOOLEAN NOT NULL,
    PRIMARY KEY (namespace, name)
);

-- The outbox. What it tells is the engine's, where it stands is the deliverer's.
CREATE TABLE delivery (
    id BIGINT NOT NULL PRIMARY KEY,
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    run BIGINT NOT NULL,
    task BIGINT,
    map_index BIGINT,
    alert_on TEXT COLLATE "C" NOT NULL CHECK (alert_on IN ('failure', 'retry', 'success')),
    channel TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    context TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'undeliverable', 'held')),
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    last_error TEXT COLLATE "C",
    changed_at BIGINT NOT NULL,
    CHECK ((task IS NULL) = (map_index IS NULL))
);
CREATE INDEX delivery_due ON delivery (state, next_at);
CREATE INDEX delivery_run ON delivery (run);
CREATE INDEX delivery_dag ON delivery (namespace, dag_id);
CREATE INDEX delivery_changed ON delivery (changed_at);

CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C",
    dag_id TEXT COLLATE "C",
    run BIGINT,
    detail TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_dag ON audit (namespace, dag_id);
CREATE INDEX audit_run ON audit (run);

CREATE TABLE task_stats (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    successes BIGINT NOT NULL,
    mean_ms DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (namespace, dag_id, task_id)
);

CREATE TABLE connection (
    namespace TEXT COLLATE "C" NOT NULL,
    conn_id TEXT COLLATE "C" NOT NULL,
    conn_type TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    host TEXT COLLATE "C",
    schema_name TEXT COLLATE "C",
    login TEXT COLLATE "C",
    port BIGINT,
    password BYTEA,
    extra BYTEA,
    is_encrypted BOOLEAN NOT NULL,
    PRIMARY KEY (namespace, conn_id)
);

CREATE TABLE variable (
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    is_encrypted BOOLEAN NOT NULL,
    description TEXT COLLATE "C",
    PRIMARY KEY (namespace, name)
);

CREATE TABLE account (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username TEXT COLLATE "C" NOT NULL UNIQUE,
    password_hash TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C",
    disabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- Tokens of the API have an account; those by which workers join have none.
CREATE TABLE token (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account BIGINT REFERENCES account ON DELETE CASCADE,
    hash TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX token_account ON token (account);

CREATE TABLE import_error (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    line BIGINT,
    at BIGINT NOT NULL,
    UNIQUE (namespace, source)
);

CREATE TABLE run_note (
    run BIGINT NOT NULL PRIMARY KEY,
    text TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE ti_note (
    run BIGINT NOT NULL,
    task BIGINT NOT NULL,
    map_index BIGINT NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (run, task, map_index)
);

CREATE TABLE config (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);
