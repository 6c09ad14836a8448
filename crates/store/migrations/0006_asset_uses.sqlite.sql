-- In PostgreSQL the key over all columns was longer than an index takes, where names are long and not ASCII.
ALTER TABLE dag_asset RENAME TO dag_asset_before;
CREATE TABLE dag_asset (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    uri TEXT NOT NULL,
    usage TEXT NOT NULL CHECK (usage IN ('schedule', 'inlet', 'outlet')),
    task_id TEXT NOT NULL
) STRICT;
INSERT INTO dag_asset SELECT namespace, dag_id, version, uri, usage, task_id FROM dag_asset_before;
DROP TABLE dag_asset_before;
CREATE INDEX dag_asset_uri ON dag_asset (namespace, uri);
CREATE INDEX dag_asset_version ON dag_asset (namespace, dag_id, version);
