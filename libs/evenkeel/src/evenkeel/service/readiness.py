"""Whether a replica can do its work now, for load balancers. Liveness is separate, and checks nothing."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge

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


class ConditionFailed(Exception):
    """What a check raises that finds one of several things wrong. In metrics, the condition stands for the check."""

    condition: str


class Readiness:
    """Named checks. Each returns if all is well, and raises an error with the reason if not.

    A check is cancelled after CHECK_TIMEOUT, so it must not start anything that would stay half done.
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[None]]],
        *,
        registry: CollectorRegistry | None = None,
        conditions: Iterable[type[ConditionFailed]] = (),
    ) -> None:
        """`registry` gets a gauge of each check, and of each of the `conditions`, as they were when last checked."""
        self._checks = checks
        self._failed: dict[str, Gauge] = {}
        if registry is not None:
            gauge = Gauge(
                "readiness_check_failed",
                "1 if the replica is not ready for this reason, as last checked",
                ["check"],
                registry=registry,
            )
            names = [*checks, *(error.condition for error in conditions)]
            self._failed = {name: gauge.labels(name) for name in names}
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
        found = await asyncio.gather(*(self._failure(name, check) for name, check in self._checks.items()))
        failures = {name: each.reason for name, each in zip(self._checks, found, strict=True) if each is not None}
        failed = {each.condition for each in found if each is not None}
        for name, gauge in self._failed.items():
            gauge.set(name in failed)
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
    async def _failure(name: str, check: Callable[[], Awaitable[None]]) -> "_Failure | None":
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await check()
        except TimeoutError:
            return _Failure(f"no answer within {CHECK_TIMEOUT:g} s", name)
        except ConditionFailed as error:
            return _Failure(first_line(error), error.condition)
        except Exception as error:  # noqa: BLE001 (any failure of a check is its answer)
            return _Failure(first_line(error), name)
        return None


class _Failure(NamedTuple):
    reason: str
    condition: str
    """For metrics."""
