"""The tutorials' dict, LRU and TTL caches: bounded, least recently used first out, expiring."""

import time

import pytest

from evenkeel.cache.entry import Entry
from evenkeel.cache.memory import MemoryTier

pytestmark = pytest.mark.anyio

ENTRY = Entry(1, b"{}")


async def test_dict_cache_gives_back_what_was_put() -> None:
    tier = MemoryTier(max_entries=10, ttl=60)
    assert await tier.get([1]) == {}
    await tier.put({1: ENTRY, 2: Entry(2, b"[]")})
    hits = await tier.get([1, 2, 3])
    assert {key: hit.entry for key, hit in hits.items()} == {1: ENTRY, 2: Entry(2, b"[]")}
    assert all(59 < hit.ttl <= 60 for hit in hits.values())


async def test_lru_cache_stays_within_its_bound_and_evicts_the_least_recently_used() -> None:
    tier = MemoryTier(max_entries=3, ttl=60)
    for key in (1, 2, 3):
        await tier.put({key: ENTRY})
    await tier.get([1])
    await tier.put({4: ENTRY})
    assert sorted(await tier.get([1, 2, 3, 4])) == [1, 3, 4]
    for key in range(1000):
        await tier.put({key: ENTRY})
        assert len(tier) <= 3


async def test_ttl_cache_expires_and_reading_does_not_prolong() -> None:
    tier = MemoryTier(max_entries=3, ttl=0.2)
    await tier.put({1: ENTRY})
    until = time.monotonic() + 0.21
    while time.monotonic() < until:
        await tier.get([1])
    assert await tier.get([1]) == {}
    assert len(tier) == 0


async def test_invalidate_forgets() -> None:
    tier = MemoryTier(max_entries=3, ttl=60)
    await tier.put({1: ENTRY, 2: ENTRY})
    await tier.invalidate([1, 3])
    assert list(await tier.get([1, 2])) == [2]
