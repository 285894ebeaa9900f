"""Idempotency-Key over HTTP: a retry gets the first answer, success or refusal, and changes nothing."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.support.problems import problem

pytestmark = pytest.mark.anyio

A = "/v1/counters/a"
INCREMENT: tuple[str, str, Any] = ("POST", f"{A}/increment", {"by": 2})
SUBJECT = "X-Evenkeel-Subject"
"""The gateway sets it, and removes it from what clients send."""


async def send(
    client: httpx.AsyncClient, request: tuple[str, str, Any], key: str = "k", **headers: str
) -> httpx.Response:
    method, path, body = request
    fields = {"Idempotency-Key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
    if path.endswith(":import"):
        fields["Content-Type"] = "application/x-ndjson"
    return await client.request(method, path, headers=fields, **({} if body is None else {"json": body}))


def answer(response: httpx.Response) -> tuple[int, str, str | None]:
    return response.status_code, response.text, response.headers.get("ETag")


def is_replay(response: httpx.Response) -> bool:
    return bool(response.headers.get("Idempotency-Replayed") == "true")


async def replayed(client: httpx.AsyncClient, request: tuple[str, str, Any], key: str = "k", **headers: str) -> None:
    """The answers to a request and its retry, which are the same but for the header."""
    first = await send(client, request, key, **headers)
    second = await send(client, request, key, **headers)
    assert (is_replay(first), is_replay(second)) == (False, True), request
    assert answer(first) == answer(second), request


def mismatches(response: httpx.Response) -> bool:
    return problem(response) == (422, "idempotency-mismatch")


async def value(client: httpx.AsyncClient, name: str = "a") -> int | None:
    found: int | None = (await client.get(f"/v1/counters/{name}")).json().get("value")
    return found


async def test_every_change(client: httpx.AsyncClient) -> None:
    await replayed(client, INCREMENT)
    assert await value(client) == 2
    await replayed(client, ("PUT", A, {"value": 7}))
    await client.post(f"{A}/increment")
    await replayed(client, ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}, {"name": "b"}]}))
    assert (await value(client), await value(client, "b")) == (9, 1)
    await replayed(client, ("POST", "/v1/counters:import", {"name": "a", "value": 20}))
    await replayed(client, ("DELETE", A, None))
    await replayed(client, ("PUT", A, {"value": 7}), key="creates")
    assert (await send(client, ("PUT", A, {"value": 7}), key="creates")).status_code == 201
    await replayed(client, ("POST", "/v1/uniques/u", {"member": "x"}))
    await client.post("/v1/uniques/u", json={"member": "y"})
    again = await send(client, ("POST", "/v1/uniques/u", {"member": "x"}))
    assert (again.json()["value"], is_replay(again)) == (1, True)
    await replayed(client, ("DELETE", "/v1/uniques/u", None))
    await client.post("/v1/uniques/u", json={"member": "y"})
    assert (await send(client, ("DELETE", "/v1/uniques/u", None))).status_code == 204
    assert (await client.get("/v1/uniques/u")).json()["value"] == 1


async def test_every_refusal(client: httpx.AsyncClient) -> None:
    await client.put(A, json={"value": 5})
    await client.post(f"{A}/increment", json={"by": 0, "series": ["hour"]})
    # Key, request, preconditions, and the refusal.
    refusals: list[tuple[str, tuple[str, str, Any], dict[str, str], tuple[int, str]]] = [
        ("1", ("POST", f"{A}/increment", {"max": 5}), {}, (409, "counter-bound")),
        ("2", ("POST", f"{A}/increment", {"by": 2**63 - 1}), {}, (409, "counter-overflow")),
        ("3", ("POST", f"{A}/increment", {}), {"If_Match": '"4"'}, (412, "precondition-failed")),
        ("4", ("PUT", A, {"value": 1}), {"If_None_Match": "*"}, (412, "precondition-failed")),
        ("5", ("DELETE", A, None), {"If_Match": '"4"'}, (412, "precondition-failed")),
        ("6", ("DELETE", "/v1/counters/b", None), {}, (404, "not-found")),
        ("7", ("PUT", "/v1/counters/b", {"value": 1}), {"If_Match": "*"}, (412, "precondition-failed")),
        ("8", ("DELETE", "/v1/uniques/b", None), {}, (404, "not-found")),
    ]
    for _ in range(2):
        for key, request, headers, expected in refusals:
            response = await send(client, request, key, **headers)
            assert problem(response) == expected
            if expected[0] != 404:
                assert response.json()["current"] == (None if "/b" in request[1] else 5)
        # The present state of the counter makes no difference.
        await client.put("/v1/counters/a", json={"value": 4})
        await client.put("/v1/counters/b", json={"value": 1})
        await client.post("/v1/uniques/b", json={"member": "m"})
    for key, request, headers, _ in refusals:
        again = await send(client, request, key, **headers)
        assert is_replay(again)
        assert again.headers["Cache-Control"] == "no-store"
    assert (await value(client), await value(client, "b")) == (4, 1)


async def test_a_key_has_one_payload(client: httpx.AsyncClient) -> None:
    """No body, an empty one and written-out defaults are one payload; so are lists that mean the same."""
    path = f"{A}/increment"
    first = await send(client, ("POST", path, None))
    bodies: list[Any] = [{}, {"by": 1, "max": None}, {"series": []}]
    for body in bodies:
        again = await send(client, ("POST", path, body))
        assert (answer(again), is_replay(again)) == (answer(first), True)
    bodies = [{"by": 2}, {"max": 9}, {"ttl": 9}, {"series": ["day"]}]
    for body in bodies:
        assert mismatches(await send(client, ("POST", path, body))), body
    assert mismatches(await send(client, ("POST", path, None), If_Match='"1"'))
    for same in ('"1", "2"', '"2","1"', '"2", W/"7", "1", "1"'):
        response = await send(client, ("POST", path, None), key="tags", If_Match=same)
        assert response.json() == {"name": "a", "value": 2}
    assert mismatches(await send(client, ("POST", path, None), key="tags", If_Match='"1"'))
    assert mismatches(await send(client, ("POST", path, None), key="tags", If_None_Match='"1", "2"'))
    for units in (["hour", "day"], ["day", "hour"], ["day", "hour", "day"]):
        response = await send(client, ("POST", path, {"series": units}), key="series")
        assert response.json() == {"name": "a", "value": 3}
    await send(client, ("PUT", A, {"value": 5}))
    assert mismatches(await send(client, ("PUT", A, {"value": 6})))
    await send(client, ("POST", "/v1/uniques/u", {"member": "x"}))
    assert mismatches(await send(client, ("POST", "/v1/uniques/u", {"member": "y"})))
    assert await value(client) == 5


async def test_a_key_belongs_to_method_and_path(client: httpx.AsyncClient) -> None:
    for request in (
        ("POST", f"{A}/increment", None),
        ("POST", "/v1/counters/b/increment", {"by": 2}),
        ("PUT", A, {"value": 5}),
        ("DELETE", A, None),
        ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}]}),
        ("POST", "/v1/counters:import", {"name": "a", "value": 1}),
        ("POST", "/v1/uniques/a", {"member": "x"}),
        ("POST", "/v1/uniques/b", {"member": "y"}),
        ("DELETE", "/v1/uniques/a", None),
    ):
        response = await send(client, request)
        assert (response.status_code < 300, is_replay(response)) == (True, False), request
    # The same address, written in another way.
    assert is_replay(await send(client, ("POST", "/v1/counters/%61/increment", None)))


async def test_a_key_belongs_to_its_caller(client: httpx.AsyncClient) -> None:
    """If two callers choose the same key, both count."""
    callers = [{}, {SUBJECT: "ada"}, {SUBJECT: "grace"}]
    for number, caller in enumerate(callers, 1):
        response = await send(client, INCREMENT, **caller)
        assert (response.json()["value"], is_replay(response)) == (2 * number, False)
    for number, caller in enumerate(callers, 1):
        response = await send(client, INCREMENT, **caller)
        assert (response.json()["value"], is_replay(response)) == (2 * number, True)
    for request in (
        ("PUT", A, {"value": 5}),
        ("POST", "/v1/counters:batch", {"operations": [{"name": "b"}]}),
        ("POST", "/v1/counters:import", {"name": "c", "value": 1}),
        ("POST", "/v1/uniques/u", {"member": "x"}),
    ):
        for caller in callers:
            assert not is_replay(await send(client, request, **caller)), request
        for caller in callers:
            assert is_replay(await send(client, request, **caller)), request
    assert await value(client, "b") == 3
    # The request of one caller is no mismatch for another.
    await send(client, ("DELETE", A, None), key="d", **{SUBJECT: "ada"})
    other = await send(client, ("DELETE", A, None), key="d", **{SUBJECT: "grace", "If_Match": "*"})
    assert problem(other) == (404, "not-found")


async def test_concurrent_retries(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(send(client, INCREMENT) for _ in range(50)))
    assert [each.json() for each in answers] == [{"name": "a", "value": 2}] * 50
    assert sum(map(is_replay, answers)) == 49
    member = ("POST", "/v1/uniques/u", {"member": "x"})
    answers = await asyncio.gather(*(send(client, member) for _ in range(20)))
    assert sum(map(is_replay, answers)) == 19


async def test_a_batch_is_replayed_as_it_was(client: httpx.AsyncClient) -> None:
    """Refusals and successes, whatever the state is now."""
    operations: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "a", "max": 1},
        {"name": "b", "series": ["hour", "day"]},
        {"name": "c", "min": 5},
    ]
    request = ("POST", "/v1/counters:batch", {"operations": operations})
    first = await send(client, request)
    told = [result.get("value", result.get("status")) for result in first.json()["results"]]
    assert (told, is_replay(first)) == ([1, 409, 1, 409], False)
    await client.post(f"{A}/increment", json={"by": -5})
    await client.put("/v1/counters/c", json={"value": 100})
    again = await send(client, request)
    assert (answer(again), is_replay(again)) == (answer(first), True)
    operations[2]["series"] = ["day", "hour"]
    again = await send(client, request)
    assert (answer(again), is_replay(again)) == (answer(first), True)
    assert (await value(client), await value(client, "c")) == (-4, 100)
    operations.reverse()
    assert mismatches(await send(client, request))
    # A batch and a single increment may have the same key.
    single = await send(client, ("POST", f"{A}/increment", None))
    assert (single.json(), is_replay(single)) == ({"name": "a", "value": -3}, False)


async def test_a_batch_of_refusals_is_replayed(client: httpx.AsyncClient) -> None:
    request = ("POST", "/v1/counters:batch", {"operations": [{"name": "a", "min": 2}, {"name": "b", "min": 2}]})
    first = await send(client, request)
    await client.put(A, json={"value": 5})
    again = await send(client, request)
    assert (answer(again), is_replay(first), is_replay(again)) == (answer(first), False, True)


async def test_what_was_not_judged_is_not_remembered(client: httpx.AsyncClient) -> None:
    for body in ({"by": "1"}, {"by": 2**63}):
        assert problem(await send(client, ("POST", f"{A}/increment", body))) == (422, "validation")
    assert not is_replay(await send(client, INCREMENT))


async def test_reads_take_no_key(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        for path in ("/counter", f"{A}/badge.svg?hit=true"):
            assert not is_replay(await send(client, ("GET", path, None)))
    assert (await client.get("/counter")).json() == {"current_count": 3}
    assert await value(client) == 2


async def test_replays_are_counted_as_such(client: httpx.AsyncClient) -> None:
    refused = ("POST", f"{A}/increment", {"max": 0})
    for request, key in ((INCREMENT, "1"), (INCREMENT, "1"), (refused, "2"), (refused, "2")):
        await send(client, request, key)
    metrics = (await client.get("/metrics")).text
    for outcome, times in (("applied", 1), ("counter-bound", 1), ("replayed", 2)):
        assert f'counter_operations_total{{operation="increment",outcome="{outcome}"}} {times}.0' in metrics
