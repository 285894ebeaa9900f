"""The relay: applies PostgreSQL's change log to Redis, so that every commit invalidates what it changed.

Every replica runs one. The one that holds the claim works, and the others stand by. The relay remembers nothing. How
far the log has been relayed is a state in Redis. The script that deletes the changed entries also moves that state. If
a crash or a failover of Redis loses the deletes, it loses the move as well, and the deletes are made again.

While nothing changes, only every other look is followed by a script, which renews claim and trust. Relays that stand by
send nothing while trust is being renewed.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from redis.asyncio import Redis

from evenkeel.cache.change_log import ChangeLog, Look
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.keys import CurrentNames, Names, new_epoch, text_of
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.pulse import Pulse
from evenkeel.cache.ranges import span_of
from evenkeel.cache.redis_tier import script
from evenkeel.cache.sweeping import Sweep
from evenkeel.tasks.failures import Failures

log = logging.getLogger(__name__)

INTERVAL = 0.1
"""Seconds between two looks at the change log."""

RENEWAL_INTERVAL = 0.15
"""Seconds after which a look that finds nothing renews claim and trust. Two looks that are given up (LOOK_LIMIT), and
the one after them, then still fit into trust."""

STANDBY_INTERVAL = 0.2
"""Seconds after which a relay that stands by looks again whether trust is being renewed."""

WELL = 1.0
"""Seconds for which trust lives on at least while a relay is at work. With less, relays that stand by try to take over.
The claim of a relay that has died still holds for a while then, as trust outlives it (CLAIM, ALIVE)."""

RETRY_INTERVAL = 0.5
"""Seconds after a failed pass. Relays that stand by try more often, and may reach servers that this one cannot."""

IDENTITY_INTERVAL = 1.0
"""Seconds after which a relay that stands by asks again which database this is."""

CLAIM = 1.0
"""Seconds that a claim holds unless it is renewed. That is longer than a look (LOOK_LIMIT), and shorter than trust."""

LEAST_CLAIM = 0.05
"""Seconds that a claim holds at least after a script has renewed it."""

ALIVE = 1.5
"""Seconds after a look at the change log within which the cache is trusted."""

CHUNKS_END = 1.2
"""Seconds after the beginning of a pass in which it applies changes. If some are left then, a new epoch forgets them in
one step, so that trust need not end."""

CHUNK = 2_000
"""Keys that one script deletes. Redis answers no other client meanwhile: for about 2 ms."""

_UNFINISHED = " #"
# In the state, between the state that a pass began with and the pass's id, while more chunks are to follow.

_INEXACT = 2**53
# Lua's numbers are doubles. Versions from here on are not compared, and their entries are always deleted.


@dataclass(frozen=True, slots=True)
class _Claimed:
    """The reply of claim.lua, and when the script was called. While nothing changes, it counts for later looks, too."""

    asked: float
    """Of `time.monotonic`, not after `server_time`."""
    mine: bool
    names: Names
    """In the epoch that Redis has."""
    epoch: bytes
    """As Redis has it, text or not, like the two below: scripts compare all three."""
    state: bytes
    distrust: bytes
    swept: str
    server_time: int
    lifetime: int

    @property
    def doubt(self) -> str | None:
        """Why what Redis holds is of no use; None if it is."""
        if self.distrust:
            return self.distrust.decode(errors="replace")
        if not self.state:
            return "there is no state"
        if not self.epoch or self.epoch != self.names.alive_value:
            return "there is no epoch"
        return None

    @property
    def is_complete(self) -> bool:
        """All chunks before the state have been applied, and nothing speaks against trust."""
        return self.doubt is None and _UNFINISHED.encode() not in self.state

    def trusted_after(self, look: Look) -> int:
        """Until when the cache may be trusted after this look, in the server's time; 0: not at all.

        It counts from before the look, which cannot have found later commits. 0 if there are more changes to read.
        """
        return 0 if look.more else self.server_time + int(ALIVE * 1000)

    def until(self, lifetime: float) -> int:
        """When the claim has held for `lifetime` seconds, but at least LEAST_CLAIM from now, in the server's time."""
        return self.server_time + int(max(lifetime, time.monotonic() - self.asked + LEAST_CLAIM) * 1000)


