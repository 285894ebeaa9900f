"""This replica's heartbeats, and the fleet as they show it.

Once a second a replica measures itself and sends a heartbeat. All heartbeats are read only while somebody looks: once a
second, however many viewers there are. They all get the same bytes.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from evenkeel.http.problems import Unavailable
from evenkeel.service.draining import Draining
from evenkeel.service.fleet.heartbeat import Report, Sighting, State, Vitals, shortened, started_now
from evenkeel.service.readiness import Readiness
from evenkeel.tasks.ending import end
from evenkeel.tasks.failures import Failures

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two heartbeats, and between two views."""

PATIENCE = 0.5
"""Seconds that Redis has for heartbeats. If it needs longer, this replica lists itself."""

LONGEST_WAIT = 5.0
"""Seconds after which a viewer gets an error, because no view is made."""

VERDICT_AGE = 5.0
"""Seconds after which readiness is checked, if nobody else does so. Gateways do so every second."""

MOST_VIEWERS = 1000
"""Event streams of one replica."""


class Board(Protocol):
    """Where the heartbeats are. Methods raise any error if it cannot be reached."""

    async def beat(self, name: str, report: bytes) -> None: ...

    async def read(self) -> Mapping[str, tuple[float, bytes]]:
        """The seconds since each heartbeat, and its report."""
        ...

    async def leave(self, name: str) -> None: ...


class Subject(Protocol):
    """What a service has to say about itself."""

    def measure(self) -> Vitals:
        """Called once a second."""
        ...

    def own(self) -> dict[str, Any]:
        """Further members of the report, small and ready for JSON."""
        ...

    async def describe(self, sightings: Sequence[Sighting]) -> BaseModel:
        """The document of the fleet, from the reports of all replicas, in the order of their names."""
        ...


class Fleet:
    def __init__(
        self, name: str, subject: Subject, board: Board | None, *, readiness: Readiness, draining: Draining
    ) -> None:
        """`name` is this replica's. Without a `board`, it lists itself."""
        self._name = name
        self._subject = subject
        self._board = board
        self._readiness = readiness
        self._draining = draining
        self._started_at = started_now()
        self.latest = b""
        """The latest view."""
        self.changed = asyncio.Event()
        """Set when there is a later view than the present one, or when the replica begins to end."""
        self._viewed = float("-inf")
        self._asked = asyncio.Event()
        self._viewers = 0
        self._failures = Failures(log, "heartbeats are not exchanged, the fleet is this replica alone")
        self._exchange: asyncio.Task[list[Sighting]] | None = None
        self._check: asyncio.Task[Any] | None = None
        self.closing = False

    @contextlib.asynccontextmanager
    async def running(self, closing: asyncio.Event) -> AsyncIterator[None]:
        """Send heartbeats as long as the block lasts. Once `closing` is set, all streams end."""
        tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._close_after(closing))]
        try:
            yield
        finally:
            await end(*tasks, *filter(None, (self._exchange, self._check)))
            if self._board is not None:
                with contextlib.suppress(Exception):  # then the heartbeat expires
                    async with asyncio.timeout(PATIENCE):
                        await self._board.leave(self._name)

    async def view(self) -> bytes:
        """The document of the fleet as JSON, at most EVERY seconds old. Raise Unavailable if none is made."""
        before = self._viewed
        if time.monotonic() >= before + EVERY:
            try:
                async with asyncio.timeout(LONGEST_WAIT):
                    while self._viewed == before:  # the end of the replica sets `changed` without a view
                        changed = self.changed
                        self._asked.set()
                        await changed.wait()
            except TimeoutError:
                raise Unavailable("This replica cannot say which others run.") from None
        return self.latest

    @contextlib.contextmanager
    def viewing(self) -> Iterator[None]:
        """Views are made every second as long as the block lasts. Raise Unavailable if there are too many viewers."""
        if self._viewers >= MOST_VIEWERS:
            raise Unavailable(f"This replica serves {MOST_VIEWERS} event streams of the fleet already.")
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def _run(self) -> None:
        failures = Failures(log, "the fleet is not shown")
        while True:
            began = time.monotonic()
            try:
                await self._beat()
            except Exception as error:  # noqa: BLE001 (the next one may succeed)
                failures.add(error)
            else:
                failures.end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + EVERY - time.monotonic())):
                    await self._asked.wait()

    async def _beat(self) -> None:
        reading = self._viewers > 0 or self._asked.is_set()
        self._asked.clear()
        sightings = await self._exchanged(self._measured(), reading=reading)
        if reading:
            document = await self._subject.describe(sightings)
            self.latest = document.model_dump_json().encode()
            self._viewed = time.monotonic()
            self._wake()

    def _measured(self) -> Report:
        state, reason = self._state()
        vitals = self._subject.measure()
        return Report(
            state=state,
            reason=reason,
            started_at=self._started_at,
            own=self._subject.own(),
            **vitals.model_dump(),
        )

    def _state(self) -> tuple[State, str | None]:
        readiness = self._readiness
        if self._draining.begun:
            return "draining", "draining: about to end"
        if time.monotonic() >= readiness.checked + VERDICT_AGE and (self._check is None or self._check.done()):
            self._check = asyncio.create_task(readiness.failures())
        if readiness.reasons:
            state: State = "not-ready" if readiness.has_passed else "starting"
            return state, shortened(readiness.sentence(readiness.reasons))
        if not readiness.has_passed:
            return "starting", None
        details = readiness.current_details()
        return "ready", shortened(readiness.sentence(details)) if details else None

    async def _exchanged(self, report: Report, *, reading: bool) -> list[Sighting]:
        """Send the heartbeat, and read those of all replicas. This replica alone if that fails or takes too long."""
        alone = [Sighting(self._name, 0.0, report)]
        if self._board is None or (self._exchange is not None and not self._exchange.done()):
            return alone
        self._exchange = asyncio.create_task(self._through(self._board, report, reading=reading))
        self._exchange.add_done_callback(self._ended)
        await asyncio.wait([self._exchange], timeout=PATIENCE)
        if not self._exchange.done() or self._exchange.exception() is not None:
            return alone
        return sorted([*alone, *self._exchange.result()], key=lambda sighting: sighting.name)

    def _ended(self, exchange: "asyncio.Task[list[Sighting]]") -> None:
        if exchange.cancelled():
            return
        error = exchange.exception()
        if error is None:
            self._failures.end()
        elif isinstance(error, Exception):
            self._failures.add(error)

    async def _through(self, board: Board, report: Report, *, reading: bool) -> list[Sighting]:
        """The other replicas."""
        await board.beat(self._name, report.model_dump_json().encode())
        if not reading:
            return []
        found = []
        for name, (age, text) in (await board.read()).items():
            if name != self._name:
                # One that cannot be read is of another release.
                with contextlib.suppress(ValidationError):
                    found.append(Sighting(name, age, Report.model_validate_json(text)))
        return found

    def _wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def _close_after(self, closing: asyncio.Event) -> None:
        await closing.wait()
        self.closing = True
        self._wake()
