from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.serving import Serve, serving

from user_api.main import create_app
from user_api.settings import Settings


@pytest.fixture
def make_settings(database_url: str, cache_url: str, cache_key: str) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values = {"database_url": database_url, "cache_url": cache_url, "cache_keys": cache_key}
        return Settings(**(values | {"replica_name": "replica-a"} | changes))

    return make


@pytest.fixture
def serve(make_settings: Callable[..., Settings]) -> Serve:
    """Run the service with settings changed as given; several at once are several replicas."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(create_app(make_settings(**changes))) as client:
            yield client

    return run


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client
