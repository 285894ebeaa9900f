-- The function that finds what was committed since a snapshot, and whether the triggers still log everything.
-- It is a function because of its settings. Whatever the statistics say, the plan uses the log's index, and no time goes
-- into compiling or parallel workers. PostgreSQL also need not plan it ten times a second.
-- STABLE: all of it sees the one snapshot of the calling statement. format() inserts %1$s, the log; %2$L, the same as a
-- literal; %3$s, the horizon; %4$L to %6$L, the functions of the triggers as literals.
CREATE OR REPLACE FUNCTION {look}(
    -- What the table's name stands for now. The state to begin from, or NULL. How many changes to return at most. How
    -- many transaction ids to go through at most.
    named oid, since_origin text, since_snapshot text, since_table text, most bigint, step bigint,
    -- The state now. Why nothing may be trusted, or NULL. Why the log cannot say what has changed, or NULL. Whether
    -- there are more changes. The keys, and their versions (NULL if deleted). The lowest and the highest keys of
    -- statements that changed too many to log each.
    OUT origin text, OUT snapshot text, OUT table_now text, OUT distrust text, OUT doubt text, OUT more boolean,
    OUT keys text[], OUT versions bigint[], OUT lows bigint[], OUT highs bigint[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
    here CONSTANT text := {origin};
    present CONSTANT pg_snapshot := pg_current_snapshot();
    since CONSTANT pg_snapshot := since_snapshot::pg_snapshot;
    since_end CONSTANT bigint := pg_snapshot_xmax(since)::text::bigint;
    reached CONSTANT bigint := least(pg_snapshot_xmax(present)::text::bigint, since_end + step);
    passed xid8[];
    total bigint;
    everything boolean;
BEGIN
    origin := here;
    more := false;
    snapshot := present::text;
    -- A row of the catalog is replaced, and gets another xmin, when what it describes is changed. VACUUM, ANALYZE and
    -- CREATE INDEX do not replace it. The row in pg_class is of no use, because GRANT replaces it. The row of the
    -- table's row type is used instead, which is renamed with the table. A frozen xmin is still visible.
    SELECT concat_ws('-', to_hex(named::bigint), to_hex(relation.relfilenode::bigint),
            to_hex(hashtextextended(concat_ws(' ', row_type.xmin, relation.relhassubclass,
                (SELECT string_agg(attribute.xmin::text, ' ' ORDER BY attnum)
                    FROM pg_attribute AS attribute WHERE attrelid = named AND attnum > 0)), 0)),
            to_hex(hashtextextended(
                (SELECT string_agg(concat_ws(' ', tgname, tgenabled, tgfoid, tg.xmin, called.xmin), ' ' ORDER BY tgname)
                    FROM pg_trigger AS tg LEFT JOIN pg_proc AS called ON called.oid = tgfoid
                    WHERE tgrelid = named AND tgname = ANY ('{trigger_names}')), 0)),
            to_hex(pg_relation_filenode(%2$L::regclass)::bigint)),
            CASE
                WHEN relkind <> 'r' THEN 'it is no ordinary table'
                WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = named)
                    OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = named)
                    THEN 'it has a parent or a child'
                -- The mark stays when the child goes. So the next child would not set it, and could come and go
                -- between two looks.
                WHEN relhassubclass THEN '{had_child}'
                ELSE (
                    SELECT 'the trigger ' || min(name) || ' is off, missing or not ours'
                    FROM (VALUES
                        ('{own_name}_bump', 'A', %6$L), ('{own_name}_insert', 'O', %4$L),
                        ('{own_name}_update', 'O', %4$L), ('{own_name}_delete', 'O', %4$L),
                        ('{own_name}_truncate', 'A', %4$L), ('{own_name}_row', 'R', %5$L)
                    ) AS expected (name, enabled, function)
                    WHERE NOT EXISTS (
                        SELECT FROM pg_trigger
                        WHERE tgrelid = named AND tgname = name::name AND tgenabled = enabled::"char"
                            AND tgfoid = to_regprocedure(function || '()')))
            END
        INTO table_now, distrust
        FROM pg_class AS relation LEFT JOIN pg_type AS row_type ON row_type.oid = relation.reltype
        WHERE relation.oid = named;
    IF NOT FOUND THEN
        distrust := 'it does not exist';
    END IF;
    IF distrust IS NOT NULL OR since IS NULL OR since_origin <> here OR since_table <> table_now THEN
        RETURN;
    END IF;
    IF since_end > pg_snapshot_xmax(present)::text::bigint THEN
        doubt := 'the state is ahead of the database';
        RETURN;
    END IF;
    -- Changes that are visible in the horizon may be gone from the log, so the state must contain them. If the horizon
    -- is of another history, nothing has been pruned in this one.
    IF NOT EXISTS (
        SELECT FROM %3$s AS horizon
        WHERE horizon.origin <> here
            OR (pg_snapshot_xmax(horizon.pruned) <= pg_snapshot_xmax(since)
                AND NOT EXISTS (SELECT FROM pg_snapshot_xip(since) AS x WHERE pg_visible_in_snapshot(x, horizon.pruned)))
    ) THEN
        doubt := 'the log does not reach back to the state';
        RETURN;
    END IF;
    -- First which transactions have committed, then what they logged: one that is open, or was rolled back, may have
    -- left a million rows in the log. The status is NULL if it is too old for PostgreSQL to have it.
    passed := ARRAY(
        SELECT xid
        FROM (
            SELECT pg_snapshot_xip(since) AS xid
            UNION ALL
            SELECT n::text::xid8 FROM generate_series(since_end, reached - 1) AS n
        ) AS ended
        WHERE pg_visible_in_snapshot(xid, present) AND pg_xact_status(xid) IS DISTINCT FROM 'aborted');
    -- In a row for a range the key is NULL, and the two versions are the ends of the range.
    SELECT array_agg(key) FILTER (WHERE key IS NOT NULL), array_agg(version) FILTER (WHERE key IS NOT NULL),
            array_agg(low) FILTER (WHERE key IS NULL), array_agg(high) FILTER (WHERE key IS NULL),
            coalesce(sum(times), 0), coalesce(bool_or(key IS NULL AND low IS NULL), false)
        INTO keys, versions, lows, highs, total, everything
        FROM (
            SELECT few.key::text AS key, count(*) AS times,
                CASE WHEN bool_and(few.version IS NOT NULL) THEN max(few.version) END AS version,
                CASE WHEN count(few.version) = 2 THEN min(few.version) END AS low, max(few.version) AS high
            FROM (
                SELECT unnest(logged.{log_key}) AS key, unnest(logged.version) AS version, logged.place
                FROM %1$s AS logged
                WHERE logged.xid = ANY (passed)
                LIMIT most + 1
            ) AS few
            GROUP BY few.key, CASE WHEN few.key IS NULL THEN few.place END
        ) AS grouped;
    IF everything THEN
        doubt := 'the whole table may have changed';
    ELSIF total > most THEN
        doubt := 'more than ' || most || ' changes';
    ELSIF reached < pg_snapshot_xmax(present)::text::bigint THEN
        more := true;
        SELECT concat_ws(':', coalesce(min(open::text::bigint), reached), reached,
                coalesce(string_agg(open::text, ',' ORDER BY open), ''))
            INTO snapshot
            FROM pg_snapshot_xip(present) AS open WHERE open < reached::text::xid8;
    END IF;
    IF doubt IS NOT NULL THEN
        keys := NULL;
        versions := NULL;
        lows := NULL;
        highs := NULL;
    END IF;
END $function$
