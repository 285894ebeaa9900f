"""The tier that all replicas share, in Redis. It is written on the primary, and may be read from a sidecar."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, islice
from typing import Literal, cast

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from evenkeel.cache.entry import Entry, Hit, TierUnavailable
from evenkeel.cache.keys import CurrentNames, Names
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.redis_breaker import RedisBreaker
from evenkeel.cache.sealing import Sealing
from evenkeel.cache.unused_leases import UnusedLeases
from evenkeel.redis.combining import Combiner
from evenkeel.redis.scripts import load

LEASE = 3.0
"""Seconds that a fill may take. If a reader dies with a lease, the others wait no longer than this."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fill one key once, in the epoch in which the lease was given."""

    token: str
    names: Names


Refusal = Literal["held", "unusable"]
"""Why there is no lease: another fill has it, or there is an entry that this process cannot use."""


@dataclass(slots=True)
class Lookup:
    """What a read of the tier found. Without trust, the hits may be too old to be served."""

    hits: dict[str, Hit]
    trusted: bool
    unreadable: frozenset[str] = frozenset()


class RedisTier:
    """Any method may raise TierUnavailable.

    Requests made at the same time travel together. One MGET, or one call of a script, is under way at a time; the next
    one takes the requests that have queued meanwhile.
    """

    name = "redis"

    def __init__(
        self, *, primary: Redis, reader: Redis | None, current: CurrentNames, sealing: Sealing, metrics: CacheMetrics
    ) -> None:
        """`reader` is a replica of `primary` that is nearer, if there is one."""
        self._current = current
        self._sealing = sealing
        self._metrics = metrics
        self._client = primary
        self._primary = _Server(primary)
        metrics.observe_breaker("redis", lambda: float(self._primary.breaker.is_open))
        self._sidecar: _Server | None = None
        if reader is not None:
            self._sidecar = sidecar = _Server(reader)
            metrics.observe_breaker("sidecar", lambda: float(sidecar.breaker.is_open))
        # Connections of their own, as for MGET below. A writer waits for no fill.
        self._for_fills, self._for_writes = primary.client(), primary.client()
        self._lease, self._store = script(self._for_fills, "lease"), script(self._for_fills, "store")
        self._invalidate = script(self._for_writes, "invalidate")
        self._leases: Combiner[list[_Request], tuple[Names, list[bytes | int]] | None] = Combiner(
            self._send_leases, name="lease"
        )
        self._offers: Combiner[list[_Offer], list[int]] = Combiner(self._send_offers, name="store")
        self._unused = UnusedLeases(LEASE)
        self._invalidations: Combiner[Sequence[str], None] = Combiner(self._send_invalidations, name="invalidate")

    async def read(self, keys: Sequence[str], *, from_primary: bool = False) -> Lookup:
        """What the nearest trusted server holds. It takes one round trip if the nearest server is trusted."""
        untrusted: Lookup | None = None
        if self._sidecar is not None and not from_primary:
            try:
                lookup = await self._read(self._sidecar, keys)
            except TierUnavailable:
                pass
            else:
                if lookup.trusted:
                    return lookup
                untrusted = lookup
        try:
            return await self._read(self._primary, keys)
        except TierUnavailable:
            if untrusted is None:
                raise
            return untrusted

    async def lease(
        self, keys: Sequence[str], unusable: AbstractSet[str]
    ) -> Mapping[str, Hit | Lease | Refusal] | None:
        """For each key a fresh entry, the lease to fill it, or why there is neither. None: no trust.

        `unusable` are keys whose entries could not be opened; they get leases.
        """
        requests = [_Request(key, secrets.token_hex(8), key in unusable) for key in keys]
        pending = self._leases.submit(requests, weight=len(requests))
        try:
            answer = await asyncio.shield(pending)
        except BaseException:
            # Redis may have granted them, or may grant them yet.
            self._unused.add(
                lambda: self._end({request.key: Lease(request.token, self._names) for request in requests}),
                once=pending,
            )
            raise
        if answer is None:
            return None
        names, replies = answer
        now = time.time()
        granted: dict[str, Hit | Lease | Refusal] = {}
        for request, reply in zip(requests, replies, strict=True):
            if isinstance(reply, bytes):
                granted[request.key] = self._sealing.open(names.entry(request.key), reply, now) or "unusable"
            else:
                granted[request.key] = Lease(request.token, names) if reply == 1 else "held"
        return granted

    async def held(self, keys: Sequence[str]) -> frozenset[str] | None:
        """Those of the keys whose fills are still under way. None: no trust."""
        names = self._names
        alive, leases = await self._primary.read(names.alive, [names.lease(key) for key in keys])
        if alive is None:
            return None
        if alive != names.alive_value:
            self._current.adopt(alive, names)
            return frozenset()
        return frozenset(key for key, lease in zip(keys, leases, strict=True) if lease is not None)

    async def store(self, entries: Mapping[str, tuple[Lease, Entry, "Lifetime"]]) -> set[str]:
        """Store the entries whose leases still hold, and return their keys."""
        offers = [
            _Offer(
                key,
                lease,
                self._sealing.seal(lease.names.entry(key), entry, lifetime.fresh),
                int(lifetime.kept * 1000),
                entry.version,
            )
            for key, (lease, entry, lifetime) in entries.items()
        ]
        try:
            replies = await self._offers.submit(offers, weight=len(offers))
        except TierUnavailable:
            self.give_back({key: lease for key, (lease, _, _) in entries.items()})
            raise
        stored = {offer.key for offer, reply in zip(offers, replies, strict=True) if reply == 1}
        for key in entries:
            self._metrics.offered(self.name, stored=key in stored)
        return stored

    def give_back(self, leases: Mapping[str, Lease]) -> None:
        """Let other readers fill the keys soon, because this fill has failed. Never raises."""
        if leases:
            self._unused.add(lambda: self._end(leases))

    def invalidate(self, keys: Sequence[str]) -> Awaitable[None]:
        """Forget the keys. Later reads find nothing older, and no fill under way is stored.

        The keys are forgotten even if nobody awaits it any more.
        """
        return self._invalidations.submit(keys, weight=len(keys))

    async def alias(self, digest: str) -> str | None:
        """The key that was noted for this digest. It is a hint, so trust does not matter."""
        names = self._names
        server = self._primary if self._sidecar is None or self._sidecar.breaker.is_open else self._sidecar
        _, [value] = await server.read(names.alive, [names.alias(digest)])
        return value.decode(errors="replace") if value is not None else None

    async def note_alias(self, digest: str, key: str, ttl: float) -> None:
        """Keep it until the epoch ends, for `ttl` seconds at most. If Redis does not answer, the hint is lost."""
        with contextlib.suppress(TierUnavailable):
            names = self._names
            if names.epoch:
                async with self._primary.breaker.call():
                    await self._client.set(names.alias(digest), key, px=int(ttl * 1000))

    async def close(self) -> None:
        """Return when what is under way has been answered."""
        await self._unused.close()
        for server in filter(None, (self._primary, self._sidecar)):
            await server.close()
        for combiner in (self._leases, self._offers, self._invalidations):
            await combiner.close()
        for client in (self._for_fills, self._for_writes):
            await client.aclose()

    def _end(self, leases: Mapping[str, Lease]) -> Awaitable[list[int]]:
        return self._offers.submit([_Offer(key, lease, b"", 0, 0) for key, lease in leases.items()], weight=len(leases))

    @property
    def _names(self) -> Names:
        names = self._current.now
        if names is None:
            raise TierUnavailable("it is not known which database this is")
        return names

    async def _read(self, server: "_Server", keys: Sequence[str], *, adopting: bool = True) -> Lookup:
        names = self._names
        entries = [names.entry(key) for key in keys]
        alive, values = await server.read(names.alive, entries)
        # Only the primary may change the epoch. A sidecar that lags would bring back one that is over.
        if alive is not None and alive != names.alive_value and server is self._primary and adopting:
            self._current.adopt(alive, names)
            return await self._read(server, keys, adopting=False)
        now = time.time()
        hits: dict[str, Hit] = {}
        unreadable = set()
        for key, name, value in zip(keys, entries, values, strict=True):
            if value is None:
                continue
            if (hit := self._sealing.open(name, value, now)) is None:
                unreadable.add(key)
            else:
                hits[key] = hit
        return Lookup(hits, alive == names.alive_value, frozenset(unreadable))

    async def _send_invalidations(self, batches: list[Sequence[str]]) -> Sequence[None]:
        for _ in range(2):
            names = self._names
            keys = dict.fromkeys(chain.from_iterable(batches))
            signals = names.signals_of(keys)
            held = [name for key in keys for name in (names.entry(key), names.lease(key))]
            async with self._primary.breaker.call():
                begun: bytes | None = await self._invalidate(
                    [names.alive, names.state, *signals, *held], [names.epoch, len(signals)]
                )
            if begun is None:
                return [None] * len(batches)
            self._current.adopt(begun, names)
        raise TierUnavailable("one epoch follows another")

    async def _send_leases(self, batches: list[list["_Request"]]) -> Sequence[tuple[Names, list[bytes | int]] | None]:
        for _ in range(2):
            names = self._names
            keys = [names.alive]
            arguments: list[str | int] = [names.epoch, int(time.time() * 1000), int(LEASE * 1000)]
            for request in chain.from_iterable(batches):
                keys += [names.entry(request.key), names.lease(request.key)]
                arguments += [request.token, int(request.unusable)]
            async with self._primary.breaker.call():
                replies = await self._lease(keys, arguments)
            if replies is None:
                break
            epoch, *granted = replies
            if epoch == names.alive_value:
                left = iter(granted)
                return [(names, list(islice(left, len(batch)))) for batch in batches]
            self._current.adopt(epoch, names)
        return [None] * len(batches)

    async def _send_offers(self, batches: list[list["_Offer"]]) -> list[list[int]]:
        offers = list(chain.from_iterable(batches))
        replies: dict[_Offer, int] = {}
        for names in {offer.lease.names: None for offer in offers}:  # more than one only while an epoch begins
            own = [offer for offer in offers if offer.lease.names is names]
            keys = [names.state]
            arguments: list[str | bytes | int] = [names.epoch]
            for offer in own:
                keys += [names.entry(offer.key), names.lease(offer.key)]
                arguments += [offer.lease.token, offer.value, offer.lifetime, offer.version]
            async with self._primary.breaker.call():
                replies |= zip(own, await self._store(keys, arguments), strict=True)
        return [[replies[offer] for offer in batch] for batch in batches]


