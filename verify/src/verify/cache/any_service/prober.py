"""Reads and writes the caller's records, and judges the answers."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stack.errors import StackError, UsageError
from verify.cache.any_service.records import Record
from verify.cache.any_service.sql import FAILED, Database
from verify.cache.any_service.templates import Template, Value, ValuePath
from verify.cache.asker import Asker, is_marked_stale
from verify.cache.rows import ForeignAnswer
from verify.cache.staleness import Position
from verify.cache.tally import CacheTally
from verify.clock import Clock
from verify.connection import NO_ANSWER, Reply
from verify.target import REQUEST_TIMEOUT, Target

LOOK = 0.25
"""Seconds between looks for a write without an answer."""

OVER = REQUEST_TIMEOUT
"""Seconds after which a write without an answer is no longer under way in the service."""


@dataclass(frozen=True)
class Way:
    """Where reads and writes go together: the addresses of the templates, or one replica."""

    reads: Target
    writes: Target


@dataclass(frozen=True)
class Requests:
    """What the caller has described."""

    read: Template
    write: Template
    value: ValuePath


class ServiceProber(Asker):
    def __init__(self, requests: Requests, database: Database | None, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._requests = requests
        self._database = database

    async def old_value(self, way: Way, record_id: str) -> Value:
        """The value before anything is written. Raises UsageError if it is none that can be written back."""
        template, where = self._requests.read, self._requests.value
        path, _ = template.filled(record_id)
        try:
            reply = await way.reads.pool.request("GET", path)
        except NO_ANSWER as error:
            raise StackError(f"GET {way.reads.url}{path}: {str(error) or type(error).__name__}") from error
        if reply.status != 200:
            raise UsageError(f"--ids: GET {way.reads.url}{path} was answered with {reply.status}")
        try:
            value = where.of(reply.json())
        except (LookupError, ValueError):
            raise UsageError(f"--value: there is no {where.text} in the answer to GET {way.reads.url}{path}") from None
        if self._database and self._database.shows_values:  # the service's answer could be an old one
            try:
                value = await self._database.value(record_id)
            except LookupError:
                raise UsageError(f"--sql-read: there is no row for {record_id}") from None
            except FAILED as error:
                raise StackError(f"--sql-read: {error}") from error
        if value is None and self._requests.write.has_value_in_path:
            raise UsageError(f"--write: {where.text} of {record_id} is null, which cannot be written back in a URL")
        if value is not None and type(value) not in {str, int}:
            raise UsageError(f"--value: {where.text} of {record_id} is neither text nor a whole number: {value!r}")
        return value  # type: ignore[no-any-return] # as just checked

    async def read(self, way: Way, record: Record, tally: CacheTally) -> Position | None:
        """The position of the answer; None if there is none, or if it is marked as possibly stale."""
        path, _ = self._requests.read.filled(record.id)
        asked = self._clock()
        reply = await self._ask(way.reads, tally, "GET", path)
        if reply is None:
            return None
        if reply.status != 200:
            tally.errors[f"read {reply.status}"] += 1
            return None
        try:
            position = record.position(self._requests.value.of(reply.json()))
        except (LookupError, ValueError):
            tally.errors[f"read without {self._requests.value.text}"] += 1
            return None
        except ForeignAnswer as foreign:
            tally.breach("foreign", str(foreign))
            return None
        staleness = record.staleness(position, asked)
        record.history.committed(position, self._clock())
        if is_marked_stale(reply.headers.get("cache-status", "")):
            tally.marked += 1
            return None
        whose = record.blamed(position, tally) if staleness else tally
        whose.fresh("answer", staleness, f"{way.reads.name} answered {record.id} as of write {position[1]:.0f}")
        return position

    async def write(
        self, way: Way, record: Record, value: Value, position: Position, tally: CacheTally
    ) -> Position | None:
        """Write through the service; None unless it was acknowledged. The record must be taken (`writing`)."""
        reply = await self._sent(way, record, value, tally)
        if reply is not None and _is_success(reply):
            self._committed(record, position, tally)
            return position
        # A service may commit, and fail afterwards. Without an answer, it may also commit later.
        await self._find_out(record, value, position, tally, within=0 if reply else OVER)
        return None

    async def change(self, record: Record, value: Value, position: Position, tally: CacheTally) -> None:
        """Write by SQL. It is committed when PostgreSQL has answered."""
        assert self._database is not None  # noqa: S101 (the load checks it)
        try:
            changed = await self._database.change(record.id, value)
        except FAILED as error:
            tally.errors[f"SQL {type(error).__name__}"] += 1
            await self._find_out(record, value, position, tally, within=OVER)
        else:
            if changed == 1:
                self._committed(record, position, tally)
            else:
                tally.errors[f"SQL changed {changed} rows"] += 1

    async def write_back(self, ways: Sequence[Way], record: Record, tally: CacheTally) -> bool:
        """Write the old value through one of the ways. Returns whether that was acknowledged."""
        for way in ways:
            reply = await self._sent(way, record, record.old, tally)
            if reply is not None and _is_success(reply):
                return True
        return False

    async def _sent(self, way: Way, record: Record, value: Value, tally: CacheTally) -> Reply | None:
        method = self._requests.write.method
        path, body = self._requests.write.filled(record.id, value)
        reply = await self._ask(way.writes, tally, method, path, {"content-type": "application/json"}, body)
        if reply is not None and not _is_success(reply):
            tally.errors[f"{method} {reply.status}"] += 1
        return reply

    async def _find_out(
        self, record: Record, value: Value, position: Position, tally: CacheTally, *, within: float
    ) -> None:
        """Look whether a write was committed that has not been acknowledged."""
        given_up = self._clock() + within
        while True:
            if await self._is_committed(record, value):
                self._committed(record, position, tally)
                return
            if self._clock() >= given_up:
                record.unsettled.add(position)
                return
            await asyncio.sleep(LOOK)

    async def _is_committed(self, record: Record, value: Value) -> bool:
        if self._database is None or not self._database.shows_values:
            return False
        with contextlib.suppress(LookupError, *FAILED):
            return bool(await self._database.value(record.id) == value)
        return False

    def _committed(self, record: Record, position: Position, tally: CacheTally) -> None:
        record.history.committed(position, self._clock())
        tally.writes += 1


@contextlib.contextmanager
def writing(record: Record) -> Iterator[None]:
    """Nobody else begins to write the record in this block."""
    record.is_being_written = True
    try:
        yield
    finally:
        record.is_being_written = False


def _is_success(reply: Reply) -> bool:
    return 200 <= reply.status < 300
