"""The index of names: it has every counter, pages have no names without counters, and what a page costs."""

import asyncio
import collections
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
from redis.asyncio import Redis
from tests.support.counter_stores import store_at
from tests.support.counters_redis import counters_cluster
from tests.support.lossy_proxy import LossyProxy
from tests.support.serving import Serve

from counter_api.counters.listing import redis_listing, upkeep
from counter_api.counters.listing.shards import ALL, LISTED_FOR, READ_FOR, STAMPED_FOR, shard_of
from counter_api.counters.operations import Applied, Delete, Increment, Operation, Outcome, Put
from counter_api.counters.redis_store import Group, RedisCounterStore
from counter_api.counters.store import Page
from counter_api.problems import NothingApplied
from counter_api.settings import Settings
from evenkeel.http.problems import Problem, Unavailable

pytestmark = pytest.mark.anyio

NDJSON = {"Content-Type": "application/x-ndjson"}

MakeSettings = Callable[..., Settings]
Order = Sequence[str | int]


@pytest.fixture
async def store(make_settings: MakeSettings) -> AsyncIterator[RedisCounterStore]:
    async with store_at(make_settings()) as store:
        yield store


@pytest.fixture
async def redis(counters_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(counters_url, decode_responses=True) as redis:
        yield redis


async def apply(store: RedisCounterStore, *operations: Operation) -> list[Outcome]:
    outcomes = await store.apply(operations)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Problem)], outcomes
    return outcomes


async def make(store: RedisCounterStore, *names: str) -> None:
    await apply(store, *(Increment(name=name) for name in names))


async def names(store: RedisCounterStore, prefix: str = "", limit: int = 1000) -> list[str]:
    """Read page by page."""
    found: list[str] = []
    after = None
    while True:
        page = await store.page(prefix=prefix, after=after, limit=limit)
        found += [name for name, _ in page.counters]
        if page.next_after is None:
            assert found == sorted(set(found))
            return found
        after = page.next_after


async def listed(redis: Redis) -> list[str]:
    """All names of the index, also those without counters."""
    return sorted([str(name) for shard in ALL for name in await redis.zrange(shard.names, 0, -1)])


async def calls(redis: Redis) -> dict[str, int]:
    """How often each command was called, without the calls of this test."""
    found = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): stats["calls"] for name, stats in found.items() if name != "cmdstat_info"}


@asynccontextmanager
async def counted(redis: Redis) -> AsyncIterator[dict[str, int]]:
    """The commands of the block, including those of scripts."""
    difference: dict[str, int] = {}
    before = await calls(redis)
    yield difference
    after = await calls(redis)
    difference |= {name: more for name in after if (more := after[name] - before.get(name, 0))}


async def test_a_counter_that_exists_costs_no_command_more(store: RedisCounterStore, redis: Redis) -> None:
    await make(store, "a")
    await apply(store, Increment(name="a", maximum=100))
    async with counted(redis) as commands:
        await make(store, "a")
    assert commands == {"evalsha": 1, "get": 2, "time": 1, "incrby": 1, "set": 1}
    async with counted(redis) as commands:
        await apply(store, Increment(name="a", maximum=100))
    assert commands == {"evalsha": 1, "get": 2, "time": 2, "incrby": 1, "set": 1}


async def test_whatever_makes_a_counter_lists_it_first(store: RedisCounterStore, redis: Redis) -> None:
    await apply(store, Increment(name="plain"))
    await apply(store, Increment(name="bounded", maximum=5))
    await apply(store, Put(name="put", value=7))
    await apply(store, Increment(name="b1"), Increment(name="b2"), Increment(name="b1"), Increment(name="plain"))
    assert await names(store) == ["b1", "b2", "bounded", "plain", "put"] == await listed(redis)
    # Reserved names are not listed.
    await apply(store, Increment(name="_visits"))
    assert len(await listed(redis)) == 5


