-- Nothing new begins anywhere.
ALTER TABLE engine ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- Deadlines of a run up to this time were told, or need not be.
ALTER TABLE run ADD COLUMN deadlines_told INTEGER;

-- Alerts on deadlines and on ticks without a run, what an alert says, and what becomes of it where nobody knows
-- whether it went out. A test of an alert is about no run. `digest` is the delivery that tells of this one as
-- well: of many by one way in a short time most are gathered into one. A table whose checks change is made anew.
CREATE TABLE delivery_new (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    run INTEGER,
    task INTEGER,
    map_index INTEGER,
    alert_on TEXT NOT NULL CHECK (alert_on IN ('failure', 'retry', 'success', 'deadline', 'missed')),
    channel TEXT NOT NULL,
    words TEXT NOT NULL,
    on_doubt TEXT NOT NULL CHECK (on_doubt IN ('resend', 'hold')),
    at INTEGER NOT NULL,
    context TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'undeliverable', 'held')),
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    last_error TEXT,
    changed_at INTEGER NOT NULL,
    digest INTEGER,
    CHECK ((task IS NULL) = (map_index IS NULL)),
    CHECK (task IS NULL OR run IS NOT NULL)
) STRICT;
INSERT INTO delivery_new
SELECT id, namespace, dag_id, run, task, map_index, alert_on, channel, '{}', 'resend', at, context, state, attempts,
    next_at, last_error, changed_at, NULL
FROM delivery;
DROP TABLE delivery;
ALTER TABLE delivery_new RENAME TO delivery;
CREATE INDEX delivery_due ON delivery (state, next_at);
CREATE INDEX delivery_run ON delivery (run);
CREATE INDEX delivery_dag ON delivery (namespace, dag_id);
CREATE INDEX delivery_changed ON delivery (changed_at);
CREATE INDEX delivery_digest ON delivery (digest);
