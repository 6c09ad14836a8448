-- The first schema, as SQLite has it; its twin is 0001_first.postgres.sql.
-- Times are microseconds since 1970, durations microseconds (`_us`), JSON is text.

-- Who leads, and the counters that outlive what they count. One row: each commit locks and changes it.
CREATE TABLE engine (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    fence INTEGER NOT NULL,
    -- Commits under this fence, by which a commit in doubt is found again.
    commits INTEGER NOT NULL,
    holder TEXT NOT NULL,
    address TEXT NOT NULL,
    held_until INTEGER NOT NULL,
    last_run INTEGER NOT NULL,
    last_delivery INTEGER NOT NULL
) STRICT;
INSERT INTO engine VALUES (1, 0, 0, '', '', 0, 0, 0);

CREATE TABLE dag (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    is_paused INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
    is_stale INTEGER NOT NULL CHECK (is_stale IN (0, 1)),
    source TEXT NOT NULL,
    last_tick TEXT,
    next_tick TEXT,
    next_run_after INTEGER,
    consecutive_failures INTEGER NOT NULL,
    PRIMARY KEY (namespace, dag_id)
) STRICT, WITHOUT ROWID;

-- Owner, display_name, header and tasks are taken from the spec when it is written, so that a list needn't
-- read specs of megabytes.
CREATE TABLE dag_version (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    owner TEXT NOT NULL,
    display_name TEXT NOT NULL,
    header TEXT NOT NULL,
    tasks INTEGER NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (namespace, dag_id, version),
    FOREIGN KEY (namespace, dag_id) REFERENCES dag
) STRICT;

CREATE TABLE dag_tag (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (namespace, dag_id, version, tag)
) STRICT, WITHOUT ROWID;