async def test_a_batch_without_a_listing_changes_nothing(store: RedisCounterStore, redis: Redis) -> None:
    now = int((await redis.time())[0]) * 1000
    kinds: Sequence[Sequence[Operation]] = [
        [Increment(name="a")],
        [Put(name="a", value=1)],
        [Increment(name="a", maximum=5)] * 2,
    ]
    for operations in kinds:
        for until in (0, now - 1):
            outcomes = await store.pipeline.submit(Group("a", operations, store.terms, until))
            assert [type(outcome).__name__ for outcome in outcomes] == ["NotListed"] * len(operations)
    assert await redis.keys("{a}*") == []
    # A batch that deletes the counter and makes it again needs no listing, since the counter exists.
    await make(store, "a")
    again: list[Operation] = [Delete(name="a"), Increment(name="a", by=3)]
    assert await store.pipeline.submit(Group("a", again, store.terms)) == [Applied(0), Applied(3)]


async def test_many_callers_make_one_counter(store: RedisCounterStore) -> None:
    outcomes = await asyncio.gather(*(store.apply([Increment(name="a")]) for _ in range(200)))
    assert [outcome for [outcome] in outcomes] == [Applied(n) for n in range(1, 201)]


async def test_killed_between_the_two_writes(make_settings: MakeSettings, counters_url: str, redis: Redis) -> None:
    """The name is listed, and nothing more is ever sent."""
    proxy = LossyProxy(counters_url)
    async with proxy.running(), store_at(make_settings(redis_url=proxy.url, patience=0.3)) as store:
        await make(store, "warm")
        before = await store.pipeline.submit(Group("a", [Increment(name="a")], store.terms))
        assert isinstance(before[0], NothingApplied)
        await store.listing.names.listed(["a", "b"])
    async with store_at(make_settings()) as store:
        assert await listed(redis) == ["a", "b", "warm"]
        assert await names(store) == ["warm"]
        assert [name async for found in store.listing.export("") for name, _ in found] == ["warm"]
        # The listing is recent, so the counter may be about to be made.
        assert await store.listing.upkeep.sweep(between=0) == 0
        await make(store, "b")
        await long_ago(store)
        assert await store.listing.upkeep.sweep(between=0) == 1
        assert await listed(redis) == ["b", "warm"]


async def test_a_listing_that_is_not_confirmed_changes_nothing(make_settings: MakeSettings, redis: Redis) -> None:
    shard = shard_of("a")
    await redis.set(shard.names, "somebody else's")
    async with store_at(make_settings()) as store:
        [outcome] = await store.apply([Increment(name="a")])
        assert isinstance(outcome, NothingApplied)
        assert "nothing was changed" in outcome.detail
        assert await store.value("a") is None
        await make(store, *(name for name in ("b", "c", "d") if shard_of(name) != shard))


async def long_ago(store: RedisCounterStore) -> None:
    """Age all stamps, so that no counter can still be about to be made."""
    for shard in ALL:
        for name in await store.pipeline.command("ZRANGE", shard.stamps, 0, -1):
            await store.pipeline.command("ZINCRBY", shard.stamps, -STAMPED_FOR - 1, name)


async def test_what_is_gone_is_swept(store: RedisCounterStore, redis: Redis) -> None:
    await make(store, *(f"n{n}" for n in range(50)))
    await apply(store, Increment(name="brief", ttl=1, series=("day",)))
    await apply(store, *(Delete(name=f"n{n}") for n in range(40)))
    await redis.delete("{n40}")
    while await redis.exists("{brief}"):  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(0.05)
    assert await redis.exists("{brief}:series:day")
    assert await names(store) == [f"n{n}" for n in range(41, 50)]
    assert await store.listing.upkeep.sweep(between=0) == 0
    await long_ago(store)
    assert await store.listing.upkeep.sweep(between=0) == 42
    assert await listed(redis) == [f"n{n}" for n in range(41, 50)]
    assert not await redis.exists("{brief}:series:day")
    # Each listing removes some old stamps.
    for _ in range(20):
        await store.listing.names.listed([f"n{n}" for n in range(45, 50)])
    assert sum([await redis.zcard(shard.stamps) for shard in ALL]) <= 5 + 9


