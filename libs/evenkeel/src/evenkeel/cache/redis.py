"""The tier that all replicas share: Redis, with entries encrypted and bound to their key and version."""

import asyncio
import logging
import random
import struct
import time
from typing import cast

from prometheus_client import CollectorRegistry, Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from evenkeel.cache.entry import Entry, Hit, TierUnavailable
from evenkeel.cache.keyring import CannotOpen, KeyRing
from evenkeel.combining import Combiner

log = logging.getLogger(__name__)

# Version of the row, then the time until which the entry is fresh (milliseconds since 1970), then the box.
_HEADER = struct.Struct(">QQ")

JITTER = 0.1
"""Entries live up to this share less than the TTL, so that those filled together do not all expire together."""


class RedisTier:
    """Reads of concurrent requests travel together: one MGET is under way, the next takes what has queued up."""

    name = "redis"

    def __init__(
        self,
        *,
        primary: Redis,
        reader: Redis,
        prefix: str,
        keyring: KeyRing,
        ttl: float,
        registry: CollectorRegistry,
    ) -> None:
        """`prefix` begins every key; `ttl` in seconds. Writes go to `primary`, reads to `reader`."""
        self._primary = primary
        self._reader = reader
        self._prefix = prefix
        self._keyring = keyring
        self._ttl = ttl
        self._mget: Combiner[bytes, bytes | None] = Combiner(self._read)
        self._unreadable = Counter(
            "cache_unreadable_entries",
            "Redis entries that no key of the ring opens, by reason; each is answered as a miss",
            ["reason"],
            registry=registry,
        )

    async def get(self, keys: list[int]) -> dict[int, Hit]:
        names = [self._name(key) for key in keys]
        try:
            values = await asyncio.gather(*(self._mget.submit(name) for name in names))
        except (RedisError, OSError) as error:
            raise TierUnavailable(str(error)) from error
        now = time.time()
        hits = {}
        for key, name, value in zip(keys, names, values, strict=True):
            if value is not None and (hit := self._open(name, value, now)) is not None:
                hits[key] = hit
        return hits

    async def put(self, entries: dict[int, Entry]) -> None:
        pipeline = self._primary.pipeline(transaction=False)
        for key, entry in entries.items():
            seconds = self._ttl * (1 - JITTER * random.random())  # noqa: S311 (spreads load, guards nothing)
            name = self._name(key)
            fresh_until = int((time.time() + seconds) * 1000)
            pipeline.set(name, self._seal(name, entry, fresh_until), px=int(seconds * 1000))
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise TierUnavailable(str(error)) from error

    async def invalidate(self, keys: list[int]) -> None:
        try:
            await self._primary.delete(*(self._name(key) for key in keys))
        except (RedisError, OSError) as error:
            raise TierUnavailable(str(error)) from error

    async def close(self) -> None:
        await self._mget.close()

    async def _read(self, names: list[bytes]) -> list[bytes | None]:
        return cast("list[bytes | None]", await self._reader.mget(names))

    def _name(self, key: int) -> bytes:
        return f"{self._prefix}{key}".encode()

    def _seal(self, name: bytes, entry: Entry, fresh_until: int) -> bytes:
        header = _HEADER.pack(entry.version, fresh_until)
        return header + self._keyring.seal(entry.payload, name + header)

    def _open(self, name: bytes, value: bytes, now: float) -> Hit | None:
        header, box = value[: _HEADER.size], value[_HEADER.size :]
        try:
            version, fresh_until = _HEADER.unpack(header)
            payload = self._keyring.open(box, name + header)
        except (CannotOpen, struct.error) as error:
            reason = "malformed" if isinstance(error, struct.error) else str(error)
            self._unreadable.labels(reason).inc()
            log.warning("cache entry cannot be read", extra={"key": name.decode(), "reason": reason})
            return None
        return Hit(Entry(version, payload), fresh_until / 1000 - now)
