"""From another unique column of a row, such as an e-mail address, to the row's key.

An alias is only a hint. The caller checks that the row still has the value, and asks the database if it has not. So
aliases need no invalidation. Redis holds a keyed hash of the value, never the value.
"""

import hashlib
import hmac
import time

from cachetools import TTLCache

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.redis_tier import RedisTier

_PURPOSE = b"evenkeel cache alias"


class Aliases:
    """The aliases of one cache. Without tiers there are none."""

    def __init__(
        self, *, redis: RedisTier | None, keyring: KeyRing | None, ttl: float, memory_entries: int, memory_ttl: float
    ) -> None:
        """`ttl` in seconds, for both tiers; `memory_entries` may be 0. The first key of the ring makes the hashes."""
        self._redis = redis
        self._secret = keyring.derive(_PURPOSE) if keyring is not None else b""
        self._ttl = ttl
        self._memory: TTLCache[str, str] = TTLCache(memory_entries, min(ttl, memory_ttl), timer=time.monotonic)

    async def find(self, value: str) -> str | None:
        """The key that the row with this value had a while ago, if a tier has it."""
        if (key := self._memory.get(value)) is not None or self._redis is None:
            return key
        try:
            key = await self._redis.alias(self._hash(value))
        except TierUnavailable:
            return None
        if key is not None:
            self._remember(value, key)
        return key

    async def note(self, value: str, key: str) -> None:
        """Keep an alias that was just read from the database."""
        self._remember(value, key)
        if self._redis is not None:
            await self._redis.note_alias(self._hash(value), key, self._ttl)

    def clear(self) -> None:
        """Forget what this process remembers."""
        self._memory.clear()

    def _remember(self, value: str, key: str) -> None:
        if self._memory.maxsize > 0:
            self._memory[value] = key

    def _hash(self, value: str) -> str:
        return hmac.digest(self._secret, value.encode(), hashlib.sha256).hex()
