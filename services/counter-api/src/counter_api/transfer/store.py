"""What a store does for export and import."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from counter_api.transfer.entries import Entry


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import has come: how many counters were set, a digest of their lines, and whether these were all."""

    applied: int = 0
    digest: str = ""
    done: bool = False


class EntryIsForeign(Exception):
    """The key of the entry at this place holds another program's data. The batch was applied in part or not at all."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class TransferStore(Protocol):
    """A method may raise NothingApplied or OutcomeUnknown when the store cannot be reached."""

    def export(self, prefix: str) -> AsyncIterator[list[Entry]]:
        """Batches of counters whose name starts with `prefix`, in the order of their names.

        A counter that exists all the time comes once.
        """
        ...

    async def progress(self, record: str) -> Progress:
        """What the record says. Without a record, nothing was applied."""
        ...

    async def apply(
        self, record: str, before: Progress, after: Progress, entries: Sequence[Entry], *, keep: int
    ) -> Progress:
        """Set the counters and move the record to `after`, both or neither. The record is kept for `keep` seconds.

        Nothing is done unless the record says `before`. Returns what it says in the end. That is `after` if this call
        did its work, now or when it was sent before.
        """
        ...
