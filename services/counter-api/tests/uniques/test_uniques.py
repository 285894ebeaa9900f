"""Unique members: counted once, on both stores, and never stored in the clear."""

import base64
import json
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.counters_redis import own_servers
from tests.support.problems import problem
from tests.support.serving import Serve

from counter_api.settings import Settings
from stack.layout import free_port
from verify.connection import Connection

pytestmark = pytest.mark.anyio

KEY = base64.b64encode(b"u" * 32).decode()


async def add(client: httpx.AsyncClient, name: str, member: str) -> dict[str, Any]:
    response = await client.post(f"/v1/uniques/{name}", json={"member": member})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_a_member_counts_once(client: httpx.AsyncClient) -> None:
    values = [(await add(client, "a", member))["value"] for member in ("x", "y", "x", "X", "y")]
    assert values == [1, 2, 2, 3, 3]
    assert (await client.get("/v1/uniques/a")).json()["value"] == 3
    assert (await add(client, "b", "x"))["value"] == 1


async def test_the_answer_says_how_exact_it_is(serve: Serve) -> None:
    async with serve(uniques_key=KEY) as client:
        answer = await add(client, "a", "x")
        assert answer == {"name": "a", "value": 1, "approximate": True, "error": 0.0081}
        assert (await client.get("/v1/uniques/a")).json() == answer
    async with serve(store="memory") as client:
        answer = await add(client, "a", "x")
        assert answer == {"name": "a", "value": 1, "approximate": False, "error": 0}
        assert (await client.get("/v1/uniques/a")).json() == answer


async def test_the_estimate_is_as_close_as_it_says(serve: Serve) -> None:
    members = 1000
    async with serve(uniques_key=KEY) as client, Connection(str(client.base_url)) as connection:
        reply = None
        for number in range(members):
            body = json.dumps({"member": f"member-{number}"}).encode()
            reply = await connection.request("POST", "/v1/uniques/a", {"content-type": "application/json"}, body)
    assert reply is not None
    answer = reply.json()
    # Four standard errors. The members are the same in each run.
    assert abs(answer["value"] - members) <= 4 * answer["error"] * members


async def test_delete(client: httpx.AsyncClient) -> None:
    assert problem(await client.delete("/v1/uniques/a")) == (404, "not-found")
    assert problem(await client.get("/v1/uniques/a")) == (404, "not-found")
    await add(client, "a", "x")
    assert (await client.delete("/v1/uniques/a")).status_code == 204
    assert problem(await client.get("/v1/uniques/a")) == (404, "not-found")
    assert (await add(client, "a", "x"))["value"] == 1


async def test_uniques_and_counters_of_one_name_are_apart(client: httpx.AsyncClient) -> None:
    await add(client, "a", "x")
    assert problem(await client.get("/v1/counters/a")) == (404, "not-found")
    assert (await client.put("/v1/counters/a", json={"value": 7})).status_code == 201
    assert (await client.put("/v1/counters/a:uniques", json={"value": 8})).status_code == 201
    assert (await client.get("/v1/uniques/a")).json()["value"] == 1
    listing = await client.get("/v1/counters")
    assert [counter["name"] for counter in listing.json()["data"]] == ["a", "a:uniques"]
    assert (await client.delete("/v1/counters/a")).status_code == 204
    assert (await client.get("/v1/uniques/a")).json()["value"] == 1


