"""Which log lines have the id of a request."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CollectorRegistry
from tests.support import log_lines
from tests.support.log_lines import LogLines
from tests.support.serving import serving

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.invalidating import Invalidating
from evenkeel.cache.redis_tier import RedisTier
from evenkeel.redis.combining import Combiner
from evenkeel.service.application import create_application
from evenkeel.service.readiness import Readiness

pytestmark = pytest.mark.anyio

log = logging.getLogger("orders")


@pytest.fixture
def written() -> Iterator[LogLines]:
    with log_lines.written() as lines:
        yield lines


class Failing:
    """A tier whose Redis does not answer."""

    async def invalidate(self, _: Sequence[str]) -> None:
        await asyncio.sleep(0)
        raise TierUnavailable("ConnectionError()")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    invalidating = Invalidating(cast("RedisTier", Failing()))
    met = asyncio.Barrier(2)

    async def send(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.01)
        log.info("sent together")
        return items

    combiner = Combiner(send)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        log.info("begins")
        yield {"readiness": Readiness({})}

    app = create_application(
        title="test", description="", version="1", lifespan=lifespan, replica="r-1", registry=CollectorRegistry()
    )

    @app.get("/warn")
    async def warn() -> None:
        log.warning("here")
        await asyncio.create_task(_log("in a task"))
        await run_in_threadpool(log.warning, "in a thread")

    @app.get("/invalidate")
    async def invalidate() -> None:
        await invalidating.invalidate(["1"])

    @app.get("/meet")
    async def meet() -> None:
        log.info("before")
        await met.wait()
        await asyncio.create_task(_log("after"))
        await combiner.submit(1)
        log.info("answered")

    async with serving(app) as client:
        yield client


async def _log(message: str) -> None:
    await asyncio.sleep(0)
    log.warning(message)


async def test_every_line_of_a_request_has_its_id(client: httpx.AsyncClient, written: LogLines) -> None:
    await client.get("/warn", headers={"X-Request-Id": "given"})
    made = (await client.get("/warn")).headers["X-Request-Id"]
    for message in ("here", "in a task", "in a thread"):
        assert written.request_ids(message) == ["given", made]


async def test_a_failing_redis_is_logged_with_the_request_that_noticed(
    client: httpx.AsyncClient, written: LogLines
) -> None:
    await client.get("/invalidate", headers={"X-Request-Id": "writer"})
    assert written.request_ids("an invalidation is left to the relay") == ["writer"]


async def test_requests_at_the_same_time_keep_their_ids_apart(client: httpx.AsyncClient, written: LogLines) -> None:
    await asyncio.gather(*(client.get("/meet", headers={"X-Request-Id": name}) for name in ("one", "two")))
    for message in ("before", "after", "answered"):
        assert {*written.request_ids(message)} == {"one", "two"}


async def test_work_for_several_requests_has_no_id(client: httpx.AsyncClient, written: LogLines) -> None:
    await asyncio.gather(*(client.get("/meet", headers={"X-Request-Id": name}) for name in ("one", "two")))
    assert {*written.request_ids("sent together")} == {None}


async def test_outside_of_requests_there_is_no_id(client: httpx.AsyncClient, written: LogLines) -> None:
    await client.get("/warn", headers={"X-Request-Id": "given"})
    log.info("between requests")
    assert written.request_ids("between requests") == [None]
