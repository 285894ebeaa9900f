"""Users through the tiers: the tutorials' dict, LRU, TTL and Redis caches, shared by replicas and kept secret."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.serving import Serve
from tests.support.users import ADA, create, create_and_settle

from evenkeel.cache import LoadError
from evenkeel.cache.redis_tier import LEASE
from stack.layout import free_port
from user_api.store import StoredUser, UserStore

pytestmark = [pytest.mark.anyio, pytest.mark.hot_and_ordinary]

OTHER_KEY = base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[int]]:
    """The ids of each query that the cache sends; test_pool.py has that it is one round trip."""
    seen: list[Sequence[int]] = []
    read = UserStore.read

    async def noted_read(store: UserStore, ids: Sequence[int]) -> list[StoredUser]:
        seen.append(ids)
        return await read(store, ids)

    monkeypatch.setattr(UserStore, "read", noted_read)
    return seen


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """A session for SQL by hand."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def source(client: httpx.AsyncClient, user_id: int = 1, **headers: str) -> str:
    response = await client.get(f"/v1/users/{user_id}", headers=headers)
    assert response.status_code == 200, response.text
    answer: str = response.json()["source"]
    return answer


@pytest.mark.parametrize(
    ("tiers", "sources"),
    [
        ("memory,redis", ["database", "memory"]),
        ("memory", ["database", "memory"]),
        ("redis", ["database", "redis"]),
        ("", ["database", "database"]),
    ],
)
async def test_tiers_are_those_of_the_setting(serve: Serve, tiers: str, sources: list[str]) -> None:
    async with serve(cache_tiers=tiers) as client:
        await create_and_settle(client)
        assert [await source(client), await source(client)] == sources
        status = (await client.get("/v1/users/1")).headers["Cache-Status"]
        assert status.count("; hit") == (1 if tiers else 0)


async def test_redis_cache_with_expiry_and_source(serve: Serve) -> None:
    async with serve(cache_tiers="redis", cache_ttl=0.5, cache_stale_ttl=0) as client:
        await create_and_settle(client)
        assert await source(client) == "database"
        assert await source(client) == "redis"
        await asyncio.sleep(0.6)
        assert await source(client) == "database"


async def test_stale_entry_serves_while_one_reader_refreshes_it(serve: Serve, queries: list[Sequence[int]]) -> None:
    async with serve(cache_tiers="redis", cache_ttl=1) as client:
        await create(client)
        answers: list[httpx.Response] = []
        for _ in range(5):  # on a busy machine Redis may lose trust in between
            await source(client)
            await asyncio.sleep(1.1)
            queries.clear()
            answers = await asyncio.gather(*(client.get("/v1/users/1") for _ in range(20)))
            if {answer.json()["source"] for answer in answers} == {"redis"}:
                break
        assert {answer.json()["source"] for answer in answers} == {"redis"}
        assert re.fullmatch(r"redis; hit; ttl=-?0; detail=revalidating", answers[0].headers["Cache-Status"])
        for _ in range(100):
            if "revalidating" not in (await client.get("/v1/users/1")).headers["Cache-Status"]:
                break
            await asyncio.sleep(0.01)
        assert len(queries) == 1


async def test_many_readers_of_a_cold_key_through_two_replicas_cause_one_query(
    serve: Serve, queries: list[Sequence[int]]
) -> None:
    """Invariant 3, in small; test_invariant_stampede.py has it with replicas of their own and expired keys."""
    async with serve(replica_name="replica-a") as one, serve(replica_name="replica-b") as two:
        for attempt in range(1, 21):  # on a busy machine readers may have waited too long for the one who fills
            await create(one, email=f"u{attempt}@example.com")
            queries.clear()
            answers = await asyncio.gather(*(client.get(f"/v1/users/{attempt}") for client in (one, two) * 50))
            assert {answer.status_code for answer in answers} == {200}
            if len(queries) == 1:
                break
            await asyncio.sleep(0.5)
        assert len(queries) == 1


async def test_memory_cache_with_ttl(serve: Serve) -> None:
    async with serve(cache_tiers="memory", memory_ttl=0.3) as client:
        await create_and_settle(client)
        assert await source(client) == "database"
        assert await source(client) == "memory"
        await asyncio.sleep(0.4)
        assert await source(client) == "database"


async def test_memory_cache_with_size_bound_evicts_the_least_recently_used(serve: Serve) -> None:
    async with serve(cache_tiers="memory", memory_max_entries=2, memory_ttl=60) as client:
        for n in range(3):
            await create_and_settle(client, email=f"u{n}@example.com")
        await source(client, 1)
        await source(client, 2)
        assert await source(client, 1) == "memory"
        await source(client, 3)  # evicts 2
        assert [await source(client, n) for n in (1, 3, 2)] == ["memory", "memory", "database"]


