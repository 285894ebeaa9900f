"""Which schema this code needs. The service knows the revisions by name, so that it need not load Alembic for them."""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Those in migrations/versions, the oldest first; a test compares them."""


class SchemaNotCurrent(Exception):
    """The database has not been migrated as far as this code needs."""


def require(found: str | None) -> None:
    """Raise SchemaNotCurrent when the database is at an older revision than this code.

    A revision this code does not know is a newer one: migrations are made so that the release before them still
    runs, or a rolling update could not work.
    """
    if found is None:
        raise SchemaNotCurrent("the schema has not been created; run `user-api migrate`")
    if found in REVISIONS[:-1]:
        raise SchemaNotCurrent(f"the schema is at {found}, this release needs {REVISIONS[-1]}; run `user-api migrate`")


def is_newer(found: str | None) -> bool:
    """Whether a later release has migrated the database, as after a rollback. This one has nothing to do there."""
    return found is not None and found not in REVISIONS
