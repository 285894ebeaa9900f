"""Readers and counters, some hundred requests a second, which record every answer that is not 200."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from verify.connection import Connection, Reply

PAUSE = 0.02
"""Seconds between an answer and the worker's next request. Without it, what restarts waits for a core."""

PATIENCE = 120
"""Seconds within which a condition must become true."""


class SteadyLoad:
    """Reads of one user and increments of one counter, while `running` lasts.

    Increments have idempotency keys. With `unkeyed`, as many more workers send increments without a key, which must not
    be repeated once they were sent.
    """

    def __init__(self, gateway: str, user_id: int, counter: str, *, unkeyed: bool = False) -> None:
        self._gateway = gateway
        self._user = f"/v1/users/{user_id}"
        self._increment = f"/v1/counters/{counter}/increment"
        self._unkeyed = unkeyed
        self._stopping = False
        self._numbers = itertools.count()
        self.answered: Counter[str] = Counter()
        """By kind: read, increment, unkeyed."""
        self.failures: list[str] = []
        self.values: list[int] = []
        self.served_by: set[str] = set()

    @asynccontextmanager
    async def running(self, *, workers: int = 6) -> AsyncIterator[None]:
        kinds = ["read", "increment", *(["unkeyed"] if self._unkeyed else [])]
        async with asyncio.TaskGroup() as group:
            for kind in kinds * workers:
                group.create_task(self._work(kind))
            try:
                yield
            finally:
                self._stopping = True

    async def answers(self, more: int) -> None:
        """Return when this many more requests of each kind have been answered."""
        goal = {kind: count + more for kind, count in self.answered.items()} or {"read": more, "increment": more}
        await until(lambda: all(self.answered[kind] >= count for kind, count in goal.items()))

    @property
    def exact(self) -> bool:
        """Whether the counter contains each of the increments exactly once."""
        return sorted(self.values) == list(range(1, len(self.values) + 1))

    async def _work(self, kind: str) -> None:
        async with Connection(self._gateway) as connection:
            while not self._stopping:
                try:
                    reply = await self._request(kind, connection)
                except (OSError, EOFError) as error:
                    self.failures.append(f"{kind}: {error!r}")
                    continue
                self.answered[kind] += 1
                self.served_by.add(reply.headers.get("x-served-by", ""))
                if reply.status != 200:
                    self.failures.append(f"{kind}: {reply.status} {reply.body!r}")
                elif kind != "read":
                    self.values.append(reply.json()["value"])
                await asyncio.sleep(PAUSE)

    async def _request(self, kind: str, connection: Connection) -> Reply:
        if kind == "read":
            return await connection.request("GET", self._user)
        headers = {"Idempotency-Key": f"{self._increment}{next(self._numbers)}"} if kind == "increment" else {}
        return await connection.request("POST", self._increment, headers)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds. It is called in a thread, so it may block."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(0.1)
