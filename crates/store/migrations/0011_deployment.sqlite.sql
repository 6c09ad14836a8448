-- Which bundle the DAGs of a namespace come from, and came from before: the one with the highest number counts.
CREATE TABLE deployment (
    namespace TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    message TEXT,
    rolled_back_to INTEGER,
    account TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, number)
) STRICT, WITHOUT ROWID;

-- A worker that joins with such a token works for this namespace alone.
ALTER TABLE token ADD COLUMN namespace TEXT;
