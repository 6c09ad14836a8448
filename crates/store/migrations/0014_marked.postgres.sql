-- What a run was marked as while its teardowns had still to run.
ALTER TABLE run ADD COLUMN marked TEXT COLLATE "C";
