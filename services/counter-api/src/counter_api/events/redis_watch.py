"""Changes of counters in Redis: each is watched on the server that has it."""

import asyncio

from counter_api.events import server_watch
from counter_api.events.feed import Topic
from counter_api.events.server_watch import ServerWatch, Watched
from counter_api.redis.keys import COUNTER
from evenkeel.http.problems import Unavailable
from evenkeel.redis.topology import Topology
from evenkeel.tasks.under_way import UnderWay


class RedisWatch:
    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._watched: dict[Topic, Watched] = {}
        self._places: dict[Watched, str] = {}
        self._servers: dict[str, ServerWatch] = {}
        self._tasks = UnderWay()

    def add(self, topic: Topic) -> None:
        self._watched[topic] = Watched(topic, (COUNTER % topic.name).encode())

    def remove(self, topic: Topic) -> None:
        watched = self._watched.pop(topic)
        server = self._servers.get(self._places.pop(watched, ""))
        if server is not None:
            server.leave(watched)

    async def read(self, topic: Topic) -> None:
        watched = self._watched[topic]
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched.waiting.append(answered)
        self._ask(watched)
        try:
            async with asyncio.timeout(server_watch.ANSWER_WITHIN):
                await answered
        except TimeoutError:
            raise Unavailable("Redis does not answer, so the counter cannot be watched.") from None

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._tasks.end()

    def _ask(self, watched: Watched) -> None:
        """Make the server that has the counter now read it."""
        address = self._topology.address(watched.key.decode())
        before = self._places.get(watched)
        if before is not None and before != address:
            self._servers[before].leave(watched)
        self._places[watched] = address
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = ServerWatch(self._topology, address, self._ask)
            server.ask(watched)
            self._tasks.add(asyncio.create_task(self._run(address, server)))
        else:
            server.ask(watched)

    async def _run(self, address: str, server: ServerWatch) -> None:
        try:
            await server.run()
        finally:
            del self._servers[address]
