"""The cache's primary fails under Sentinel. All servers, Sentinels and replicas are the scenario's own."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stack.errors import StackError
from stack.files import write_atomically
from stack.layout import free_port
from stack.probe import redis_info, redis_pings
from stack.process import Process, Program
from stack.valkey import CACHE, Valkey, binary
from verify.cache.extra_programs import ExtraPrograms, extra_programs
from verify.cache.scene import Scene, idle_caches, let_it_be_read
from verify.faults import FROZEN, stopped
from verify.target import Target

SERVICE = "cache"
SENTINELS = 3
REPLICAS = 2

READY_WITHIN = 30.0
"""Seconds in which the Sentinels must have found each other and the replica."""

PROMOTED_WITHIN = 30.0
"""Seconds in which they must have agreed on another primary."""

Seen = Mapping[str, Any]
"""The Sentinel's view of the service, from INFO."""


@dataclass(frozen=True)
class Cache:
    """A primary, its replica and the Sentinels that watch them."""

    password: str
    port: int
    """The port of the first primary."""
    primary: Process
    """The first primary."""
    sentinels: Sequence[int]
    """Their ports."""

    @property
    def settings(self) -> dict[str, str]:
        addresses = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return {
            "USER_API_CACHE_URL": f"redis+sentinel://:{self.password}@{addresses}/{SERVICE}",
            "USER_API_CACHE_SENTINEL_PASSWORD": self.password,
        }

    async def fail(self) -> None:
        """Freeze the primary until another is promoted. Then it continues, as a second primary at first."""
        await self._until("the Sentinels do not see a replica and each other", READY_WITHIN, self._complete)
        if self.primary.pid is None:
            raise StackError("the cache's first primary is gone")
        async with stopped(self.primary.pid):
            await asyncio.sleep(FROZEN)
        await self._until("there is no other primary", PROMOTED_WITHIN, self._replaced)

    async def _until(self, complaint: str, seconds: float, holds: Callable[[Seen], bool]) -> None:
        deadline = time.monotonic() + seconds
        for port in self.sentinels:
            while not holds((await redis_info(port, self.password, "sentinel")).get("master0", {})):
                if time.monotonic() > deadline:
                    raise StackError(f"{complaint} within {seconds:g} s")
                await asyncio.sleep(0.1)

    def _complete(self, seen: Seen) -> bool:
        wanted = {"status": "ok", "address": f"127.0.0.1:{self.port}", "slaves": 1, "sentinels": SENTINELS}
        return wanted.items() <= seen.items()

    def _replaced(self, seen: Seen) -> bool:
        return bool(seen) and seen["address"] != f"127.0.0.1:{self.port}"


async def fail_over(scene: Scene) -> None:
    """Additional replicas use an additional cache beside the stack's, on the same database."""
    settings = scene.local.settings()
    async with extra_programs() as extra:
        cache = await start(extra)
        replicas = [await extra.replica_beside(scene.local, settings | cache.settings) for _ in range(REPLICAS)]
        await _until_cached(scene, replicas)
        await cache.fail()
        await let_it_be_read()
        await _until_cached(scene, replicas)


async def start(extra: ExtraPrograms) -> Cache:
    password, port = secrets.token_hex(24), free_port()
    primary = await _server(extra, "cache-a", port, password, {})
    await _server(extra, "cache-b", free_port(), password, {"replicaof": f"127.0.0.1 {port}"})
    sentinels = [await _sentinel(extra, f"sentinel-{n}", password, port) for n in range(1, SENTINELS + 1)]
    return Cache(password, port, primary, sentinels)


async def _server(extra: ExtraPrograms, name: str, port: int, password: str, settings: Mapping[str, str]) -> Process:
    server = Valkey(name, extra.directory / name, port, password, CACHE | {"primaryauth": password} | dict(settings))
    await server.create()
    return await extra.start(server.program())


async def _sentinel(extra: ExtraPrograms, name: str, password: str, primary: int) -> int:
    port, directory = free_port(), extra.directory / name
    directory.mkdir()
    settings = [
        "bind 127.0.0.1",
        f"port {port}",
        f'dir "{directory}"',
        f"requirepass {password}",
        f"sentinel sentinel-pass {password}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2",
        f"sentinel auth-pass {SERVICE} {password}",
        f"sentinel down-after-milliseconds {SERVICE} 500",
        f"sentinel failover-timeout {SERVICE} 5000",
    ]
    configuration = directory / "sentinel.conf"
    write_atomically(configuration, "".join(f"{line}\n" for line in settings))

    async def ready() -> bool:
        return await redis_pings(port, password)

    await extra.start(
        Program(name=name, service="sentinel", argv=[binary(), str(configuration), "--sentinel"], ready=ready)
    )
    return port


async def _until_cached(scene: Scene, replicas: Sequence[Target]) -> None:
    """A failover without hits before and after it would prove nothing."""
    if idle := await idle_caches(scene.rows, replicas):
        raise StackError(f"no hits at {', '.join(idle)}")