@dataclass(frozen=True, slots=True)
class _Request:
    """For one lease."""

    key: str
    token: str
    unusable: bool


@dataclass(frozen=True, slots=True)
class _Offer:
    """What store.lua takes for one key; `lifetime` in milliseconds."""

    key: str
    lease: Lease
    value: bytes
    lifetime: int
    version: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds that an entry is fresh, and seconds that it is kept."""

    fresh: float
    kept: float


class _Server:
    """One Redis server to read from."""

    def __init__(self, client: Redis) -> None:
        self.breaker = RedisBreaker(self._ping)
        # With a connection of its own, because one MGET is under way at a time. To borrow one from the pool for each,
        # which checks whether it is still usable, takes as long as the MGET itself.
        self._client = client.client()
        self._mget: Combiner[_Names, _Values] = Combiner(self._send, linger=True, name="MGET")

    def read(self, alive: bytes, names: list[bytes]) -> Awaitable["_Values"]:
        """The value of `alive` and the entries, both at one moment."""
        return self._mget.submit((alive, names))

    async def close(self) -> None:
        await self.breaker.close()
        await self._mget.close()
        await self._client.aclose()

    async def _ping(self) -> None:
        await self._client.ping()

    async def _send(self, requests: list["_Names"]) -> list["_Values"]:
        asked = requests[-1][0]
        async with self.breaker.call():
            values = cast(
                "list[bytes | None]", await self._client.mget([asked, *(n for _, names in requests for n in names)])
            )
        answers: list[_Values] = []
        start = 1
        for alive, names in requests:
            # Requests for another database's names, while the database changes, get no trust.
            answers.append((values[0] if alive == asked else None, values[start : start + len(names)]))
            start += len(names)
        return answers


_Names = tuple[bytes, list[bytes]]
"""Of `alive` and of entries."""

_Values = tuple[bytes | None, list[bytes | None]]
"""Of the same."""


ScriptName = Literal[
    "lease", "store", "invalidate", "claim", "release", "relay", "new_epoch", "distrust", "swept", "forget"
]


def script(client: Redis, name: ScriptName) -> AsyncScript:
    """One of the .lua files, to be called with keys and arguments; Redis keeps it by its hash."""
    return client.register_script(load(files("evenkeel.cache") / "lua" / f"{name}.lua", flags=None).source)
