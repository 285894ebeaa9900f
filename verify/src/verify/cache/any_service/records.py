"""The records that the caller permits to be written: their old values, and the known history of each."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from verify.cache.any_service.templates import Value
from verify.cache.rows import RECENT, ForeignAnswer
from verify.cache.staleness import NEVER, Position, RowHistory
from verify.cache.tally import CacheTally


@dataclass(eq=False)
class Record:
    id: str
    old: Value
    """The value before the measurement, which is at position NEVER."""
    history: RowHistory = field(default_factory=RowHistory)
    written: dict[Value, Position] = field(default_factory=dict)
    """The position of each value that was sent, whether it was acknowledged or not."""
    writers: dict[Position, CacheTally] = field(default_factory=dict)
    """The phase in which each was sent."""
    unsettled: set[Position] = field(default_factory=set)
    """Writes without an answer. One may be committed at any later time, even after the writes that follow it."""
    is_being_written: bool = False

    def staleness(self, position: Position, asked: float) -> float:
        """Seconds, as of RowHistory. An answer with an unsettled write is new: its commit may be late."""
        return 0.0 if position in self.unsettled else self.history.staleness(position, asked)

    def blamed(self, position: Position, tally: CacheTally) -> CacheTally:
        """The phase whose write an old answer lacks. An entry may live longer than the phase that made it wrong."""
        return self.writers.get(self.history.after(position), tally)

    def position(self, value: Any) -> Position:
        """Raises ForeignAnswer for a value that was neither the old one nor sent by this run."""
        try:
            if value in self.written and type(value) in {str, int}:
                return self.written[value]
        except TypeError:  # a list or an object
            pass
        if value == self.old:
            return NEVER
        raise ForeignAnswer(f"{self.id} was answered with {value!r}, which this run has not written there")


class Records:
    """All of them. Only one writer at a time has a record, so its values have an order."""

    def __init__(self, run: str, old: dict[str, Value]) -> None:
        self._run = run
        self._records = [Record(record_id, value) for record_id, value in old.items()]
        self._recent: deque[Record] = deque(maxlen=RECENT)
        self._number = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @property
    def changed(self) -> Sequence[Record]:
        """Those that may have another value than before."""
        return [record for record in self._records if record.written]

    def free(self) -> Record | None:
        """A record that nobody is writing, if there is one."""
        free = [record for record in self._records if not record.is_being_written]
        return random.choice(free) if free else None

    def next_value(self, record: Record, tally: CacheTally) -> tuple[Value, Position]:
        """A value that was never written before. It is a number where the old value is one."""
        self._number += 1
        value: Value = f"verify {self._run} {self._number}"
        if isinstance(record.old, int):
            value = record.old + self._number
        position = (1, float(self._number))
        record.written[value], record.writers[position] = position, tally
        return value, position

    def any_to_read(self) -> Record:
        """Mostly one that has just been written: only those can be stale."""
        if self._recent and random.random() < 0.6:
            return random.choice(self._recent)
        return random.choice(self._records)

    def touch(self, record: Record) -> None:
        self._recent.append(record)
