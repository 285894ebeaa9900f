"""Watches readers, records all changes with their times, and finds answers that are too old."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from tests.support.machine_time import machine_time
from tests.support.serving import Serve

from evenkeel.cache.relay import INTERVAL
from verify.connection import Connection

BOUND = 2.0
"""This many seconds after a commit, no reader may get the previous state as fresh."""

TAKEOVER = 3.0
"""Seconds of the machine's time until the relay of another replica works."""

ROUNDS = 3
"""How often every replica is asked for every user before the verdict."""

PATIENCE = 15.0
"""Seconds that a test waits for what should come at once."""


@dataclass(frozen=True)
class Seen:
    """The answer that a reader got."""

    status: int
    name: str | None
    """The user's name; None if there is no such user, or no answer."""
    source: str
    """The tier of the answer; empty unless there is a user."""
    stale: bool
    """The answer is marked as stale, so it is not given as fresh."""
    cache_status: str

    @property
    def nearest(self) -> bool:
        """Whether the answer came from the first tier."""
        return "; hit" in self.cache_status and "," not in self.cache_status

    @property
    def told(self) -> bool:
        """Whether the answer says what the user's state is."""
        return self.status in {200, 404}


class Witness:
    """Gives each user each state only once: a new name, or None for deleted. So it recognises an old state."""

    def __init__(self, sql: Any, replicas: list[str]) -> None:
        self.sql = sql
        """A session in PostgreSQL, for changes by hand."""
        self.replicas = replicas
        """Their URLs."""
        self.seen: Counter[str] = Counter()
        """The number of answers by source. Marked answers count as `stale`, others without a source by their status."""
        self.told: Counter[str] = Counter()
        """The number of useful answers by replica."""
        self.wrong: list[str] = []
        self._names: dict[int, str | None] = {}
        self._over: dict[tuple[int, str | None], float] = {}
        self._last_change = 0.0
        self._watched = 0
        self._fresh_names = (f"name {number}" for number in itertools.count(1))

    async def create(self, count: int) -> list[int]:
        """Create this many users by hand."""
        ids = []
        for _ in range(count):
            name = self.new_name()
            user_id: int = await self.sql.fetchval(
                "INSERT INTO users (email, name) VALUES ($1, $2) RETURNING id", f"{name}@example.com", name
            )
            self.changed(user_id, name)
            ids.append(user_id)
        return ids

    async def rename(self, *ids: int) -> None:
        """Rename users by hand."""
        for user_id in ids:
            name = self.new_name()
            await self.sql.execute("UPDATE users SET name = $1 WHERE id = $2", name, user_id)
            self.changed(user_id, name)

    async def patch(self, replica: str, user_id: int) -> int:
        """Change a user through the replica. Returns the status, or 0 without an answer. The caller then calls
        `changed`.
        """
        name = self.new_name()
        headers = {"content-type": "application/merge-patch+json"}
        try:
            async with Connection(replica) as connection, asyncio.timeout(PATIENCE):
                body = json.dumps({"name": name}).encode()
                reply = await connection.request("PATCH", f"/v1/users/{user_id}", headers, body)
        except (OSError, EOFError):
            return 0
        if reply.status == 200:
            self.changed(user_id, name)
        return reply.status

    def name(self, user_id: int) -> str | None:
        """The present name of the user."""
        return self._names[user_id]

    def new_name(self) -> str:
        return next(self._fresh_names)

    def changed(self, user_id: int, name: str | None) -> None:
        """Record that the user's state is this from now on at the latest. Call it right after the commit."""
        if user_id in self._names and self._names[user_id] != name:
            self._over[user_id, self._names[user_id]] = self._last_change = time.monotonic()
        self._names[user_id] = name

    async def ask(self, replica: str, connection: Connection, user_id: int) -> Seen:
        """Read, and judge the answer. A missing answer is not an old state."""
        asked = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                reply = await connection.request("GET", f"/v1/users/{user_id}")
        except (OSError, EOFError, TimeoutError) as error:
            connection.close()
            self.seen[type(error).__name__] += 1
            return Seen(0, None, "", stale=False, cache_status="")
        nobody = {"source": "", "data": {"name": None}}
        answer: Any = reply.json() if reply.status == 200 else nobody
        cache_status = reply.headers.get("cache-status", "")
        seen = Seen(reply.status, answer["data"]["name"], answer["source"], "; stale" in cache_status, cache_status)
        self._judge(replica, user_id, seen, asked)
        return seen

    @asynccontextmanager
    async def watching(self, ids: Iterable[int], *, pause: float = 0.005) -> AsyncIterator[None]:
        """During the block, read the users through every replica again and again, `pause` seconds apart."""
        ids = list(ids)
        self._watched = len(ids)
        tasks = [asyncio.create_task(self._watch(replica, ids, pause)) for replica in self.replicas]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(outcome, asyncio.CancelledError):
                    raise RuntimeError("a reader ended") from outcome  # noqa: TRY004 (not about a type)

    async def warm(self, ids: Iterable[int]) -> None:
        """Read until every replica answers from its first tier. Users that do not exist are read a few times."""
        ids = list(ids)
        for replica in self.replicas:
            async with Connection(replica) as connection:
                for user_id in ids:
                    if self._names.get(user_id) is None:
                        for _ in range(3):
                            await self.ask(replica, connection, user_id)
                    else:
                        await self._until(replica, connection, user_id, lambda seen: seen.nearest)

    async def warm_for_good(self, ids: Iterable[int]) -> None:
        """As `warm`, after the relay has read the changes so far. It invalidates what they changed."""
        ids = list(ids)
        await asyncio.sleep(3 * INTERVAL)
        await self.warm(ids)

    async def settled(self, ids: Iterable[int]) -> None:
        """Wait until every replica answers the users' present states, for existing users from its first tier."""
        for replica in self.replicas:
            async with Connection(replica) as connection:
                for user_id in ids:
                    name = self._names[user_id]
                    await self._until(
                        replica,
                        connection,
                        user_id,
                        lambda seen, name=name: (
                            seen.told  # type: ignore[misc]
                            and seen.name == name
                            and not seen.stale
                            and (seen.nearest or name is None)
                        ),
                    )
        assert not self.wrong, self._summary()

    async def verdict(self, replicas: Iterable[str] | None = None) -> None:
        """Wait until the last change is older than the bound, and all (or these) replicas have been asked since.

        Fails if a reader got a state that was too old. Call it while watching.
        """
        await asyncio.sleep(max(0, self._last_change + BOUND - time.monotonic()))
        enough = {replica: self.told[replica] + ROUNDS * self._watched for replica in replicas or self.replicas}

        async def asked_since() -> bool:
            return all(self.told[replica] >= count for replica, count in enough.items())

        await eventually(asked_since)
        assert not self.wrong, self._summary()

    async def _watch(self, replica: str, ids: list[int], pause: float) -> None:
        async with Connection(replica) as connection:
            for user_id in itertools.cycle(ids):
                await self.ask(replica, connection, user_id)
                await asyncio.sleep(pause)

    async def _until(
        self, replica: str, connection: Connection, user_id: int, fulfilled: Callable[[Seen], bool]
    ) -> None:
        deadline = time.monotonic() + PATIENCE
        while not fulfilled(seen := await self.ask(replica, connection, user_id)):
            assert time.monotonic() < deadline, f"{replica} still answers {seen} for user {user_id}"
            await asyncio.sleep(0.01)

    def _judge(self, replica: str, user_id: int, seen: Seen, asked: float) -> None:
        kind = (seen.source or "none") if seen.told else str(seen.status)
        self.seen["stale" if seen.stale else kind] += 1
        if seen.status not in {200, 404, 503}:
            self.wrong.append(f"status {seen.status} for user {user_id} at {replica}")
        if not seen.told:
            return
        self.told[replica] += 1
        over = self._over.get((user_id, seen.name))
        if over is not None and asked > over + BOUND and not seen.stale:
            age = asked - over
            self.wrong.append(
                f"user {user_id} was {seen.name!r} until {age:.2f} s ago, and is so at {replica}: {seen.cache_status}"
            )

    def _summary(self) -> str:
        return f"{len(self.wrong)} wrong answers, among them {self.wrong[:5]}"


