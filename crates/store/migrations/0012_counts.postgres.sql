-- How many runs, task instances, results and entries of the audit log each DAG has, so that the length of a list needs no counting of what it does
-- not show. Triggers keep it, so that it holds whoever writes: a server of the version before this one, too. They look up
-- by keys, row by row: planned once, when the tables may be empty, they would else read all of these for each commit.
CREATE TABLE run_count (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (namespace, dag_id, state)
) WITH (fillfactor = 50);
CREATE TABLE ti_count (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (namespace, dag_id, state)
) WITH (fillfactor = 50);
CREATE TABLE xcom_count (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (namespace, dag_id, task_id)
) WITH (fillfactor = 50);
-- Of entries without a namespace or a DAG it is ''.
CREATE TABLE audit_count (
    namespace TEXT COLLATE "C" NOT NULL,
    dag_id TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (namespace, dag_id)
) WITH (fillfactor = 50);
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

CREATE FUNCTION run_count_more() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO run_count
            SELECT c.namespace, c.dag_id, c.state, count(*) FROM now_there c
            GROUP BY c.namespace, c.dag_id, c.state
            ORDER BY c.namespace, c.dag_id, c.state
            ON CONFLICT (namespace, dag_id, state) DO UPDATE SET total = run_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER run_count_more AFTER INSERT ON run REFERENCING NEW TABLE AS now_there
    FOR EACH STATEMENT EXECUTE FUNCTION run_count_more();

CREATE FUNCTION run_count_other() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO run_count
            SELECT c.namespace, c.dag_id, c.state, sum(c.n)
            FROM (SELECT namespace, dag_id, state, 1 AS n FROM now_there
                UNION ALL SELECT namespace, dag_id, state, -1 FROM was_there) c
            GROUP BY c.namespace, c.dag_id, c.state HAVING sum(c.n) <> 0
            ORDER BY c.namespace, c.dag_id, c.state
            ON CONFLICT (namespace, dag_id, state) DO UPDATE SET total = run_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER run_count_other AFTER UPDATE ON run REFERENCING OLD TABLE AS was_there NEW TABLE AS now_there
    FOR EACH STATEMENT EXECUTE FUNCTION run_count_other();

CREATE FUNCTION run_count_less() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO run_count
            SELECT c.namespace, c.dag_id, c.state, -count(*) FROM was_there c
            GROUP BY c.namespace, c.dag_id, c.state
            ORDER BY c.namespace, c.dag_id, c.state
            ON CONFLICT (namespace, dag_id, state) DO UPDATE SET total = run_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER run_count_less AFTER DELETE ON run REFERENCING OLD TABLE AS was_there
    FOR EACH STATEMENT EXECUTE FUNCTION run_count_less();

CREATE FUNCTION ti_count_more() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    BEGIN
        INSERT INTO ti_count
            SELECT r.namespace, r.dag_id, c.state, count(*) FROM now_there c JOIN run r ON r.key = c.run
            GROUP BY r.namespace, r.dag_id, c.state
            ORDER BY r.namespace, r.dag_id, c.state
            ON CONFLICT (namespace, dag_id, state) DO UPDATE SET total = ti_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER ti_count_more AFTER INSERT ON ti REFERENCING NEW TABLE AS now_there
    FOR EACH STATEMENT EXECUTE FUNCTION ti_count_more();

CREATE FUNCTION ti_count_other() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    BEGIN
        INSERT INTO ti_count
            SELECT r.namespace, r.dag_id, c.state, sum(c.n) FROM (SELECT run, state, 1 AS n FROM now_there
                UNION ALL SELECT run, state, -1 FROM was_there) c JOIN run r ON r.key = c.run
            GROUP BY r.namespace, r.dag_id, c.state HAVING sum(c.n) <> 0
            ORDER BY r.namespace, r.dag_id, c.state
            ON CONFLICT (namespace, dag_id, state) DO UPDATE SET total = ti_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER ti_count_other AFTER UPDATE ON ti REFERENCING OLD TABLE AS was_there NEW TABLE AS now_there
    FOR EACH STATEMENT EXECUTE FUNCTION ti_count_other();

