"""What replicas cost Redis while nothing is requested."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.commands_at_rest import commands_a_second
from tests.support.counters_redis import counters_server, own_servers
from tests.support.serving import Serve

pytestmark = [pytest.mark.anyio, own_servers]

EACH = 20
"""Commands a second, those inside of scripts included."""


async def test_commands_at_rest(serve: Serve, tmp_path: Path) -> None:
    async with counters_server(tmp_path, "own") as server, server.client() as redis, AsyncExitStack() as stack:
        for replicas in (1, 2):
            await stack.enter_async_context(serve(redis_url=server.url, replica_name=f"replica-{replicas}"))
            assert await commands_a_second(redis, goal=EACH * replicas) <= EACH * replicas