async def test_bad_input(client: httpx.AsyncClient) -> None:
    bodies: list[Any] = [{}, {"member": ""}, {"member": "x" * 4097}, {"member": 7}, {"member": None}, [], None]
    for body in [*bodies, {"member": "x", "y": 1}]:
        response = await client.post("/v1/uniques/a", json=body)
        assert problem(response) == (422, "validation"), body
    headers = {"Content-Type": "application/json"}
    for content, slug in ((b"{", "malformed-json"), (rb'{"member": "\ud800"}', "validation")):
        response = await client.post("/v1/uniques/a", content=content, headers=headers)
        assert problem(response) == (422, slug), content
    for name in ("_a", "a%20b", "a" * 129):
        for method in ("POST", "GET", "DELETE"):
            response = await client.request(method, f"/v1/uniques/{name}", json={"member": "x"})
            assert problem(response) == (422, "validation")
    assert problem(await client.post("/v1/uniques/a?member=x", json={"member": "x"})) == (422, "validation")
    response = await client.post("/v1/uniques/a", json={"member": "x" * 70_000})
    assert problem(response) == (413, "content-too-large")
    assert problem(await client.put("/v1/uniques/a")) == (405, "method-not-allowed")
    assert problem(await client.get("/v1/uniques/a")) == (404, "not-found")


UNREADABLE = [
    "\0",
    "a\n",
    "a\x7f",
    "a\x85b",
    "\x9b",
    "a\u202eb",
    "\u2066a\u2069",
    " ",
    "\t",
    "\xa0",
    "\u200b",
    "\u3000 \u3164",
]


async def test_members_can_be_read(client: httpx.AsyncClient) -> None:
    for member in UNREADABLE:
        response = await client.post("/v1/uniques/a", json={"member": member})
        assert problem(response) == (422, "validation"), ascii(member)
    # Many languages need joiners, or are written from right to left.
    for number, member in enumerate((" a ", "نمی\u200cخواهم", "👩\u200d🚀", "שלום", "a b"), 1):  # noqa: RUF001 (meant so)
        assert (await add(client, "a", member))["value"] == number


async def test_another_programs_data_is_left_alone(serve: Serve, counters_url: str) -> None:
    async with serve(uniques_key=KEY) as client, Redis.from_url(counters_url) as redis:
        await redis.set("{text}:uniques", "x")
        await redis.rpush("{list}:uniques", "x")
        for name in ("text", "list"):
            for method in ("POST", "GET", "DELETE"):
                response = await client.request(method, f"/v1/uniques/{name}", json={"member": "x"})
                assert problem(response) == (409, "not-uniques")
        assert (await redis.get("{text}:uniques"), await redis.llen("{list}:uniques")) == (b"x", 1)


@own_servers
async def test_members_are_nowhere_in_the_clear(
    serve: Serve, own_redis: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    member = f"{secrets.token_hex(12)}@example.com"
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url, uniques_key=KEY) as client:
        await add(client, "a", member)
        await client.post("/v1/uniques/a", json={"member": member, "wrong": 1})
        written = await anyio.to_thread.run_sync(_contents, tmp_path)  # Redis' append-only file and log
        metrics = (await client.get("/metrics")).content
    assert b"{a}:uniques" in written
    assert member.encode() not in written + metrics + caplog.text.encode()


def _contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_without_a_key_nothing_is_counted(serve: Serve) -> None:
    async with serve() as client:
        for method in ("POST", "GET", "DELETE"):
            response = await client.request(method, "/v1/uniques/a", json={"member": "x"})
            assert problem(response) == (501, "uniques-off")
            assert "COUNTER_API_UNIQUES_KEY" in response.json()["detail"]


async def test_without_redis(serve: Serve) -> None:
    async with serve(redis_url=f"redis://127.0.0.1:{free_port()}/0", uniques_key=KEY) as client:
        for method in ("POST", "GET", "DELETE"):
            response = await client.request(method, "/v1/uniques/a", json={"member": "x"})
            assert problem(response) == (503, "unavailable")


@pytest.mark.parametrize("text", ["", "KEY", "x" * 32, base64.b64encode(b"u" * 31).decode(), KEY + "\n", "é"])
def test_a_bad_key_is_refused_at_start(make_settings: Callable[..., Settings], text: str) -> None:
    with pytest.raises(ValueError, match="must be 32 bytes in base64"):
        make_settings(uniques_key=text)