class Relay:
    """Two that work at once do no harm. The state moves by compare-and-set, and deletes may be repeated."""

    def __init__(
        self,
        *,
        changes: ChangeLog,
        primary: Redis,
        current: CurrentNames,
        metrics: CacheMetrics,
        distrust: Distrust,
        pulse: Pulse,
    ) -> None:
        self._changes = changes
        self._primary = primary
        self._current = current
        self._metrics = metrics
        self._distrust = distrust
        self._pulse = pulse
        self._id = secrets.token_hex(8)
        self._claim, self._release, self._relay, self._new_epoch, self._remove_trust = (
            script(primary, name) for name in ("claim", "release", "relay", "new_epoch", "distrust")
        )
        self._sweep = Sweep(primary)
        self._left: Names | None = None
        self._identified = float("-inf")
        self._stands_by = False
        self._calm: _Claimed | None = None
        """What the last pass began with, if it found nothing to do. It was the state in Redis then."""
        self.passed = asyncio.Event()
        """Set once a relay, here or in another process, has followed the log."""

    async def run(self) -> None:
        """Until cancelled, follow the log, or stand by to do so."""
        failures = Failures(log, "the change log is not relayed")
        try:
            while True:
                began = time.monotonic()
                try:
                    interval = await self._pass()
                except Exception as error:  # noqa: BLE001 (whatever it is, the next pass may succeed)
                    failures.add(error)
                    interval = await self._after(error)
                else:
                    failures.end()
                await asyncio.sleep(max(0.01, began + interval - time.monotonic()))
        finally:
            self._metrics.relay_active.set(0)
            await self._sweep.end()

    async def release(self, well: float = WELL) -> None:
        """Let another replica take over at once, when this one stops: trust lives for less than `well` seconds then."""
        if (names := self._current.now) is not None:
            # The claim also ends by itself. A connection that was closed raises more than redis-py's own errors.
            with contextlib.suppress(Exception):
                await self._release([names.alive, names.state], [self._id, int(well * 1000)])

    async def _after(self, error: Exception) -> float:
        """Seconds until the next pass."""
        if isinstance(error, TimeoutError):
            # A look that takes too long here does so in other replicas as well. The next look may assume that anything
            # has changed, and must end before trust does. If only this replica is slow, its claim ends first.
            return 0
        self._metrics.relay_active.set(0)
        await self.release(ALIVE)
        return RETRY_INTERVAL

    async def _pass(self) -> float:
        """One look at the log, and its changes applied, if this relay has the claim.

        Returns the seconds from the beginning of this pass to the next one.
        """
        names = self._current.now or await self._identify()
        calm, self._calm = self._calm, None
        if calm is not None and calm.names is names:
            return await self._look_again(calm)
        if self._stands_by and await self._another_is_well(names):
            return STANDBY_INTERVAL
        claimed = await self._claimed(names)
        self._metrics.relay_lag.set(ALIVE - max(0, claimed.lifetime) / 1000)
        self._metrics.relay_active.set(claimed.mine)
        self._stands_by = not claimed.mine
        if not claimed.mine:
            await self._stand_by(claimed)
            return STANDBY_INTERVAL
        return await self._relayed(claimed, await self._look(claimed))

    async def _look(self, claimed: _Claimed) -> Look:
        return await self._changes.look(_base(claimed.state) or None)

    async def _look_again(self, calm: _Claimed) -> float:
        """A pass after one that had nothing to do. The relay still has the claim, unless it was late."""
        renewing = time.monotonic() >= calm.asked + RENEWAL_INTERVAL
        claimed = await self._timed(calm) if renewing else calm
        look = await self._look(claimed)
        if not renewing and look.identity == claimed.names.identity and look.is_empty:
            # As if this look had not been made.
            self._calm = calm
            return INTERVAL
        return await self._relayed(claimed, look)

    async def _timed(self, calm: _Claimed) -> _Claimed:
        """The same, from now on. relay.lua finds out whether it has stayed so."""
        asked = time.monotonic()
        seconds, microseconds = await self._primary.time()
        now = seconds * 1000 + microseconds // 1000
        self._metrics.relay_lag.set((now - calm.server_time) / 1000)
        return replace(calm, asked=asked, server_time=now)

    async def _relayed(self, claimed: _Claimed, look: Look) -> float:
        """Apply what the look has found. Returns as `_pass` does."""
        if look.identity != claimed.names.identity:
            await self._become(look.identity)
            return 0
        if look.distrust is not None:
            await self._remove_trust([claimed.names.alive, claimed.names.state], [look.distrust])
        elif look.is_empty and claimed.is_complete:
            await self._renew(claimed, look)
        elif look.changes is None or claimed.doubt is not None:
            # Redis also holds entries that were read just before distrust was noticed.
            await self._forget_everything(claimed, claimed.state, look, look.reason or str(claimed.doubt))
        else:
            await self._apply(look.changes, claimed, look)
        self._distrust.set(look.distrust)
        self.passed.set()
        if claimed.names is self._current.now and claimed.swept != claimed.names.epoch:
            self._sweep.begin(claimed.names)
        return 0 if look.more else INTERVAL

    async def _claimed(self, names: Names) -> _Claimed:
        asked = time.monotonic()
        mine, epoch, state, swept, distrust, server_time, lifetime = await self._claim(
            [names.alive, names.state], [self._id, int(CLAIM * 1000)]
        )
        self._pulse.note(names.alive, asked, lifetime)
        if epoch:
            self._current.adopt(epoch, names)
        now = self._current.now
        if now is None or (now.identity, now.alive_value) != (names.identity, epoch):
            now = names.at(text_of(epoch))
        return _Claimed(
            asked=asked,
            mine=bool(mine),
            names=now,
            epoch=epoch,
            state=state,
            swept=text_of(swept),
            distrust=distrust,
            server_time=server_time,
            lifetime=lifetime,
        )

    async def _stand_by(self, claimed: _Claimed) -> None:
        await self._sweep.end()
        self._distrust.set(claimed.doubt if claimed.distrust else None)
        if claimed.lifetime > 0:
            self.passed.set()
        # Without trust, the relay at work may have moved to another database, and so may this process's reads.
        if claimed.lifetime <= 0:
            self._identified = float("-inf")
        await self._identify_again()

    async def _another_is_well(self, names: Names) -> bool:
        """Whether trust is being renewed. Then there is nothing that this relay has to find out or do.

        The reads of `alive` by Tracking show it. Without them, this relay reads it.
        """
        if self._distrust.reason is not None or not names.epoch:
            return False
        left = self._pulse.left(names.alive)
        if left < WELL:
            asked = time.monotonic()
            self._pulse.note(names.alive, asked, await self._primary.pttl(names.alive))
            left = self._pulse.left(names.alive)
        self._metrics.relay_lag.set(ALIVE - max(0.0, left))
        if left < WELL:
            return False
        self.passed.set()
        await self._identify_again()
        return True

    async def _identify_again(self) -> None:
        if time.monotonic() >= self._identified + IDENTITY_INTERVAL:
            await self._identify()

    # Which database this is.

    async def _identify(self) -> Names:
        identity = await self._changes.identity()
        self._identified = time.monotonic()
        return await self._become(identity)

    async def _become(self, identity: str) -> Names:
        """Use the names of this database.

        If the names were another database's, that cache ends: this process may have stored rows of this one in it.
        """
        names = self._current.now
        if names is not None and names.identity != identity:
            log.warning("the database is another one", extra={"cache": names.namespace})
            self._left = names
            self._current.identified(None)
        if (left := self._left) is not None:
            await self._sweep.end()
            await self._primary.delete(left.alive, left.state)
        self._left = None
        self._current.identified(identity)
        assert self._current.now is not None  # noqa: S101 (it has just been identified)
        return self._current.now

    # What has changed.

    async def _forget_everything(self, claimed: _Claimed, known: str | bytes, look: Look, reason: str) -> None:
        names = claimed.names
        log.warning("the cache forgets everything", extra={"cache": names.namespace, "reason": reason})
        self._metrics.flush("redis", "change log")
        await self._begin_epoch(claimed, known, look, new_epoch(), names.everything)

    async def _forget_at_once(
        self, claimed: _Claimed, known: str | bytes, look: Look, keys: Iterable[str], reason: str
    ) -> None:
        """Forget the ranges and these keys, of which there are too many to delete each: whatever is between them, too.

        To forget everything would make all readers fill again, while there is too much to do already.
        """
        if (span := span_of(keys)) is None:
            await self._forget_everything(claimed, known, look, reason)
        else:
            await self._forget_ranges(claimed, known, look, [*look.ranges, span], reason)

    async def _forget_ranges(
        self, claimed: _Claimed, known: str | bytes, look: Look, ranges: Sequence[tuple[int, int]], reason: str
    ) -> None:
        """Begin an epoch that forgets ranges, without a signal: each process reads the epoch five times a second."""
        names = claimed.names
        log.info(
            "the cache forgets ranges of keys",
            extra={
                "cache": names.namespace,
                "ranges": ", ".join(f"{low} to {high}" for low, high in ranges),
                "reason": reason,
            },
        )
        await self._begin_epoch(claimed, known, look, names.epoch_without(ranges))

    async def _begin_epoch(
        self, claimed: _Claimed, known: str | bytes, look: Look, epoch: str, *signals: bytes
    ) -> None:
        names = claimed.names
        begun = await self._new_epoch(
            [names.alive, names.state, *signals],
            [
                *(self._id, claimed.until(CLAIM)),
                *(claimed.epoch, known, epoch, look.state, claimed.trusted_after(look)),
                claimed.distrust,
            ],
        )
        if begun:
            self._current.adopt(epoch.encode(), names)

    async def _renew(self, claimed: _Claimed, look: Look) -> None:
        """Claim and trust, after a look that has found nothing."""
        names = claimed.names
        moved = await self._relay(
            [names.alive, names.state],
            [
                *(self._id, claimed.until(CLAIM), names.epoch),
                *(claimed.state, look.state, claimed.trusted_after(look), 0),
            ],
        )
        if moved == 1 and names is self._current.now and claimed.swept == names.epoch:
            self._calm = replace(claimed, state=look.state.encode())
        if moved:
            self._pulse.note(names.alive, claimed.asked, int(ALIVE * 1000))

    async def _apply(self, changes: Mapping[str, int | None], claimed: _Claimed, look: Look) -> None:
        """Delete what has changed, in chunks, and then forget the ranges. Each chunk moves the state.

        If only the last chunk moved it, a failover in between, to a replica that lacks the other chunks, would leave
        a state that the last one accepts.

        Chunks that another relay has left unfinished are not begun again. That relay has died, or its claim was too
        short for a chunk. The next relay could lose its claim in the same way, and trust would never return.
        """
        if len(changes) > CHUNK and _UNFINISHED.encode() in claimed.state:
            reason = f"{len(changes)} changes were left unfinished"
            await self._forget_at_once(claimed, claimed.state, look, changes, reason)
            return
        names = claimed.names
        known: str | bytes = claimed.state
        begun = f"{_base(claimed.state)}{_UNFINISHED}{secrets.token_hex(8)}."
        left = deque(changes.items())
        while True:
            if time.monotonic() > claimed.asked + CHUNKS_END and len(left) < len(changes):
                reason = f"{len(left)} changes are left when trust ends"
                await self._forget_at_once(claimed, known, look, (key for key, _ in left), reason)
                return
            chunk = {
                key: version if version is not None and version < _INEXACT else None
                for key, version in (left.popleft() for _ in range(min(CHUNK, len(left))))
            }
            signals = names.signals_of(chunk)
            keys = [names.alive, names.state, *signals]
            for key in chunk:
                keys += (names.entry(key), names.lease(key))
            versions = ["" if version is None else version for version in chunk.values()]
            last = not left and not look.ranges
            target, until = (look.state, claimed.trusted_after(look)) if last else (f"{begun}{len(left)}", 0)
            # A single chunk needs no longer than the rest of the claim. While more are to follow, the claim holds until
            # they could not renew trust in time: a relay that takes over earlier would undo this one's work.
            claim = claimed.until(ALIVE if left else CLAIM) if len(changes) > CHUNK else 0
            moved = await self._relay(
                keys, [self._id, claim, names.epoch, known, target, until, len(signals), *versions]
            )
            self._metrics.invalidate("relay", len(chunk))
            if not moved:
                return  # the next pass begins with the state that is there now
            known = target
            if not left:
                break
        if look.ranges:
            await self._forget_ranges(claimed, known, look, look.ranges, "a statement changed many rows")


def _base(state: bytes) -> str:
    """The state that a pass began with, if the pass was left unfinished. The look judges whether it can be read."""
    return state.decode(errors="replace").partition(_UNFINISHED)[0]