async def test_redis_tier_is_shared_by_replicas(serve: Serve) -> None:
    async with serve(replica_name="replica-a") as a, serve(replica_name="replica-b") as b:
        await create_and_settle(a)
        assert [await source(a), await source(b), await source(b)] == ["database", "redis", "memory"]


async def test_min_version_reads_the_newest_through_every_replica(serve: Serve, postgres: "asyncpg.Connection") -> None:
    async with serve(memory_ttl=600) as a, serve(memory_ttl=600, replica_name="replica-b") as b:
        await create_and_settle(a)
        await source(b)
        assert await source(b) == "memory"
        # By hand, so that no invalidation has reached b yet.
        await postgres.execute("UPDATE users SET name = 'B' WHERE id = 1")
        response = await b.get("/v1/users/1", headers={"Min-Version": "2"})
        assert response.json()["data"]["version"] == 2
        assert (await b.get("/v1/users/1")).json()["data"]["version"] == 2
        # How far the relay has come meanwhile: nowhere, to Redis, or to the memory of b as well.
        assert response.headers["Cache-Status"] in {
            "redis; fwd=request; detail=min-version, memory; fwd=request; detail=min-version",
            "redis; fwd=uri-miss; stored, memory; fwd=request; stored; detail=min-version",
            "redis; fwd=uri-miss; stored, memory; fwd=uri-miss; stored",
        }


async def test_batch_is_one_round_trip_per_tier(serve: Serve, cache_url: str, queries: list[Sequence[int]]) -> None:
    async with serve() as a, serve(replica_name="replica-b") as b, Redis.from_url(cache_url) as redis:
        for n in range(30):
            await create(a, email=f"u{n}@example.com")
        ids = ",".join(map(str, range(1, 31)))
        await a.get("/v1/users?ids=" + ids.partition(",20,")[0])
        await asyncio.sleep(1)  # the relay, too, finds entries by MGET
        queries.clear()
        await redis.config_resetstat()
        response = await b.get("/v1/users", params={"ids": ids})
        assert [user["id"] for user in response.json()["data"]] == list(range(1, 31))
        assert len(queries) == 1
        assert (await redis.info("commandstats"))["cmdstat_mget"]["calls"] == 1


async def test_personal_data_is_encrypted_in_redis(serve: Serve, cache_url: str) -> None:
    async with serve() as client, Redis.from_url(cache_url) as redis:
        await create(client)
        await source(client)
        name = (await cache_names(redis)).entry("1")
        assert await redis.keys("*:entry:*") == [name]
        held = await redis.get(name)
        assert isinstance(held, bytes)
        for secret in (ADA["email"], ADA["name"], "email", "name"):
            assert secret.encode() not in held
        assert 600 < await redis.ttl(name) <= 3600


async def test_entry_of_another_user_is_never_served(serve: Serve, cache_url: str) -> None:
    async with serve(cache_tiers="redis") as client, Redis.from_url(cache_url) as redis:
        await create(client)
        await create(client, email="b@example.com")
        await source(client, 1)
        await source(client, 2)
        names = await cache_names(redis)
        await redis.copy(names.entry("1").decode(), names.entry("2").decode(), replace=True)
        response = await client.get("/v1/users/2")
        assert (response.json()["source"], response.json()["data"]["id"]) == ("database", 2)
        metrics = (await client.get("/metrics")).text
        assert 'cache_unreadable_entries_total{cache="user",reason="authentication failed"} 1.0' in metrics


@pytest.mark.parametrize("damage", [b"", b"x", b"\x00" * 16, b"\x00" * 100])
async def test_damaged_entry_is_a_miss(serve: Serve, cache_url: str, damage: bytes) -> None:
    async with serve(cache_tiers="redis") as client, Redis.from_url(cache_url) as redis:
        await create(client)
        await redis.set((await cache_names(redis)).entry("1"), damage)
        assert [await source(client), await source(client)] == ["database", "redis"]


async def test_key_ring_rotates_without_misses(serve: Serve, cache_key: str) -> None:
    async with (
        serve(cache_tiers="redis") as old,
        serve(cache_tiers="redis", cache_keys=f"{OTHER_KEY},{cache_key}") as both,
        serve(cache_tiers="redis", cache_keys=OTHER_KEY) as new,
    ):
        await create(old)
        assert [await source(old), await source(both)] == ["database", "redis"]
        assert [await source(new), await source(both), await source(new)] == ["database", "redis", "redis"]
        assert await source(old) == "database"