-- What lists of task instances and the occupancy of pools need of a task.
CREATE TABLE dag_task (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    task INTEGER NOT NULL,
    operator TEXT NOT NULL,
    pool TEXT NOT NULL,
    pool_slots INTEGER NOT NULL,
    queue TEXT NOT NULL,
    PRIMARY KEY (namespace, dag_id, version, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE run (
    key INTEGER NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed')),
    run_type TEXT NOT NULL CHECK (run_type IN ('scheduled', 'manual', 'backfill', 'asset_triggered')),
    triggered_by TEXT NOT NULL,
    triggering_user TEXT,
    owner TEXT NOT NULL,
    logical_date INTEGER,
    interval_start INTEGER,
    interval_end INTEGER,
    run_after INTEGER NOT NULL,
    conf TEXT NOT NULL,
    selection TEXT,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    clear_number INTEGER NOT NULL,
    reason TEXT,
    UNIQUE (namespace, dag_id, run_id),
    FOREIGN KEY (namespace, dag_id) REFERENCES dag,
    CHECK ((interval_start IS NULL) = (interval_end IS NULL))
) STRICT;
-- A DAG's latest run, and the run before another.
CREATE INDEX run_dag_key ON run (namespace, dag_id, key);
CREATE INDEX run_dag_after ON run (namespace, dag_id, run_after);
CREATE INDEX run_dag_state ON run (namespace, dag_id, state, run_after);
CREATE INDEX run_dag_version ON run (namespace, dag_id, version);
CREATE INDEX run_after ON run (namespace, run_after);
CREATE INDEX run_started ON run (namespace, started_at);
CREATE INDEX run_state ON run (namespace, state, run_after);
-- What a new leader loads, however many runs are over.
CREATE INDEX run_unfinished ON run (key) WHERE state IN ('queued', 'running');
-- What retention looks for.
CREATE INDEX run_ended ON run (ended_at);

CREATE TABLE ti (
    run INTEGER NOT NULL REFERENCES run,
    task INTEGER NOT NULL,
    map_index INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    holder_worker TEXT,
    holder_incarnation INTEGER,
    holder_lease INTEGER,
    wake_at INTEGER,
    try_number INTEGER NOT NULL,
    max_tries INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    scheduled_at INTEGER,
    queued_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    paused_at INTEGER,
    paused_us INTEGER NOT NULL,
    exit_code INTEGER,
    worker TEXT,
    reason TEXT,
    result_length INTEGER,
    skips TEXT,
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
) STRICT, WITHOUT ROWID;
CREATE INDEX ti_state ON ti (state, started_at);
CREATE INDEX ti_started ON ti (started_at);
CREATE INDEX ti_task ON ti (task_id, started_at);

-- Tries that were followed by another.
CREATE TABLE ti_history (
    run INTEGER NOT NULL,
    task INTEGER NOT NULL,
    map_index INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    holder_worker TEXT,
    holder_incarnation INTEGER,
    holder_lease INTEGER,
    wake_at INTEGER,
    try_number INTEGER NOT NULL,
    max_tries INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    scheduled_at INTEGER,
    queued_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    paused_at INTEGER,
    paused_us INTEGER NOT NULL,
    exit_code INTEGER,
    worker TEXT,
    reason TEXT,
    result_length INTEGER,
    skips TEXT,
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
) STRICT, WITHOUT ROWID;
CREATE INDEX ti_history_ended ON ti_history (ended_at);

CREATE TABLE transition (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL,
    task INTEGER NOT NULL,
    map_index INTEGER NOT NULL,
    try_number INTEGER NOT NULL,
    from_state TEXT NOT NULL CHECK (from_state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    to_state TEXT NOT NULL CHECK (to_state IN (
        'none', 'scheduled', 'queued', 'running', 'paused', 'deferred', 'up_for_retry',
        'up_for_reschedule', 'restarting', 'success', 'failed', 'skipped', 'upstream_failed', 'removed')),
    at INTEGER NOT NULL,
    reason TEXT
) STRICT;
CREATE INDEX transition_run ON transition (run, id);

CREATE TABLE xcom (
    run INTEGER NOT NULL,
    task INTEGER NOT NULL,
    map_index INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    blob_path TEXT,
    blob_bytes INTEGER,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, task, map_index, key),
    CHECK ((value IS NULL) <> (blob_path IS NULL)),
    CHECK ((blob_path IS NULL) = (blob_bytes IS NULL))
) STRICT;

CREATE TABLE rendered (
    run INTEGER NOT NULL,
    task INTEGER NOT NULL,
    map_index INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (run, task, map_index)
) STRICT;

CREATE TABLE tick (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('on_time', 'late', 'skipped', 'missed')),
    reason TEXT NOT NULL,
    run INTEGER,
    PRIMARY KEY (namespace, dag_id, first_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX tick_last ON tick (last_at);

CREATE TABLE pool (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    slots INTEGER,
    description TEXT NOT NULL,
    include_deferred INTEGER NOT NULL CHECK (include_deferred IN (0, 1)),
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

-- The outbox. What it tells is the engine's, where it stands is the deliverer's.
CREATE TABLE delivery (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    task INTEGER,
    map_index INTEGER,
    alert_on TEXT NOT NULL CHECK (alert_on IN ('failure', 'retry', 'success')),
    channel TEXT NOT NULL,
    at INTEGER NOT NULL,
    context TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'undeliverable', 'held')),
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    last_error TEXT,
    changed_at INTEGER NOT NULL,
    CHECK ((task IS NULL) = (map_index IS NULL))
) STRICT;
CREATE INDEX delivery_due ON delivery (state, next_at);
CREATE INDEX delivery_run ON delivery (run);
CREATE INDEX delivery_dag ON delivery (namespace, dag_id);
CREATE INDEX delivery_changed ON delivery (changed_at);

CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    action TEXT NOT NULL,
    namespace TEXT,
    dag_id TEXT,
    run INTEGER,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_dag ON audit (namespace, dag_id);
CREATE INDEX audit_run ON audit (run);

CREATE TABLE task_stats (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    successes INTEGER NOT NULL,
    mean_ms REAL NOT NULL,
    PRIMARY KEY (namespace, dag_id, task_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE connection (
    namespace TEXT NOT NULL,
    conn_id TEXT NOT NULL,
    conn_type TEXT NOT NULL,
    description TEXT,
    host TEXT,
    schema_name TEXT,
    login TEXT,
    port INTEGER,
    password BLOB,
    extra BLOB,
    is_encrypted INTEGER NOT NULL CHECK (is_encrypted IN (0, 1)),
    PRIMARY KEY (namespace, conn_id)
) STRICT;

CREATE TABLE variable (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    is_encrypted INTEGER NOT NULL CHECK (is_encrypted IN (0, 1)),
    description TEXT,
    PRIMARY KEY (namespace, name)
) STRICT;

CREATE TABLE account (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL,
    namespace TEXT,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

-- Tokens of the API have an account; those by which workers join have none.
CREATE TABLE token (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account INTEGER REFERENCES account ON DELETE CASCADE,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX token_account ON token (account);

CREATE TABLE import_error (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    source TEXT NOT NULL,
    message TEXT NOT NULL,
    line INTEGER,
    at INTEGER NOT NULL,
    UNIQUE (namespace, source)
) STRICT;

CREATE TABLE run_note (
    run INTEGER NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    account TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE ti_note (
    run INTEGER NOT NULL,
    task INTEGER NOT NULL,
    map_index INTEGER NOT NULL,
    text TEXT NOT NULL,
    account TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, task, map_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE config (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
