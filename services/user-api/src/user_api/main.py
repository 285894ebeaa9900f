"""The application, and the resources that it holds open while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any, TypedDict

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.types import ASGIApp

from evenkeel.cache import (
    ChangeLog,
    DatabaseBreaker,
    Gate,
    KeyRing,
    Memory,
    Metrics,
    ReadThrough,
    SharedRedis,
    open_cache,
)
from evenkeel.cache.forgetting import forget_cache
from evenkeel.redis import connect, connect_to_primary, following
from evenkeel.service.application import create_application
from evenkeel.service.fleet import routes as fleet_routes
from evenkeel.service.fleet.fleet import Fleet
from evenkeel.service.readiness import Readiness
from evenkeel.service.settings import load
from evenkeel.tasks.background import running
from user_api.connections import Connections
from user_api.database import BACKGROUND_CONNECTIONS, PROBE_CONNECTIONS
from user_api.fleet import SERVICE, UserFleet, UserVitals
from user_api.health import check_schema, probe
from user_api.hot_reads import HotReads
from user_api.hot_writes import HotWrites
from user_api.idempotency import Pruner
from user_api.pool import Pool
from user_api.representation import Representation, prepare
from user_api.routes import router
from user_api.schema_version import SchemaNotCurrent
from user_api.schemas import UserProblemDocument
from user_api.service import SHAPE, UserService, loader
from user_api.settings import Settings
from user_api.storage import UserStorage

CACHE = "user"
"""The name of the cache in Redis and in metrics."""

CACHE_TIMEOUT = 0.5
"""Seconds after which a cache that does not answer is passed by. PostgreSQL usually answers sooner."""

CACHE_SLOT = "{user}"
"""The hash tag of all of the cache's names. In a Redis Cluster, one node has them all."""

FOR_WRITES = 2
"""Connections of the pool that reads leave free for writes."""

MAX_WAITING_READS = 1000
"""Reads that may wait for PostgreSQL at once. Further ones are answered 503."""


class State(TypedDict):
    """What requests find in `request.state`."""

    readiness: Readiness
    users: UserService
    fleet: Fleet
    closing: asyncio.Event
    """Set when the server begins to end."""


def create_app(settings: Settings | None = None, *, hot_reads: bool = True) -> FastAPI:
    """The service. Nothing connects until its lifespan begins. Without `settings` they come from the environment.

    Without `hot_reads`, and hot writes with them, every request goes through FastAPI's routing. That changes
    the speed alone.
    """
    settings = settings or load(Settings)
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            pool = Pool(settings, size=settings.database_pool_size)
            stack.push_async_callback(pool.close)
            pool.observe(registry)
            # Readiness and the change log have connections of their own. If requests wait for connections, the replica
            # is busy, which is not the same as not ready, and it must still follow the change log.
            background = Connections(settings, size=BACKGROUND_CONNECTIONS, keep_cancelled=True)
            stack.push_async_callback(background.close)
            readiness = Readiness(
                {"postgresql": lambda: check_schema(background)}, registry=registry, conditions=[SchemaNotCurrent]
            )
            await stack.enter_async_context(readiness.awaited())
            probing = Connections(settings, size=PROBE_CONNECTIONS, keep_cancelled=True)
            stack.push_async_callback(probing.close)
            database = DatabaseBreaker(probe(probing))
            stack.push_async_callback(database.close)
            storage = UserStorage(pool, idempotency_ttl=settings.idempotency_ttl)
            # Pruning uses the connections for requests. If requests need them all, pruning can wait.
            await stack.enter_async_context(running(Pruner(pool).run()))
            shared = _shared_redis(settings, stack)
            if shared is not None and shared.reader is not None:
                await stack.enter_async_context(following(shared.reader, shared.primary))
            cache = await stack.enter_async_context(
                open_cache(
                    CACHE,
                    load=loader(storage),
                    changes=_changes(background),
                    memory=_memory(settings),
                    redis=shared,
                    gate=Gate(width=max(1, settings.database_pool_size - FOR_WRITES), queue=MAX_WAITING_READS),
                    database=database,
                    shape=SHAPE,
                    ttl=settings.cache_ttl,
                    stale_ttl=settings.cache_stale_ttl,
                    metrics=metrics,
                )
            )
            readiness.details["cache"] = lambda: cache.distrust
            fleet, closing = _fleet(settings, app, registry, pool, cache, readiness), asyncio.Event()
            await stack.enter_async_context(fleet.running(closing))
            users = UserService(storage, cache, database)
            yield State(readiness=readiness, users=users, fleet=fleet, closing=closing)

    app = create_application(
        title="user-api",
        description="Users in PostgreSQL, read through a cache that any number of replicas share.",
        version=version("user-api"),
        lifespan=lifespan,
        replica=settings.replica_name,
        registry=registry,
        ahead=_short_ways if hot_reads else None,
        tags={"users": "Users in PostgreSQL, read through the cache", **fleet_routes.DESCRIPTION},
        problem_document=UserProblemDocument,
    )
    app.include_router(router)
    app.include_router(fleet_routes.routes(SERVICE, UserFleet))
    return app


