"""The change log of users, from which caches learn what has been committed; versions are the database's business now.

A release that changes what `install` gives needs a migration of its own that removes the log and installs it again.
"""

from alembic import op

from evenkeel.cache.change_log_schema import install, remove

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Writers wait behind this one while it waits for those that are under way: rather try again later.
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statement in install(table="users", key="id", updated_at="updated_at", log="user_changes", log_key="user_id"):
        op.execute(statement)


def downgrade() -> None:
    for statement in remove(table="users", log="user_changes"):
        op.execute(statement)
