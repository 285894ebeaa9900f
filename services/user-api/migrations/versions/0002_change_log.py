"""The change log of users, from which caches read what was committed. From now on the database sets the versions.

A release that changes what `install` gives needs a migration of its own that removes the log and installs it again.
"""

from alembic import op

from evenkeel.cache.change_log_schema import install, remove

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # While this waits for writers under way, later writers wait behind it. So it gives up soon, for a later try.
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statement in install(table="users", key="id", updated_at="updated_at", log="user_changes", log_key="user_id"):
        op.execute(statement)


def downgrade() -> None:
    for statement in remove(table="users", log="user_changes"):
        op.execute(statement)
