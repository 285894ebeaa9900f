"""The whole system: three replicas of each service and the gateway, on the backend's PostgreSQL and Redis.

Tests of the cache run a second time, with a sidecar beside each replica of user-api.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from tests.support.servers import Servers, backend

from stack.layout import free_port

STACK = str(Path(sys.executable).with_name("stack"))
VERIFY = str(Path(sys.executable).with_name("verify"))
REPLICAS = 3


@dataclass(frozen=True)
class Stack:
    """A running stack, which its own command line controls."""

    directory: Path

    def run(self, *arguments: str) -> str:
        return self._run(STACK, *arguments)

    def verify(self, *arguments: str) -> str:
        return self._run(VERIFY, *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        ended = subprocess.run(
            [program, "--directory", str(self.directory), *arguments],
            env={
                name: value
                for name, value in os.environ.items()
                if name not in {"PORT", "STACK_DIRECTORY", "STACK_SIDECARS"} and not name.startswith("GATEWAY_")
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @contextlib.contextmanager
    def running(self, *options: str, user_api: int, counter_api: int) -> Iterator[str]:
        """Run so many replicas, on a free port, while the block runs. Gives what `stack up` has printed."""
        replicas = ("--user-api-replicas", str(user_api), "--counter-api-replicas", str(counter_api))
        try:
            yield self.run("up", "--port", str(free_port()), *replicas, *options)
        finally:
            self.run("down")

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json"))
        return answer

    def processes(self, service: str) -> list[dict[str, Any]]:
        return [process for process in self.status()["processes"] if process["service"] == service]

    @property
    def gateway(self) -> str:
        return str(self.status()["gateway"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A stack takes seconds to start. So pytest runs all tests without sidecars first, then those with them."""
    if "sidecars" in metafunc.fixturenames:
        ways: list[Any] = ["plain"]
        if metafunc.definition.get_closest_marker("with_sidecars_too") and not metafunc.config.option.gateway:
            ways.append(pytest.param("sidecars", marks=pytest.mark.slow))
        metafunc.parametrize("sidecars", ways, indirect=True, scope="session")


@pytest.fixture(scope="session")
def sidecars(request: pytest.FixtureRequest) -> bool:
    """Whether the stack has sidecars; pytest_generate_tests sets it."""
    return str(request.param) == "sidecars"


@pytest.fixture(scope="session")
def stack_servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Servers of its own, because other tests look at everything in Redis."""
    with backend(request.config.option.backend) as running:
        yield running


@pytest.fixture(scope="session")
def stack(stack_servers: Servers, sidecars: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: FBT001 (a fixture)
    database = f"integration_{uuid.uuid4().hex[:8]}"
    asyncio.run(_create_database(stack_servers.postgres, database))
    stack = Stack(tmp_path_factory.mktemp("stack"))
    # A sidecar is a Valkey 9, which cannot read the snapshots of the Redis 8 in the containers. So with sidecars the
    # stack runs its own cache.
    cache = ["--sidecars"] if sidecars else ["--cache-url", stack_servers.redis_cache]
    postgres = urlsplit(stack_servers.postgres)._replace(path=f"/{database}").geturl()
    servers = ("--postgres-url", postgres, *cache, "--counters-url", stack_servers.redis_counters)
    with stack.running(*servers, user_api=REPLICAS, counter_api=REPLICAS):
        yield stack


async def _create_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest, sidecars: bool) -> str:  # noqa: ARG001, FBT001 (a fixture; another stack, another gateway)
    """The URL of the gateway under test: that of --gateway, or that of a stack of our own."""
    given: str | None = request.config.option.gateway
    if given:
        return given.rstrip("/")
    stack: Stack = request.getfixturevalue("stack")
    return stack.gateway


@pytest.fixture
async def client(gateway: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway, timeout=30) as client:
        yield client


@pytest.fixture
def email() -> str:
    """An address that no other test uses."""
    return f"{uuid.uuid4().hex}@example.com"


@pytest.fixture
def name() -> str:
    """A counter that no other test uses."""
    return f"test:{uuid.uuid4().hex}"
