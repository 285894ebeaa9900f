-- Whose history the transaction ids belong to. Where this differs, the same id may stand for another transaction:
-- in another cluster or database, after the promotion of a standby (a new timeline), and after a crash or a recovery
-- from files, which may lose commits that others have already seen (those with synchronous_commit = off) and then
-- gives their ids away again. PostgreSQL discards its statistics exactly when it starts after anything but a clean
-- shutdown, which moves the time of their last reset. pg_restore makes the log anew, as an object with another oid, and
-- fills it with what it held when it was dumped. Fails on a standby, whose ids are not its own.
concat_ws('-',
    (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    {log_literal}::regclass::oid,
    (extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::bigint)
