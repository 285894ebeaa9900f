"""The users that a verification makes, and what is known of each."""

import contextlib
import random
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from verify.cache.staleness import NEVER, Position, RowHistory, deleted

# Reads go mostly to rows that have just been written: elsewhere there is nothing to be stale about.
RECENT = 32
DELETED_KEPT = 64


class ForeignAnswer(Exception):
    """The answer holds what nobody wrote, or another user's data."""


@dataclass(eq=False)
class Row:
    """One user: `serial` numbers the rows of this run, `id` is the database's."""

    id: int
    serial: int
    generation: int = 1
    history: RowHistory = field(default_factory=RowHistory)
    deletes_sent: set[int] = field(default_factory=set)
    """Generations whose deletion may have happened."""
    names: dict[Position, str] = field(default_factory=dict)
    """What was written at a position, as far as is known."""

    def absent(self) -> Position:
        """Where the row is, at best, if it is not there."""
        return deleted(max(self.deletes_sent)) if self.deletes_sent else NEVER


class Rows:
    """All rows of one run. Addresses carry run, row and generation, so that every answer says what it is."""

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
        """How the addresses of this run begin, those of its users and any other ones."""
        return f"verify.{self._run}."

    @property
    def pattern(self) -> str:
        """For SQL's LIKE: the addresses of this run."""
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
        """It is being deleted: nobody is to write it any more. It goes on being read."""
        self._living.remove(row)
        self._deleted.append(row)

    def restore(self, row: Row) -> None:
        """It is there again, or its deletion was refused."""
        with contextlib.suppress(ValueError):  # many others may have been deleted since
            self._deleted.remove(row)
        self._living.append(row)

    def touch(self, row: Row) -> None:
        self._recent.append(row)

    def any(self) -> Row:
        """One to write."""
        return random.choice(self._living)

    @contextlib.contextmanager
    def aside(self, count: int) -> Iterator[list[Row]]:
        """So many that nobody else begins to write in this block; they go on being read."""
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
        """One that the next users may get: that it is missing is remembered, too."""
        return max(self._rows) + random.randint(1, 4)

    def position(self, row: Row, user: dict[str, Any]) -> Position:
        """Where in the row's life the user is; ForeignAnswer if it is none of its states."""
        match = self._email.fullmatch(user["email"])
        if match is None or (user["id"], int(match[1])) != (row.id, row.serial):
            raise ForeignAnswer(f"user {row.id} was answered with {user}")
        position = int(match[2]), float(user["version"])
        if row.names.setdefault(position, user["name"]) != user["name"]:
            raise ForeignAnswer(f"user {row.id} at version {user['version']} is {row.names[position]!r}, not {user}")
        return position
