-- What copies of mapped tasks are called.
ALTER TABLE ti ADD COLUMN name TEXT;
ALTER TABLE ti_history ADD COLUMN name TEXT;
