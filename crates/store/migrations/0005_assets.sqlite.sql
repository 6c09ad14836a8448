-- Assets that DAGs name. They are numbered in the order in which they were first named.
CREATE TABLE asset (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    uri TEXT NOT NULL,
    name TEXT,
    asset_group TEXT,
    extra TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX asset_uri ON asset (namespace, uri);

-- Where a DAG's version names them: as what it waits for, or what its tasks read and make.
CREATE TABLE dag_asset (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    uri TEXT NOT NULL,
    usage TEXT NOT NULL CHECK (usage IN ('schedule', 'inlet', 'outlet')),
    task_id TEXT NOT NULL,
    PRIMARY KEY (namespace, dag_id, version, uri, usage, task_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dag_asset_uri ON dag_asset (namespace, uri);

-- What happened to them.
CREATE TABLE asset_event (
    id INTEGER NOT NULL PRIMARY KEY,
    asset INTEGER NOT NULL REFERENCES asset,
    at INTEGER NOT NULL,
    extra TEXT NOT NULL,
    key TEXT,
    source_dag_id TEXT,
    source_run_id TEXT,
    source_task_id TEXT,
    source_map_index INTEGER,
    told_by TEXT
) STRICT;
CREATE INDEX asset_event_asset ON asset_event (asset, id);
CREATE UNIQUE INDEX asset_event_told ON asset_event (asset, key) WHERE key IS NOT NULL;
CREATE INDEX asset_event_source ON asset_event (source_dag_id, source_run_id) WHERE source_dag_id IS NOT NULL;

-- Events that make runs of DAGs; with the run, where there is one.
CREATE TABLE queued_event (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    event INTEGER NOT NULL REFERENCES asset_event,
    run INTEGER,
    PRIMARY KEY (namespace, dag_id, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX queued_event_event ON queued_event (event);
CREATE INDEX queued_event_run ON queued_event (run) WHERE run IS NOT NULL;

ALTER TABLE dag ADD COLUMN events_run_at INTEGER;
ALTER TABLE engine ADD COLUMN last_asset_event INTEGER NOT NULL DEFAULT 0;
