"""The tutorials' dict, LRU and TTL caches, and what they lack: trust that ends by itself, and fills that come late."""

import time

import pytest
from prometheus_client import CollectorRegistry

from evenkeel.cache.entry import Entry
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics

ENTRY = Entry(1, b"{}")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def make(
    registry: CollectorRegistry, *, max_entries: int = 10, ttl: float = 60, trusted: bool = True
) -> MemoryTier[str]:
    tier = MemoryTier(
        max_entries=max_entries,
        ttl=ttl,
        prepare=lambda entry: f"{entry.version}:{entry.payload.decode()}",
        metrics=CacheMetrics(Metrics(registry), "test"),
    )
    if trusted:
        tier.trust(time.monotonic() + 60)
    return tier


@pytest.fixture
def tier(registry: CollectorRegistry) -> MemoryTier[str]:
    return make(registry)


def put(tier: MemoryTier[str], key: str, entry: Entry = ENTRY, ttl: float = 60) -> bool:
    with tier.reserve([key]) as reservations:
        return tier.put(key, entry, ttl, reservations[key]) is not None


def has(tier: MemoryTier[str], key: str) -> bool:
    return tier.peek(key) is not None


def test_dict_cache_gives_back_what_was_put_and_prepared(tier: MemoryTier[str]) -> None:
    assert not has(tier, "1")
    assert put(tier, "1", Entry(7, b"[]"))
    hit = tier.peek("1")
    assert hit is not None
    assert (hit.entry, hit.ready) == (Entry(7, b"[]"), "7:[]")
    assert 59 < hit.ttl <= 60


def test_lru_cache_stays_within_its_bound_and_evicts_the_least_recently_used(registry: CollectorRegistry) -> None:
    tier = make(registry, max_entries=3)
    for key in "123":
        put(tier, key)
    assert has(tier, "1")
    put(tier, "4")
    assert [key for key in "1234" if has(tier, key)] == ["1", "3", "4"]
    for number in range(1000):
        put(tier, str(number))
        assert len(tier) <= 3


@pytest.mark.parametrize(("tier_ttl", "entry_ttl"), [(0.2, 60), (60, 0.2)])
def test_ttl_cache_expires_and_reading_does_not_prolong(
    registry: CollectorRegistry, tier_ttl: float, entry_ttl: float
) -> None:
    tier = make(registry, ttl=tier_ttl)
    put(tier, "1", ttl=entry_ttl)
    until = time.monotonic() + 0.21
    while time.monotonic() < until:
        has(tier, "1")
    assert not has(tier, "1")


def test_dropped_key_is_forgotten(tier: MemoryTier[str]) -> None:
    put(tier, "1")
    put(tier, "2")
    tier.drop({"1": None})
    tier.drop({"3": None})
    assert [key for key in "12" if has(tier, key)] == ["2"]


def test_entry_that_has_seen_the_change_stays(tier: MemoryTier[str]) -> None:
    put(tier, "1", Entry(2, b"{}"))
    tier.drop({"1": 2})
    assert has(tier, "1")
    tier.drop({"1": 3})
    assert not has(tier, "1")


def test_fill_under_way_when_its_key_is_dropped_does_not_land(tier: MemoryTier[str]) -> None:
    with tier.reserve(["1"]) as reservations:
        tier.drop({"1": None})
        assert tier.put("1", ENTRY, 60, reservations["1"]) is None
        with tier.reserve(["1"]) as later:
            assert tier.put("1", ENTRY, 60, later["1"]) is not None
        # The later one has not made the earlier one right again.
        assert tier.put("1", ENTRY, 60, reservations["1"]) is None


def test_many_changes_at_once_are_each_what_they_are_alone(tier: MemoryTier[str]) -> None:
    """Entries and fills under way, among many keys that are not here."""
    for key in "123":
        put(tier, key, Entry(5, b"{}"))
    elsewhere = {f"x{number}": 9 for number in range(1_000)}
    with tier.reserve(["4", "5", "6", "7"]) as reservations:
        tier.drop({"1": 5, "2": 6, "3": None, "4": 5, "5": 6, "6": None} | elsewhere)
        assert [key for key in "123" if has(tier, key)] == ["1"]
        landed = [key for key in "4567" if tier.put(key, Entry(5, b"{}"), 60, reservations[key]) is not None]
        assert landed == ["4", "7"]
    assert len(tier) == 3


def test_dropping_some_leaves_the_others_and_their_fills(tier: MemoryTier[str]) -> None:
    put(tier, "1")
    put(tier, "2")
    with tier.reserve(["1", "3", "4"]) as reservations:
        tier.drop_where(lambda key: key in {"1", "3"})
        assert tier.put("1", ENTRY, 60, reservations["1"]) is None
        assert tier.put("3", ENTRY, 60, reservations["3"]) is None
        assert tier.put("4", ENTRY, 60, reservations["4"]) is not None
    assert [key for key in "1234" if has(tier, key)] == ["2", "4"]


