"""For how long the key `alive`, which lets caches be trusted, is missing in Redis.

A separate process looks every 20 ms, because the process that makes the load would be late. The key is found by the end
of its name.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from redis import Redis

INTERVAL = 0.02
"""Seconds between two looks."""

LATE = 0.1
"""Two looks that are further apart in seconds make the measurement less exact."""


@dataclass(frozen=True)
class Look:
    at: float
    """By time.monotonic(), which all processes share."""
    present: bool


class Alive:
    """The process's report: every change, and every late look."""

    def __init__(self) -> None:
        self._changes: list[Look] = []
        self._late: list[Look] = []

    def report(self, line: str) -> None:
        kind, at = line.split()
        if kind == "late":
            self._late.append(Look(float(at), present=True))
        else:
            self._changes.append(Look(float(at), kind == "present"))

    def longest_gap(self, since: float, until: float) -> float:
        """Seconds, within the window."""
        longest, missing = 0.0, None
        for look in [*self._changes, Look(until, present=True)]:
            if look.present and missing is not None:
                longest = max(longest, min(look.at, until) - max(missing, since))
            missing = None if look.present else look.at
        return longest

    def late(self, since: float, until: float) -> int:
        """Late looks in the window."""
        return sum(since < look.at < until for look in self._late)


@contextlib.asynccontextmanager
async def watched(url: str) -> AsyncIterator[Alive]:
    """Looks while the block runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.alive"),
        env={**os.environ, "ALIVE_URL": url},  # not on the command line, because it contains a password
        stdout=asyncio.subprocess.PIPE,
    )
    alive = Alive()
    listening = asyncio.create_task(_listen(process, alive))
    try:
        yield alive
    finally:
        process.kill()
        await process.wait()
        await asyncio.wait([listening])


async def _listen(process: asyncio.subprocess.Process, alive: Alive) -> None:
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    while line := await process.stdout.readline():
        alive.report(line.decode())


def main() -> None:
    with contextlib.suppress(PermissionError):
        os.nice(-5)  # so that the little work that it needs never waits for the load
    with Redis.from_url(os.environ["ALIVE_URL"]) as redis:
        names: list[bytes] = []
        present, before = True, time.monotonic()
        while True:
            found = bool(names and redis.exists(*names))
            if not found:
                names = list(redis.scan_iter(match="*:alive", count=10_000))
                found = bool(names)
            now = time.monotonic()
            if now - before > LATE:
                _say("late", now)
            if found != present:
                _say("present" if found else "missing", now)
            present, before = found, now
            time.sleep(INTERVAL)


def _say(what: str, at: float) -> None:
    sys.stdout.write(f"{what} {at}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