CREATE FUNCTION ti_count_less() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    BEGIN
        INSERT INTO ti_count
            SELECT r.namespace, r.dag_id, c.state, -count(*) FROM was_there c JOIN run r ON r.key = c.run
            GROUP BY r.namespace, r.dag_id, c.state
            ORDER BY r.namespace, r.dag_id, c.state
            ON CONFLICT (namespace, dag_id, state) DO UPDATE SET total = ti_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER ti_count_less AFTER DELETE ON ti REFERENCING OLD TABLE AS was_there
    FOR EACH STATEMENT EXECUTE FUNCTION ti_count_less();

CREATE FUNCTION xcom_count_more() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    BEGIN
        INSERT INTO xcom_count
            SELECT r.namespace, r.dag_id, t.task_id, count(*) FROM now_there c
            JOIN run r ON r.key = c.run
            JOIN ti t ON t.run = c.run AND t.task = c.task AND t.map_index = c.map_index
            GROUP BY r.namespace, r.dag_id, t.task_id
            ORDER BY r.namespace, r.dag_id, t.task_id
            ON CONFLICT (namespace, dag_id, task_id) DO UPDATE SET total = xcom_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER xcom_count_more AFTER INSERT ON xcom REFERENCING NEW TABLE AS now_there
    FOR EACH STATEMENT EXECUTE FUNCTION xcom_count_more();

CREATE FUNCTION xcom_count_less() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    BEGIN
        INSERT INTO xcom_count
            SELECT r.namespace, r.dag_id, t.task_id, -count(*) FROM was_there c
            JOIN run r ON r.key = c.run
            JOIN ti t ON t.run = c.run AND t.task = c.task AND t.map_index = c.map_index
            GROUP BY r.namespace, r.dag_id, t.task_id
            ORDER BY r.namespace, r.dag_id, t.task_id
            ON CONFLICT (namespace, dag_id, task_id) DO UPDATE SET total = xcom_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER xcom_count_less AFTER DELETE ON xcom REFERENCING OLD TABLE AS was_there
    FOR EACH STATEMENT EXECUTE FUNCTION xcom_count_less();

CREATE FUNCTION audit_count_more() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO audit_count
            SELECT coalesce(c.namespace, '') AS namespace, coalesce(c.dag_id, '') AS dag_id, count(*) FROM now_there c
            GROUP BY 1, 2 ORDER BY 1, 2
            ON CONFLICT (namespace, dag_id) DO UPDATE SET total = audit_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER audit_count_more AFTER INSERT ON audit REFERENCING NEW TABLE AS now_there
    FOR EACH STATEMENT EXECUTE FUNCTION audit_count_more();

CREATE FUNCTION audit_count_less() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO audit_count
            SELECT coalesce(c.namespace, '') AS namespace, coalesce(c.dag_id, '') AS dag_id, -count(*) FROM was_there c
            GROUP BY 1, 2 ORDER BY 1, 2
            ON CONFLICT (namespace, dag_id) DO UPDATE SET total = audit_count.total + excluded.total;
        RETURN NULL;
    END
$$;
CREATE TRIGGER audit_count_less AFTER DELETE ON audit REFERENCING OLD TABLE AS was_there
    FOR EACH STATEMENT EXECUTE FUNCTION audit_count_less();

-- A page of runs far from the first passes over the others by this index alone.
DROP INDEX run_after;
CREATE INDEX run_after ON run (namespace, run_after, key);

-- What a new leader loads: with its state in front, SQLite finds that it need not look at every run.
DROP INDEX run_unfinished;
CREATE INDEX run_unfinished ON run (state, key) WHERE state IN ('queued', 'running');
