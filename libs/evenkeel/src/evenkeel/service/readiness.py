"""Whether a replica can do its work now, for load balancers. Liveness is separate, and checks nothing."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic

from evenkeel.http.problems import NotReady
from evenkeel.tasks.ending import end
from evenkeel.tasks.failures import first_line

log = logging.getLogger(__name__)

CHECK_TIMEOUT = 2.0
"""Seconds after which a check that has not answered counts as failed."""

MOST_CHECKS = 4
"""Good checks in PERIOD. Every gateway checks every replica each second. With many of both, the database would be busy
with checks."""

PERIOD = 1.0
"""Seconds."""


class Readiness:
    """Named checks. Each returns if all is well, and raises an error with the reason if not.

    A check is cancelled after CHECK_TIMEOUT, so it must not start anything that would stay half done.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._checks = checks
        self._passed: deque[float] = deque(maxlen=MOST_CHECKS)
        """When the last checks began that have passed, since one has failed."""
        self.checked = float("-inf")
        """When the last checks ended, in time of `time.monotonic`."""
        self.reasons: dict[str, str] = {}
        """Why the last checks have failed, by name."""
        self.has_passed = False
        """Whether the replica has been ready since it started."""
        self.details: dict[str, Callable[[], str | None]] = {}
        """What a replica that is ready adds to its answer, by name: a function that returns a sentence, or None."""

    def current_details(self) -> dict[str, str]:
        """The sentences of now, without None."""
        return {name: sentence for name, detail in self.details.items() if (sentence := detail()) is not None}

    async def failures(self) -> dict[str, str]:
        """The reasons of failed checks, by name; empty if ready. The checks run at the same time.

        After MOST_CHECKS good results in a row within PERIOD, the last one stands. A bad one never does.
        """
        now = monotonic()
        if len(self._passed) == MOST_CHECKS and now < self._passed[0] + PERIOD:
            return {}
        reasons = await asyncio.gather(*(self._failure(check) for check in self._checks.values()))
        failures = {name: reason for name, reason in zip(self._checks, reasons, strict=True) if reason}
        self.checked, self.reasons = monotonic(), failures
        if failures:
            self._passed.clear()
        else:
            self._passed.append(now)
            self.has_passed = True
        return failures

    async def require(self) -> None:
        """Raise NotReady with every reason unless all checks pass."""
        if failures := await self.failures():
            raise NotReady(self.sentence(failures) + ".", checks=failures)

    @staticmethod
    def sentence(named: Mapping[str, str]) -> str:
        """Reasons or details as one text, without the full stop."""
        return "; ".join(f"{name}: {text}" for name, text in named.items())

    @asynccontextmanager
    async def awaited(self) -> AsyncIterator[None]:
        """Run `wait` beside the block, so that the log says why a replica that has just started is not ready.

        When the block is left, it has ended and returned its connections.
        """
        waiting = asyncio.create_task(self.wait())
        try:
            yield
        finally:
            await end(waiting)
            if not waiting.cancelled():
                waiting.result()

    async def wait(self, *, first: float = 0.1, longest: float = 5.0) -> None:
        """Return when ready. Until then, log why not. The pause between checks doubles from `first` to `longest`."""
        pause = first
        while failures := await self.failures():
            log.warning("not ready, trying again", extra={"checks": failures, "seconds": pause})
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
        log.info("ready")

    @staticmethod
    async def _failure(check: Callable[[], Awaitable[None]]) -> str | None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await check()
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT:g} s"
        except Exception as error:  # noqa: BLE001 (any failure of a check is its answer)
            return first_line(error)
        return None
