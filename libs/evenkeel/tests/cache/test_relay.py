"""The relay on a real Redis, with a change log that says what the test wants."""

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from tests.support.machine_time import machine_time
from tests.support.witness import eventually

from evenkeel.cache import relay as relays
from evenkeel.cache import sweeping
from evenkeel.cache.change_log import ChangeLog, Look
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.entry import Entry
from evenkeel.cache.forgetting import forget_cache
from evenkeel.cache.keys import CurrentNames, Names, new_epoch
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.pulse import Pulse
from evenkeel.cache.redis_tier import ScriptName, script
from evenkeel.cache.relay import Relay
from evenkeel.cache.tracking import Tracking
from evenkeel.tasks.ending import end

pytestmark = pytest.mark.anyio

HERE, THERE = "00000000000000aa", "00000000000000bb"


class Log:
    """Stands for the change log."""

    def __init__(self) -> None:
        self.id = HERE
        self.number = 0
        self.asked: list[str | None] = []
        self.changes: dict[str, int | None] | None = {}
        self.ranges: list[tuple[int, int]] = []
        self.more = False
        self.distrust: str | None = None
        self.error: Exception | None = None

    async def identity(self) -> str:
        return self.id

    async def look(self, since: str | None) -> Look:
        self.asked.append(since)
        if self.error is not None:
            raise self.error
        self.number += 1
        state = f"state {self.number}"
        if self.distrust is not None:
            return Look(state, self.id, None, reason=self.distrust, distrust=self.distrust)
        changes, self.changes = self.changes, {}
        ranges, self.ranges = self.ranges, []
        more, self.more = self.more, False
        if since is None or changes is None:
            return Look(state, self.id, None, reason="the test says so")
        return Look(state, self.id, changes, ranges, more=more)


@dataclass
class Replica:
    """What one process has of it."""

    log: Log
    redis: Redis
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    current: CurrentNames = field(default_factory=lambda: CurrentNames("user"))

    pulse: Pulse = field(default_factory=Pulse)

    def __post_init__(self) -> None:
        metrics = CacheMetrics(Metrics(self.registry), "user")
        self.distrust = Distrust(metrics)
        self.relay = Relay(
            changes=cast("ChangeLog", self.log),
            primary=self.redis,
            current=self.current,
            metrics=metrics,
            distrust=self.distrust,
            pulse=self.pulse,
        )

    @property
    def names(self) -> Names:
        assert self.current.now is not None
        return self.current.now

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        task = asyncio.create_task(self.relay.run())
        try:
            await eventually(lambda: _true(self.relay.passed.is_set()), self.seen)
            yield self
        finally:
            await end(task)
            await self.relay.release()

    def seen(self) -> str:
        """What there is to see of it, for a wait that has been in vain."""
        names, log = self.current.now, self.log
        return f"{names and (names.identity, names.epoch)} after {log.number} of {len(log.asked)} looks, {log.error!r}"

    async def alive(self) -> str | None:
        value = await self.redis.get(self.names.alive)
        return value.decode() if isinstance(value, bytes) else None

    async def held(self, field: str) -> str | None:
        value = await cast("Awaitable[Any]", self.redis.hget(self.names.state, field))
        return value.decode() if isinstance(value, bytes) else None


