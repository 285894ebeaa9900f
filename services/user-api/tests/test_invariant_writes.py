"""Promise 2 of docs/coherence.md: without faults a write is read at once by its replica, by Min-Version by all."""

import asyncio
import json
import random
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.support.serving import Serve
from tests.support.witness import fleet, witnessing

from verify.connection import Connection, Reply

pytestmark = pytest.mark.anyio

WRITERS = 8
ROUNDS = 12


class Client:
    """A client of all replicas that keeps account of what was acknowledged."""

    def __init__(self, replicas: list[str], number: int) -> None:
        self._connections = {replica: Connection(replica) for replica in replicas}
        self._random = random.Random(number)
        self._number = number
        self._written = 0

    async def life_of_a_user(self) -> None:
        """Looked for before it is there, created, changed and read, deleted."""
        try:
            user = await self._create()
            for _ in range(ROUNDS):
                await self._change(user)
            writer = self._random.choice(list(self._connections))
            assert (await self._ask(writer, "DELETE", user["id"])).status == 204
            assert (await self._ask(writer, "GET", user["id"])).status == 404
        finally:
            for connection in self._connections.values():
                connection.close()

    async def _create(self) -> dict[str, Any]:
        writer = self._random.choice(list(self._connections))
        body = {"email": f"{self._number}@example.com", "name": "new"}
        reply = await self._connections[writer].request(
            "POST", "/v1/users", {"content-type": "application/json"}, json.dumps(body).encode()
        )
        user: dict[str, Any] = reply.json()
        await self._read_back(writer, user)
        return user

    async def _change(self, user: dict[str, Any]) -> None:
        writer = self._random.choice(list(self._connections))
        self._written += 1
        reply = await self._ask(writer, "PATCH", user["id"], json.dumps({"name": f"name {self._written}"}).encode())
        assert reply.status == 200, reply
        user |= reply.json()
        await self._read_back(writer, user)

    async def _read_back(self, writer: str, user: dict[str, Any]) -> None:
        for _ in range(2):
            assert (await self._ask(writer, "GET", user["id"])).json()["data"] == user
        batch = await self._connections[writer].request("GET", f"/v1/users?ids={user['id']}")
        assert batch.json()["data"] == [user]
        for replica in self._connections:
            reply = await self._ask(replica, "GET", user["id"], min_version=user["version"])
            assert reply.status == 200, (replica, reply)
            assert reply.json()["data"] == user

    async def _ask(
        self, replica: str, method: str, user_id: int, body: bytes = b"", *, min_version: int | None = None
    ) -> Reply:
        headers = {"content-type": "application/merge-patch+json"} if body else {}
        if min_version is not None:
            headers["min-version"] = str(min_version)
        return await self._connections[replica].request(method, f"/v1/users/{user_id}", headers, body)


async def test_reads_follow_writes(serve: Serve, database_url: str) -> None:
    """While others read the same users all the time, before they exist, too, so that a fill is nearly always late."""
    tiers = ["memory,redis", "memory,redis", "redis", "memory", ""]
    async with (
        fleet(serve, *({"cache_tiers": tier} for tier in tiers)) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        async with witness.watching(range(1, WRITERS + 1), pause=0.002):
            await asyncio.gather(*(Client(replicas, number).life_of_a_user() for number in range(WRITERS)))
        assert witness.seen["memory"] > 100
        assert witness.seen["redis"] > 10


async def test_nobody_is_taken_for_another_and_nothing_personal_is_in_redis(
    serve: Serve, database_url: str, cache_url: str
) -> None:
    """Promise 4: neither in what is sent to Redis, nor in what Redis keeps."""
    async with (
        fleet(serve, {}, {}, {"cache_tiers": "redis"}) as replicas,
        Redis.from_url(cache_url) as redis,
        redis.monitor() as monitor,
    ):
        commands: list[str] = []

        async def listen() -> None:
            async for command in monitor.listen():
                commands.append(str(command))  # noqa: PERF401 (it is cancelled in the middle)

        listening = asyncio.create_task(listen())
        async with witnessing(database_url, replicas) as witness:
            ids = await witness.create(30)

            async def read_all(replica: str) -> None:
                async with Connection(replica) as connection:
                    for _ in range(3):
                        for user_id in random.sample(ids, len(ids)):
                            assert (await witness.ask(replica, connection, user_id)).name == witness.name(user_id)
                        some = random.sample(ids, 10)
                        batch = await connection.request("GET", f"/v1/users?ids={','.join(map(str, some))}")
                        assert [user["id"] for user in batch.json()["data"]] == some
                        assert [user["name"] for user in batch.json()["data"]] == [witness.name(one) for one in some]

            await asyncio.gather(*(read_all(replica) for replica in replicas))
            for user_id in ids:
                await witness.patch(replicas[0], user_id)
            await asyncio.gather(*(read_all(replica) for replica in replicas[:1]))
        kept = [await redis.dump(key) for key in await redis.keys("*:entry:*")]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert len(kept) >= len(ids)
    assert sum("{user}:" in command for command in commands) > len(ids)
    for text in (*commands, *map(repr, kept)):
        assert "example.com" not in text
        assert "name" not in text or "SCRIPT LOAD" in text  # comments of scripts may speak of names
