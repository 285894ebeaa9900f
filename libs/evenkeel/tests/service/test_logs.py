"""Log lines, and which of them have a request's id."""

import asyncio
import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CollectorRegistry
from tests.support.serving import serving

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.invalidating import Invalidating
from evenkeel.cache.redis_tier import RedisTier
from evenkeel.redis.combining import Combiner
from evenkeel.service import logs
from evenkeel.service.application import create_application
from evenkeel.service.readiness import Readiness

pytestmark = pytest.mark.anyio

log = logging.getLogger("orders")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the process logs."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(logs.JsonFormatter("r-1"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield output
    root.removeHandler(handler)
    root.setLevel(level)


def _lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def _ids(written: io.StringIO, message: str) -> list[str | None]:
    return [line.get("request_id") for line in _lines(written) if line["message"] == message]


def test_a_line_has_these_members(written: io.StringIO) -> None:
    log.warning("%d orders are late", 3, extra={"reason": "snow", "error": OSError("no road")})
    [line] = _lines(written)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert list(line.items()) == [
        ("level", "warning"),
        ("logger", "orders"),
        ("replica", "r-1"),
        ("message", "3 orders are late"),
        ("reason", "snow"),
        ("error", "no road"),
    ]


def test_time_is_in_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"created": 1700000000.0, "msecs": 7.9, "levelname": "INFO", "name": "x"})
    assert json.loads(logs.JsonFormatter("r-1").format(record))["time"] == "2023-11-14T22:13:20.007Z"


def test_a_traceback_is_a_member(written: io.StringIO) -> None:
    try:
        json.loads("no road")
    except ValueError:
        log.exception("an order failed")
    [line] = _lines(written)
    assert (line["level"], line["message"]) == ("error", "an order failed")
    assert line["traceback"].startswith("Traceback (most recent call last):\n")
    assert "\njson.decoder.JSONDecodeError: Expecting value" in line["traceback"]
    assert "exc_info" not in line


def test_the_servers_coloured_message_is_left_out(written: io.StringIO) -> None:
    log.info("started", extra={"color_message": "\x1b[1mstarted"})
    assert _lines(written)[0].keys() == {"time", "level", "logger", "replica", "message"}


def test_every_logger_writes_so_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    try:
        logs.configure("warning", "r-2")
        log.info("not this")
        log.warning("this")
    finally:
        logging.basicConfig(level=level, handlers=handlers, force=True)
    [line] = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["replica"]) == ("this", "r-2")


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


async def test_every_line_of_a_request_has_its_id(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await client.get("/warn", headers={"X-Request-Id": "given"})
    made = (await client.get("/warn")).headers["X-Request-Id"]
    for message in ("here", "in a task", "in a thread"):
        assert _ids(written, message) == ["given", made]


async def test_a_failing_redis_is_logged_with_the_request_that_noticed(
    client: httpx.AsyncClient, written: io.StringIO
) -> None:
    await client.get("/invalidate", headers={"X-Request-Id": "writer"})
    assert _ids(written, "an invalidation is left to the relay") == ["writer"]


async def test_requests_at_the_same_time_keep_their_ids_apart(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await asyncio.gather(*(client.get("/meet", headers={"X-Request-Id": name}) for name in ("one", "two")))
    for message in ("before", "after", "answered"):
        assert {*_ids(written, message)} == {"one", "two"}


async def test_work_for_several_requests_has_no_id(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await asyncio.gather(*(client.get("/meet", headers={"X-Request-Id": name}) for name in ("one", "two")))
    assert {*_ids(written, "sent together")} == {None}


async def test_outside_of_requests_there_is_no_id(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await client.get("/warn", headers={"X-Request-Id": "given"})
    log.info("between requests")
    assert _ids(written, "between requests") == [None]
