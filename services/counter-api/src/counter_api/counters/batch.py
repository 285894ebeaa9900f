"""All operations of one round trip on one counter, as one call of a script."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from counter_api.counters.encoding import Judged, Terms
from counter_api.counters.operations import Delete, Operation, Outcome
from counter_api.counters.plain_sum import PlainSum
from counter_api.counters.scripts import BATCH, DELETIONS
from counter_api.problems import NotListed
from counter_api.redis.calls import Argument, Sending
from evenkeel.http.problems import Problem

FOR_EVER = 2**53
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Group:
    """One caller's operations on one counter."""

    name: str
    operations: Sequence[Operation]
    listed: int = 0
    """Until when the counter may be made if it is not there, in milliseconds of Redis' time: its name is listed."""

    @property
    def batch_key(self) -> tuple[str, bool]:
        """Groups of the same key may travel in one batch. Deletions go alone: they may when memory is full."""
        return self.name, all(isinstance(operation, Delete) for operation in self.operations)


class CounterBatch(Sending):
    """What became of each operation is at its place in `outcomes`, once it is settled."""

    def __init__(self, name: str, *, deletions: bool, sender: str, numbers: Iterator[int], terms: Terms) -> None:
        """`numbers` gives greater ones than any batch of this sender had before."""
        super().__init__(f"{{{name}}}", repeatable=True)
        self._deletions = deletions
        self._receipt = f"{self.key}:op:{sender}{'-' if deletions else ''}"
        self._numbers = numbers
        self._number = next(numbers)
        self._terms = terms
        # What is no caller's is in no list.
        self._listed = FOR_EVER if name.startswith("_") else 0
        self._operations: list[Operation] = []
        self._encoded: PlainSum | Judged | None = None
        self.outcomes: list[Outcome] = []

    def add(self, group: Group) -> slice:
        """Where in `outcomes` its own will be."""
        start = len(self._operations)
        self._operations.extend(group.operations)
        self._listed = max(self._listed, group.listed)
        return slice(start, len(self._operations))

    def command(self, until: int) -> tuple[Argument, ...]:
        encoded = self._encoded
        if encoded is None:
            encoded = self._encoded = PlainSum.of(self._keys, self._operations) or self._judged(joining=True)
            self.script = encoded.script
        receipt = self.unsure or self._terms.replicated
        arguments = encoded.arguments(self._number, until, receipt=receipt, listed=self._listed)
        return ("EVALSHA", encoded.script.sha, len(encoded.keys), *encoded.keys, *arguments)

    def receive(self, reply: Any) -> bool:
        assert self._encoded is not None  # noqa: S101 (it has been sent)
        if reply in {b"late", b"stale"}:
            return False
        if reply == b"split":
            # Nothing was done; where other copies are under way a receipt keeps it so, and this is another batch.
            self._number = next(self._numbers)
            self.unsure = False
            self._encoded = self._judged(joining=False)
            self.script = self._encoded.script
            return False
        if reply == b"unlisted":
            # As above; what the caller sends when the name is listed is another batch.
            self.fail(lambda: NotListed("There is no such counter, and it was not made."))
            return True
        self.outcomes = self._encoded.outcomes(reply)
        return True

    def fail(self, problem: Callable[[], Problem]) -> None:
        self.outcomes = [problem() for _ in self._operations]

    @property
    def _keys(self) -> list[str]:
        return [self.key, self._receipt]

    def _judged(self, *, joining: bool) -> Judged:
        script = DELETIONS if self._deletions else BATCH
        return Judged(self._keys, self._operations, self._terms, script=script, joining=joining)
