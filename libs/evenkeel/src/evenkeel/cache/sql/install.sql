-- The change log of a table, in one transaction. A blank line after a semicolon ends a statement.

-- No writer is under way while the triggers are made, and none can begin before they exist.
LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;

-- One row for each statement that changed something: a row and an index entry for each change would cost a bulk load a
-- quarter of its speed. Keys have the table's own type. Versions are NULL for deleted rows. A key that is NULL means
-- that anything may have changed. With two versions beside it, it means that more than {most} keys have changed, and
-- the two are the lowest and the highest of them.
CREATE TABLE {log} AS
SELECT pg_current_xact_id() AS xid, ARRAY[{key}] AS {log_key}, ARRAY[{version}::bigint] AS version
FROM {table} WITH NO DATA;

-- Vacuumed by the number of pruned rows, not by their share, because its index is read ten times a second.
ALTER TABLE {log}
    ALTER xid SET NOT NULL, ALTER xid SET DEFAULT pg_current_xact_id(), ALTER {log_key} SET NOT NULL,
    ALTER {log_key} SET STORAGE EXTERNAL, ALTER version SET STORAGE EXTERNAL,
    ADD place bigint GENERATED ALWAYS AS IDENTITY,
    SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- By `place` as well, so that pruning can continue within the million rows of one transaction.
CREATE INDEX {index} ON {log} (xid, place);

-- One row. The log may lack what was visible in `pruned`, and lacks what was visible in `cleared`. While the rows in
-- between are deleted, `at_xid` and `at_place` say how far. `marks` are snapshots, and `marked` when they were taken.
-- Once they are old enough, the log is pruned up to them.
CREATE TABLE {horizon} (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    origin text NOT NULL,
    pruned pg_snapshot NOT NULL,
    cleared pg_snapshot NOT NULL,
    marked timestamptz[] NOT NULL DEFAULT '{{}}',
    marks pg_snapshot[] NOT NULL DEFAULT '{{}}',
    at_xid xid8,
    at_place bigint);

INSERT INTO {horizon} (origin, pruned, cleared) SELECT {origin}, pg_current_snapshot(), pg_current_snapshot();

