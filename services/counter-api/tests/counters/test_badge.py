"""The picture of a counter."""

from xml.etree import ElementTree as ET

import httpx
import pytest
from redis.asyncio import Redis
from tests.support.problems import problem
from tests.support.serving import Serve

from counter_api.counters.badge import LONGEST_LABEL, render

pytestmark = pytest.mark.anyio

SVG = "{http://www.w3.org/2000/svg}"
BADGE = "/v1/counters/a/badge.svg"


def texts(svg: str) -> list[str]:
    """The texts of the picture. Fails if it has anything but shapes and texts."""
    root = ET.fromstring(svg)  # noqa: S314 (our own answer)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {"svg", "title", "rect", "g", "text"}
    return [element.text or "" for element in root.iter(f"{SVG}text")]


async def shown(client: httpx.AsyncClient, **query: str) -> list[str]:
    response = await client.get(BADGE, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    return texts(response.text)


async def test_it_shows_name_and_value_and_counts_nothing(client: httpx.AsyncClient) -> None:
    assert await shown(client) == ["a", "0"]
    await client.put("/v1/counters/a", json={"value": -(2**63)})
    assert await shown(client) == await shown(client, hit="false") == ["a", str(-(2**63))]
    assert (await client.get("/v1/counters/a")).json()["value"] == -(2**63)


async def test_only_a_hit_by_get_counts(client: httpx.AsyncClient) -> None:
    assert await shown(client, hit="true") == ["a", "1"]
    assert await shown(client, hit="true") == ["a", "2"]
    for path in (BADGE, f"{BADGE}?hit=true"):
        response = await client.head(path)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Type"] == "image/svg+xml"
    assert await shown(client) == ["a", "2"]


async def test_labels(client: httpx.AsyncClient) -> None:
    hostile = "</text><script>alert(1)</script>\"'&amp;]]>"
    for label in ("visits", hostile, "Zähler 計数", "W" * LONGEST_LABEL, "<" * LONGEST_LABEL):
        assert await shown(client, label=label) == [label, "0"]
    assert await shown(client, label="") == ["0"]


async def test_what_keeps_caches_from_knowing_it_is_ignored(client: httpx.AsyncClient) -> None:
    for version in ("", "1", "\N{SNOWMAN}", "x" * 500):
        assert await shown(client, v=version) == ["a", "0"]
    assert await shown(client, hit="true", v="2") == ["a", "1"]


async def test_bad_input(client: httpx.AsyncClient) -> None:
    labels = ("x" * (LONGEST_LABEL + 1), "a\0b", "a\nb", "a\x1bb", "a\u202eb", "a\ufffeb", " ", "\t")
    for query in (*({"label": label} for label in labels), {"hit": "1"}, {"hit": ""}, {"hit": "True"}, {"x": "1"}):
        assert problem(await client.get(BADGE, params=query)) == (422, "validation"), query
    assert problem(await client.get("/v1/counters/_a/badge.svg")) == (422, "validation")
    assert problem(await client.post(BADGE)) == (405, "method-not-allowed")
    assert await shown(client) == ["a", "0"]


async def test_what_cannot_be_shown_or_counted(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await client.put("/v1/counters/a", json={"value": 2**63 - 1})
        assert problem(await client.get(f"{BADGE}?hit=true")) == (409, "counter-overflow")
        await redis.set("{a}", "x")
        assert problem(await client.get(BADGE)) == (409, "not-a-counter")


def test_the_value_has_its_place_beside_the_label() -> None:
    root = ET.fromstring(render("stars", "7"))  # noqa: S314 (our own)
    left, right = root.findall(f"{SVG}rect")
    assert (left.get("x"), right.get("x")) == (None, left.get("width"))
    assert root.get("width") == str(int(left.get("width", "")) + int(right.get("width", "")))
    assert root.findtext(f"{SVG}title") == "stars: 7"
