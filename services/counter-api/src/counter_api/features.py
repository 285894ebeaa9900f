"""What the service does beside counting, on whatever the counters' store stands on."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import TypedDict

from counter_api.counters.memory_store import MemoryStore
from counter_api.counters.redis_store import RedisStore
from counter_api.counters.store import Store
from counter_api.events.feed import Feed, Watch
from counter_api.events.memory_watch import MemoryWatch
from counter_api.events.redis_watch import RedisWatch
from counter_api.settings import Settings
from counter_api.transfer.cluster_transfer import ClusterTransfer
from counter_api.transfer.importing import Importer
from counter_api.transfer.memory_transfer import MemoryTransfer
from counter_api.transfer.redis_transfer import RedisTransfer
from counter_api.transfer.storage import TransferStore
from counter_api.uniques.members import KEY_SIZE, key_from_text
from counter_api.uniques.service import Uniques
from counter_api.uniques.storage import MemoryUniques, RedisUniques, UniquesStore
from evenkeel.redis.cluster import Cluster


class Features(TypedDict):
    """What requests find in `request.state` of it."""

    feed: Feed
    uniques: Uniques
    transfer_store: TransferStore
    importer: Importer
    closing: asyncio.Event
    """Set when the server begins to end."""


@contextlib.asynccontextmanager
async def open_features(store: Store, settings: Settings) -> AsyncIterator[Features]:
    watch, uniques_store, transfer_store = _on(store, settings.idempotency_ttl)
    feed, closing = Feed(watch), asyncio.Event()
    async with feed.running(closing), _background(store):
        yield Features(
            feed=feed,
            uniques=Uniques(uniques_store, _uniques_key(settings)),
            transfer_store=transfer_store,
            importer=Importer(transfer_store, idempotency_ttl=settings.idempotency_ttl),
            closing=closing,
        )


def _on(store: Store, idempotency_ttl: int) -> tuple[Watch, UniquesStore, TransferStore]:
    match store:
        case RedisStore():
            pipeline = store.pipeline
            transfer = ClusterTransfer if isinstance(pipeline.topology, Cluster) else RedisTransfer
            uniques = RedisUniques(pipeline, idempotency_ttl=idempotency_ttl)
            return RedisWatch(pipeline.topology), uniques, transfer(pipeline, store.listing)
        case MemoryStore():
            return (
                MemoryWatch(store),
                MemoryUniques(idempotency_ttl=idempotency_ttl),
                MemoryTransfer(store.counters, time.monotonic),
            )
    raise AssertionError(f"no features on {store!r}")


@contextlib.asynccontextmanager
async def _background(store: Store) -> AsyncIterator[None]:
    """What is done for the store whoever asks for what."""
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(store, RedisStore):
            await stack.enter_async_context(store.listing.upkeep.running())
            await stack.enter_async_context(store.presence.running())
        yield


def _uniques_key(settings: Settings) -> bytes | None:
    if settings.uniques_key is not None:
        return key_from_text(settings.uniques_key.get_secret_value())
    # One process can make up a key, which is gone together with what was hashed under it.
    return secrets.token_bytes(KEY_SIZE) if settings.store == "memory" else None
