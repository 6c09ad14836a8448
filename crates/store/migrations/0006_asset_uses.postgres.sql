-- The key over all columns was longer than an index takes, where names are long and not ASCII.
ALTER TABLE dag_asset DROP CONSTRAINT dag_asset_pkey;
CREATE INDEX dag_asset_version ON dag_asset (namespace, dag_id, version);
