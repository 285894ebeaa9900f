"""What a trace shows of a read and of a change, without personal data."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.support.serving import Serve, until_ready
from tests.support.spans import NOT_SAMPLED, SAMPLED, Spans, collected

pytestmark = pytest.mark.anyio

ROUTE = "GET /v1/users/{user_id}"


@pytest.fixture
async def traced(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[httpx.AsyncClient, Spans]]:
    with collected(monkeypatch) as spans:
        async with serve() as client:
            await until_ready(client)
            yield client, spans


async def test_a_read_from_each_tier(traced: tuple[httpx.AsyncClient, Spans]) -> None:
    client, spans = traced
    new = {"email": "grace@example.com", "name": "Grace Hopper"}
    created = (await client.post("/v1/users", json=new, headers=SAMPLED)).headers["Location"]
    assert [span.name for span in spans.all] == ["INSERT", "invalidate", "wait for invalidate", "POST /v1/users"]
    spans.clear()

    read = await client.get(created, headers=SAMPLED)
    assert read.json()["source"] == "database"
    select, load = spans.one("SELECT"), spans.one("load")
    assert select.parent == load.context
    assert load.parent == spans.one("wait for load").context
    assert spans.one("wait for load").parent == spans.one(ROUTE).context
    assert "($1::bigint[])" in str(dict(select.attributes or {})["db.query.text"])
    spans.clear()

    read = await client.get(created, headers=SAMPLED)
    assert read.json()["source"] == "memory"
    [hit] = spans.all
    assert (dict(hit.attributes or {})["http.response.header.cache-status"]) == (read.headers["Cache-Status"],)
    spans.clear()

    await client.get("/v1/users?email=grace@example.com", headers=SAMPLED)
    await client.patch(created, json={"name": "Augusta"}, headers=SAMPLED | {"Idempotency-Key": "grace"})
    assert {"transaction", "UPDATE"} <= {span.name for span in spans.all}
    assert not any(word in span.to_json().lower() for word in ("grace", "hopper", "augusta") for span in spans.all)
    spans.clear()

    assert (await client.get(created, headers=NOT_SAMPLED)).status_code == 200
    assert spans.all == ()
