-- How many runs, task instances, results and entries of the audit log each DAG has, so that the length of a list needs no counting of what it does
-- not show. Triggers keep it, so that it holds whoever writes: a server of the version before this one, too.
CREATE TABLE run_count (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    state TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (namespace, dag_id, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE ti_count (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    state TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (namespace, dag_id, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE xcom_count (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (namespace, dag_id, task_id)
) STRICT, WITHOUT ROWID;
-- Of entries without a namespace or a DAG it is ''.
CREATE TABLE audit_count (
    namespace TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (namespace, dag_id)
) STRICT, WITHOUT ROWID;
INSERT INTO run_count
    SELECT namespace, dag_id, state, count(*) FROM run GROUP BY namespace, dag_id, state;
INSERT INTO ti_count
    SELECT r.namespace, r.dag_id, t.state, count(*)
    FROM ti t JOIN run r ON r.key = t.run GROUP BY r.namespace, r.dag_id, t.state;
INSERT INTO xcom_count
    SELECT r.namespace, r.dag_id, t.task_id, count(*)
    FROM xcom x JOIN run r ON r.key = x.run
    JOIN ti t ON t.run = x.run AND t.task = x.task AND t.map_index = x.map_index
    GROUP BY r.namespace, r.dag_id, t.task_id;
INSERT INTO audit_count
    SELECT coalesce(namespace, ''), coalesce(dag_id, ''), count(*) FROM audit
    GROUP BY coalesce(namespace, ''), coalesce(dag_id, '');

CREATE TRIGGER run_count_more AFTER INSERT ON run BEGIN
    INSERT INTO run_count SELECT NEW.namespace, NEW.dag_id, NEW.state, 1 WHERE TRUE
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER run_count_other AFTER UPDATE OF state ON run WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO run_count SELECT OLD.namespace, OLD.dag_id, OLD.state, -1 WHERE TRUE
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
    INSERT INTO run_count SELECT NEW.namespace, NEW.dag_id, NEW.state, 1 WHERE TRUE
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER run_count_less AFTER DELETE ON run BEGIN
    INSERT INTO run_count SELECT OLD.namespace, OLD.dag_id, OLD.state, -1 WHERE TRUE
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;

CREATE TRIGGER ti_count_more AFTER INSERT ON ti BEGIN
    INSERT INTO ti_count SELECT r.namespace, r.dag_id, NEW.state, 1 FROM run r WHERE r.key = NEW.run
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER ti_count_other AFTER UPDATE OF state ON ti WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO ti_count SELECT r.namespace, r.dag_id, OLD.state, -1 FROM run r WHERE r.key = OLD.run
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
    INSERT INTO ti_count SELECT r.namespace, r.dag_id, NEW.state, 1 FROM run r WHERE r.key = NEW.run
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER ti_count_less AFTER DELETE ON ti BEGIN
    INSERT INTO ti_count SELECT r.namespace, r.dag_id, OLD.state, -1 FROM run r WHERE r.key = OLD.run
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;

CREATE TRIGGER xcom_count_more AFTER INSERT ON xcom BEGIN
    INSERT INTO xcom_count SELECT r.namespace, r.dag_id, t.task_id, 1 FROM run r
        JOIN ti t ON t.run = r.key AND t.task = NEW.task AND t.map_index = NEW.map_index
        WHERE r.key = NEW.run
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER xcom_count_less AFTER DELETE ON xcom BEGIN
    INSERT INTO xcom_count SELECT r.namespace, r.dag_id, t.task_id, -1 FROM run r
        JOIN ti t ON t.run = r.key AND t.task = OLD.task AND t.map_index = OLD.map_index
        WHERE r.key = OLD.run
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;

CREATE TRIGGER audit_count_more AFTER INSERT ON audit BEGIN
    INSERT INTO audit_count SELECT coalesce(NEW.namespace, ''), coalesce(NEW.dag_id, ''), 1 WHERE TRUE
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;
CREATE TRIGGER audit_count_less AFTER DELETE ON audit BEGIN
    INSERT INTO audit_count SELECT coalesce(OLD.namespace, ''), coalesce(OLD.dag_id, ''), -1 WHERE TRUE
        ON CONFLICT DO UPDATE SET total = total + excluded.total;
END;

-- A page of runs far from the first passes over the others by this index alone.
DROP INDEX run_after;
CREATE INDEX run_after ON run (namespace, run_after, key);

-- What a new leader loads: with its state in front, SQLite finds that it need not look at every run.
DROP INDEX run_unfinished;
CREATE INDEX run_unfinished ON run (state, key) WHERE state IN ('queued', 'running');
