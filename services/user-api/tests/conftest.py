from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.proxy import Proxy, proxied
from tests.support.redis_pair import RedisPair, redis_pair
from tests.support.servers import Servers
from tests.support.serving import Serve, serving
from tests.support.users_database import empty_users_database, migrated_database

from stack.layout import free_port
from user_api.main import create_app
from user_api.settings import Settings


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
    if metafunc.definition.get_closest_marker("hot_and_ordinary") and "hot_paths" in metafunc.fixturenames:
        metafunc.parametrize("hot_paths", [True, False], ids=["hot", "ordinary"])


@pytest.fixture
def hot_paths() -> bool:
    return True


@pytest.fixture
def serve(make_settings: Callable[..., Settings], *, hot_paths: bool) -> Serve:
    """Run the service with settings changed as given; several at once are several replicas."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(create_app(make_settings(**changes), hot_paths=hot_paths)) as client:
            yield client

    return run


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client


@pytest.fixture(scope="module")
def database_without_users(servers: Servers) -> str:
    """PostgreSQL with the current schema, in which no test makes a user."""
    return migrated_database(servers.postgres, "user_api_without_users")


@pytest.fixture(scope="module")
async def standing(
    servers: Servers, database_without_users: str, cache_key: str
) -> AsyncIterator[dict[bool, httpx.AsyncClient]]:
    """A replica with hot reads and one without, whose data no other module's tests use meanwhile."""
    settings = Settings(
        database_url=database_without_users,
        cache_url=urlsplit(servers.redis_cache)._replace(path="/1").geturl(),
        cache_keys=cache_key,
        replica_name="replica-a",
    )
    async with (
        serving(create_app(settings)) as hot,
        serving(create_app(settings, hot_paths=False)) as ordinary,
    ):
        yield {True: hot, False: ordinary}


@pytest.fixture
def lasting(standing: dict[bool, httpx.AsyncClient], *, hot_paths: bool) -> httpx.AsyncClient:
    """As `client`, but one for all tests of a module. To start one for each takes ten times as long as the test.

    A test makes no users.
    """
    return standing[hot_paths]


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
