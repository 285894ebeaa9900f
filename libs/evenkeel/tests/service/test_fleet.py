"""The fleet without a service: rates, reasons, viewers, and a board that fails or hangs."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel
from starlette.types import Message

from evenkeel.http import event_streams
from evenkeel.http.problems import Unavailable
from evenkeel.service.draining import Draining
from evenkeel.service.fleet import fleet as module
from evenkeel.service.fleet.fleet import Fleet
from evenkeel.service.fleet.heartbeat import Connections, Replica, Sighting, Vitals
from evenkeel.service.fleet.rates import Rates, answered
from evenkeel.service.fleet.routes import FleetEvents
from evenkeel.service.readiness import Readiness

pytestmark = pytest.mark.anyio


class Document(BaseModel):
    replicas: list[Replica]


class Subject:
    def measure(self) -> Vitals:
        return Vitals(requests_per_second=1.5, hits=None, pool=Connections(in_use=1, size=2))

    def own(self) -> dict[str, Any]:
        return {}

    async def describe(self, sightings: Sequence[Sighting]) -> Document:
        return Document(replicas=[sighting.replica() for sighting in sightings])


class Board:
    """Heartbeats in memory. Each is as old as `ages` says."""

    def __init__(self) -> None:
        self.reports: dict[str, bytes] = {}
        self.ages: dict[str, float] = {}
        self.reads = 0
        self.hangs = False

    async def beat(self, name: str, report: bytes) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        self.reports[name] = report

    async def read(self) -> Mapping[str, tuple[float, bytes]]:
        self.reads += 1
        return {name: (self.ages.get(name, 0.0), report) for name, report in self.reports.items()}

    async def leave(self, name: str) -> None:
        del self.reports[name]


class Running:
    """A fleet that runs, and all that a test changes about it."""

    def __init__(self, board: Board | None, name: str) -> None:
        self.draining = Draining()
        self.trouble: str | None = None
        self.readiness = Readiness({"store": self._check})
        self.fleet = Fleet(name, Subject(), board, readiness=self.readiness, draining=self.draining)
        self.closing = asyncio.Event()

    async def replicas(self) -> dict[str, Any]:
        return {each["name"]: each for each in json.loads(await self.fleet.view())["replicas"]}

    async def becomes(self, state: str, reason: str | None) -> None:
        """Return when the replica is listed like this."""
        async with asyncio.timeout(10):
            while True:
                [replica] = (await self.replicas()).values()
                if (replica["state"], replica["reason"]) == (state, reason):
                    return
                await asyncio.sleep(0.01)

    async def _check(self) -> None:
        if self.trouble is not None:
            raise RuntimeError(self.trouble)


@asynccontextmanager
async def running(board: Board | None = None, name: str = "a") -> AsyncIterator[Running]:
    run = Running(board, name)
    async with run.fleet.running(run.closing):
        yield run


@pytest.fixture(autouse=True)
def every(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)


async def test_what_state_a_replica_is_in() -> None:
    async with running() as run:
        run.trouble = "it is down"
        await run.readiness.failures()
        await run.becomes("starting", "store: it is down")
        run.trouble = None
        await run.readiness.failures()
        await run.becomes("ready", None)
        run.readiness.details["cache"] = lambda: "the trigger is off"
        await run.becomes("ready", "cache: the trigger is off")
        run.trouble = "x" * 1000
        await run.readiness.failures()
        await run.becomes("not-ready", "store: " + "x" * 492 + "…")
        run.draining.begin(60)
        await run.becomes("draining", "draining: about to end")


async def test_readiness_is_checked_if_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERDICT_AGE", 0.05)
    async with running() as run:
        await run.becomes("ready", None)
        run.trouble = "it is down"
        await run.becomes("not-ready", "store: it is down")


async def test_replicas_of_other_releases_and_those_that_are_gone() -> None:
    board = Board()
    async with running(board, "b") as other:
        await other.replicas()
        async with running(board) as run:
            board.reports["c"] = b'{"state": "of another release"}'
            board.ages["b"] = 3.5
            found = await run.replicas()
            assert list(found) == ["a", "b"]
            assert (found["a"]["state"], found["b"]["state"]) == ("starting", "gone")
            assert found["b"]["reason"] == "no heartbeat for 4 s"
            assert (found["b"]["requests_per_second"], found["b"]["pool"]) == (0, {"in_use": 0, "size": 2})
        assert "a" not in board.reports


async def test_heartbeats_are_read_only_while_somebody_looks() -> None:
    board = Board()
    async with running(board) as run:
        await asyncio.sleep(0.1)
        assert (board.reads, list(board.reports)) == (0, ["a"])
        with run.fleet.viewing(), run.fleet.viewing():
            for _ in range(3):
                await run.fleet.changed.wait()
        assert 3 <= board.reads <= 4
        before = board.reads
        await asyncio.sleep(0.05)
        assert board.reads <= before + 1


async def test_many_reads_of_one_moment_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 30)
    board = Board()
    async with running(board) as run:
        views = await asyncio.gather(*(run.fleet.view() for _ in range(100)))
        views.append(await run.fleet.view())
        assert len(set(views)) == 1
        assert board.reads == 1


async def test_a_board_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    board = Board()
    board.hangs = True
    async with running(board, "b") as run:
        assert list(await run.replicas()) == ["b"]
        assert list(await run.replicas()) == ["b"]


async def test_a_view_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def describe(*_: object) -> BaseModel:
        raise ValueError("a mistake")

    monkeypatch.setattr(Subject, "describe", describe)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.1)
    async with running() as run:
        with pytest.raises(Unavailable):
            await run.fleet.view()


async def test_too_many_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VIEWERS", 1)
    async with running() as run:
        with run.fleet.viewing(), pytest.raises(Unavailable), run.fleet.viewing():
            pass
        with run.fleet.viewing():
            pass


async def test_the_end_of_the_replica_wakes_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as run:
        await run.fleet.view()
        monkeypatch.setattr(module, "EVERY", 30)
        await asyncio.sleep(0.05)
        changed = run.fleet.changed
        run.closing.set()
        await changed.wait()
        assert run.fleet.closing


async def test_the_end_of_the_replica_is_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that has come before waits for the view."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    board = Board()
    board.hangs = True
    async with running(board) as run:
        reading = asyncio.create_task(run.fleet.view())
        await asyncio.sleep(0)
        run.closing.set()
        assert [each["name"] for each in json.loads(await reading)["replicas"]] == ["a"]


async def test_a_stream_ends_although_no_view_comes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "LIFETIME", (0.2, 0.2))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def describe(*_: object) -> BaseModel:
        raise ValueError("a mistake")

    async with running() as run, asyncio.timeout(10):
        await run.fleet.view()
        monkeypatch.setattr(Subject, "describe", describe)
        monkeypatch.setattr(module, "EVERY", 30)  # the view that there is serves
        await FleetEvents(run.fleet).stream_response(send)
    assert sent[-1]["more_body"] is False


def test_rates_are_over_the_last_seconds() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    assert rates.add({"a": 100.0}) == {"a": 0}
    seen = []
    for second in range(1, 12):
        now = float(second)
        seen.append(rates.add({"a": 100.0 + 10 * min(second, 6)})["a"])
    assert seen == [10, 10, 10, 10, 10, 10, 8, 6, 4, 2, 0]


def test_probes_and_the_fleet_itself_are_no_requests() -> None:
    registry = CollectorRegistry()
    requests = Counter(
        "http_requests", "As evenkeel.http counts them", ["method", "route", "status"], registry=registry
    )
    for route in ("/livez", "/readyz", "/metrics", "/v1/fleet/user-api", "/v1/users", "unmatched"):
        requests.labels("GET", route, 200).inc()
    assert answered(registry) == 2
