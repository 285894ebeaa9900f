"""Statements of SQLAlchemy, compiled once to the text and the order of values that asyncpg takes.

SQLAlchemy makes the text from the models. It does not run the statements of requests: its connection costs twice as
much CPU as PostgreSQL's own protocol, in four round trips instead of one.
"""

from typing import Any

from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.elements import CompilerElement

_DIALECT = dialect()  # type: ignore[no-untyped-call] # SQLAlchemy has not typed it


class Statement:
    """A statement whose parameters have names."""

    def __init__(self, statement: CompilerElement) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)
        self.text = str(compiled)
        self.name = self.text.partition(" ")[0]
        """Of its spans."""
        self.attributes = {
            "db.system.name": "postgresql",
            "db.operation.name": self.name,
            "db.query.text": self.text,  # it has placeholders, never values
        }
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of the text. KeyError for a value that is missing."""
        return [values[name] for name in self._names]
