-- How many tries a task instance had had when it was last cleared.
ALTER TABLE ti ADD COLUMN tries_before BIGINT NOT NULL DEFAULT 0;
ALTER TABLE ti_history ADD COLUMN tries_before BIGINT NOT NULL DEFAULT 0;
