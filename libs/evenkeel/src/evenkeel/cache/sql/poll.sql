-- What has been committed since a snapshot. Parameters: origin and snapshot of the state, limit (changes).
-- Reply: one row: the state now; why it cannot be told what changed, or NULL; how many changes are new (at most one
-- more than the limit); whether one says that anything may have changed; the keys; their versions, NULL if deleted.
WITH present AS (
    SELECT {origin} AS origin, pg_current_snapshot() AS snapshot
),
since AS (
    SELECT CASE
        WHEN present.origin <> :origin
            THEN 'the database has another history'
        WHEN pg_snapshot_xmax({snapshot}) > pg_snapshot_xmax(present.snapshot)
            THEN 'the state is ahead of the database'
        -- A horizon of another history says nothing about this one, in which nothing has been pruned then.
        WHEN NOT EXISTS (
            SELECT FROM {horizon} AS horizon
            WHERE horizon.origin <> present.origin
                OR (horizon.pruned <= pg_snapshot_xmin({snapshot})
                    AND pg_visible_in_snapshot(horizon.installed, {snapshot})))
            THEN 'the log does not reach back to the state'
        END AS doubt
    FROM present
),
-- Two searches of the index: transactions that began after the snapshot, and those that were open then. A single
-- comparison with the oldest open one would read again, as long as it is open, all that was committed meanwhile.
news AS MATERIALIZED (
    SELECT unnest(keys) AS key, unnest(versions) AS version, cardinality(keys) > {most} AS cut FROM (
        SELECT {key} AS keys, version AS versions FROM {log}
        WHERE xid >= pg_snapshot_xmax({snapshot}) AND xid < pg_snapshot_xmax(pg_current_snapshot())
            AND (SELECT doubt IS NULL FROM since)
        UNION ALL
        SELECT {key}, version FROM {log}
        WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip({snapshot})))
            AND (SELECT doubt IS NULL FROM since)
    ) AS found
    LIMIT :limit + 1
),
changed AS (
    SELECT key, CASE WHEN bool_and(version IS NOT NULL) THEN max(version) END AS version
    FROM news WHERE key IS NOT NULL GROUP BY key
)
SELECT present.origin || ' ' || present.snapshot::text,
    since.doubt, total.changes, total.everything, changed_keys.keys, changed_keys.versions
FROM present, since,
    (SELECT count(*) AS changes, coalesce(bool_or(cut OR key IS NULL), false) AS everything FROM news) AS total,
    (SELECT array_agg(key::text) AS keys, array_agg(version) AS versions FROM changed) AS changed_keys
