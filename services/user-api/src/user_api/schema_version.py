"""The migrations that come with this code: where they are, and which schema they lead to."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory


class SchemaNotCurrent(Exception):
    """The database has not been migrated as far as this code needs."""


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def require(found: str | None) -> None:
    """Raise SchemaNotCurrent when the database is at an older revision than this code.

    A revision this code does not know is a newer one: migrations are made so that the release before them still
    runs, or a rolling update could not work.
    """
    revisions, head = _known()
    if found is None:
        raise SchemaNotCurrent("the schema has not been created; run `user-api migrate`")
    if found != head and found in revisions:
        raise SchemaNotCurrent(f"the schema is at {found}, this release needs {head}; run `user-api migrate`")


@cache
def _known() -> tuple[frozenset[str], str]:
    scripts = ScriptDirectory.from_config(alembic_config())
    head = scripts.get_current_head()
    if head is None:
        raise SchemaNotCurrent("no migrations are installed")
    return frozenset(script.revision for script in scripts.walk_revisions()), head


def _folder() -> Path:
    """Inside the package in a wheel; beside src/ in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"
