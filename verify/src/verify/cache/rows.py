"""The users that a verification makes, and the known history of each."""

import contextlib
import random
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from verify.cache.staleness import NEVER, Position, RowHistory, deleted

# Reads go mostly to rows that have just been written: only those can be stale.
RECENT = 32
DELETED_KEPT = 64


class ForeignAnswer(Exception):
    """The answer has data that was never written, or another user's."""


@dataclass(eq=False)
class Row:
    """One user: `serial` numbers the rows of this run, `id` is the database's."""

    id: int
    serial: int
    generation: int = 1
    history: RowHistory = field(default_factory=RowHistory)
    deletes_sent: set[int] = field(default_factory=set)
    """Generations that may have been deleted."""
    names: dict[Position, str] = field(default_factory=dict)
    """The names that were written, by position, as far as they are known."""

    def absent(self) -> Position:
        """The latest position that an answer without the row can mean."""
        return deleted(max(self.deletes_sent)) if self.deletes_sent else NEVER


class Rows:
    """All rows of one run. Addresses contain run, row and generation, so that every answer identifies itself."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._email = re.compile(rf"verify\.{run}\.(\d+)\.(\d+)@example\.com")
        self._rows: dict[int, Row] = {}
        self._living: list[Row] = []
        self._recent: deque[Row] = deque(maxlen=RECENT)
        self._deleted: deque[Row] = deque(maxlen=DELETED_KEPT)
        self._serial = 0
        self.writes = 0

    def __len__(self) -> int:
        return len(self._living)

    @property
    def living(self) -> list[Row]:
        return list(self._living)

    @property
    def prefix(self) -> str:
        """The beginning of all addresses of this run."""
        return f"verify.{self._run}."

    @property
    def pattern(self) -> str:
        """The pattern of this run's addresses, for LIKE in SQL."""
        return f"{self.prefix}%@example.com"

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def next_name(self) -> str:
        """A name that has not been written before."""
        self.writes += 1
        return f"Write {self.writes}"

    def email(self, serial: int, generation: int = 1) -> str:
        return f"verify.{self._run}.{serial}.{generation}@example.com"

    def add(self, row: Row) -> None:
        self._rows[row.id] = row
        self._living.append(row)
        self.touch(row)

    def remove(self, row: Row) -> None:
        """The row is being deleted: it is not written any more, but still read."""
        self._living.remove(row)
        self._deleted.append(row)

    def restore(self, row: Row) -> None:
        """The row exists again, or its deletion was refused."""
        with contextlib.suppress(ValueError):  # many other rows may have been deleted meanwhile
            self._deleted.remove(row)
        self._living.append(row)

    def touch(self, row: Row) -> None:
        self._recent.append(row)

    def any(self) -> Row:
        """A row to write."""
        return random.choice(self._living)

    @contextlib.contextmanager
    def aside(self, count: int) -> Iterator[list[Row]]:
        """So many rows that nothing else begins to write in this block. They are still read."""
        chosen = random.sample(self._living, min(count, len(self._living)))
        for row in chosen:
            self.remove(row)
        try:
            yield chosen
        finally:
            for row in chosen:
                self.restore(row)
                self.touch(row)

    def any_to_read(self) -> Row:
        chance = random.random()
        if self._recent and chance < 0.6:
            return random.choice(self._recent)
        if self._deleted and chance < 0.65:
            return random.choice(self._deleted)
        return self.any()

    def find(self, user_id: int) -> Row | None:
        return self._rows.get(user_id)

    def id_ahead(self) -> int:
        """An id that one of the next users may get: caches remember missing users, too."""
        return max(self._rows) + random.randint(1, 4)

    def position(self, row: Row, user: dict[str, Any]) -> Position:
        """The position of this state in the row's life. Raises ForeignAnswer if the row never had this state."""
        match = self._email.fullmatch(user["email"])
        if match is None or (user["id"], int(match[1])) != (row.id, row.serial):
            raise ForeignAnswer(f"user {row.id} was answered with {user}")
        position = int(match[2]), float(user["version"])
        if row.names.setdefault(position, user["name"]) != user["name"]:
            raise ForeignAnswer(f"user {row.id} at version {user['version']} is {row.names[position]!r}, not {user}")
        return position
