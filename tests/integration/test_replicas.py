"""What becomes of the whole when its parts are killed, replaced, multiplied and stopped, under load."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.load import Connection
from tests.users import create

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

pytestmark = pytest.mark.anyio


class Load:
    """Readers of one user and counters with idempotency keys, until the block ends; keeps what was answered."""

    def __init__(self, gateway: str, user_id: int, counter: str) -> None:
        self._gateway = gateway
        self._user = f"/v1/users/{user_id}"
        self._increment = f"/v1/counters/{counter}/increment"
        self._stopping = False
        self._keys = iter(range(10**9))
        self.reads: Counter[int] = Counter()
        self.increments: Counter[int] = Counter()
        self.values: list[int] = []
        self.served_by: set[str] = set()

    @asynccontextmanager
    async def running(self, *, workers: int = 6) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._read())
                group.create_task(self._count())
            try:
                yield
            finally:
                self._stopping = True

    async def answers(self, more: int) -> None:
        """Return when that many more reads and increments have been answered."""
        reads, increments = self.reads.total() + more, self.increments.total() + more
        await until(lambda: self.reads.total() >= reads and self.increments.total() >= increments)

    async def _read(self) -> None:
        async with Connection(self._gateway) as connection:
            while not self._stopping:
                reply = await connection.request("GET", self._user)
                self.reads[reply.status] += 1
                self.served_by.add(reply.headers["x-served-by"])

    async def _count(self) -> None:
        async with Connection(self._gateway) as connection:
            while not self._stopping:
                key = {"Idempotency-Key": f"{self._increment}{next(self._keys)}"}
                reply = await connection.request("POST", self._increment, key)
                self.increments[reply.status] += 1
                self.served_by.add(reply.headers["x-served-by"])
                if reply.status == 200:
                    self.values.append(reply.json()["value"])


@pytest.fixture
async def load(gateway: str, client: httpx.AsyncClient, email: str, name: str) -> Load:
    return Load(gateway, (await create(client, email=email))["id"], name)


def exact(load: Load) -> bool:
    return sorted(load.values) == list(range(1, len(load.values) + 1))


@pytest.mark.parametrize("service", ["user-api", "counter-api"])
async def test_replica_killed_under_load_no_failed_read_and_exact_counters(
    stack: "Stack", load: Load, service: str
) -> None:
    async with load.running():
        await load.answers(100)
        for process in stack.processes(service)[:2]:
            os.kill(process["pid"], signal.SIGKILL)
            await load.answers(300)
        await until(lambda: all(process["state"] == "healthy" for process in stack.processes(service)))
        await load.answers(100)
    assert set(load.reads) == {200}
    assert set(load.increments) == {200}
    assert exact(load)


@pytest.mark.parametrize("service", ["user-api", "counter-api"])
async def test_rolling_restart_under_load_drops_nothing(stack: "Stack", load: Load, service: str) -> None:
    before = {process["pid"] for process in stack.processes(service)}
    async with load.running():
        await load.answers(50)
        await asyncio.to_thread(stack.run, "restart", service)
        await load.answers(50)
    after = stack.processes(service)
    assert not before & {process["pid"] for process in after}
    assert len(after) == len(before)
    assert (set(load.reads), set(load.increments)) == ({200}, {200})
    assert exact(load)


async def test_scaling_under_load_drops_nothing(stack: "Stack", load: Load) -> None:
    async with load.running():
        for service in ("user-api", "counter-api"):
            await asyncio.to_thread(stack.run, "scale", service, "4")
        await load.answers(200)
        for service in ("user-api", "counter-api"):
            await asyncio.to_thread(stack.run, "scale", service, "3")
        await load.answers(50)
    assert {"user-api-4", "counter-api-4"} <= load.served_by
    assert (set(load.reads), set(load.increments)) == ({200}, {200})
    assert exact(load)


async def test_gateway_killed_comes_back(stack: "Stack", client: httpx.AsyncClient, name: str) -> None:
    await client.post(f"/v1/counters/{name}/increment")
    os.kill(stack.processes("gateway")[0]["pid"], signal.SIGKILL)
    await until(lambda: stack.processes("gateway")[0]["state"] == "healthy")
    async with httpx.AsyncClient(base_url=stack.gateway, timeout=30) as fresh:
        assert (await fresh.get(f"/v1/counters/{name}")).json() == {"name": name, "value": 1}


async def test_state_survives_the_restart_of_every_service(
    stack: "Stack", client: httpx.AsyncClient, email: str, name: str
) -> None:
    user = await create(client, email=email)
    await client.put(f"/v1/counters/{name}", json={"value": 41})
    visits = (await client.get("/counter")).json()["current_count"]
    requests = (await client.get("/stats")).json()["total_requests"]
    for service in ("user-api", "counter-api"):
        await asyncio.to_thread(stack.run, "restart", service)
    assert (await client.get(f"/v1/users/{user['id']}")).json()["data"] == user
    assert (await client.post(f"/v1/counters/{name}/increment")).json() == {"name": name, "value": 42}
    assert (await client.get("/counter")).json()["current_count"] == visits + 1
    assert (await client.get("/stats")).json()["total_requests"] > requests


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("still not so after 30 s")
