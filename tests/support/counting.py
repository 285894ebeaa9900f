"""Callers of one counter, who repeat a request until it is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from tests.support.problems import problem

CALLERS = 8

PAUSE = 0.02
"""Seconds before a request is repeated."""


@dataclass
class Counting:
    values: list[int] = field(default_factory=list)
    """All answers, in the order in which they came."""

    async def more(self, count: int) -> None:
        """Return when so many more answers have come."""
        wanted = len(self.values) + count
        async with asyncio.timeout(60):
            while len(self.values) < wanted:  # noqa: ASYNC110 (there is no event to wait for)
                await asyncio.sleep(PAUSE)


@asynccontextmanager
async def counting(*clients: httpx.AsyncClient, name: str = "a", unkeyed: bool = False) -> AsyncIterator[Counting]:
    """Increments of a new counter during the block. At the end, no increment may be lost or counted twice.

    All requests have an Idempotency-Key; with `unkeyed` half of them have none.
    """
    counted = Counting()
    stop = asyncio.Event()
    path = f"/v1/counters/{name}"

    async def call(caller: int) -> None:
        client, number = clients[caller % len(clients)], 0
        while not stop.is_set():
            number += 1
            headers = {} if unkeyed and caller % 2 else {"Idempotency-Key": f"{caller}-{number}"}
            while (answer := await client.post(f"{path}/increment", headers=headers)).status_code != 200:
                assert problem(answer) == (503, "unavailable"), answer.text
                assert answer.headers["Retry-After"] == "1"
                # Without a key, only an increment that was surely not applied may be repeated.
                assert headers or "nothing was changed" in answer.text
                await asyncio.sleep(PAUSE)
            counted.values.append(answer.json()["value"])

    async with asyncio.TaskGroup() as group:
        for caller in range(CALLERS):
            group.create_task(call(caller))
        yield counted
        stop.set()
    assert sorted(counted.values) == [*range(1, len(counted.values) + 1)]
    assert (await clients[0].get(path)).json() == {"name": name, "value": len(counted.values)}
