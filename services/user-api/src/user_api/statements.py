"""Statements as text. The names of their parameters become the numbers that PostgreSQL's protocol has."""

import re
from typing import Any

_PARAMETER = re.compile(r"\$([a-z_]+)")


class Statement:
    """A statement whose parameters have names: `SELECT name FROM users WHERE id = $user_id`."""

    def __init__(self, text: str) -> None:
        """A parameter may occur several times. PostgreSQL infers its type from the first place, or from a cast."""
        self._names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        self.text = _PARAMETER.sub(lambda found: f"${self._names.index(found[1]) + 1}", text)
        self.name = self.text.partition(" ")[0]
        """Of its spans."""
        self.attributes = {
            "db.system.name": "postgresql",
            "db.operation.name": self.name,
            "db.query.text": self.text,  # it has placeholders, never values
        }

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of the text. KeyError for a value that is missing."""
        return [values[name] for name in self._names]
