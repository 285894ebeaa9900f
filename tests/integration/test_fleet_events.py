"""The streams behind the console while replicas are replaced, added and taken away."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import BaseModel
from tests.support.fleet import Document, states
from tests.support.steady_load import until

from counter_api.fleet.vitals import CounterFleet
from user_api.fleet import UserFleet

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

pytestmark = pytest.mark.anyio

DOCUMENTS: dict[str, type[BaseModel]] = {"user-api": UserFleet, "counter-api": CounterFleet}

VIEWERS = 4
"""Of each service, so that each replica probably has one."""


@dataclass
class Viewers:
    """Follow the fleet of a service as the console does: when a stream ends, its viewer connects again."""

    gateway: str
    service: str
    latest: dict[int, Document] = field(default_factory=dict)
    """By viewer."""
    seen: list[Document] = field(default_factory=list)
    streams: int = 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=self.gateway, timeout=30) as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(client, number)) for number in range(VIEWERS)]
            yield
            for task in tasks:
                task.cancel()

    async def all_see(self, names: set[str], *, changed_from: Collection[str] = ()) -> None:
        """Return when the latest document of every viewer has these replicas, all ready and none started then."""

        def right(document: Document) -> bool:
            started = {replica["started_at"] for replica in document["replicas"]}
            return states(document) == dict.fromkeys(sorted(names), "ready") and started.isdisjoint(changed_from)

        await until(lambda: len(self.latest) == VIEWERS and all(map(right, list(self.latest.values()))))

    async def _follow(self, client: httpx.AsyncClient, viewer: int) -> None:
        while True:
            self.streams += 1
            async with client.stream("GET", f"/v1/fleet/{self.service}/events") as response:
                assert response.status_code == 200, await response.aread()
                message: list[str] = []
                async for line in response.aiter_lines():  # raises if the end is missing
                    message.append(line)
                    if not line:
                        self._take_in(viewer, message[:-1])
                        message = []
                assert message == []

    def _take_in(self, viewer: int, message: list[str]) -> None:
        if len(message) == 1:
            name, _, milliseconds = message[0].partition(": ")
            assert (name, milliseconds.isdecimal()) == ("retry", True)
            return
        event, data = message
        assert event == "event: fleet"
        document: dict[str, Any] = json.loads(data.removeprefix("data: "))
        DOCUMENTS[self.service].model_validate(document, extra="forbid")
        assert document["service"] == self.service
        assert document["replicas"]
        self.latest[viewer] = document
        self.seen.append(document)


@pytest.mark.slow
async def test_streams_go_on_while_replicas_come_and_go(stack: "Stack", gateway: str) -> None:
    users, counters = Viewers(gateway, "user-api"), Viewers(gateway, "counter-api")
    three = {service: {f"{service}-{number}" for number in (1, 2, 3)} for service in DOCUMENTS}
    async with users.watching(), counters.watching():
        await users.all_see(three["user-api"])
        await counters.all_see(three["counter-api"])
        before = {replica["started_at"] for replica in users.seen[-1]["replicas"]}

        await asyncio.to_thread(stack.run, "restart", "user-api")
        await users.all_see(three["user-api"], changed_from=before)
        assert users.streams > VIEWERS, "streams ended with their replicas, and others took over"

        await asyncio.to_thread(stack.run, "scale", "counter-api", "4")
        await counters.all_see({*three["counter-api"], "counter-api-4"})
        await asyncio.to_thread(stack.run, "scale", "counter-api", "3")
        await counters.all_see(three["counter-api"])
