"""The change log's functions of this release: a child table that comes and goes between two looks leaves a trace.

A downgrade undoes nothing, because the previous release uses the same functions.
"""

from alembic import op

from evenkeel.cache.change_log_schema import renew

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for statement in renew(table="users", key="id", log="user_changes", log_key="user_id"):
        op.execute(statement)


def downgrade() -> None:
    pass
