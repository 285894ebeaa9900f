from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support import pgbouncer
from tests.support.proxy import Proxy, proxied
from tests.support.redis_pair import RedisPair, redis_pair
from tests.support.servers import Servers
from tests.support.serving import Serve, serving
from tests.support.users_database import empty_users_database

from stack.layout import free_port
from user_api.main import create_app
from user_api.settings import Settings


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    how = f"tested with {pgbouncer.PROGRAM}" if pgbouncer.PROGRAM else "not tested: pgbouncer is not installed"
    terminalreporter.write_line(f"user-api behind PgBouncer was {how}")


@pytest.fixture
def database_url(servers: Servers) -> str:
    """PostgreSQL with the current schema and no users."""
    return empty_users_database(servers.postgres)


@pytest.fixture
def make_settings(database_url: str, cache_url: str, cache_key: str) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values = {"database_url": database_url, "cache_url": cache_url, "cache_keys": cache_key}
        return Settings(**(values | {"replica_name": "replica-a"} | changes))

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both = metafunc.definition.get_closest_marker("hot_and_ordinary")
    if both and "hot_reads" in metafunc.fixturenames:
        ordinary = pytest.param(False, marks=both.kwargs.get("ordinary", ()))
        metafunc.parametrize("hot_reads", [True, ordinary], ids=["hot", "ordinary"])


@pytest.fixture
def hot_reads() -> bool:
    return True


@pytest.fixture
def serve(make_settings: Callable[..., Settings], *, hot_reads: bool) -> Serve:
    """Run the service with settings changed as given; several at once are several replicas."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(create_app(make_settings(**changes), hot_reads=hot_reads)) as client:
            yield client

    return run


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[RedisPair]:
    """Two Redis servers of the test's own, a primary and its replica."""
    async with redis_pair(tmp_path) as running:
        yield running


@pytest.fixture
async def address(pair: RedisPair) -> AsyncIterator[Proxy]:
    """Where clients find the primary, whichever it is."""
    async with proxied(pair.primary.url, free_port()) as proxy:
        await proxy.open()
        yield proxy
