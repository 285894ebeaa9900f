-- The functions for following the log, made or replaced. A blank line after a semicolon ends a statement.

-- The functions name all objects with their schemas.
DO $functions$
DECLARE
    covered text;
    log text;
    horizon text;
    schema text;
BEGIN
    SELECT format('%I.%I', nspname, relname) INTO covered
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = '{table}'::regclass;
    SELECT format('%I', nspname), format('%I.%I', nspname, relname), format('%I.%I', nspname, relname || '_horizon')
        INTO schema, log, horizon
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE pg_class.oid = '{log}'::regclass;
    EXECUTE format($create$ {look_function} $create$, log, log, horizon,
        schema || '."{own_name}_by_statement"', schema || '."{own_name}_by_row"', schema || '."{own_name}_bump"');
    EXECUTE format($create$ {prune_function} $create$, log, log, horizon);
    EXECUTE format($create$ {analyze_function} $create$, log, log, horizon, '', '', '', covered, covered);
END $functions$;