async def test_what_the_index_cannot_know_is_found(store: RedisCounterStore, redis: Redis) -> None:
    foreign: dict[str, int | str] = {
        "{_visits}": 1,
        "{a}:idem:x": "x",
        "{a b}": 1,
        "a": 1,
        "{}": 1,
        "{" + "x" * 129 + "}": 1,
    }
    await redis.mset(foreign)
    await redis.mset({f"{{n{n}}}": n for n in range(3000)})
    await redis.hset("{hash}", "a", 1)
    # The first reader waits until it is complete.
    assert await names(store, limit=1000) == sorted(f"n{n}" for n in range(3000))
    await redis.set("{later}", 1)
    assert await names(store, prefix="l") == []
    assert await store.listing.upkeep.scan(between=0) == 1
    assert await names(store, prefix="l") == ["later"]
    assert set(await listed(redis)) == {"later", *(f"n{n}" for n in range(3000))}


async def test_an_index_that_is_not_complete_is_not_read(
    store: RedisCounterStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(store, "a")
    assert await names(store) == ["a"]
    # As if one node of a cluster had lost its data.
    await redis.delete(ALL[3].names, ALL[3].stamps, ALL[3].state)
    monkeypatch.setattr(redis_listing, "COMPLETE_WITHIN", 0.05)
    monkeypatch.setattr(upkeep, "URGENT", 0.5)
    with pytest.raises(Unavailable):
        await store.page(prefix="", after=None, limit=1)
    with pytest.raises(Unavailable):
        await anext(store.listing.export(""))
    monkeypatch.setattr(redis_listing, "COMPLETE_WITHIN", 10)
    assert await names(store) == ["a"]


async def test_a_shard_that_is_emptied_during_a_scan_is_not_complete(store: RedisCounterStore, redis: Redis) -> None:
    await redis.mset({f"{{n{n}}}": n for n in range(100)})
    scan = store.listing.upkeep.scan
    scanning = asyncio.create_task(scan(between=0.5))
    while not await listed(redis):  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(0.01)
    shard = shard_of("n7")
    await redis.delete(shard.names, shard.stamps, shard.state)
    await scanning
    assert await redis.get(shard.state) is None
    assert await redis.get(next(each for each in ALL if each != shard).state) == "complete"
    assert len(await names(store)) == 100


async def test_pages_pass_over_what_is_gone(
    store: RedisCounterStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [f"n{n:04}" for n in range(2000)]
    await make(store, *every)
    kept = every[::400] + every[-1:]
    await redis.delete(*(f"{{{name}}}" for name in every if name not in kept))
    page = await store.page(prefix="", after=None, limit=3)
    assert [name for name, _ in page.counters] == kept[:3]
    assert page.next_after == kept[2]
    assert await names(store, limit=3) == kept
    # A page that would have to skip too many names is shorter, and has a link to the next one.
    monkeypatch.setattr(redis_listing, "MOST_GONE", 100)
    page = await store.page(prefix="", after=None, limit=3)
    assert [name for name, _ in page.counters] == kept[:1]
    assert page.next_after is not None
    assert await names(store, limit=3) == kept


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_prefix_and_after_at_the_edges(store: RedisCounterStore, limit: int) -> None:
    every = ["A", "Z", "a", "a-", "a.", "a:", "a_", "aZ", "aa", "aaa", "ab", "b", "z", "z" * 128, "0"]
    await make(store, *every)
    for prefix in ("", "a", "aa", "aaa", "aaaa", "z", "z" * 128, "Z", "0", "y"):
        assert await names(store, prefix, limit) == sorted(name for name in every if name.startswith(prefix))
        for after in ("0", "a", "aa", "ab", "zz", "9"):
            page = await store.page(prefix=prefix, after=after, limit=limit)
            expected = sorted(name for name in every if name.startswith(prefix) and name > after)
            assert [name for name, _ in page.counters] == expected[:limit]
            assert page.next_after == (expected[limit - 1] if len(expected) > limit else None)
    assert await store.page(prefix="zz", after="z" * 128, limit=limit) == Page([], None)


async def test_a_shard_may_have_more_than_its_share(store: RedisCounterStore) -> None:
    names_by_shard = sorted((ALL.index(shard_of(f"n{n}")), f"n{n}") for n in range(3000))
    one = [name for place, name in names_by_shard if place == 3]
    others = [name for place, name in names_by_shard if place != 3][::100]
    await make(store, *one, *others)
    for limit in (1, 10, 100):
        assert await names(store, limit=limit) == sorted([*one, *others])


async def test_a_name_in_two_shards_is_one(store: RedisCounterStore, redis: Redis) -> None:
    await make(store, "a", "b", "c")
    for shard in ALL:
        await redis.zadd(shard.names, {"b": 0})
    assert await names(store, limit=1) == ["a", "b", "c"]
    assert await names(store) == ["a", "b", "c"]


async def test_while_counters_come_and_go(store: RedisCounterStore, make_settings: MakeSettings) -> None:
    """Counters that stay are on every page. Counters that went before a page began are not on it."""
    choose = random.Random(5)
    stay = [f"s{n:03}" for n in range(300)]
    gone = [f"g{n:03}" for n in range(300)]
    await make(store, *stay, *gone)
    await apply(store, *(Delete(name=name) for name in gone))
    stop = asyncio.Event()

    async def churn(other: RedisCounterStore) -> None:
        while not stop.is_set():
            some = [f"x{choose.randrange(200):03}" for _ in range(20)]
            await other.apply([Increment(name=name, ttl=1) for name in some])
            await other.apply([Delete(name=name) for name in some[::2]])

    async def sweep(other: RedisCounterStore) -> None:
        while not stop.is_set():
            await long_ago(store)
            await other.listing.upkeep.sweep(between=0)

    async with store_at(make_settings()) as other, asyncio.TaskGroup() as working:
        working.create_task(churn(other))
        working.create_task(sweep(other))
        for limit in (7, 50, 100, 1000):
            found = await names(store, limit=limit)
            assert [name for name in found if name[0] != "x"] == stay
            exported = [name async for some in store.listing.export("") for name, _ in some]
            assert [name for name in exported if name[0] != "x"] == stay
        stop.set()


async def test_no_interleaving_loses_a_name(store: RedisCounterStore, redis: Redis) -> None:  # noqa: C901 (a case a step)
    """One replica makes a counter, deletes it and makes it again; another one sweeps: in every order of their steps.

    Once, between two of the steps, time passes: all moments that were noted are then so much older.
    """
    numbers = itertools.count()
    outcomes = collections.Counter[str]()

    async def run(order: Order) -> None:  # noqa: C901 (as above)
        name = f"n{next(numbers)}"
        shard = shard_of(name)
        await redis.zadd(shard.names, {name: 0})  # left by a counter that is gone
        until = read = 0
        gone = False
        for step in order:
            match step:
                case "list":
                    until = await store.listing.names.listed([name])
                case "make":
                    [outcome] = await store.pipeline.submit(Group(name, [Increment(name=name)], store.terms, until))
                    outcomes[type(outcome).__name__] += 1
                case "delete":
                    await store.apply([Delete(name=name)])
                case "read":
                    seconds, microseconds = await redis.time()
                    read = seconds * 1000 + microseconds // 1000
                case "look":
                    gone = not await redis.exists(f"{{{name}}}")
                case "remove" if gone:
                    removed = await store.listing.upkeep.unlist(shard, [name], read)
                    outcomes["removed" if removed else "kept"] += 1
                case int():
                    until, read = until - step, read - step
                    if await redis.zscore(shard.stamps, name) is not None:
                        await redis.zincrby(shard.stamps, -step, name)
            if await redis.exists(f"{{{name}}}"):
                assert await redis.zscore(shard.names, name) is not None, order

    later: Sequence[int] = (READ_FOR - 5000, STAMPED_FOR + 5000)
    orders = interleavings(("list", "make", "delete", "list", "make"), ("read", "look", "remove"))
    runs: list[Order] = [
        *orders,
        *(
            [*order[:place], passed, *order[place:]]
            for order in orders
            for place in range(1, len(order))
            for passed in later
        ),
    ]
    for begin in range(0, len(runs), 50):
        await asyncio.gather(*map(run, runs[begin : begin + 50]))
    assert outcomes.keys() == {"Applied", "NotListed", "removed", "kept"}


def interleavings(one: Order, other: Order) -> list[Order]:
    if not one or not other:
        return [[*one, *other]]
    return [
        *([one[0], *rest] for rest in interleavings(one[1:], other)),
        *([other[0], *rest] for rest in interleavings(one, other[1:])),
    ]


async def test_the_margins_hold() -> None:
    assert STAMPED_FOR > LISTED_FOR + READ_FOR


async def test_imported_counters_are_listed(client: httpx.AsyncClient) -> None:
    lines = b"".join(b'{"name":"n%d","value":%d}\n' % (n, n) for n in range(700))
    assert (await client.post("/v1/counters:import", content=lines, headers=NDJSON)).json() == {"imported": 700}
    page = await client.get("/v1/counters", params={"limit": 1000})
    assert page.json()["data"] == [{"name": f"n{n}", "value": n} for n in sorted(range(700), key=str)]
    assert page.headers["Cache-Control"] == "no-cache"


async def test_readers_that_have_left_cost_nothing(serve: Serve, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_listing, "EXPORTED", 20)
    async with serve() as client:
        lines = b"".join(b'{"name":"n%d","value":%d}\n' % (n, n) for n in range(20_000))
        await client.post("/v1/counters:import", content=lines, headers=NDJSON)
        before = (await calls(redis)).get("zrangebylex", 0)
        async with client.stream("GET", "/v1/counters:export") as response:
            await anext(response.aiter_raw())
        while True:
            async with counted(redis) as commands:
                await asyncio.sleep(0.1)
            # The upkeep of the index reads a little meanwhile.
            if commands.get("zrangebylex", 0) < len(ALL):
                break
        assert (await calls(redis))["zrangebylex"] - before < 500 * len(ALL)  # of 1,000 steps


async def test_a_page_does_not_depend_on_how_much_else_there_is(store: RedisCounterStore, redis: Redis) -> None:
    """Counted in commands; test_lists_at_scale.py measures the time."""
    await make(store, *(f"n{n:04}" for n in range(1000)))
    await names(store)
    await redis.mset({f"{{n0000}}:idem:{n}": "x" for n in range(10_000)})
    costs = []
    for _ in range(2):
        async with counted(redis) as commands:
            await store.page(prefix="", after="n0500", limit=100)
        costs.append(commands)
        await make(store, *(f"m{n}" for n in range(3000)))
    assert costs[0] == costs[1]
    assert "scan" not in costs[0]
    assert costs[0]["zrangebylex"] == len(ALL)
    assert costs[0]["evalsha"] == len(ALL) + 1


@pytest.mark.slow
async def test_on_a_cluster(tmp_path_factory: pytest.TempPathFactory, make_settings: MakeSettings) -> None:
    async with counters_cluster(tmp_path_factory.mktemp("listing")) as cluster:
        every = [f"n{n:04}" for n in range(1500)]
        async with store_at(make_settings(redis_url=cluster.url)) as store:
            await make(store, *every)
            keys = [await cluster.call(node, "KEYS", "{_names:*}") for node in cluster.nodes]
            assert sum(map(len, keys)) == len(ALL)
            assert min(map(len, keys)) > 0
            assert await names(store, limit=100) == every
            await apply(store, *(Delete(name=name) for name in every[::2]))
            assert await names(store, limit=999) == every[1::2]
            await long_ago(store)
            assert await store.listing.upkeep.sweep(between=0) == len(every) / 2
            exported = [name async for some in store.listing.export("") for name, _ in some]
            assert exported == every[1::2]
            await store.pipeline.command("SET", "{found}", 1)
            assert await store.listing.upkeep.scan(between=0) == 1
            assert await names(store, prefix="f") == ["found"]
            # A node loses everything.
            await cluster.call(cluster.nodes[0], "FLUSHALL")
            left = [key for node in cluster.nodes[1:] for key in await cluster.call(node, "KEYS", "{n*}")]
            assert await names(store, prefix="n") == sorted(key.decode()[1:-1] for key in left)