def test_fill_under_way_lands_if_it_has_seen_the_change(tier: MemoryTier[str]) -> None:
    with tier.reserve(["1", "2"]) as reservations:
        tier.drop({"1": 5})
        tier.drop({"2": 5})
        assert tier.put("1", Entry(4, b"{}"), 60, reservations["1"]) is None
        assert tier.put("2", Entry(5, b"{}"), 60, reservations["2"]) is not None


def test_fills_of_one_key_share_the_place_until_the_last_has_ended(tier: MemoryTier[str]) -> None:
    with tier.reserve(["1"]) as first:
        with tier.reserve(["1"]) as second:
            assert second["1"] is first["1"]
        tier.drop({"1": None})
        assert tier.put("1", ENTRY, 60, first["1"]) is None


def test_reservations_leave_nothing_behind(tier: MemoryTier[str]) -> None:
    with tier.reserve([str(n) for n in range(100)]):
        pass
    assert not tier._reservations


def test_nothing_is_served_or_kept_without_trust(registry: CollectorRegistry) -> None:
    tier = make(registry, trusted=False)
    assert not put(tier, "1")
    tier.trust(time.monotonic() + 60)
    assert put(tier, "1")
    tier.distrust("test")
    assert not has(tier, "1")
    assert not put(tier, "1")


def test_trust_ends_by_itself(registry: CollectorRegistry) -> None:
    tier = make(registry, trusted=False)
    tier.trust(time.monotonic() + 0.1)
    put(tier, "1")
    assert has(tier, "1")
    time.sleep(0.11)
    assert not has(tier, "1")
    assert not tier.trusted


def test_what_was_kept_before_doubt_stands_in_until_trust_begins_again(tier: MemoryTier[str]) -> None:
    put(tier, "1")
    tier.distrust("test")
    known = tier.last_known("1")
    assert known is not None
    assert known.entry == ENTRY
    tier.trust(time.monotonic() + 60)
    assert tier.last_known("1") is None


def test_fill_that_began_before_the_doubt_does_not_land_after_it(tier: MemoryTier[str]) -> None:
    with tier.reserve(["1"]) as reservations:
        tier.distrust("test")
        tier.trust(time.monotonic() + 60)
        assert tier.put("1", ENTRY, 60, reservations["1"]) is None


def test_fill_that_began_in_doubt_does_not_land_after_it(tier: MemoryTier[str]) -> None:
    tier.distrust("test")
    with tier.reserve(["1"]) as reservations:
        tier.trust(time.monotonic() + 60)
        assert tier.put("1", ENTRY, 60, reservations["1"]) is None


def test_what_was_followed_without_a_gap_is_kept(registry: CollectorRegistry) -> None:
    """Trust has ended by itself, and all invalidations since have been applied before it begins again."""
    tier = make(registry)
    put(tier, "1")
    put(tier, "2")
    with tier.reserve(["3", "4"]) as reservations:
        tier.trust(time.monotonic() - 1)
        assert not has(tier, "1")
        assert tier.put("3", ENTRY, 60, reservations["3"]) is None
        tier.drop({"2": None, "3": None})
        tier.trust(time.monotonic() + 60, gapless=True)
        landed = [key for key in "34" if tier.put(key, ENTRY, 60, reservations[key]) is not None]
    assert landed == ["4"]
    assert [key for key in "123" if has(tier, key)] == ["1"]


def test_renewed_trust_forgets_nothing(tier: MemoryTier[str]) -> None:
    put(tier, "1")
    tier.trust(time.monotonic() + 30)
    assert has(tier, "1")


def test_late_answer_renews_nothing(registry: CollectorRegistry) -> None:
    tier = make(registry, trusted=False)
    tier.trust(time.monotonic() - 0.1)
    assert not tier.trusted


def test_metrics_count_entries_and_tell_trust(registry: CollectorRegistry) -> None:
    tier = make(registry)
    put(tier, "1")
    has(tier, "1")
    values = {
        "cache_memory_entries": 1.0,
        "cache_memory_trusted": 1.0,
    }
    for name, value in values.items():
        assert registry.get_sample_value(name, {"cache": "test"}) == value
    assert registry.get_sample_value("cache_reads_total", {"cache": "test", "tier": "memory", "result": "hit"}) == 1
    tier.distrust("test")
    assert registry.get_sample_value("cache_memory_trusted", {"cache": "test"}) == 0