async def forget(settings: Settings) -> bool:
    """Empty the cache, in Redis and in the memory of all replicas. False if there was nothing to forget."""
    async with contextlib.AsyncExitStack() as stack:
        connections = Connections(settings, size=1)
        stack.push_async_callback(connections.close)
        shared = _shared_redis(settings, stack)
        assert shared is not None  # noqa: S101 (the caller has looked)
        return await forget_cache(CACHE, changes=_changes(connections), primary=shared.primary)


def _short_ways(app: ASGIApp) -> HotReads:
    routes = {route.name: route for route in router.routes if isinstance(route, APIRoute)}
    writes = HotWrites(app, create_user=routes["create_user"], change_user=routes["change_user"])
    return HotReads(writes, read_user=routes["read_user"], list_users=routes["list_users"])


def _fleet(
    settings: Settings,
    app: FastAPI,
    registry: CollectorRegistry,
    pool: Pool,
    cache: ReadThrough[Any],
    readiness: Readiness,
) -> Fleet:
    heartbeats = cache.heartbeats
    vitals = UserVitals(registry, pool, pool_size=settings.database_pool_size, heartbeats=heartbeats)
    return Fleet(settings.replica_name, vitals, heartbeats, readiness=readiness, draining=app.state.draining)


def _changes(connections: Connections) -> ChangeLog:
    return ChangeLog(connections, table="users", log="user_changes")


def _memory(settings: Settings) -> Memory[Representation | None] | None:
    if "memory" not in settings.cache_tiers:
        return None
    return Memory(prepare, max_entries=settings.memory_max_entries, ttl=settings.memory_ttl)


def _shared_redis(settings: Settings, stack: contextlib.AsyncExitStack) -> SharedRedis | None:
    if "redis" not in settings.cache_tiers:
        return None
    name = f"user-api-{settings.replica_name}"
    primary = connect_to_primary(
        _secret(settings.cache_url),
        slot_of=CACHE_SLOT,
        name=name,
        timeout=CACHE_TIMEOUT,
        sentinels=settings.cache_sentinels,
    )
    stack.push_async_callback(primary.aclose)
    reader = None
    if settings.cache_read_url is not None:
        reader = connect(_secret(settings.cache_read_url), name=name, timeout=CACHE_TIMEOUT)
        stack.push_async_callback(reader.aclose)
    return SharedRedis(primary, KeyRing.from_text(_secret(settings.cache_keys)), reader)


def _secret(value: SecretStr | None) -> str:
    """The setting's value, which Settings requires where this is called."""
    assert value is not None  # noqa: S101 (Settings refuses a redis tier without its URL and keys)
    return value.get_secret_value()
