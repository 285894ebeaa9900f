"""Readers and counters that never pause, and that remember every answer which is not 200."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.support.load import Connection, Reply

PATIENCE = 120
"""Seconds for something to come true."""


class SteadyLoad:
    """Reads of one user and increments of one counter, from the beginning of `running` to its end.

    Increments carry idempotency keys; with `unkeyed`, as many workers send some that do not, which nobody may repeat
    once they have been sent.
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
        """Return when that many more requests of each kind have been answered."""
        goal = {kind: count + more for kind, count in self.answered.items()} or {"read": more, "increment": more}
        await until(lambda: all(self.answered[kind] >= count for kind, count in goal.items()))

    @property
    def exact(self) -> bool:
        """Whether the increments were all there has been, each once."""
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

    async def _request(self, kind: str, connection: Connection) -> Reply:
        if kind == "read":
            return await connection.request("GET", self._user)
        headers = {"Idempotency-Key": f"{self._increment}{next(self._numbers)}"} if kind == "increment" else {}
        return await connection.request("POST", self._increment, headers)


async def until(condition: Callable[[], bool]) -> None:
    """Return when it is so; the condition may block, it is asked in a thread."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 (others' doing, which sets no event)
            await asyncio.sleep(0.1)
