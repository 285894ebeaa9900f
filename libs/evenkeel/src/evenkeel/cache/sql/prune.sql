-- The function that deletes rows of the log that are old enough, a batch at a time. Each call is a transaction.
-- The horizon's row holds snapshots and when they were taken. What was visible in an old enough snapshot is deleted.
-- format() inserts %1$s, the log; %2$L, the same as a literal; %3$s, the horizon.
CREATE OR REPLACE FUNCTION {prune}(
    -- Seconds for which changes are kept. How many rows to delete at most.
    retention double precision, batch bigint,
    -- How many rows were deleted. Whether there are more.
    OUT deleted bigint, OUT more boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET jit = off SET max_parallel_workers_per_gather = 0
SET enable_seqscan = off SET enable_bitmapscan = off
AS $function$
DECLARE
    here CONSTANT text := {origin};
    -- In this order, so that no mark is older than its time.
    present CONSTANT pg_snapshot := pg_current_snapshot();
    present_time CONSTANT timestamptz := clock_timestamp();
    held %3$s;
    room bigint := batch;
    due timestamptz;
    low bigint;
    high bigint;
    from_xid xid8;
    from_place bigint;
    last record;
BEGIN
    deleted := 0;
    more := false;
    INSERT INTO %3$s (origin, pruned, cleared) VALUES (here, present, '1:1:') ON CONFLICT DO NOTHING;
    SELECT * INTO held FROM %3$s FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN; -- another one is at it
    END IF;
    IF held.origin <> here THEN
        -- Another history begins. What is in the log will be pruned in time. But rows whose ids this server has not
        -- used yet came with a dump.
        held := (true, here, '1:1:', '1:1:', '{{}}', '{{}}', NULL, NULL);
        DELETE FROM %1$s WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
        GET DIAGNOSTICS deleted = ROW_COUNT;
    END IF;
    IF held.at_xid IS NULL THEN
        -- Marks in the future come from a clock that was set back.
        SELECT coalesce(array_agg(at ORDER BY at), '{{}}'), coalesce(array_agg(mark ORDER BY at), '{{}}')
            INTO held.marked, held.marks
            FROM unnest(held.marked, held.marks) AS known (at, mark) WHERE at <= present_time;
        IF cardinality(held.marked) = 0
            OR held.marked[cardinality(held.marked)] <= present_time - make_interval(secs => retention / 10) THEN
            held.marked := held.marked || present_time;
            held.marks := held.marks || present;
        END IF;
        SELECT at, mark INTO due, held.pruned
            FROM (
                SELECT at, mark FROM unnest(held.marked, held.marks) AS known (at, mark)
                UNION ALL
                SELECT '-infinity', held.pruned
            ) AS known
            WHERE at <= present_time - make_interval(secs => retention)
            ORDER BY at DESC LIMIT 1;
        SELECT coalesce(array_agg(at ORDER BY at), '{{}}'), coalesce(array_agg(mark ORDER BY at), '{{}}')
            INTO held.marked, held.marks
            FROM unnest(held.marked, held.marks) AS known (at, mark) WHERE at > due;
    END IF;
    -- What is visible in `pruned` and was not visible in `cleared`, which has not been deleted before. Entries of the
    -- index stay until VACUUM can remove them. So none is read twice, and those of transactions that stay are not read.
    FOR low, high IN
        SELECT xid::text::bigint, xid::text::bigint + 1
        FROM pg_snapshot_xip(held.cleared) AS xid WHERE pg_visible_in_snapshot(xid, held.pruned)
        UNION ALL
        SELECT lag(bound) OVER (ORDER BY bound) + 1, bound
        FROM (
            SELECT pg_snapshot_xmax(held.cleared)::text::bigint - 1 AS bound
            UNION ALL
            SELECT xid::text::bigint FROM pg_snapshot_xip(held.pruned) AS xid WHERE xid >= pg_snapshot_xmax(held.cleared)
            UNION ALL
            SELECT pg_snapshot_xmax(held.pruned)::text::bigint
        ) AS bounds
        ORDER BY 1
    LOOP
        CONTINUE WHEN low IS NULL OR low >= high OR high::text::xid8 <= held.at_xid;
        IF held.at_xid >= low::text::xid8 THEN
            from_xid := held.at_xid;
            from_place := held.at_place;
        ELSE
            from_xid := low::text::xid8;
            from_place := -1;
        END IF;
        WITH gone AS (
            DELETE FROM %1$s WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM %1$s WHERE (xid, place) > (from_xid, from_place) AND xid < high::text::xid8
                ORDER BY xid, place LIMIT room))
            RETURNING xid, place
        )
        SELECT xid, place, count(*) OVER () AS rows INTO last FROM gone ORDER BY xid DESC, place DESC LIMIT 1;
        deleted := deleted + coalesce(last.rows, 0);
        room := room - coalesce(last.rows, 0);
        IF room = 0 THEN
            more := true;
            held.at_xid := last.xid;
            held.at_place := last.place;
            EXIT;
        END IF;
    END LOOP;
    IF NOT more THEN
        held.cleared := held.pruned;
        held.at_xid := NULL;
        held.at_place := NULL;
    END IF;
    UPDATE %3$s SET origin = held.origin, pruned = held.pruned, cleared = held.cleared,
        marked = held.marked, marks = held.marks, at_xid = held.at_xid, at_place = held.at_place;
END $function$
