"""Idempotency records: the first answer under each Idempotency-Key, which repetitions of the request get again.

Answers contain a user's data, so triggers delete them with the user, whichever role deletes that. The functions run as
the table's owner, so that role needs no rights on the records.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLE = "user_idempotency_records"
_FORGET = f"{_TABLE}_forget"


def upgrade() -> None:
    op.execute(
        f"""
        CREATE TABLE {_TABLE} (
            id         bytea       PRIMARY KEY,
            payload    bytea       NOT NULL,
            expires_at timestamptz NOT NULL,
            user_id    bigint,
            status     smallint,
            tag        uuid,
            body       text
        )
        """
    )
    op.execute(f"CREATE INDEX {_TABLE}_expires_at ON {_TABLE} (expires_at)")
    op.execute(f"CREATE INDEX {_TABLE}_user_id ON {_TABLE} (user_id) WHERE user_id IS NOT NULL")
    op.execute(_CREATE_FUNCTION)
    op.execute(f"REVOKE ALL ON FUNCTION {_FORGET}() FROM PUBLIC")
    # While this waits for writers under way, later writers wait behind it. So it gives up soon, for a later try.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        f"CREATE TRIGGER {_FORGET} AFTER DELETE ON users REFERENCING OLD TABLE AS gone"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {_FORGET}()"
    )
    op.execute(f"CREATE TRIGGER {_FORGET}_all AFTER TRUNCATE ON users EXECUTE FUNCTION {_FORGET}()")
    op.execute(f"CREATE TRIGGER {_FORGET}_row AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION {_FORGET}()")
    # A subscription's worker fires no triggers by statement, as for the change log.
    op.execute(f"ALTER TABLE users ENABLE ALWAYS TRIGGER {_FORGET}_all, ENABLE REPLICA TRIGGER {_FORGET}_row")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for trigger in (_FORGET, f"{_FORGET}_all", f"{_FORGET}_row"):
        op.execute(f"DROP TRIGGER {trigger} ON users")
    op.execute(f"DROP FUNCTION {_FORGET}()")
    op.execute(f"DROP TABLE {_TABLE}")


# Locked records have expired and are being deleted. The transaction that deletes them may wait for the user, so waiting
# for it would be a deadlock.
_CREATE_FUNCTION = f"""
    DO $install$
    BEGIN
        EXECUTE format($create$
            CREATE FUNCTION {_FORGET}() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
            BEGIN
                IF TG_OP = 'TRUNCATE' THEN
                    DELETE FROM %1$s WHERE id IN (
                        SELECT id FROM %1$s WHERE user_id IS NOT NULL FOR UPDATE SKIP LOCKED);
                ELSIF TG_LEVEL = 'ROW' THEN
                    DELETE FROM %1$s WHERE id IN (
                        SELECT id FROM %1$s WHERE user_id = OLD.id FOR UPDATE SKIP LOCKED);
                ELSE
                    DELETE FROM %1$s WHERE id IN (
                        SELECT id FROM %1$s WHERE user_id IN (SELECT gone.id FROM gone) FOR UPDATE SKIP LOCKED);
                END IF;
                RETURN NULL;
            END $function$ $create$,
            (SELECT format('%I.%I', nspname, relname)
                FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE pg_class.oid = '{_TABLE}'::regclass));
    END $install$
"""  # noqa: S608 (constants)
