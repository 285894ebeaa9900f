"""A circuit breaker around the database. No caller waits long for one that does not answer.

The cause may be its server, its network, or a lock on its table. Work that has taken half a second starts a probe. If
the probe is answered, the work is only slow, and goes on. If not, the breaker opens. While it is open, cached entries
are served at once. Other work waits for the database, and gives up two and a half seconds after it came. The probe is
repeated in the background until it is answered.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from evenkeel.cache.errors import Busy, Disconnected, NotAnswering
from evenkeel.tasks.ending import end, retrieve
from evenkeel.tasks.under_way import UnderWay

log = logging.getLogger(__name__)

T = TypeVar("T")

SLOW = 0.5
"""Seconds that work may take before the database is probed."""

SILENT = 0.5
"""Seconds that a probe may take before the database counts as not answering."""

TURNS = 10
"""Turns of the event loop that a probe gets at least, because a busy process reads the reply late."""

PATIENCE = 2.5
"""Seconds after which a caller gives up, if the database does not answer. The whole request then ends within three."""

GRACE = 1.0
"""Seconds that the breaker must be open before work under way is given up. If everything is only slow, giving up adds
to the load."""

PROBE_INTERVAL = 1.0
"""Seconds after which another probe begins. A frozen server answers the old one first, a lossy network the new one."""

MOST_PROBES = 2
"""Probes under way at once. A further one replaces the oldest."""

PAUSE = 0.2
"""Seconds between a probe that has failed and the next one."""

REPEATS = 5
"""Times that work is repeated after its connection ended, if the probe is answered."""

CLOSING = 3.0
"""Seconds that work which was given up has to close its connections, when the breaker is closed."""


class DatabaseBreaker:
    """Around all work on one database. Work runs in tasks, so giving up does not wait for the driver to clean up."""

    def __init__(self, probe: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """`probe` returns if the database works, and raises if not. Without a probe the breaker never opens."""
        self._probe = probe
        self._prober: asyncio.Task[None] | None = None
        self._open = False
        self._opened = 0.0
        self._answered = 0.0
        self._turn: asyncio.Future[None] | None = None
        self._given_up = UnderWay(failed=_note_failure)

    @property
    def is_open(self) -> bool:
        return self._open

    async def run(
        self, work: Callable[[], Coroutine[Any, Any, T]], *, repeatable: bool, deadline: float | None = None
    ) -> T:
        """Do the work once the database answers. `deadline`: a time of `time.monotonic`, by default PATIENCE from now.

        Work that has lost its connection is repeated if it is `repeatable`, or had not begun. Raises what the work
        raises, and NotAnswering if the database does not answer before the deadline.
        """
        if deadline is None:
            deadline = time.monotonic() + PATIENCE
        for repeat in range(REPEATS + 1):
            await self._until_closed(deadline)
            task = asyncio.create_task(work())
            try:
                await self._follow(task, deadline)
                result = task.result()
            except Busy as error:
                if self._open:  # the work that takes all places waits for the database
                    raise _not_answering(begun=False) from error
                raise
            except Disconnected as error:
                self.suspect()
                if repeat == REPEATS or (error.begun and not repeatable):
                    raise
                if not await self._judged(deadline):
                    raise _not_answering(begun=error.begun) from error
            else:
                self._answered = time.monotonic()
                self._set(is_open=False, reason="")
                return result
            finally:
                self._give_up(task)
        raise AssertionError("the last repeat returns or raises")

    async def wait(self, task: "asyncio.Future[Any]", seconds: float) -> None:
        """Return when the future is done, the breaker is open, or the time is up."""
        end = time.monotonic() + seconds
        while not (task.done() or self._open) and (left := end - time.monotonic()) > 0:
            await asyncio.wait({task, self._next_turn()}, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def suspect(self) -> None:
        """Probe the database, because something has waited for too long."""
        if self._probe is not None and self._prober is None:
            # In no request's context: its log lines concern all of them.
            nowhere = Context()
            self._prober = asyncio.create_task(self._probe_until_answered(self._probe), context=nowhere)
            self._prober.add_done_callback(self._probed, context=nowhere)

    async def close(self) -> None:
        """End the probe, and wait for a while for work that was given up."""
        if self._prober is not None:
            await end(self._prober)
        await self._given_up.settled(CLOSING)

    async def _follow(self, task: "asyncio.Task[Any]", deadline: float) -> None:
        """Return when the task is done. NotAnswering when it must be given up."""
        await asyncio.wait({task}, timeout=SLOW)
        while not task.done():
            if self._open:
                left = max(deadline, self._opened + GRACE) - time.monotonic()
                if left <= 0:
                    raise _not_answering(begun=True)
            else:
                self.suspect()
                left = SLOW
            await asyncio.wait({task, self._next_turn()}, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _until_closed(self, deadline: float) -> None:
        while self._open:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _not_answering(begun=False)
            await asyncio.wait({self._next_turn()}, timeout=left)

    async def _judged(self, deadline: float) -> bool:
        """Whether a probe is answered before the deadline. Then the work may be repeated."""
        self.suspect()
        while self._prober is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.wait({self._prober}, timeout=left)
        return True

    async def _probe_until_answered(self, probe: Callable[[], Coroutine[Any, Any, None]]) -> None:
        probes: list[asyncio.Task[None]] = []
        patience = SILENT
        try:
            while True:
                if len(probes) == MOST_PROBES:
                    self._give_up(probes.pop(0))
                probes.append(asyncio.create_task(probe()))
                probes[-1].add_done_callback(retrieve)  # this loop may not look at it any more
                began = time.monotonic()
                done = await _any_done(probes, patience)
                if any(one.exception() is None for one in done):
                    return
                probes = [one for one in probes if one not in done]
                # If other work has been answered meanwhile, the database is only slow, or one connection is bad.
                if self._answered < began:
                    reasons = [repr(one.exception()) for one in done] or [f"no answer within {SILENT:g} s"]
                    self._set(is_open=True, reason=reasons[0])
                if done:
                    await asyncio.sleep(PAUSE)
                patience = PROBE_INTERVAL
        finally:
            for one in probes:
                self._give_up(one)

    def _probed(self, prober: "asyncio.Task[None]") -> None:
        self._prober = None
        if not prober.cancelled():
            prober.result()  # an error would go to the event loop's handler
            self._set(is_open=False, reason="")

    def _set(self, *, is_open: bool, reason: str) -> None:
        if is_open == self._open:
            return
        self._open = is_open
        if is_open:
            self._opened = time.monotonic()
            log.warning("the database does not answer", extra={"reason": reason})
        else:
            log.info("the database answers again")
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _next_turn(self) -> "asyncio.Future[None]":
        """A future that is done when the breaker opens or closes next."""
        if self._turn is None or self._turn.done():
            self._turn = asyncio.get_running_loop().create_future()
        return self._turn

    def _give_up(self, task: "asyncio.Task[Any]") -> None:
        """Cancel the task, unless it is done, and do not wait for it."""
        if not task.done():
            task.cancel()
            self._given_up.add(task)


def _note_failure(error: BaseException) -> None:
    log.debug("work given up has failed", extra={"reason": repr(error)})


async def _any_done(tasks: list["asyncio.Task[None]"], seconds: float) -> set["asyncio.Task[None]"]:
    """Those that have ended within so many seconds. The event loop turns several times in this time."""
    for _ in range(TURNS):
        done, _ = await asyncio.wait(tasks, timeout=seconds / TURNS, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return done
    return set()


def _not_answering(*, begun: bool) -> NotAnswering:
    return NotAnswering("The database does not answer.", begun=begun)
