"""Sets counters from a stream of lines: in batches, each of them once, and in constant memory.

Together with each batch the store keeps how many counters of this import have been set, and a digest of their lines. A
retry reads its body from the beginning and skips what was set before. The digest shows whether the lines are the same.
Then it goes on from there. So counts made between the attempts are kept.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from counter_api.problems import NotACounter, NothingApplied, OutcomeUnknown
from counter_api.transfer.entries import LONGEST_LINE, Entry, parse
from counter_api.transfer.lines import lines
from counter_api.transfer.store import EntryIsForeign, Progress, TransferStore
from evenkeel.http.idempotency import IdempotencyMismatch
from evenkeel.http.problems import Problem, Unavailable

T = TypeVar("T")

BATCH = 500
"""Counters set by one script: half a millisecond of Redis' time."""

ATTEMPTS = 6
"""How often a batch is sent. A batch that was applied is not applied again."""

FIRST_PAUSE = 0.1
"""Seconds between the first two attempts. Each later pause is twice as long."""


class LineIsForeign(NotACounter):
    """Another program wrote something under the key of a counter that a line names."""

    def __init__(self, line: int, name: str, applied: int) -> None:
        Problem.__init__(
            self,
            f"Line {line}: the key of {name} holds data that is not a signed 64-bit integer, and is left alone.",
            line=line,
            applied=applied,
        )


@dataclass(frozen=True, slots=True)
class Imported:
    count: int
    replayed: bool
    """Whether all of it had been imported before."""


class Import:
    """One import under its record."""

    def __init__(self, store: TransferStore, record: str, keep: int) -> None:
        """`keep`: seconds for which the record is kept after its last batch."""
        self._store = store
        self._record = record
        self._keep = keep
        self._digest = hashlib.blake2b(digest_size=16)
        self._begin = Progress()
        """Where the batch begins."""
        self._batch: list[tuple[int, Entry]] = []
        """Entries with the numbers of their lines."""
        self._known = Progress()
        """What the record said last."""

    async def run(self, body: AsyncIterable[bytes]) -> Imported:
        """Raise the problem of the first wrong line, or Unavailable. `applied` of both says how far the import came."""
        self._known = await self._insist(lambda: self._store.progress(self._record))
        replayed = self._known.done
        number = 0
        async for line in lines(body, longest=LONGEST_LINE):
            number += 1
            if not (text := line.strip()):
                continue
            try:
                entry = parse(number, text)
            except Problem as problem:
                await self._commit()
                problem.members["applied"] = self._known.applied
                raise
            self._batch.append((number, entry))
            self._digest.update(text + b"\n")
            # Always at the same places, and where an earlier attempt had ended.
            if self._position % BATCH == 0 or self._position == self._known.applied:
                await self._commit()
        await self._commit(done=True)
        return Imported(self._position, replayed)

    @property
    def _position(self) -> int:
        return self._begin.applied + len(self._batch)

    async def _commit(self, *, done: bool = False) -> None:
        """Return when everything read so far has been applied, by this request or an earlier one."""
        # If there is nothing to do and the body comes fast, no other request would get a turn.
        await asyncio.sleep(0)
        end = Progress(self._position, self._digest.hexdigest() if self._position else "", done)
        while not self._reached(end):
            self._known = await self._insist(lambda: self._apply(end))
        self._begin, self._batch = end, []

    def _reached(self, end: Progress) -> bool:
        """Whether the record includes `end`; raise IdempotencyMismatch if it is of another body."""
        known, begin = self._known, self._begin
        if known.applied == end.applied and known.digest == end.digest:
            return known.done or not end.done
        if known.applied > end.applied and not end.done:
            return True
        if known.done or (known.applied, known.digest) != (begin.applied, begin.digest):
            raise IdempotencyMismatch
        return False

    async def _apply(self, end: Progress) -> Progress:
        # No entries if only the end of the import is left to be recorded.
        batch = self._batch if self._known.applied < end.applied else []
        entries = [entry for _, entry in batch]
        try:
            return await self._store.apply(self._record, self._known, end, entries, keep=self._keep)
        except EntryIsForeign as foreign:
            line, entry = batch[foreign.place]
            raise LineIsForeign(line, entry.name, self._known.applied) from None

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        pause = FIRST_PAUSE
        for _ in range(ATTEMPTS - 1):
            try:
                return await call()
            except (NothingApplied, OutcomeUnknown):
                await asyncio.sleep(pause)
                pause *= 2
        try:
            return await call()
        except (NothingApplied, OutcomeUnknown):
            raise Unavailable(
                "Redis does not answer. Some of the counters may have been set. Send the same body again with the same "
                "Idempotency-Key: the import goes on after them.",
                applied=self._known.applied,
            ) from None
