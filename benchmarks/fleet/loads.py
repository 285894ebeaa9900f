"""What is sent to the replicas of one process. Requests begin at a steady rate, and pass from replica to replica."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.fleet.replicas import Replica

CHECK_EVERY = 1.0
"""Seconds between two readiness checks of one replica, as one gateway makes them (gateway/envoy.yaml)."""

READ_EVERY = 0.2
"""Seconds between two reads of the hot user through one replica."""

HOT = 1
"""The user that every replica reads."""

LATE = 0.02
"""Seconds between two looks at how late the event loop is."""


@dataclass(frozen=True)
class Order:
    """A piece of load for one process."""

    kind: str
    """`rest`, `writes`, `cold` (reads of users that no tier has), `hits` (of users that the replica before has read),
    or `hot`: one user is read by all replicas, and written now and then."""
    count: int = 0
    """How many requests."""
    rate: float = 0
    """How many of them begin in a second."""
    first: int = 0
    """The first user. Each request is for the next one."""
    seconds: float = 0
    """How long `rest` and `hot` take."""


class Load:
    """Readiness is checked all the time; everything else comes in orders."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._late: list[float] = []
        self._failed: list[str] = []

    async def run(self, order: Order) -> dict[str, Any]:
        """Carry it out. Reports what failed, and how late the event loop was on average, in seconds."""
        self._late, self._failed = [], []
        if order.kind == "rest":
            await asyncio.sleep(order.seconds)
        elif order.kind == "hot":
            await self._hot(order)
        else:
            kinds = {"writes": self._write, "cold": self._read, "hits": self._read_again}
            await self._steadily(order, kinds[order.kind])
        return {"late": sum(self._late) / max(1, len(self._late)), "failed": self._failed[:1]}

    async def check(self) -> None:
        """Until cancelled, check the readiness of all replicas, evenly spread over time."""
        pause = CHECK_EVERY / len(self._replicas)
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while True:
                for replica in self._replicas:
                    group.create_task(self._expect(200, replica.send("GET", "/readyz")))
                    due = max(due + pause, time.monotonic() - CHECK_EVERY)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def watch(self) -> None:
        """Until cancelled, note how late the event loop is."""
        while True:
            due = time.monotonic() + LATE
            await asyncio.sleep(LATE)
            self._late.append(time.monotonic() - due)

    async def _steadily(self, order: Order, send: Callable[[int, int], Awaitable[None]]) -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(order.count):
                group.create_task(_awaited(send(number, order.first + number)))
                due += 1 / order.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _hot(self, order: Order) -> None:
        """`count` writes of the hot user, through the first replica, while each replica reads it."""
        end = time.monotonic() + order.seconds
        async with asyncio.TaskGroup() as group:
            for number, replica in enumerate(self._replicas):
                group.create_task(self._read_until(end, replica, number / len(self._replicas) * READ_EVERY))
            for _ in range(order.count):
                await asyncio.sleep(order.seconds / order.count)
                await self._write(0, HOT)

    async def _read_until(self, end: float, replica: Replica, after: float) -> None:
        await asyncio.sleep(after)
        while time.monotonic() < end:
            await self._expect(200, replica.send("GET", f"/v1/users/{HOT}"))
            await asyncio.sleep(READ_EVERY)

    async def _write(self, number: int, user: int) -> None:
        body = b'{"name": "Written %d"}' % time.monotonic_ns()
        await self._expect(200, self._of(number).send("PATCH", f"/v1/users/{user}", body))

    async def _read(self, number: int, user: int) -> None:
        await self._expect(200, self._of(number).send("GET", f"/v1/users/{user}"), b'"source":"database"')

    async def _read_again(self, number: int, user: int) -> None:
        await self._expect(200, self._of(number + 1).send("GET", f"/v1/users/{user}"), b'"source":"redis"')

    def _of(self, number: int) -> Replica:
        return self._replicas[number % len(self._replicas)]

    async def _expect(self, status: int, answer: Awaitable[tuple[int, bytes]], text: bytes = b"") -> None:
        try:
            found, body = await answer
        except Exception as error:  # noqa: BLE001 (whatever it is, the load goes on)
            found, body = 0, repr(error).encode()
        if found != status or text not in body:
            self._failed.append(f"{found}: {body[:200]!r}")


async def _awaited(work: Awaitable[None]) -> None:
    await work
