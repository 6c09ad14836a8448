//! What is kept: runs, task instances and all else, in SQLite, PostgreSQL or memory.
