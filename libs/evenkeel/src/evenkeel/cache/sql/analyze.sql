-- The function that removes the mark that a child has left on the table, once the child is gone. While the mark is
-- there, another child would leave no trace. ANALYZE removes it. A row of the log says so to each reader.
-- format() inserts %1$s, the log; %7$s, the table; %8$L, the same as a literal.
CREATE OR REPLACE FUNCTION {analyze}() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    LOCK TABLE %7$s IN SHARE UPDATE EXCLUSIVE MODE; -- the one that ANALYZE takes, and those who add a child
    IF EXISTS (
        SELECT FROM pg_class
        WHERE oid = %8$L::regclass AND relhassubclass
            AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = pg_class.oid)
    ) THEN
        INSERT INTO %1$s VALUES (pg_current_xact_id(), '{{NULL}}');
        ANALYZE %7$s ({key});
    END IF;
END $function$