async def test_cold_reads_do_not_wait_for_an_entry_under_a_key_that_they_do_not_have(
    serve: Serve, cache_key: str, queries: list[Sequence[int]]
) -> None:
    """In a rotation some replicas have the new key already, which encrypts; the others have to do without."""
    users = 20
    async with (
        serve(cache_tiers="redis", cache_keys=f"{OTHER_KEY},{cache_key}") as new,
        serve(cache_tiers="redis", replica_name="replica-b") as old,
    ):
        for n in range(users):
            await create(new, email=f"u{n}@example.com")
        queries.clear()
        began = time.monotonic()
        for n in range(1, users + 1):
            answers = await asyncio.gather(*(client.get(f"/v1/users/{n}") for client in (new, old, new, old)))
            assert {answer.status_code for answer in answers} == {200}
        # Each wait for an entry that does not open took longer than a lease.
        assert time.monotonic() - began < users * LEASE / 2
        assert len(queries) <= 3 * users
        # What the old one has filled, both can open.
        await source(old)
        assert [await source(new), await source(old)] == ["redis", "redis"]


async def test_entries_of_another_shape_are_loaded_anew(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, postgres: "asyncpg.Connection"
) -> None:
    """As in a rollout, whose releases give users different members."""

    async def read(client: httpx.AsyncClient) -> tuple[str, str]:
        answer = (await client.get("/v1/users/1")).json()
        return answer["source"], answer["data"]["name"]

    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(serve(cache_tiers="redis"))
        monkeypatch.setattr("user_api.stores.SHAPE", "another")
        other = await stack.enter_async_context(serve(cache_tiers="redis", replica_name="replica-b"))
        await create(one)
        for reader in (one, other, one, other):
            assert [(await read(reader))[0] for _ in range(2)] == ["database", "redis"]
        assert 'cache_unreadable_entries_total{cache="user",reason="other shape"}' in (await other.get("/metrics")).text
        for number, (writer, reader) in enumerate([(one, other), (other, one)]):
            await read(reader)
            assert (await writer.patch("/v1/users/1", json={"name": f"By a replica {number}"})).status_code == 200
            assert await read(reader) == ("database", f"By a replica {number}")
        assert await read(one) == ("redis", "By a replica 1")
        await postgres.execute("UPDATE users SET name = 'By hand'")
        await asyncio.sleep(2)
        assert await read(one) == ("database", "By hand")


async def test_refused_changes_invalidate_nothing(serve: Serve, queries: list[Sequence[int]]) -> None:
    async with serve() as client:
        await create(client)
        await create_and_settle(client, email="b@example.com")
        await source(client)
        for _ in range(5):
            refusals = [
                await client.patch("/v1/users/1", json={"name": "B"}, headers={"If-Match": '"1"'}),
                await client.delete("/v1/users/1", headers={"If-Match": '"1"'}),
                await client.patch("/v1/users/1", json={"email": "b@example.com"}),
            ]
            assert [refusal.status_code for refusal in refusals] == [412, 412, 409]
            assert await source(client) == "memory"
        assert (await client.get("/v1/users/9")).status_code == 404
        queries.clear()
        for _ in range(5):
            assert (await client.patch("/v1/users/9", json={"name": "B"})).status_code == 404
            assert (await client.delete("/v1/users/9")).status_code == 404
            assert (await client.get("/v1/users/9")).status_code == 404
        assert queries == []


async def test_without_redis_reads_and_writes_go_on(serve: Serve) -> None:
    async with serve(cache_url=f"redis://127.0.0.1:{free_port()}/0", memory_ttl=0.01) as client:
        await create(client)
        response = await client.get("/v1/users/1")
        assert response.json()["source"] == "database"
        assert response.headers["Cache-Status"] == (
            "redis; fwd=bypass; detail=not-invalidated, memory; fwd=bypass; detail=distrusted"
        )
        assert (await client.patch("/v1/users/1", json={"name": "B"})).status_code == 200
        assert (await client.get("/v1/users?ids=1")).json()["data"][0]["name"] == "B"
        assert (await client.delete("/v1/users/1")).status_code == 204
        assert (await client.get("/readyz")).status_code == 200


async def test_commit_with_unknown_outcome_invalidates(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(cache_tiers="redis") as client:
        await create(client)
        assert [await source(client), await source(client)] == ["database", "redis"]
        update = UserStore.update

        async def update_whose_answer_is_lost(self: UserStore, *arguments: Any) -> None:
            await update(self, *arguments)
            raise LoadError("The connection to the database was lost.")

        monkeypatch.setattr(UserStore, "update", update_whose_answer_is_lost)
        assert (await client.patch("/v1/users/1", json={"name": "B"})).status_code == 503
        answer = (await client.get("/v1/users/1")).json()
        assert (answer["source"], answer["data"]["name"]) == ("database", "B")
