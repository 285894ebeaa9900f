"""The tier that all replicas share: Redis, read from one server and filled and invalidated on another or the same."""

import secrets
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, islice
from typing import Literal, cast

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from evenkeel.cache.breaker import CircuitBreaker
from evenkeel.cache.entry import Entry, Hit, TierUnavailable
from evenkeel.cache.keys import Names
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.sealing import Sealing
from evenkeel.combining import Combiner

LEASE = 3.0
"""Seconds that a fill may take. A reader that dies with a lease keeps the others waiting no longer than this."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fill one key, once."""

    token: str


@dataclass(slots=True)
class Lookup:
    """What a read of the tier found. Without trust the hits may be older than the protocol allows."""

    hits: dict[str, Hit]
    trusted: bool
    unreadable: frozenset[str] = frozenset()


class RedisTier:
    """Any method may raise TierUnavailable.

    Requests made at the same time travel together: one MGET, or call of a script, is under way, the next one takes what
    has queued up meanwhile.
    """

    name = "redis"

    def __init__(
        self, *, primary: Redis, reader: Redis | None, names: Names, sealing: Sealing, metrics: CacheMetrics
    ) -> None:
        """`reader` is a replica of `primary` that is nearer, if there is one."""
        self._names = names
        self._sealing = sealing
        self._metrics = metrics
        self._primary = _Server(primary)
        metrics.observe_breaker("redis", lambda: float(self._primary.breaker.is_open))
        self._sidecar: _Server | None = None
        if reader is not None:
            self._sidecar = sidecar = _Server(reader)
            metrics.observe_breaker("sidecar", lambda: float(sidecar.breaker.is_open))
        self._lease, self._fill, self._invalidate = (script(primary, name) for name in ("lease", "fill", "invalidate"))
        self._leases: Combiner[list[_Request], list[bytes | int] | None] = Combiner(self._send_leases)
        self._fills: Combiner[list[_Fill], list[int]] = Combiner(self._send_fills)

    async def read(self, keys: Sequence[str], *, from_primary: bool = False) -> Lookup:
        """What the nearest server that can be trusted holds, in one round trip if that is the nearest one."""
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

    async def lease(self, keys: Sequence[str], unusable: frozenset[str]) -> Mapping[str, Hit | Lease | None] | None:
        """A fresh entry, or the lease to fill the key, or None where another fill is under way; None: no trust.

        An entry that `read` could not open is `unusable`, and is filled again.
        """
        requests = [_Request(key, secrets.token_hex(8), key in unusable) for key in keys]
        replies = await self._leases.submit(requests, weight=len(requests))
        if replies is None:
            return None
        now = time.time()
        granted: dict[str, Hit | Lease | None] = {}
        for request, reply in zip(requests, replies, strict=True):
            if isinstance(reply, bytes):
                granted[request.key] = self._sealing.open(self._names.entry(request.key), reply, now)
            else:
                granted[request.key] = Lease(request.token) if reply == 1 else None
        return granted

    async def fill(self, entries: Mapping[str, tuple[Lease, Entry, "Lifetime"]]) -> set[str]:
        """Store the entries whose leases still hold; the keys of those."""
        fills = [
            _Fill(
                key,
                lease.token,
                self._sealing.seal(self._names.entry(key), entry, lifetime.fresh),
                int(lifetime.kept * 1000),
                entry.version,
            )
            for key, (lease, entry, lifetime) in entries.items()
        ]
        replies = await self._fills.submit(fills, weight=len(fills))
        stored = {fill.key for fill, reply in zip(fills, replies, strict=True) if reply == 1}
        for key in entries:
            self._metrics.fill(self.name, stored=key in stored)
        return stored

    async def give_back(self, leases: Mapping[str, Lease]) -> None:
        """Let somebody else fill: this fill has failed."""
        await self._fills.submit([_Fill(key, lease.token, b"", 0, 0) for key, lease in leases.items()])

    async def invalidate(self, keys: Sequence[str]) -> None:
        """Forget the keys; whoever reads them after this returns finds nothing older, and no fill under way lands."""
        names: list[bytes] = []
        for key in keys:
            names += [self._names.entry(key), self._names.lease(key), self._names.signal(key)]
        async with self._primary.breaker.call():
            await self._invalidate(names)

    async def close(self) -> None:
        """Return when what is under way has been answered."""
        for server in filter(None, (self._primary, self._sidecar)):
            await server.close()
        await self._leases.close()
        await self._fills.close()

    async def _read(self, server: "_Server", keys: Sequence[str]) -> Lookup:
        names = [self._names.entry(key) for key in keys]
        alive, values = await server.read(self._names.alive, names)
        now = time.time()
        hits: dict[str, Hit] = {}
        unreadable = set()
        for key, name, value in zip(keys, names, values, strict=True):
            if value is None:
                continue
            if (hit := self._sealing.open(name, value, now)) is None:
                unreadable.add(key)
            else:
                hits[key] = hit
        return Lookup(hits, alive, frozenset(unreadable))

    async def _send_leases(self, batches: list[list["_Request"]]) -> list[list[bytes | int] | None]:
        names = [self._names.alive]
        arguments: list[str | int] = [int(time.time() * 1000), int(LEASE * 1000)]
        for request in chain.from_iterable(batches):
            names += [self._names.entry(request.key), self._names.lease(request.key)]
            arguments += [request.token, int(request.unusable)]
        async with self._primary.breaker.call():
            replies = await self._lease(names, arguments)
        if replies is None:
            return [None] * len(batches)
        left = iter(replies)
        return [list(islice(left, len(batch))) for batch in batches]

    async def _send_fills(self, batches: list[list["_Fill"]]) -> list[list[int]]:
        names: list[bytes] = []
        arguments: list[str | bytes | int] = []
        for fill in chain.from_iterable(batches):
            names += [self._names.entry(fill.key), self._names.lease(fill.key)]
            arguments += [fill.token, fill.value, fill.lifetime, fill.version]
        async with self._primary.breaker.call():
            left = iter(await self._fill(names, arguments))
        return [list(islice(left, len(batch))) for batch in batches]


