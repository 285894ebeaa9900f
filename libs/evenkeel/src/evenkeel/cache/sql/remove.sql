-- Undo install.sql, in one transaction. A blank line after a semicolon ends a statement.

DROP TRIGGER {bump_trigger} ON {table};

DROP TRIGGER {insert_trigger} ON {table};

DROP TRIGGER {update_trigger} ON {table};

DROP TRIGGER {delete_trigger} ON {table};

DROP TRIGGER {truncate_trigger} ON {table};

DROP TRIGGER {row_trigger} ON {table};

DROP FUNCTION {by_statement}(), {by_row}(), {bump}();

-- Logs that older releases made lack these functions.
DROP FUNCTION IF EXISTS {look}, {prune}, {analyze};

DROP TABLE {log}, {horizon};
