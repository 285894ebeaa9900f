"""A random tag for each state of a user, for entity tags; and the change log of this release.

The log is removed and installed again: `user_changes_look` and `user_changes_prune` are new, and so is its layout.
"""

from alembic import op

from evenkeel.cache.change_log_schema import install, remove

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # While this waits for writers under way, later writers wait behind it. So it gives up soon, for a later try.
    op.execute("SET LOCAL lock_timeout = '5s'")
    _install(tag="tag", before="ADD tag uuid NOT NULL DEFAULT gen_random_uuid()")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _install(tag=None, before="DROP tag")


def _install(*, tag: str | None, before: str) -> None:
    for statement in remove(table="users", log="user_changes"):
        op.execute(statement)
    op.execute(f"ALTER TABLE users {before}")
    for statement in install(
        table="users", key="id", updated_at="updated_at", tag=tag, log="user_changes", log_key="user_id"
    ):
        op.execute(statement)
