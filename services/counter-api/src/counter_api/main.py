"""The application and what it holds open while it runs. Nothing connects before the lifespan begins."""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import TypedDict

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.types import ASGIApp

from counter_api.counters import badge
from counter_api.counters.routes import router
from counter_api.counters.schemas import CounterProblemDocument
from counter_api.counters.service import CounterService
from counter_api.events import routes as events
from counter_api.events.feed import Feed
from counter_api.fleet.vitals import SERVICE, CounterFleet, CounterVitals
from counter_api.hot_increments import HotIncrements
from counter_api.metrics import Metrics
from counter_api.redis.safety import Unsafe
from counter_api.settings import Settings, is_worker
from counter_api.stats import routes as stats
from counter_api.stats.request_count import RequestCount, Tally
from counter_api.stores import open_stores
from counter_api.transfer import routes as transfer
from counter_api.transfer.service import TransferService
from counter_api.uniques import routes as uniques
from counter_api.uniques.service import UniquesService
from evenkeel.secret_key import KEY_BYTES, secret_key
from evenkeel.service.application import create_application
from evenkeel.service.fleet import routes as fleet_routes
from evenkeel.service.fleet.fleet import Fleet
from evenkeel.service.readiness import Readiness
from evenkeel.service.settings import load

# uvicorn gives up on workers that end with this status. After any other status it starts them again, for ever.
_UVICORN_STARTUP_FAILURE = 3


class State(TypedDict):
    """What requests find in `request.state`."""

    readiness: Readiness
    counters: CounterService
    tally: Tally
    feed: Feed
    uniques: UniquesService
    transfer: TransferService
    fleet: Fleet
    closing: asyncio.Event
    """Set when the server begins to end."""


def create_app(settings: Settings | None = None, *, hot_paths: bool = True) -> FastAPI:
    """The service. Without settings they come from the environment, and wrong ones end the process.

    Without `hot_paths` every request goes through FastAPI's routing, which changes nothing but the speed.
    """
    if settings is None:
        settings = _load()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = Metrics(registry)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            stores = await stack.enter_async_context(open_stores(settings, metrics))
            feed, closing = Feed(stores.watch), asyncio.Event()
            await stack.enter_async_context(feed.running(closing))
            for running in stores.background:
                await stack.enter_async_context(running())
            readiness = Readiness(stores.checks, registry=registry, conditions=[Unsafe])
            await stack.enter_async_context(readiness.awaited())
            counters = CounterService(stores.counters, metrics)
            fleet = Fleet(
                settings.replica_name,
                CounterVitals(registry, counters, stores.connections),
                stores.heartbeats,
                readiness=readiness,
                draining=app.state.draining,
            )
            await stack.enter_async_context(fleet.running(closing))
            yield State(
                readiness=readiness,
                counters=counters,
                tally=stores.tally,
                feed=feed,
                uniques=UniquesService(stores.uniques, _uniques_key(settings)),
                transfer=TransferService(stores.transfer, idempotency_ttl=settings.idempotency_ttl),
                fleet=fleet,
                closing=closing,
            )

    app = create_application(
        title="counter-api",
        description="Counters that stay exact over any number of replicas, and are safe to retry.\n\n"
        "A 503 says whether a change may have been applied. While Redis is set up so that it could lose changes, all "
        "of them get 503 (`unavailable`), and reads are served.",
        version=version("counter-api"),
        lifespan=lifespan,
        replica=settings.replica_name,
        registry=registry,
        ahead=_hot_paths if hot_paths else RequestCount,
        tags={
            "counters": "Counters, their events, series and badges, and moving them elsewhere",
            "uniques": "How many different members there were, approximately",
            "tutorial": "What the single-process tutorials count",
            **fleet_routes.DESCRIPTION,
        },
        problem_document=CounterProblemDocument,
    )
    for part in (router, stats.router, events.router, badge.router, uniques.router, transfer.router):
        app.include_router(part)
    app.include_router(fleet_routes.routes(SERVICE, CounterFleet))
    return app


def _hot_paths(app: ASGIApp) -> RequestCount:
    routes = {route.name: route for route in router.routes if isinstance(route, APIRoute)}
    return RequestCount(HotIncrements(app, increment_counter=routes["increment_counter"]))


def _uniques_key(settings: Settings) -> bytes | None:
    if settings.uniques_key is not None:
        return secret_key(settings.uniques_key.get_secret_value())
    # One process can make up a key, which is gone together with what was hashed under it.
    return secrets.token_bytes(KEY_BYTES) if settings.store == "memory" else None


def _load() -> Settings:
    try:
        return load(Settings)
    except SystemExit:
        if is_worker():
            sys.exit(_UVICORN_STARTUP_FAILURE)
        raise
