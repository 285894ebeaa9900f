"""The application and what it holds open while it runs. Nothing connects before the lifespan begins."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from evenkeel.cache import Metrics
from evenkeel.service.application import create_application
from evenkeel.service.fleet import routes as fleet_routes
from evenkeel.service.fleet.fleet import Fleet
from evenkeel.service.readiness import Readiness
from evenkeel.service.settings import load
from user_api.fleet import SERVICE, UserFleet, UserVitals
from user_api.hot_reads import HotReads
from user_api.hot_writes import HotWrites
from user_api.routes import router
from user_api.schema_version import SchemaNotCurrent
from user_api.schemas import UserProblemDocument
from user_api.service import UserService
from user_api.settings import Settings
from user_api.stores import open_stores


class State(TypedDict):
    """What requests find in `request.state`."""

    readiness: Readiness
    users: UserService
    fleet: Fleet
    closing: asyncio.Event
    """Set when the server begins to end."""


def create_app(settings: Settings | None = None, *, hot_paths: bool = True) -> FastAPI:
    """The service. Without settings they come from the environment, and wrong ones end the process.

    Without `hot_paths` every request goes through FastAPI's routing, which changes nothing but the speed.
    """
    settings = settings or load(Settings)
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            stores = await stack.enter_async_context(open_stores(settings, metrics, registry))
            readiness = Readiness(stores.checks, registry=registry, conditions=[SchemaNotCurrent])
            readiness.details["cache"] = lambda: stores.cache.distrust
            await stack.enter_async_context(readiness.awaited())
            users = UserService(stores.users, stores.cache, stores.database)
            fleet = Fleet(
                settings.replica_name,
                UserVitals(registry, stores.connections, stores.cache.heartbeats),
                stores.cache.heartbeats,
                readiness=readiness,
                draining=app.state.draining,
            )
            closing = asyncio.Event()
            await stack.enter_async_context(fleet.running(closing))
            yield State(readiness=readiness, users=users, fleet=fleet, closing=closing)

    app = create_application(
        title="user-api",
        description="Users in PostgreSQL, read through a cache that any number of replicas share.",
        version=version("user-api"),
        lifespan=lifespan,
        replica=settings.replica_name,
        registry=registry,
        ahead=_hot_paths if hot_paths else None,
        tags={"users": "Users in PostgreSQL, read through the cache", **fleet_routes.DESCRIPTION},
        problem_document=UserProblemDocument,
    )
    app.include_router(router)
    app.include_router(fleet_routes.routes(SERVICE, UserFleet))
    return app


def _hot_paths(app: ASGIApp) -> HotReads:
    routes = {route.name: route for route in router.routes if isinstance(route, APIRoute)}
    writes = HotWrites(app, create_user=routes["create_user"], change_user=routes["change_user"])
    return HotReads(writes, read_user=routes["read_user"], list_users=routes["list_users"])
