"""An address is unique in any letter case, whatever the locale of the database.

`lower(email)` follows the locale: a Turkish one makes a dotless i of I, so INFO@… and info@… were two addresses.
Addresses are ASCII, and so is the letter case of the collation "C".
"""

from alembic import op
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from user_api.migrate import MigrationRefused

revision = "0004"
down_revision = "0003"

_NAME = "users_email_key"
# The previous release recognises a taken address by the name of the index. The new name contains the old one.
_UNFINISHED = f"{_NAME}_unfinished"


def upgrade() -> None:
    _replace('lower(email COLLATE "C")')


def downgrade() -> None:
    _replace("lower(email)")


def _replace(expression: str) -> None:
    """Writers go on while the index is built. They wait for at most 5 s while it gets its name."""
    with op.get_context().autocommit_block():
        # An interrupted build leaves an invalid index.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_UNFINISHED}")
        _refuse_collisions(expression)
        try:
            op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {_UNFINISHED} ON users ({expression})")
        except IntegrityError:
            # PostgreSQL's message contains the address.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_UNFINISHED}")
            _refuse_collisions(expression)
            raise MigrationRefused("two users had the same e-mail address for a moment; migrate again") from None
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(f"DROP INDEX {_NAME}")
    op.execute(f"ALTER INDEX {_UNFINISHED} RENAME TO {_NAME}")


def _refuse_collisions(expression: str) -> None:
    same = text(f"SELECT min(id), max(id) FROM users GROUP BY {expression} HAVING count(*) > 1 ORDER BY 1 LIMIT 1")  # noqa: S608 (one of two constants)
    if (found := op.get_bind().execute(same).first()) is not None:
        raise MigrationRefused(
            f"users {found[0]} and {found[1]} have e-mail addresses that differ in letter case only; "
            "give one of them another address, or delete it, and migrate again"
        )
