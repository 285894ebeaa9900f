-- The history that the transaction ids belong to. In another history the same id may stand for another transaction. So
-- it is in another cluster or database, and after the promotion of a standby (a new timeline). A crash, or a recovery
-- from files, may lose commits that others have already seen (with synchronous_commit = off) and use their ids again.
-- PostgreSQL discards its statistics whenever it starts without a clean shutdown before, which moves the time of their
-- last reset. pg_restore makes the log again, with another oid, as it was when it was dumped. The query fails on a
-- standby, whose ids are the primary's.
concat_ws('-',
    (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    {log_literal}::regclass::oid,
    (extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::bigint)