-- The functions of the triggers name the log with its schema. Writers need no rights on it: the functions run as its
-- owner, with a search path into which no other role can put anything.
DO $install$
DECLARE
    log text;
    bound text;
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = '{table}'::regclass AND relkind <> 'r')
        OR EXISTS (SELECT FROM pg_inherits WHERE '{table}'::regclass IN (inhrelid, inhparent)) THEN
        RAISE 'a change log covers an ordinary table; {table} is a view, partitioned, foreign, or inherits';
    END IF;
    SELECT format('%I.%I', nspname, relname) INTO log
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = '{log}'::regclass;
    -- Keys that are no integers have no range.
    SELECT CASE WHEN atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'key' ELSE 'NULL' END
        INTO bound
        FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{key_name}';
    -- By statement. A row that keeps its key has a greater version than before. If the version is not greater, another
    -- row has taken the key. Versions of two rows cannot be compared, so the row counts as deleted.
    EXECUTE format($create$
        CREATE FUNCTION {by_statement}() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
        BEGIN
            IF TG_OP = 'TRUNCATE' THEN
                INSERT INTO %1$s VALUES (pg_current_xact_id(), '{{NULL}}');
            ELSIF TG_OP = 'INSERT' THEN
                INSERT INTO %1$s
                SELECT pg_current_xact_id(), CASE WHEN cardinality(keys) > {most} THEN '{{NULL}}' ELSE keys END,
                    CASE WHEN cardinality(keys) <= {most} THEN versions ELSE (
                        SELECT ARRAY[min(%2$s::bigint), max(%2$s::bigint)] FROM (SELECT {key} AS key FROM new_rows) AS every
                    ) END
                FROM (
                    SELECT array_agg(key) AS keys, array_agg(version) AS versions
                    FROM (SELECT {key} AS key, {version} AS version FROM new_rows LIMIT {most} + 1) AS few
                ) AS changed
                WHERE keys IS NOT NULL;
            ELSIF TG_OP = 'UPDATE' THEN
                -- Up to {most} rows may have twice as many keys, if keys have changed. Beyond that there is no join, which
                -- is expensive for a million rows.
                INSERT INTO %1$s
                SELECT pg_current_xact_id(), CASE WHEN cardinality(keys) <= {most} THEN keys ELSE '{{NULL}}' END,
                    CASE WHEN cardinality(keys) <= {most} THEN versions ELSE (
                        SELECT ARRAY[min(%2$s::bigint), max(%2$s::bigint)]
                        FROM (SELECT {key} AS key FROM old_rows UNION ALL SELECT {key} FROM new_rows) AS every
                    ) END
                FROM (
                    SELECT array_agg(key) AS keys, array_agg(version) AS versions
                    FROM (
                        SELECT coalesce(new_rows.{key}, old_rows.{key}) AS key,
                            CASE WHEN old_rows.{key} IS NULL OR new_rows.{version} > old_rows.{version}
                                THEN new_rows.{version} END AS version
                        FROM new_rows FULL JOIN old_rows ON new_rows.{key} = old_rows.{key}
                        LIMIT {most} + 1
                    ) AS few
                    WHERE NOT EXISTS (SELECT FROM new_rows OFFSET {most})
                ) AS changed
                WHERE keys IS NOT NULL OR EXISTS (SELECT FROM new_rows);
            ELSE
                INSERT INTO %1$s
                SELECT pg_current_xact_id(), CASE WHEN cardinality(keys) > {most} THEN '{{NULL}}' ELSE keys END,
                    CASE WHEN cardinality(keys) > {most} THEN (
                        SELECT ARRAY[min(%2$s::bigint), max(%2$s::bigint)] FROM (SELECT {key} AS key FROM old_rows) AS every
                    ) END
                FROM (
                    SELECT array_agg(key) AS keys FROM (SELECT {key} AS key FROM old_rows LIMIT {most} + 1) AS few
                ) AS changed
                WHERE keys IS NOT NULL;
            END IF;
            RETURN NULL;
        END $function$ $create$, log, bound);
    -- By row, for replicated changes: a subscription's worker fires no triggers by statement.
    EXECUTE format($create$
        CREATE FUNCTION {by_row}() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO %1$s VALUES (pg_current_xact_id(), ARRAY[NEW.{key}], ARRAY[NEW.{version}]);
            ELSIF TG_OP = 'DELETE' THEN
                INSERT INTO %1$s VALUES (pg_current_xact_id(), ARRAY[OLD.{key}]);
            ELSIF NEW.{key} = OLD.{key} AND NEW.{version} > OLD.{version} THEN
                INSERT INTO %1$s VALUES (pg_current_xact_id(), ARRAY[NEW.{key}], ARRAY[NEW.{version}]);
            ELSE
                INSERT INTO %1$s VALUES (pg_current_xact_id(), ARRAY[OLD.{key}, NEW.{key}]);
            END IF;
            RETURN NULL;
        END $function$ $create$, log);
END $install$;

-- It runs for every row, so it sets no search path, which would cost more than its work. Every name is qualified.
CREATE FUNCTION {bump}() RETURNS trigger LANGUAGE plpgsql AS $function$
BEGIN
    NEW.{version} = OLD.{version} OPERATOR(pg_catalog.+) 1;
    {drawn}
    RETURN NEW;
END $function$;

-- No role may use it for tables of its own.
REVOKE ALL ON FUNCTION {by_statement}(), {by_row}(), {bump}() FROM PUBLIC;

CREATE TRIGGER {bump_trigger} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {bump}();

CREATE TRIGGER {insert_trigger} AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {by_statement}();

CREATE TRIGGER {update_trigger} AFTER UPDATE ON {table} REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION {by_statement}();

CREATE TRIGGER {delete_trigger} AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION {by_statement}();

CREATE TRIGGER {truncate_trigger} AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {by_statement}();

CREATE TRIGGER {row_trigger} AFTER INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION {by_row}();

-- A subscription's worker has session_replication_role = replica. Then the row trigger replaces those by statement. The
-- two without such a replacement always fire.
ALTER TABLE {table}
    ENABLE ALWAYS TRIGGER {bump_trigger},
    ENABLE ALWAYS TRIGGER {truncate_trigger},
    ENABLE REPLICA TRIGGER {row_trigger};
