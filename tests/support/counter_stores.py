"""The store of counter-api in Redis, without the service around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from counter_api.counters.redis_store import RedisCounterStore
from counter_api.metrics import Metrics
from counter_api.settings import Settings
from counter_api.stores import open_stores


@asynccontextmanager
async def store_at(settings: Settings) -> AsyncIterator[RedisCounterStore]:
    async with open_stores(settings, Metrics(CollectorRegistry())) as stores:
        assert isinstance(stores.counters, RedisCounterStore)
        yield stores.counters
