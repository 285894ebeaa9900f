"""Users."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE users (
            id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            email      text        NOT NULL,
            name       text        NOT NULL,
            version    bigint      NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX users_email_key ON users (lower(email))")


def downgrade() -> None:
    op.execute("DROP TABLE users")
