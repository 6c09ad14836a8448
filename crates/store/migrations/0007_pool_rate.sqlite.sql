-- How many task instances of a pool may begin in so long, and when the next may.
ALTER TABLE pool ADD COLUMN rate TEXT;
ALTER TABLE pool ADD COLUMN next_at INTEGER;
