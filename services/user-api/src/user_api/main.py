"""The application and what it holds open while it runs."""

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from evenkeel.application import create_application
from evenkeel.cache.entry import Tier
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.memory import MemoryTier
from evenkeel.cache.read_through import ReadThrough
from evenkeel.cache.redis import RedisTier
from evenkeel.readiness import Readiness
from evenkeel.redis_client import connect
from evenkeel.settings import load
from user_api.database import check_schema, create_engine, observe_pool
from user_api.routes import router
from user_api.service import UserService, loader
from user_api.settings import Settings
from user_api.storage import UserStorage

CACHE_TIMEOUT = 0.5
"""Seconds until a cache that does not answer is passed over: PostgreSQL answers sooner than that."""


class State(TypedDict):
    """What requests find in `request.state`."""

    readiness: Readiness
    users: UserService


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service. Nothing connects until its lifespan begins; without settings they come from the environment."""
    settings = settings or load(Settings)
    registry = CollectorRegistry()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            engine = create_engine(settings, connections=settings.database_pool_size)
            stack.push_async_callback(engine.dispose)
            # Of its own: a replica whose requests wait for connections is busy, which is not the same as not ready.
            # Three, because a check that waits for another's connection is not woken when that one cannot connect.
            probe = create_engine(settings, connections=3)
            stack.push_async_callback(probe.dispose)
            observe_pool(engine, registry)
            storage = UserStorage(engine)
            tiers = [await _open_tier(name, settings, registry, stack) for name in settings.cache_tiers]
            readiness = Readiness({"postgresql": lambda: check_schema(probe)})
            await stack.enter_async_context(readiness.awaited())
            yield State(readiness=readiness, users=UserService(storage, ReadThrough(tiers, loader(storage), registry)))

    app = create_application(
        title="user-api",
        description="Users in PostgreSQL, read through a cache that any number of replicas share.",
        version=version("user-api"),
        lifespan=lifespan,
        replica=settings.replica_name,
        registry=registry,
    )
    app.include_router(router)
    return app


async def _open_tier(
    name: str, settings: Settings, registry: CollectorRegistry, stack: contextlib.AsyncExitStack
) -> Tier:
    if name == "memory":
        return MemoryTier(max_entries=settings.memory_max_entries, ttl=settings.memory_ttl)
    client_name = f"user-api-{settings.replica_name}"
    primary = connect(_secret(settings.cache_url), name=client_name, timeout=CACHE_TIMEOUT)
    stack.push_async_callback(primary.aclose)
    reader = primary
    if settings.cache_read_url is not None:
        reader = connect(_secret(settings.cache_read_url), name=client_name, timeout=CACHE_TIMEOUT)
        stack.push_async_callback(reader.aclose)
    tier = RedisTier(
        primary=primary,
        reader=reader,
        prefix="user:",
        keyring=KeyRing.from_text(_secret(settings.cache_keys)),
        ttl=settings.cache_ttl,
        registry=registry,
    )
    stack.push_async_callback(tier.close)
    return tier


def _secret(value: SecretStr | None) -> str:
    """The settings have made sure that it is there."""
    assert value is not None  # noqa: S101 (Settings refuses a redis tier without its URL and keys)
    return value.get_secret_value()
