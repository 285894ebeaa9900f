"""The relay: carries what PostgreSQL's change log says into Redis, so that nothing committed stays unseen.

Every replica runs one; the one that holds the claim works, the others stand by. It remembers nothing: how far the log
has been relayed is a state kept in Redis, moved by the same script that deletes what has changed. Whatever loses the
deletes, a crash or a failover to a replica that lacks them, loses the move as well, and they are made again.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.keys import Names
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.redis import script

log = logging.getLogger(__name__)

INTERVAL = 0.1
"""Seconds between two looks at the change log."""

STANDBY_INTERVAL = 0.2
"""Seconds between two tries to take over."""

RETRY_INTERVAL = 0.5
"""Seconds after a pass has failed: others stand by that may reach what this one cannot, and try more often."""

CLAIM = 1.0
"""Seconds that a claim holds without being renewed."""

ALIVE = 1.5
"""Seconds after a look at the change log within which the cache is trusted."""

PRUNE_INTERVAL = 60.0
"""Seconds between two prunings of the change log."""

CHUNK = 500
"""Keys that one script deletes; Redis answers nobody else meanwhile."""

_UNFINISHED = " #"
# Stands between the state that a pass began with and the pass, while more of its chunks are to follow.

_INEXACT = 2**53
# Lua's numbers are doubles: versions from here on are not compared, their entries are always deleted.


class Relay:
    """Two at work at once do no harm: the state is moved by compare-and-set, and deletes may be repeated."""

    def __init__(
        self, *, changes: ChangeLog, primary: Redis, names: Names, metrics: CacheMetrics, retention: float
    ) -> None:
        """`retention` in seconds: how far back Redis may be taken by a failover without losing all entries."""
        self._changes = changes
        self._names = names
        self._metrics = metrics
        self._retention = retention
        self._id = secrets.token_hex(8)
        self._claim, self._release, self._relay, self._flush = (
            script(primary, name) for name in ("claim", "release", "relay", "flush")
        )
        self._history: deque[tuple[float, str]] = deque()
        self.passed = asyncio.Event()
        """Set once the log has been followed, by whichever relay."""

    async def run(self) -> None:
        """Until cancelled, follow the log, or stand by to do so."""
        failing = False
        try:
            while True:
                began = time.monotonic()
                active = False
                try:
                    active = await self._pass()
                except Exception as error:  # noqa: BLE001 (whatever it is, the next pass may succeed)
                    self._metrics.relay_active.set(0)
                    if not failing:
                        log.warning("the change log is not relayed", extra={"reason": repr(error)})
                    failing = True
                    await self.release()
                else:
                    failing = False
                interval = INTERVAL if active else RETRY_INTERVAL if failing else STANDBY_INTERVAL
                await asyncio.sleep(max(0.01, began + interval - time.monotonic()))
        finally:
            self._metrics.relay_active.set(0)

    async def release(self) -> None:
        """Let another replica take over at once, when this one stops."""
        with contextlib.suppress(RedisError, OSError):  # the claim ends by itself, too
            await self._release([self._names.owner], [self._id])

    async def _pass(self) -> bool:
        """One look at the log, applied; whether the claim is ours."""
        names = self._names
        mine, state, server_time, lifetime = await self._claim(
            [names.owner, names.alive, names.relayed], [self._id, int(CLAIM * 1000), names.namespace]
        )
        self._metrics.relay_lag.set(ALIVE - max(0, lifetime) / 1000)
        self._metrics.relay_active.set(mine)
        if not mine:
            self._history.clear()
            if lifetime > 0:
                self.passed.set()
            return False
        known = state.decode(errors="replace") if state else None  # what cannot be read is flushed
        poll = await self._changes.poll(known.partition(_UNFINISHED)[0] if known is not None else None)
        # Counted from before the look, in the server's own time: what was committed later is not known yet.
        trusted_until = server_time + int(ALIVE * 1000)
        if poll.changes is None or known is None:
            log.warning("the cache is flushed", extra={"cache": names.namespace, "reason": poll.reason})
            self._metrics.flush("redis", "change log")
            await self._flush([names.alive, names.relayed], [names.namespace, poll.state, trusted_until])
        else:
            await self._apply(poll.changes, known, poll.state, trusted_until)
        self.passed.set()
        await self._prune(poll.state)
        return True

    async def _apply(self, changes: Mapping[str, int | None], known: str, reached: str, trusted_until: int) -> None:
        """Delete what has changed, in chunks, each of which moves the state.

        Were only the last one to move it, a failover in between to a replica that lacks the others would find the
        state as the last one expects it.
        """
        names = self._names
        begun = f"{known.partition(_UNFINISHED)[0]}{_UNFINISHED}{secrets.token_hex(8)}."
        left = deque(changes.items())
        while True:
            chunk = [left.popleft() for _ in range(min(CHUNK, len(left)))]
            keys = [names.alive, names.relayed]
            versions: list[str | int] = []
            for key, version in chunk:
                comparable = version if version is not None and version < _INEXACT else None
                keys += [names.entry(key), names.lease(key), names.signal(key, comparable)]
                versions.append("" if comparable is None else comparable)
            target, until = (f"{begun}{len(left)}", 0) if left else (reached, trusted_until)
            moved = await self._relay(keys, [names.namespace, known, target, until, *versions])
            self._metrics.invalidate("relay", len(chunk))
            if not moved or not left:
                return  # if it has not moved, the next pass begins with the state that is there now
            known = target

    async def _prune(self, state: str) -> None:
        """Delete from the log what no Redis can need any more."""
        now = time.monotonic()
        if not self._history or now >= self._history[-1][0] + PRUNE_INTERVAL:
            self._history.append((now, state))
            if now >= self._history[0][0] + self._retention:
                _, old = self._history.popleft()
                pruned = await self._changes.prune(old)
                log.debug("change log pruned", extra={"rows": pruned})
