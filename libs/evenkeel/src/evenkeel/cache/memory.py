"""The tier in the process itself: bounded, least recently used first out, expiring."""

import time

from cachetools import TTLCache

from evenkeel.cache.entry import Entry, Hit


class MemoryTier:
    """A dict that stays small and forgets."""

    name = "memory"

    def __init__(self, *, max_entries: int, ttl: float) -> None:
        """`ttl` in seconds, from the moment an entry is put; reading it does not prolong it."""
        self._ttl = ttl
        self._entries: TTLCache[int, tuple[Entry, float]] = TTLCache(max_entries, ttl, timer=time.monotonic)

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, keys: list[int]) -> dict[int, Hit]:
        now = time.monotonic()
        found = ((key, self._entries.get(key)) for key in keys)
        return {key: Hit(held[0], held[1] - now) for key, held in found if held is not None}

    async def put(self, entries: dict[int, Entry]) -> None:
        expires = time.monotonic() + self._ttl
        for key, entry in entries.items():
            self._entries[key] = (entry, expires)

    async def invalidate(self, keys: list[int]) -> None:
        for key in keys:
            self._entries.pop(key, None)