@pytest.fixture
async def redis(cache_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(cache_url) as client:
        yield client


@pytest.fixture
async def replica(redis: Redis) -> AsyncIterator[Replica]:
    async with Replica(Log(), redis).running() as running:
        yield running


async def test_without_a_state_an_epoch_begins(replica: Replica) -> None:
    epoch = replica.names.epoch
    assert len(epoch) == 16
    await eventually(lambda: _is(replica.alive, epoch))
    assert await replica.held("epoch") == epoch
    looks = len(replica.log.asked)
    await eventually(lambda: _true(len(replica.log.asked) > looks + 2))
    assert replica.names.epoch == epoch  # no other one follows


@pytest.mark.parametrize(
    "spoil",
    [
        ("HDEL", "epoch"),
        ("HSET", "epoch", b"\xff"),
        ("HSET", "state", b"\xff"),
        ("HSET", "swept", b"\xff"),
        ("HSET", "distrust", b"\xff"),
        ("HSET", "relay", "nobody", "claimed_until", "soon"),
        ("HSET", "relay", "nobody", "claimed_until", 2**50),  # the clock was set back
        ("SET", "not a hash"),
        ("DEL",),
    ],
)
async def test_nonsense_in_redis_ends_trust_for_a_moment_only(
    replica: Replica, redis: Redis, spoil: tuple[str, ...]
) -> None:
    before = replica.names
    command, *arguments = spoil
    if command == "SET":
        await redis.delete(before.state)
    await redis.execute_command(command, before.state, *arguments)  # type: ignore[no-untyped-call]  # redis-py has not typed it
    await redis.delete(before.alive)
    await eventually(lambda: _true_for(replica), replica.seen)
    unharmed = arguments[:1] in (["state"], ["swept"], ["relay"])  # the state is judged by the change log
    assert (replica.names.epoch == before.epoch) is unharmed


async def _true_for(replica: Replica) -> bool:
    """Whether the cache is trusted under a sound epoch."""
    return await replica.alive() == replica.names.epoch == await replica.held("epoch") != ""


async def test_anything_may_have_changed(replica: Replica, redis: Redis) -> None:
    """A new epoch, and whatever else there is stays."""
    before = replica.names
    await redis.mset({b"counter": b"5", b"{user}": b"1", before.entry("1"): b"x", before.lease("2"): b"y"})
    elsewhere = Names("user", THERE, new_epoch())
    neighbour = Names("book", HERE, new_epoch())
    await redis.mset({name: b"z" for names in (elsewhere, neighbour) for name in (names.entry("1"), names.alive)})
    await redis.mset({f"counter:{number}": number for number in range(3000)})
    size = await redis.dbsize()
    replica.log.changes = None
    await eventually(lambda: _true(replica.names.epoch != before.epoch))
    assert await redis.exists(replica.names.entry("1")) == 0
    await eventually(lambda: _is(lambda: replica.held("swept"), replica.names.epoch))
    assert await redis.exists(before.entry("1"), before.lease("2")) == 0
    assert await redis.dbsize() == size - 2


async def test_a_sweep_that_was_interrupted_is_made_again(redis: Redis) -> None:
    async with Replica(Log(), redis).running() as replica:
        await eventually(lambda: _is(lambda: replica.held("swept"), replica.names.epoch))
        old = replica.names.at(new_epoch())
        await redis.set(old.entry("1"), b"x")
        await cast("Awaitable[Any]", redis.hset(replica.names.state, "swept", "another"))
        await eventually(lambda: _gone(redis, old.entry("1")))


async def test_a_sweep_begins_with_the_names_of_the_present_epoch(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those of the epoch before it would remove what readers have just stored."""
    replica = Replica(Log(), redis)
    begun: list[str] = []
    monkeypatch.setattr(replica.relay._sweep, "begin", lambda names: begun.append(names.epoch))
    await replica.relay._pass()
    first = replica.names.epoch
    assert begun == []
    await replica.relay._pass()
    assert begun == [first]
    replica.log.changes = None
    await replica.relay._pass()
    assert begun == [first]
    await replica.relay._pass()
    assert begun == [first, replica.names.epoch]
    assert replica.names.epoch != first


@pytest.fixture
async def endless_sweeps(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "STEP", 1)
    monkeypatch.setattr(sweeping, "PAUSE", 3600)
    await redis.mset({f"counter:{number}": number for number in range(100)})


@pytest.mark.usefixtures("endless_sweeps")
async def test_who_stands_by_sweeps_no_more(redis: Redis) -> None:
    """Another relay sweeps; and the names of this one may be of an epoch that is over."""
    replica = Replica(Log(), redis)
    for _ in range(2):
        await replica.relay._pass()
    sweep = replica.relay._sweep._task
    assert sweep is not None
    assert not sweep.done()
    await claim(redis, replica.names, "another")
    await replica.relay._pass()
    assert sweep.cancelled()
    assert await replica.held("swept") is None


async def test_a_sweep_that_ends_late_does_not_count_for_the_epoch_after_it(redis: Redis) -> None:
    names = Names("user", HERE, new_epoch())
    await cast("Awaitable[Any]", redis.hset(names.state, mapping={"epoch": names.epoch, "swept": names.epoch}))
    assert await script(redis, "swept")([names.state], [new_epoch()]) == 0
    assert await cast("Awaitable[Any]", redis.hget(names.state, "swept")) == names.epoch.encode()


@pytest.mark.usefixtures("endless_sweeps")
async def test_a_sweep_goes_on_until_another_epoch_begins(redis: Redis) -> None:
    names = Names("user", HERE, new_epoch())
    sweep = sweeping.Sweep(redis)
    sweep.begin(names)
    first = sweep._task
    assert first is not None
    sweep.begin(names)
    assert sweep._task is first
    sweep.begin(names.at(new_epoch()))
    assert sweep._task is not first
    await eventually(lambda: _true(first.cancelled()))
    await sweep.end()


async def test_an_epoch_begins_only_where_it_was_to(replica: Replica, redis: Redis) -> None:
    """Two relays that find the same do not forget twice."""
    names = replica.names
    begin = script(redis, "new_epoch")
    keys = [names.alive, b"test:state", names.everything]
    assert await begin(keys, ["me", 100, "", "", "a", "s1", 0, ""]) == 1
    assert await begin(keys, ["me", 100, "", "", "b", "s1", 0, ""]) == 0
    assert await begin(keys, ["me", 100, "a", "s0", "b", "s2", 0, ""]) == 0
    assert await begin(keys, ["me", 100, "a", "s1", "b", "s2", 0, ""]) == 1
    assert await cast("Awaitable[Any]", redis.hgetall("test:state")) == {b"epoch": b"b", b"state": b"s2"}


async def test_a_relay_of_an_epoch_that_is_over_does_nothing(replica: Replica, redis: Redis) -> None:
    names = replica.names
    await redis.set(names.entry("1"), b"x")
    apply = script(redis, "relay")
    signals = names.signals_of({"1": None})
    keys = [names.alive, names.state, *signals, names.entry("1"), names.lease("1")]
    assert await apply(keys, ["me", 0, "another", await replica.held("state") or "", "s", 2**50, 1, ""]) == 0
    assert await redis.get(names.entry("1")) == b"x"


async def test_nothing_is_trusted_while_the_database_is_in_doubt(
    replica: Replica, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """All replicas say why, once each, and nothing is forgotten for it."""
    caplog.set_level(logging.INFO)
    async with Replica(replica.log, redis).running() as other:
        epoch = replica.names.epoch
        replica.log.distrust = "a trigger is off"
        await eventually(lambda: _true(other.distrust.reason == replica.distrust.reason == "a trigger is off"))
        assert await replica.alive() is None
        state = await replica.held("state")
        looks = replica.log.number
        await eventually(lambda: _true(replica.log.number > looks + 3))
        assert await replica.held("state") == state
        labels = {"cache": "user", "reason": "a trigger is off"}
        for each in (replica, other):
            assert each.registry.get_sample_value("cache_untrusted", labels) == 1
        assert sum(record.levelname == "ERROR" for record in caplog.records) == 2
        replica.log.distrust = None  # what was read before it was seen may be there
        await eventually(lambda: _true(other.distrust.reason is None and replica.distrust.reason is None))
        assert replica.registry.get_sample_value("cache_untrusted", labels) is None
        await eventually(lambda: _true(replica.names.epoch == other.names.epoch != epoch))
        await eventually(lambda: _is(replica.alive, replica.names.epoch))
        assert None not in replica.log.asked[1:]


async def test_a_relay_that_does_not_know_of_a_doubt_gives_no_trust(redis: Redis) -> None:
    """Another one has noted it since this one asked, and its own look came when the doubt was over."""
    replica, other = Replica(Log(), redis), Replica(Log(), redis)
    for each in (replica, other):
        await each.relay._pass()
        await each.relay.release()
    names, looked = replica.names, replica.log.look
    other.log.distrust = "it has a child"

    async def look(since: str | None) -> Look:
        await end_claim(redis, names)
        await other.relay._pass()
        return await looked(since)

    for changes, ranges in (({}, []), ({}, [(1, 2)]), (None, [])):
        await cast("Awaitable[Any]", redis.hdel(names.state, "distrust"))
        replica.log.look = look  # type: ignore[method-assign]
        replica.log.changes, replica.log.ranges = changes, ranges
        await replica.relay._pass()
        assert await replica.alive() is None
        assert await replica.held("distrust") == "it has a child"
        assert await replica.held("epoch") == names.epoch
        await other.relay.release()
        replica.log.look = looked  # type: ignore[method-assign]
    await replica.relay._pass()
    assert await replica.alive() == replica.names.epoch != names.epoch
    assert await replica.held("distrust") is None


async def test_a_look_that_is_late_is_followed_by_the_next_one(replica: Replica) -> None:
    """By the same relay: for others it would take as long."""
    state, owner = await replica.held("state"), await replica.held("relay")
    assert owner is not None
    replica.log.error = TimeoutError()
    looks = len(replica.log.asked)
    await eventually(lambda: _true(len(replica.log.asked) > looks + 3))
    assert await replica.held("relay") == owner
    assert set(replica.log.asked[looks + 2 :]) == {await replica.held("state")} != {None}
    assert await replica.relay._after(TimeoutError()) == 0 < await replica.relay._after(OSError())
    replica.log.error = OSError()
    await eventually(lambda: _is(lambda: replica.held("relay"), None))
    assert state is not None


async def test_many_changes_move_the_state_in_chunks(
    replica: Replica, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "CHUNK", 10)
    names = replica.names
    await redis.mset({names.entry(str(key)): b"x" for key in range(95)})
    replica.log.changes = dict.fromkeys(map(str, range(95)))
    await eventually(lambda: _gone(redis, *(names.entry(str(key)) for key in range(95))))
    assert replica.names.epoch == names.epoch


async def test_a_chunk_of_changes_is_pushed_as_one_name(
    replica: Replica, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a backfill would cost each process as many pushes as it changes rows."""
    monkeypatch.setattr(relays, "CHUNK", 40)
    metrics = CacheMetrics(Metrics(CollectorRegistry()), "user")
    memory: MemoryTier[Entry] = MemoryTier(max_entries=300, ttl=60, prepare=lambda entry: entry, metrics=metrics)
    changed: list[AbstractSet[str] | None] = []
    tracking = Tracking(redis, replica.current, memory, metrics, changed.append, pulse=replica.pulse)
    task = asyncio.create_task(tracking.run())
    try:
        await memory.first_trust.wait()
        odd = [":", "a:7", '"', "é", '1":2,"3', "{user}"]
        keys = [*odd, *map(str, range(89)), "kept", "newer", "filling"]
        with memory.reserve(keys) as reservations:
            for key in keys[:-1]:
                assert memory.put(key, Entry(5, b"{}"), 60, reservations[key])
            changes: dict[str, int | None] = {key: number % 2 * 9 or None for number, key in enumerate(keys[:-3])}
            replica.log.changes = {**changes, "newer": 5, "filling": 6}
            await eventually(lambda: _true(len(changed) >= 3))
            assert [key for key in keys if memory.peek(key)] == ["kept", "newer"]
            assert memory.put("filling", Entry(5, b"{}"), 60, reservations["filling"]) is None
    finally:
        await end(task)
    assert changed == [set(chunk) for chunk in (keys[:40], keys[40:80], [*keys[80:-3], "newer", "filling"])]


async def test_among_many_changes_each_key_has_its_own_version(replica: Replica, redis: Redis) -> None:
    """More keys than one MGET of the script takes: every entry and lease is judged by its own change."""
    names, present = replica.names, [*range(0, 1_200, 97), 499, 500, 999, 1_000, 1_199]
    changes = {str(key): key + 1 if key % 3 else None for key in range(1_200)}
    old, new, lent = ({key for number, key in enumerate(present) if number % 3 == rest} for rest in range(3))
    await redis.mset({names.entry(str(key)): struct.pack(">QQ", key, 0) for key in old})
    await redis.mset({names.entry(str(key)): struct.pack(">QQ", key + 1, 0) for key in new})
    await redis.mset({names.lease(str(key)): f"t{key}" for key in lent})
    replica.log.changes = changes
    looks = replica.log.number
    await eventually(lambda: _true(replica.log.number > looks + 2))
    entries = await redis.mget([names.entry(str(key)) for key in range(1_200)])
    assert {key for key, entry in enumerate(entries) if entry} == {key for key in new if key % 3}
    leases = await redis.mget([names.lease(str(key)) for key in range(1_200)])
    noted = {key: cast("bytes", lease).decode() for key, lease in enumerate(leases) if lease}
    assert noted == {key: f"t{key} {key + 1}" for key in lent if key % 3}


async def test_a_claim_outlives_a_long_series(replica: Replica, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk renews it, until trust ends; the last one lets it end before."""
    claims: list[float] = []
    monkeypatch.setattr(relays, "CHUNK", 10)

    def until(claimed: relays._Claimed, lifetime: float) -> int:
        claims.append(lifetime)
        return claimed.server_time + 5000

    monkeypatch.setattr(relays._Claimed, "until", until)
    replica.log.changes = dict.fromkeys(map(str, range(95)))
    await eventually(lambda: _true(relays.ALIVE in claims and claims[-1] == relays.CLAIM))
    claims = claims[claims.index(relays.ALIVE) :][:10]
    assert claims == [relays.ALIVE] * 9 + [relays.CLAIM]

    async def renewed() -> bool:
        return await left(redis, replica.names) > 1000

    replica.log.changes = dict.fromkeys(map(str, range(95)))
    await eventually(renewed)


@pytest.mark.parametrize(
    ("name", "owner", "after"),
    [
        ("relay", "me", b"me"),
        ("relay", None, b"me"),  # it has run out a moment ago
        ("relay", "other", b"other"),
        ("new_epoch", "me", b"me"),
        ("new_epoch", "other", b"other"),
    ],
)
async def test_scripts_renew_a_claim_that_is_the_callers(
    redis: Redis, name: ScriptName, owner: str | None, after: bytes
) -> None:
    names = Names("user", HERE, new_epoch())
    await cast("Awaitable[Any]", redis.hset(names.state, mapping={"epoch": names.epoch, "state": "s1"}))
    if owner is not None:
        await claim(redis, names, owner)
    more: list[str | int] = ["s2", 0, 0] if name == "relay" else [new_epoch(), "s2", 0, ""]
    until = (await redis.time())[0] * 1000 + 90_000
    reply = await script(redis, name)([names.alive, names.state], ["me", until, names.epoch, "s1", *more])
    assert reply == (2 if (name, owner) == ("relay", "other") else 1)
    assert await cast("Awaitable[Any]", redis.hget(names.state, "relay")) == after
    assert (await left(redis, names) > 30_000) is (after == b"me")


async def test_every_pass_renews_the_claim_of_its_own_relay(redis: Redis) -> None:
    names = Names("user", HERE, new_epoch())
    take = script(redis, "claim")
    for owner, mine in (("me", 1), ("other", 0)):
        await claim(redis, names, owner)
        assert (await take([names.alive, names.state], ["me", 90_000]))[0] == mine
        assert await cast("Awaitable[Any]", redis.hget(names.state, "relay")) == owner.encode()
        assert (await left(redis, names) > 30_000) is (owner == "me")


async def test_a_claim_that_has_ended_is_taken(redis: Redis) -> None:
    names = Names("user", HERE, new_epoch())
    await claim(redis, names, "other", 0)
    assert (await script(redis, "claim")([names.alive, names.state], ["me", 90_000]))[0] == 1
    assert await cast("Awaitable[Any]", redis.hget(names.state, "relay")) == b"me"
    assert await left(redis, names) > 30_000


async def test_a_script_that_is_late_ends_no_trust_that_another_relay_has_renewed(redis: Redis) -> None:
    names = Names("user", HERE, new_epoch())
    await cast("Awaitable[Any]", redis.hset(names.state, mapping={"epoch": names.epoch, "state": "s1"}))
    await claim(redis, names, "other")
    await redis.set(names.alive, names.epoch, px=30_000)
    past = (await redis.time())[0] * 1000 - 1000
    assert await script(redis, "relay")([names.alive, names.state], ["me", past, names.epoch, "s1", "s1", past, 0]) == 2
    assert await redis.pttl(names.alive) > 20_000


async def test_a_relay_with_nothing_to_do_renews_claim_and_trust(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks more often than that. What a look finds in between is applied at once."""
    replica = Replica(Log(), redis)
    await _calm(replica)
    now = time.monotonic()
    monkeypatch.setattr("evenkeel.cache.relay.time.monotonic", lambda: now)
    await replica.relay._pass()  # it may have renewed them
    before, looks = await counted(redis), replica.log.number
    await replica.relay._pass()
    assert await counted(redis) == before
    assert replica.log.number == looks + 1
    state = await replica.held("state")
    now += relays.RENEWAL_INTERVAL
    await redis.pexpire(replica.names.alive, 500)
    await claim(redis, replica.names, (await replica.held("relay")) or "", 500)
    await replica.relay._pass()
    assert await counted(redis) - before == 5 + 5  # those of this test, and TIME, EVALSHA, HMGET, HSET, SET
    assert await redis.pttl(replica.names.alive) > 1000
    assert await left(redis, replica.names) > 700
    assert await replica.held("state") != state
    await redis.set(replica.names.entry("1"), b"x")
    replica.log.changes = {"1": None}
    await replica.relay._pass()
    assert await redis.exists(replica.names.entry("1")) == 0


async def test_a_relay_that_has_lost_the_claim_meanwhile_stands_by(redis: Redis) -> None:
    replica = Replica(Log(), redis)
    await _calm(replica)
    await claim(redis, replica.names, "another")
    while replica.relay._calm is not None:
        await replica.relay._pass()
        await asyncio.sleep(0.05)
    assert await replica.relay._pass() == relays.STANDBY_INTERVAL
    assert await replica.held("relay") == "another"


async def test_a_state_that_has_moved_meanwhile_is_read_again(redis: Redis) -> None:
    """By a failover, for example. Until then nothing is trusted anew."""
    replica = Replica(Log(), redis)
    await _calm(replica)
    await cast("Awaitable[Any]", redis.hset(replica.names.state, "state", "of another relay"))
    await redis.delete(replica.names.alive)
    while replica.relay._calm is not None:
        assert await replica.alive() is None
        await replica.relay._pass()
        await asyncio.sleep(0.05)
    assert await replica.alive() is None
    await replica.relay._pass()
    assert replica.log.asked[-1] == "of another relay"
    assert await replica.alive() == replica.names.epoch


@pytest.mark.usefixtures("replica")
async def test_who_stands_by_sends_nothing_while_trust_is_renewed(redis: Redis) -> None:
    """It has seen that elsewhere, or reads it now and then. Without signs of life it tries to take over."""
    other = Replica(Log(), redis)
    await other.relay._pass()
    await other.relay._pass()
    claims, take = 0, other.relay._claim

    async def counting(*arguments: Any) -> Any:
        nonlocal claims
        claims += 1
        return await take(*arguments)

    other.relay._claim = counting  # type: ignore[assignment]
    other.pulse.note(other.names.alive, time.monotonic(), 100_000)
    other.relay._primary = cast("Redis", None)
    assert await other.relay._pass() == relays.STANDBY_INTERVAL
    other.relay._primary = redis
    other.pulse.note(other.names.alive, time.monotonic(), 0)
    assert await other.relay._pass() == relays.STANDBY_INTERVAL
    assert claims == 0
    assert other.pulse.left(other.names.alive) > relays.WELL
    other.pulse.note(other.names.alive, time.monotonic(), 0)
    await redis.pexpire(other.names.alive, 300)
    await other.relay._pass()
    assert claims <= 1


async def _calm(replica: Replica) -> None:
    while replica.relay._calm is None:
        await replica.relay._pass()
        await asyncio.sleep(0.01)


async def counted(redis: Redis) -> int:
    """The commands that Redis has executed, those of scripts included; without INFO."""
    stats = await redis.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")


async def claim(redis: Redis, names: Names, relay: str, milliseconds: int = 30_000) -> None:
    """Give that relay the claim."""
    seconds, microseconds = await redis.time()
    until = seconds * 1000 + microseconds // 1000 + milliseconds
    held: dict[Any, Any] = {"relay": relay, "claimed_until": until}
    await cast("Awaitable[Any]", redis.hset(names.state, mapping=held))


async def end_claim(redis: Redis, names: Names) -> None:
    await cast("Awaitable[Any]", redis.hdel(names.state, "relay", "claimed_until"))


async def left(redis: Redis, names: Names) -> int:
    """For how many milliseconds the claim still holds."""
    seconds, microseconds = await redis.time()
    until = await cast("Awaitable[Any]", redis.hget(names.state, "claimed_until"))
    return int(until or 0) - seconds * 1000 - microseconds // 1000


@pytest.mark.parametrize(
    ("ago", "most", "least"), [(0, 1000, 900), (0.6, 1000, 900), (0.97, 1020, 1019), (10, 10_050, 10_049)]
)
def test_a_claim_counts_from_when_it_was_asked_for(
    ago: float, most: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never ends at once: nobody could take over in order."""
    claimed = relays._Claimed(
        asked=100.0,
        mine=True,
        names=Names("user", HERE, new_epoch()),
        epoch=b"",
        state=b"",
        swept="",
        distrust=b"",
        server_time=5000,
        lifetime=0,
    )
    monkeypatch.setattr("evenkeel.cache.relay.time.monotonic", lambda: 100.0 + ago)
    assert least <= claimed.until(relays.CLAIM) - 5000 <= most


async def test_who_finds_chunks_left_unfinished_does_not_begin_them_anew(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these relays loses its claim after its first chunk to the next one, as where chunks take too long.

    Were each of them to begin anew, none would come to the end, and nothing would be trusted for as long as it lasts.
    """
    monkeypatch.setattr(relays, "CHUNK", 10)
    replicas = [Replica(Log(), redis) for _ in range(5)]
    first = replicas[0]
    await first.relay._pass()
    before = first.names
    others = iter(replicas[1:])

    def losing_its_claim(relay: Relay) -> Callable[[list[bytes], list[Any]], Awaitable[Any]]:
        applied = relay._relay

        async def apply(keys: list[bytes], arguments: list[Any]) -> Any:
            moved = await applied(keys, arguments)
            if moved and (other := next(others, None)) is not None:
                await end_claim(redis, before)
                await other.relay._pass()
            return moved

        return apply

    for replica in replicas:
        replica.log.changes = dict.fromkeys(map(str, range(95)))
        monkeypatch.setattr(replica.relay, "_relay", losing_its_claim(replica.relay))
    await redis.delete(before.alive)
    await first.relay._pass()
    assert [len(replica.log.asked) for replica in replicas] == [2, 1, 0, 0, 0]
    second = replicas[1]
    assert second.names.epoch != before.epoch
    assert await second.alive() == second.names.epoch
    renamed = second.names.renames(before)
    assert [key for key in range(-1, 97) if renamed(str(key))] == [*range(95)]


async def test_few_changes_left_unfinished_are_made_again(redis: Redis) -> None:
    """They cost less than everything."""
    replica = Replica(Log(), redis)
    await replica.relay._pass()
    names, state = replica.names, await replica.held("state")
    await redis.set(names.entry("1"), b"x")
    await cast("Awaitable[Any]", redis.hset(names.state, "state", f"{state}{relays._UNFINISHED}0000.1"))
    replica.log.changes = {"1": None}
    await replica.relay._pass()
    assert replica.log.asked == [None, state]
    assert await redis.exists(names.entry("1")) == 0
    assert replica.names.epoch == names.epoch
    assert await replica.held("state") == "state 2"


async def test_a_range_is_forgotten_beside_single_keys(
    replica: Replica, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in neither stays, under its name."""
    monkeypatch.setattr(relays, "CHUNK", 10)
    before = replica.names
    await redis.mset({before.entry(str(key)): b"x" for key in range(300)})
    await redis.mset({before.lease("150"): b"t", before.lease("299"): b"t"})
    replica.log.changes = dict.fromkeys(map(str, range(25)))
    replica.log.ranges = [(100, 199), (210, 219)]
    await eventually(lambda: _true(replica.names.epoch != before.epoch))
    names = replica.names
    await eventually(lambda: _is(replica.alive, names.epoch))
    assert await redis.exists(*(names.entry(str(key)) for key in [*range(25), *range(100, 200), *range(210, 220)])) == 0
    kept = [*range(25, 100), *range(200, 210), *range(220, 300)]
    assert await redis.exists(*(names.entry(str(key)) for key in kept)) == len(kept)
    assert await redis.exists(names.lease("150")) == 0
    assert await redis.exists(names.lease("299")) == 1
    await eventually(lambda: _is(lambda: replica.held("swept"), names.epoch))
    assert await redis.exists(*(before.entry(str(key)) for key in range(300))) == len(kept)
    looks = replica.log.number
    await eventually(lambda: _true(replica.log.number > looks + 2))
    assert replica.names is names
    assert None not in replica.log.asked[1:]


async def test_a_range_whose_epoch_was_lost_is_forgotten_again(
    replica: Replica, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a failover between the deletes and the epoch, or after both, to a replica that lacks what came last."""
    before = replica.names
    began = replica.relay._new_epoch
    losses = 2

    async def lose(keys: list[Any], arguments: list[Any]) -> Any:
        """The first time the other server has not yet heard of the epoch; the second time, of neither."""
        nonlocal losses
        if not losses:
            return await began(keys, arguments)
        losses -= 1
        state = arguments[3]
        if not losses:
            await began(keys, arguments)
            state = replica.log.asked[-1]
        await cast("Awaitable[Any]", redis.hset(before.state, mapping={"epoch": before.epoch, "state": state}))
        await redis.set(before.alive, before.epoch, px=1000)
        replica.log.changes, replica.log.ranges = {"1": None}, [(100, 199)]
        return 0

    monkeypatch.setattr(replica.relay, "_new_epoch", lose)
    await redis.mset({before.entry(key): b"x" for key in ("1", "99", "100")})
    replica.log.changes, replica.log.ranges = {"1": None}, [(100, 199)]
    asked = len(replica.log.asked)
    await eventually(lambda: _true(replica.names.epoch != before.epoch and not losses))
    await eventually(lambda: _is(replica.alive, replica.names.epoch))
    assert await redis.exists(replica.names.entry("1"), replica.names.entry("100")) == 0
    assert await redis.exists(replica.names.entry("99")) == 1
    asked_again = [since for since in replica.log.asked[asked:] if replica.log.asked.count(since) > 2]
    assert len(set(asked_again)) == 1  # each time from where it had been before


async def test_a_range_is_not_trusted_while_there_is_more(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is memory told to forget everything."""
    until: list[int] = []
    began = replica.relay._new_epoch

    async def noted(keys: list[Any], arguments: list[Any]) -> Any:
        until.append(arguments[6])
        assert keys == [replica.names.alive, replica.names.state]
        return await began(keys, arguments)

    monkeypatch.setattr(replica.relay, "_new_epoch", noted)
    before = replica.names.epoch
    replica.log.ranges, replica.log.more = [(1, 2)], True
    await eventually(lambda: _true(replica.names.epoch != before))
    await eventually(lambda: _is(replica.alive, replica.names.epoch))
    assert until == [0]


@pytest.mark.parametrize("other", ["a", "05"])
async def test_what_is_left_when_trust_ends_costs_the_epoch(
    replica: Replica, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    """Where a key is in no range."""
    monkeypatch.setattr(relays, "CHUNK", 10)
    monkeypatch.setattr(relays, "CHUNKS_END", 0)
    before = replica.names
    replica.log.changes = dict.fromkeys([*map(str, range(94)), other])
    await eventually(lambda: _true(replica.names.epoch != before.epoch))
    await eventually(lambda: _is(replica.alive, replica.names.epoch))
    assert replica.names.base != before.base
    assert any("85 changes are left" in str(vars(record)) for record in caplog.records)
    looks = replica.log.number
    await eventually(lambda: _true(replica.log.number > looks + 2))
    assert replica.log.asked[-1] == f"state {replica.log.number - 1}"


async def test_what_is_left_when_trust_ends_costs_its_range(
    replica: Replica, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the ranges of large statements. All other entries stay, so no reader fills again while much is changed."""
    monkeypatch.setattr(relays, "CHUNK", 10)
    monkeypatch.setattr(relays, "CHUNKS_END", 0)
    before = replica.names
    await redis.mset({before.entry(str(key)): b"x" for key in range(300)})
    replica.log.changes = dict.fromkeys(map(str, range(95)))
    replica.log.ranges = [(200, 209)]
    await eventually(lambda: _true(replica.names.epoch != before.epoch))
    await eventually(lambda: _is(replica.alive, replica.names.epoch))
    held = await redis.mget([replica.names.entry(str(key)) for key in range(300)])
    assert [key for key, entry in enumerate(held) if entry] == [*range(95, 200), *range(210, 300)]


async def test_another_database_has_other_names(replica: Replica, redis: Redis) -> None:
    """What was the first one's is left cold, in case that reads had reached the other one before the relay did."""
    here = replica.names
    assert here.identity == HERE
    replica.log.id = THERE
    await eventually(lambda: _true(replica.current.now is not None and replica.names.identity == THERE))
    await eventually(lambda: _is(replica.alive, replica.names.epoch))
    assert await redis.exists(here.alive, here.state) == 0
    replica.log.id = HERE
    await eventually(lambda: _true(replica.current.now is not None and replica.names.identity == HERE))
    await eventually(lambda: _is(replica.alive, replica.names.epoch))
    assert replica.names.epoch != here.epoch


async def test_who_stands_by_notices_another_database(replica: Replica, redis: Redis) -> None:
    """Also where the relay at work is still with the first one."""
    other_log = Log()
    async with Replica(other_log, redis).running() as other:
        before = replica.names.epoch
        other_log.id = THERE
        await eventually(lambda: _true(other.current.now is not None and other.names.identity == THERE))
        await eventually(lambda: _is(other.alive, other.names.epoch))
        # What the other one has read meanwhile may be under these names.
        await eventually(lambda: _true(replica.names.epoch != before))


async def test_forgetting_by_hand(replica: Replica, redis: Redis) -> None:
    before = replica.names
    await redis.set(before.entry("1"), b"x")
    log = cast("ChangeLog", replica.log)
    assert await forget_cache("user", changes=log, primary=redis)
    epoch = await replica.held("epoch")
    assert epoch != before.epoch
    await eventually(lambda: _true(replica.names.epoch == epoch))
    await eventually(lambda: _is(replica.alive, epoch))
    await eventually(lambda: _gone(redis, before.entry("1")))
    assert None not in replica.log.asked[1:]  # the state has stayed
    assert not await forget_cache("book", changes=log, primary=redis)


async def test_forgetting_by_hand_takes_no_trust_away_and_gives_none(redis: Redis) -> None:
    forget, keys = script(redis, "forget"), [b"test:alive", b"test:state", b"test:signal"]
    await redis.set("test:alive", "a", px=60_000)
    assert await forget(keys, ["b"]) == b"a"
    assert await redis.get("test:alive") == b"b"
    assert 0 < await redis.pttl("test:alive") <= 60_000
    await redis.delete("test:alive")
    assert await forget(keys, ["c"]) == b"b"
    assert await redis.exists("test:alive") == 0


async def _true(condition: bool) -> bool:  # noqa: FBT001 (what `until` awaits)
    return condition


async def _is(ask: Callable[[], Awaitable[str | None]], expected: str | None) -> bool:
    return await ask() == expected


async def _gone(redis: Redis, *names: bytes) -> bool:
    return await redis.exists(*names) == 0


async def test_a_relay_that_dies_is_replaced_before_trust_ends(redis: Redis) -> None:
    """It does not release its claim. A machine that is too busy for this shows nothing."""
    async with Replica(Log(), redis).running() as other, machine_time() as elapsed:
        await claim(redis, other.names, "dead")
        await eventually(lambda: _true(other.relay._stands_by))
        await claim(redis, other.names, "dead", 1000)
        await redis.pexpire(other.names.alive, 1500)
        began, trusted = time.monotonic(), True
        while await other.held("relay") != other.relay._id:
            trusted = trusted and await other.alive() is not None
            await asyncio.sleep(0.01)
        assert trusted or elapsed() < 0.8 * (time.monotonic() - began)
