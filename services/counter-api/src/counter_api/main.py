"""The application: settings in, an ASGI application out. Nothing connects before the lifespan begins."""

import contextlib
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.types import ASGIApp

from counter_api.counters import badge
from counter_api.counters.encoding import Terms
from counter_api.counters.memory_store import MemoryStore
from counter_api.counters.redis_store import RedisStore
from counter_api.counters.routes import router
from counter_api.counters.schemas import Problem
from counter_api.counters.service import Counters
from counter_api.counters.store import Store
from counter_api.events import routes as events
from counter_api.features import Features, open_features
from counter_api.hot_increments import HotIncrements
from counter_api.metrics import Metrics
from counter_api.redis.pipeline import RedisPipeline
from counter_api.settings import Settings, is_worker
from counter_api.stats.request_count import RequestCount
from counter_api.transfer import routes as transfer
from counter_api.uniques import routes as uniques
from evenkeel.redis import topology_of
from evenkeel.service.application import create_application
from evenkeel.service.readiness import Readiness
from evenkeel.service.settings import load

# uvicorn gives up on workers that end with this status; after any other it starts them again, for ever.
_UVICORN_STARTUP_FAILURE = 3


class State(Features):
    """What the lifespan opens and every request finds in `request.state`."""

    readiness: Readiness
    store: Store
    counters: Counters


def create_app(settings: Settings | None = None, *, hot_increments: bool = True) -> FastAPI:
    """Without settings they are read from the environment, for `uvicorn --factory`; wrong ones end the process.

    Without `hot_increments` every request goes through FastAPI's routing, which changes nothing but the speed.
    """
    if settings is None:
        settings = _load()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = Metrics(registry)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(open_store(settings, metrics))
            features = await stack.enter_async_context(open_features(store, settings))
            readiness = Readiness(store.checks())
            await stack.enter_async_context(readiness.awaited())
            yield State(readiness=readiness, store=store, counters=Counters(store, metrics), **features)

    app = create_application(
        title="counter-api",
        description="Counters that stay exact over any number of replicas, and are safe to retry.",
        version=version("counter-api"),
        lifespan=lifespan,
        replica=settings.replica_name,
        registry=registry,
        ahead=_counted_and_hot if hot_increments else RequestCount,
        tags={
            "counters": "Counters, their events, series and badges, and moving them elsewhere",
            "uniques": "How many different members there were, approximately",
            "tutorial": "What the single-process tutorials count",
        },
        problem_document=Problem,
    )
    for part in (router, events.router, badge.router, uniques.router, transfer.router):
        app.include_router(part)
    return app


def _counted_and_hot(app: ASGIApp) -> ASGIApp:
    return RequestCount(HotIncrements(app))


@contextlib.asynccontextmanager
async def open_store(settings: Settings, metrics: Metrics) -> AsyncIterator[Store]:
    """The store that the settings name, closed at the end."""
    if settings.redis_url is None or settings.store == "memory":
        yield MemoryStore(
            replica=settings.replica_name,
            idempotency_ttl=settings.idempotency_ttl,
            series_retention=settings.series_retention,
        )
        return
    async with contextlib.AsyncExitStack() as stack:
        pipeline = RedisPipeline(
            topology_of(
                settings.redis_url.get_secret_value(),
                name=f"counter-api-{settings.replica_name}",
                sentinels=settings.sentinels,
            ),
            metrics.redis_errors,
            terms=Terms(
                idempotency_ttl=settings.idempotency_ttl,
                series_retention=settings.series_retention,
                replicated=settings.replica_acks > 0,
            ),
            replica_acks=settings.replica_acks,
            most_waiting=settings.max_waiting,
            patience=settings.patience,
        )
        stack.push_async_callback(pipeline.close)
        store = RedisStore(
            pipeline,
            replica=settings.replica_name,
            idempotency_ttl=settings.idempotency_ttl,
            replica_acks=settings.replica_acks,
            most_waiting=settings.max_waiting,
            allow_unsafe=settings.allow_unsafe_redis,
            metrics=metrics,
        )
        stack.push_async_callback(store.close)
        yield store


def _load() -> Settings:
    try:
        return load(Settings)
    except SystemExit:
        if is_worker():
            sys.exit(_UVICORN_STARTUP_FAILURE)
        raise
