"""Work that several requests share is attributed to none of them."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from tests.support.spans import Spans, collected

from evenkeel import tracing
from evenkeel.cache.flights import Flights, Terms
from evenkeel.redis.combining import Combiner
from evenkeel.service import telemetry

pytestmark = pytest.mark.anyio


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    with collected(monkeypatch) as found:
        yield found


class Request:
    """A task with a span of its own, as each request has."""

    def __init__(self, name: str, *, sampled: bool = True) -> None:
        tracer = telemetry.current()
        assert tracer is not None
        self.span = tracer.begin(name, parent=None, kind="server", attributes={}, links=()) if sampled else None

    async def wait(self, combiner: Combiner[str, str]) -> str:
        tracing.CURRENT.set(self.span)
        try:
            return await combiner.submit("x")
        finally:
            if self.span is not None:
                self.span.end()


async def answer(items: Sequence[str]) -> Sequence[str]:
    with tracing.span("inside"):
        await asyncio.sleep(0)
    return items


async def test_alone_the_round_trip_is_part_of_the_request(spans: Spans) -> None:
    await asyncio.create_task(Request("a").wait(Combiner(answer, name="MGET")))
    request, wait, trip = spans.one("a"), spans.one("wait for MGET"), spans.one("MGET")
    assert wait.parent == request.context
    assert trip.parent == wait.context
    assert spans.one("inside").parent == trip.context
    assert trip.links == wait.links == ()
    assert dict(trip.attributes or {}) == {
        "db.system.name": "redis",
        "db.operation.name": "MGET",
        "evenkeel.waits": 1,
    }


async def test_together_it_belongs_to_no_request_and_is_linked_with_all(spans: Spans) -> None:
    combiner = Combiner(answer, name="MGET")
    requests = [Request("a"), Request("b"), Request("c", sampled=False)]
    await asyncio.gather(*(asyncio.create_task(request.wait(combiner)) for request in requests))
    trip, waits = spans.one("MGET"), spans.named("wait for MGET")
    assert trip.parent is None
    assert len(waits) == 2
    assert [link.context for link in trip.links] == [wait.context for wait in waits]
    assert all([link.context for link in wait.links] == [trip.context] for wait in waits)
    assert trip.context.trace_id not in {wait.context.trace_id for wait in waits}
    assert spans.one("inside").parent == trip.context
    assert dict(trip.attributes or {})["evenkeel.waits"] == 3


async def test_one_sampled_request_among_others_gets_a_link_alone(spans: Spans) -> None:
    combiner = Combiner(answer, name="MGET")
    requests = [Request("a", sampled=False), Request("b")]
    await asyncio.gather(*(asyncio.create_task(request.wait(combiner)) for request in requests))
    assert spans.one("MGET").parent is None
    assert [link.context for link in spans.one("wait for MGET").links] == [spans.one("MGET").context]


async def test_a_request_that_waits_for_several_parts_waits_once(spans: Spans) -> None:
    combiner = Combiner(answer, name="MGET")

    async def wait_twice(request: Request) -> None:
        tracing.CURRENT.set(request.span)
        await asyncio.gather(combiner.submit("x"), combiner.submit("y"))
        await combiner.submit("z")

    await asyncio.create_task(wait_twice(Request("a")))
    both, later = spans.named("wait for MGET")
    assert [trip.parent for trip in spans.named("MGET")] == [both.context, later.context]
    assert [dict(trip.attributes or {})["evenkeel.waits"] for trip in spans.named("MGET")] == [2, 1]
    assert both.end_time
    assert both.end_time <= (later.start_time or 0)


async def test_a_wait_for_several_parts_ends_with_the_last(spans: Spans) -> None:
    async def one_at_a_time(items: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        return items

    combiner = Combiner(one_at_a_time, name="MGET", largest=1)

    async def wait_twice(request: Request) -> None:
        tracing.CURRENT.set(request.span)
        await asyncio.gather(combiner.submit("x"), combiner.submit("y"))

    await asyncio.create_task(wait_twice(Request("a")))
    wait = spans.one("wait for MGET")
    assert [trip.parent for trip in spans.named("MGET")] == [wait.context] * 2
    assert wait.end_time
    assert wait.end_time >= max(trip.end_time or 0 for trip in spans.named("MGET"))


async def test_without_a_sampled_request_there_is_no_span(spans: Spans) -> None:
    assert await asyncio.create_task(Request("a", sampled=False).wait(Combiner(answer))) == "x"
    with tracing.span("alone"):
        pass
    assert spans.all == ()


async def test_a_failure_is_recorded_by_its_type_alone(spans: Spans) -> None:
    async def fail(_: Sequence[str]) -> Sequence[str]:
        raise ValueError("Key (email)=(grace@example.com) already exists")

    with pytest.raises(ValueError, match="grace"):
        await asyncio.create_task(Request("a").wait(Combiner(fail, name="MGET")))
    for span in (spans.one("MGET"), spans.one("wait for MGET")):
        assert dict(span.attributes or {})["error.type"] == "ValueError"
        assert "grace" not in span.to_json()
        assert not span.events


async def test_a_request_that_goes_away_ends_its_wait(spans: Spans) -> None:
    free = asyncio.Event()

    async def slowly(items: Sequence[str]) -> Sequence[str]:
        await free.wait()
        return items

    combiner = Combiner(slowly, name="MGET")
    waiting = asyncio.create_task(Request("a").wait(combiner))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert spans.named("wait for MGET")
    assert not spans.named("MGET")
    free.set()
    await combiner.close()
    assert spans.one("MGET").parent == spans.one("wait for MGET").context
    assert combiner._spans is not None
    assert combiner._spans._waits == {}


async def test_a_load_belongs_to_its_only_reader_or_to_none(spans: Spans) -> None:
    async def load(keys: list[str], _: Terms):  # type: ignore[no-untyped-def] # noqa: ANN202 (a generator)
        with tracing.span("SELECT"):
            await asyncio.sleep(0)
        yield dict.fromkeys(keys, "row")

    flights: Flights[str] = Flights(load)

    async def read(name: str, key: str) -> None:
        request = Request(name)
        tracing.CURRENT.set(request.span)
        future, _ = flights.join(key, Terms(deadline=1e9))
        await future
        assert request.span is not None
        request.span.end()

    await asyncio.create_task(read("a", "1"))
    assert spans.one("load").parent == spans.one("wait for load").context
    assert spans.one("SELECT").parent == spans.one("load").context
    await asyncio.gather(*(asyncio.create_task(read(name, "2")) for name in "bc"))
    shared = spans.named("load")[1]
    assert shared.parent is None
    assert len(shared.links) == 2
    await flights.close()


def test_without_opentelemetry_nothing_happens() -> None:
    assert not tracing.active()
    assert tracing.trace_id() is None
    assert tracing.exemplar() is None
    with tracing.span("x") as span:
        assert span is None
