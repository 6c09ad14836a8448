-- What copies of mapped tasks are called.
ALTER TABLE ti ADD COLUMN name TEXT COLLATE "C";
ALTER TABLE ti_history ADD COLUMN name TEXT COLLATE "C";
