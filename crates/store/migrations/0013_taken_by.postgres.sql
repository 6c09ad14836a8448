-- Who has a delivery already, of those that it is to, where others are yet to have it: a list, as JSON.
ALTER TABLE delivery ADD COLUMN taken_by TEXT COLLATE "C";