@dataclass(frozen=True, slots=True)
class _Request:
    """For one lease."""

    key: str
    token: str
    unusable: bool


@dataclass(frozen=True, slots=True)
class _Fill:
    """What fill.lua is told of one key; `lifetime` in milliseconds."""

    key: str
    token: str
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
        self.breaker = CircuitBreaker()
        # With a connection of its own: one MGET is under way at a time, and to borrow one from the pool for each, which
        # looks whether it is still usable, takes as long as the MGET itself.
        self._client = client.client()
        self._alive = b""
        self._mget: Combiner[list[bytes], tuple[bool, list[bytes | None]]] = Combiner(self._send, linger=True)

    def read(self, alive: bytes, names: list[bytes]) -> Awaitable[tuple[bool, list[bytes | None]]]:
        """Whether the server says that it is to be trusted, and what it holds, both at one moment."""
        self._alive = alive
        return self._mget.submit(names)

    async def close(self) -> None:
        await self._mget.close()
        await self._client.aclose()

    async def _send(self, requests: list[list[bytes]]) -> list[tuple[bool, list[bytes | None]]]:
        async with self.breaker.call():
            values = cast(
                "list[bytes | None]", await self._client.mget([self._alive, *(n for names in requests for n in names)])
            )
        alive = values[0] is not None
        answers = []
        start = 1
        for names in requests:
            answers.append((alive, values[start : start + len(names)]))
            start += len(names)
        return answers


ScriptName = Literal["lease", "fill", "invalidate", "claim", "release", "relay", "flush"]


def script(client: Redis, name: ScriptName) -> AsyncScript:
    """One of the .lua files, to be called with keys and arguments; Redis keeps it by its hash."""
    return client.register_script(files("evenkeel.cache").joinpath("lua", f"{name}.lua").read_text())