@asynccontextmanager
async def witnessing(database_url: str, replicas: list[str]) -> AsyncIterator[Witness]:
    """A witness of the replicas with these URLs."""
    sql = await asyncpg.connect(database_url)
    try:
        yield Witness(sql, replicas)
    finally:
        await sql.close()


@asynccontextmanager
async def fleet(serve: Serve, *changes: dict[str, Any]) -> AsyncIterator[list[str]]:
    """The URLs of replicas in this process, each with its changes to the settings."""
    async with AsyncExitStack() as stack:
        urls = []
        for number, changed in enumerate(changes, start=1):
            client = await stack.enter_async_context(serve(**({"replica_name": f"replica-{number}"} | changed)))
            urls.append(str(client.base_url))
        yield urls


async def relay_at_work(replicas: Iterable[str]) -> str:
    """The replica whose relay follows the log. Fails if no relay takes over in time."""
    async with machine_time() as elapsed:
        while True:
            for replica in replicas:
                async with Connection(replica) as connection:
                    metrics = (await connection.request("GET", "/metrics")).body
                if b'cache_relay_active{cache="user"} 1.0' in metrics:
                    return replica
            assert elapsed() < TAKEOVER, "no relay is at work"
            await asyncio.sleep(0.02)


async def eventually(check: Callable[[], Awaitable[bool]], seen: Callable[[], str] | None = None) -> None:
    """Wait until the check holds. If it never does, the failure reports `seen`."""
    deadline = time.monotonic() + PATIENCE
    while not await check():
        assert time.monotonic() < deadline, seen() if seen is not None else f"{check} never held"
        await asyncio.sleep(0.02)
