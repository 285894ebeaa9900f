-- Delete what was logged before a snapshot. Parameters: origin and snapshot of the state, limit (rows).
-- Reply: how many rows are gone; call again while it is the limit.
-- The horizon moves first: its lock makes a second caller wait.
WITH present AS (
    SELECT {origin} AS origin, pg_current_snapshot() AS snapshot
),
horizon AS (
    INSERT INTO {horizon} AS held (origin, pruned)
    SELECT origin, pg_snapshot_xmin({snapshot}) FROM present
    WHERE origin = :origin AND pg_snapshot_xmax({snapshot}) <= pg_snapshot_xmax(snapshot)
    ON CONFLICT (single) DO UPDATE SET
        origin = excluded.origin,
        installed = CASE WHEN held.origin = excluded.origin THEN held.installed ELSE '1' END,
        pruned = CASE WHEN held.origin = excluded.origin THEN greatest(held.pruned, excluded.pruned)
            ELSE excluded.pruned END
    RETURNING pruned
),
gone AS (
    DELETE FROM {log} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {log} WHERE xid < (SELECT pruned FROM horizon) ORDER BY xid LIMIT :limit))
    RETURNING xid
)
SELECT count(*) FROM gone
