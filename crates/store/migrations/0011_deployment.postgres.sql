-- Which bundle the DAGs of a namespace come from, and came from before: the one with the highest number counts.
CREATE TABLE deployment (
    namespace TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    files BIGINT NOT NULL,
    message TEXT COLLATE "C",
    rolled_back_to BIGINT,
    account TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (namespace, number)
);

-- A worker that joins with such a token works for this namespace alone.
ALTER TABLE token ADD COLUMN namespace TEXT COLLATE "C";
