-- A sensor's timeout counts over its tries: when the first of those before this one began.
ALTER TABLE ti ADD COLUMN first_started_at BIGINT;
ALTER TABLE ti_history ADD COLUMN first_started_at BIGINT;
