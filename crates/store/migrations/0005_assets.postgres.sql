-- Assets that DAGs name. They are numbered in the order in which they were first named.
CREATE TABLE asset (
    id BIGINT NOT NULL PRIMARY KEY,
    namespace TEXT COLLATE "C" NOT NULL,
    uri TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C",
    asset_group TEXT COLLATE "C",
    extra TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX asset_uri ON asset (namespace, uri);

-- Where a DAG's version names them: as what it waits for, or what its tasks read and make.
CREATE TABLE dag_asset (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    uri TEXT COLLATE "C" NOT NULL,
    usage TEXT COLLATE "C" NOT NULL CHECK (usage IN ('schedule', 'inlet', 'outlet')),
    task_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, dag_id, version, uri, usage, task_id)
);
CREATE INDEX dag_asset_uri ON dag_asset (namespace, uri);

-- What happened to them.
CREATE TABLE asset_event (
    id BIGINT NOT NULL PRIMARY KEY,
    asset BIGINT NOT NULL REFERENCES asset,
    at BIGINT NOT NULL,
    extra TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C",
    source_dag_id TEXT COLLATE "C",
    source_run_id TEXT COLLATE "C",
    source_task_id TEXT COLLATE "C",
    source_map_index BIGINT,
    told_by TEXT COLLATE "C"
);
CREATE INDEX asset_event_asset ON asset_event (asset, id);
CREATE UNIQUE INDEX asset_event_told ON asset_event (asset, key) WHERE key IS NOT NULL;
CREATE INDEX asset_event_source ON asset_event (source_dag_id, source_run_id) WHERE source_dag_id IS NOT NULL;

-- Events that make runs of DAGs; with the run, where there is one.
CREATE TABLE queued_event (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    event BIGINT NOT NULL REFERENCES asset_event,
    run BIGINT,
    PRIMARY KEY (namespace, dag_id, event)
);
CREATE INDEX queued_event_event ON queued_event (event);
CREATE INDEX queued_event_run ON queued_event (run) WHERE run IS NOT NULL;

ALTER TABLE dag ADD COLUMN events_run_at BIGINT;
ALTER TABLE engine ADD COLUMN last_asset_event BIGINT NOT NULL DEFAULT 0;
