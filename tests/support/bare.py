"""A pytest plugin for the library's own tests where nothing but the library is installed: pytest -p tests.support.bare.

It takes the place of conftest.py, which imports all of Evenkeel. --redis names a server for the tests that need one.
"""

from urllib.parse import urlsplit

import pytest
from redis import Redis


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--redis", metavar="URL", help="the tests empty databases 0 and 1 of this Redis")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cache_url(request: pytest.FixtureRequest) -> str:
    return _emptied(request.config.option.redis, 0)


@pytest.fixture
def counters_url(request: pytest.FixtureRequest) -> str:
    return _emptied(request.config.option.redis, 1)


def _emptied(server: str, database: int) -> str:
    url = urlsplit(server)._replace(path=f"/{database}").geturl()
    with Redis.from_url(url) as client:
        client.flushdb()
    return url
