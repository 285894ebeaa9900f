"""The schema that this code needs. The revisions are listed here, so that the service need not load Alembic."""

from evenkeel.service.readiness import ConditionFailed

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""The files in migrations/versions, the oldest first. A test compares the two."""


class SchemaNotCurrent(ConditionFailed):
    """The database has not been migrated as far as this code needs."""

    condition = "migrations"


def require(found: str | None) -> None:
    """Raise SchemaNotCurrent if the database is at an older revision than this code.

    A revision that is not listed is a newer one. The previous release works on the schema of the next one, so that
    rolling updates work.
    """
    if found is None:
        raise SchemaNotCurrent("the schema has not been created; run `user-api migrate`")
    if found in REVISIONS[:-1]:
        raise SchemaNotCurrent(f"the schema is at {found}, this release needs {REVISIONS[-1]}; run `user-api migrate`")


def is_newer(found: str | None) -> bool:
    """Whether a later release has migrated the database, as after a rollback. Then there is nothing to migrate."""
    return found is not None and found not in REVISIONS
