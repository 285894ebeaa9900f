"""What a trace shows of increments that travel together."""

import asyncio

import pytest
from tests.support.serving import Serve, until_ready
from tests.support.spans import SAMPLED, collected

pytestmark = pytest.mark.anyio

ROUTE = "POST /v1/counters/{name}/increment"


async def test_increments(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with collected(monkeypatch) as spans:
        async with serve() as client:
            await until_ready(client)
            await client.post("/v1/counters/grace/increment")
            spans.clear()
            answers = await asyncio.gather(
                *(client.post("/v1/counters/grace/increment", headers=SAMPLED) for _ in range(20))
            )
    assert sorted(answer.json()["value"] for answer in answers) == list(range(2, 22))
    requests = {span.context.span_id for span in spans.named(ROUTE)}
    assert len(requests) == 20
    waits = spans.named("wait for changes")
    assert {span.parent.span_id for span in waits if span.parent} == requests
    # A request waits once, although it also counts itself. A round trip for it alone is part of its trace.
    assert len(waits) == len(requests)
    children = {span.parent.span_id for span in spans.named("changes") if span.parent}
    # Each of the others is linked with its round trip, which belongs to no request.
    waits = [wait for wait in waits if wait.context.span_id not in children]
    trips = {span.context.span_id: span for span in spans.named("changes") if span.parent is None}
    assert trips
    linked = {(link.context.span_id, wait.context.span_id) for wait in waits for link in wait.links}
    assert {wait for _, wait in linked} == {wait.context.span_id for wait in waits}
    assert {(trip, link.context.span_id) for trip in trips for link in trips[trip].links} == linked
    assert not any("grace" in span.to_json() for span in spans.all)
