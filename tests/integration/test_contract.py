"""Every line of the HTTP contract, and every error, through the gateway. The services' own tests are more detailed."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.support.problems import problem
from tests.support.users import ADA, create, etag

pytestmark = pytest.mark.anyio

MAX_INT64 = 2**63 - 1
INVALID_USERS: list[Any] = [{}, [], None, ADA | {"extra": 1}, ADA | {"name": "a\x00b"}]


class TestUsers:
    async def test_create(self, client: httpx.AsyncClient, email: str) -> None:
        response = await client.post("/v1/users", json={"email": email, "name": "Ada"})
        user = response.json()
        assert response.status_code == 201
        assert user.keys() == {"id", "email", "name", "version", "created_at", "updated_at"}
        assert (user["email"], user["name"], user["version"]) == (email, "Ada", 1)
        assert response.headers["Location"] == f"/v1/users/{user['id']}"
        assert response.headers["ETag"] == await etag(client, user["id"])
        response = await client.post("/v1/users", json={"email": email.upper(), "name": "Ada"})
        assert problem(response) == (409, "email-taken")

    async def test_get(self, client: httpx.AsyncClient, email: str) -> None:
        user = await create(client, email=email)
        path = f"/v1/users/{user['id']}"
        response = await client.get(path)
        assert (response.status_code, response.json()["data"]) == (200, user)
        assert response.json()["source"] in {"memory", "redis", "database"}
        assert response.headers["Cache-Status"]
        unchanged = {"If-None-Match": response.headers["ETag"]}
        assert (await client.get(path, headers=unchanged)).status_code == 304
        response = await client.get(path, headers={"Cache-Control": "no-cache"})
        assert response.json() == {"source": "database", "data": user}
        assert (await client.get(path, headers={"Min-Version": "1"})).status_code == 200
        assert problem(await client.get(path, headers={"Min-Version": "9"})) == (412, "precondition-failed")
        assert problem(await client.get(f"/v1/users/{MAX_INT64}")) == (404, "user-not-found")

    async def test_batch(self, client: httpx.AsyncClient, email: str) -> None:
        one, two = await create(client, email=email), await create(client, email=f"2{email}")
        response = await client.get(f"/v1/users?ids={two['id']},{MAX_INT64},{one['id']}")
        assert (response.status_code, response.json()) == (200, {"data": [two, one], "missing": [MAX_INT64]})

    async def test_list(self, client: httpx.AsyncClient, email: str) -> None:
        users = [await create(client, email=f"{n}{email}") for n in range(3)]
        before = users[0]["id"] - 1
        response = await client.get(f"/v1/users?limit=2&after={before}")
        assert response.json() == {"data": users[:2]}
        following = await client.get(response.links["next"]["url"])
        assert following.json()["data"][0] == users[2]

    async def test_patch(self, client: httpx.AsyncClient, email: str) -> None:
        user = await create(client, email=email)
        other = await create(client, email=f"2{email}")
        path = f"/v1/users/{user['id']}"
        first = {"If-Match": await etag(client, user["id"])}
        response = await client.patch(path, json={"name": "B"}, headers=first)
        assert (response.status_code, response.json()["name"]) == (200, "B")
        assert response.headers["ETag"] == await etag(client, user["id"])
        response = await client.patch(path, json={"name": "C"}, headers=first)
        assert problem(response) == (412, "precondition-failed")
        assert problem(await client.patch(path, json={"email": other["email"]})) == (409, "email-taken")
        assert problem(await client.patch(path, json={"name": None})) == (422, "validation")
        assert problem(await client.patch(f"/v1/users/{MAX_INT64}", json={"name": "B"})) == (404, "user-not-found")

    async def test_delete(self, client: httpx.AsyncClient, email: str) -> None:
        user_id = (await create(client, email=email))["id"]
        path = f"/v1/users/{user_id}"
        assert problem(await client.delete(path, headers={"If-Match": '"1"'})) == (412, "precondition-failed")
        current = {"If-Match": await etag(client, user_id)}
        assert (await client.delete(path, headers=current)).status_code == 204
        assert problem(await client.delete(path)) == (404, "user-not-found")


class TestCounters:
    async def test_increment(self, client: httpx.AsyncClient, name: str) -> None:
        path = f"/v1/counters/{name}/increment"
        assert (await client.post(path)).json() == {"name": name, "value": 1}
        assert (await client.post(path, json={"by": -3, "min": -2, "max": 5})).json() == {"name": name, "value": -2}
        response = await client.post(path, json={"by": -1, "min": -2})
        assert problem(response) == (409, "counter-bound")
        assert problem(await client.post(path, json={"by": 9, "max": 5})) == (409, "counter-bound")
        assert problem(await client.post(path, json={"by": -MAX_INT64})) == (409, "counter-overflow")
        assert (await client.get(f"/v1/counters/{name}")).json()["value"] == -2

    async def test_increment_with_ttl(self, client: httpx.AsyncClient, name: str) -> None:
        await client.post(f"/v1/counters/{name}/increment", json={"ttl": 1})
        await asyncio.sleep(0.5)
        await client.post(f"/v1/counters/{name}/increment", json={"ttl": 100})
        await asyncio.sleep(0.8)
        assert problem(await client.get(f"/v1/counters/{name}")) == (404, "not-found")

    async def test_idempotency_key(self, client: httpx.AsyncClient, name: str) -> None:
        path, key = f"/v1/counters/{name}/increment", {"Idempotency-Key": f"key-{name}"}
        responses = await asyncio.gather(*(client.post(path, json={"by": 5}, headers=key) for _ in range(20)))
        assert {response.json()["value"] for response in responses} == {5}
        assert [response.headers.get("Idempotency-Replayed") for response in responses].count("true") == 19
        assert problem(await client.post(path, json={"by": 6}, headers=key)) == (422, "idempotency-mismatch")
        for headers in ([("Idempotency-Key", "x" * 256)], [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]):
            assert problem(await client.post(path, headers=headers)) == (422, "validation")

    async def test_values_are_exact_over_64_bits(self, client: httpx.AsyncClient, name: str) -> None:
        path = f"/v1/counters/{name}"
        for value in (2**53 - 1, 2**53 + 1, MAX_INT64 - 1, -MAX_INT64 - 1):
            await client.put(path, json={"value": value})
            assert (await client.post(f"{path}/increment")).json()["value"] == value + 1
        await client.put(path, json={"value": MAX_INT64})
        assert problem(await client.post(f"{path}/increment")) == (409, "counter-overflow")

    async def test_get(self, client: httpx.AsyncClient, name: str) -> None:
        path = f"/v1/counters/{name}"
        assert problem(await client.get(path)) == (404, "not-found")
        await client.put(path, json={"value": 7})
        response = await client.get(path)
        assert (response.json(), response.headers["ETag"]) == ({"name": name, "value": 7}, '"7"')
        assert (await client.get(path, headers={"If-None-Match": '"7"'})).status_code == 304

    async def test_put(self, client: httpx.AsyncClient, name: str) -> None:
        path = f"/v1/counters/{name}"
        response = await client.put(path, json={"value": 7})
        assert (response.status_code, response.json()) == (201, {"name": name, "value": 7})
        assert response.headers["ETag"] == '"7"'
        response = await client.put(path, json={"value": 8}, headers={"If-Match": '"6"'})
        assert problem(response) == (412, "precondition-failed")
        assert (await client.put(path, json={"value": 8}, headers={"If-Match": '"7"'})).json()["value"] == 8

    async def test_compare_and_set_has_one_winner(self, client: httpx.AsyncClient, name: str) -> None:
        path = f"/v1/counters/{name}"
        await client.put(path, json={"value": 0})
        puts = (client.put(path, json={"value": n}, headers={"If-Match": '"0"'}) for n in range(1, 31))
        responses = await asyncio.gather(*puts)
        assert sorted(response.status_code for response in responses) == [200] + [412] * 29

    async def test_delete(self, client: httpx.AsyncClient, name: str) -> None:
        path = f"/v1/counters/{name}"
        assert problem(await client.delete(path)) == (404, "not-found")
        await client.put(path, json={"value": 7})
        assert problem(await client.delete(path, headers={"If-Match": '"6"'})) == (412, "precondition-failed")
        assert (await client.delete(path)).status_code == 204
        assert problem(await client.get(path)) == (404, "not-found")

    async def test_list(self, client: httpx.AsyncClient, name: str) -> None:
        names = [f"{name}-{n}" for n in (3, 1, 2)]
        for value, counter in enumerate(names):
            await client.put(f"/v1/counters/{counter}", json={"value": value})
        response = await client.get(f"/v1/counters?prefix={name}&limit=2")
        assert response.json() == {"data": [{"name": f"{name}-1", "value": 1}, {"name": f"{name}-2", "value": 2}]}
        following = await client.get(response.links["next"]["url"])
        assert following.json() == {"data": [{"name": f"{name}-3", "value": 0}]}
        assert "Link" not in following.headers

    async def test_batch(self, client: httpx.AsyncClient, name: str) -> None:
        operations = [{"name": name}, {"name": name, "by": 5, "max": 3}, {"name": name, "by": 2}]
        response = await client.post("/v1/counters:batch", json={"operations": operations})
        first, refused, last = response.json()["results"]
        assert (response.status_code, first, last) == (200, {"name": name, "value": 1}, {"name": name, "value": 3})
        assert (refused["status"], refused["type"]) == (409, "urn:evenkeel:problem:counter-bound")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("POST", "/v1/users", body) for body in INVALID_USERS),
        *(("POST", "/v1/users", ADA | {"email": email}) for email in ("nobody", "", 7, None, "a@b\x00.c")),
        *(("GET", f"/v1/users/{user_id}", None) for user_id in (0, -1, MAX_INT64 + 1, "x", "1.5", "1%20")),
        *(("GET", f"/v1/users?{query}", None) for query in ("ids=0", "ids=a", "limit=0", "after=x", "cursor=1")),
        *(("GET", f"/v1/counters/{name}", None) for name in ("-a", ".a", "a b", "a" * 129, "é", "a*", "a{b}")),
        *(("GET", f"/v1/counters?{query}", None) for query in ("limit=0", "limit=1001", "after=%20", "x=1")),
        ("PUT", "/v1/counters/a", {}),
        *(("PUT", "/v1/counters/a", {"value": value}) for value in ("1", 1.5, True, None, MAX_INT64 + 1)),
        *(("POST", "/v1/counters/a/increment", {"by": by}) for by in ("1", 1.5, True, None, MAX_INT64 + 1)),
        ("POST", "/v1/counters/a/increment", {"ttl": 0}),
        ("POST", "/v1/counters/a/increment", {"step": 1}),
        ("POST", "/v1/counters/a/increment", {"min": 2, "max": 1}),
        ("POST", "/v1/counters:batch", {"operations": []}),
        ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}] * 1001}),
        ("POST", "/v1/counters:batch", {"operations": [{"by": 1}]}),
    ],
)
async def test_invalid_input(client: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    response = await (client.request(method, path) if method == "GET" else client.request(method, path, json=body))
    assert problem(response) == (422, "validation")
    assert response.json()["errors"]


async def test_integers_of_any_length_are_read(client: httpx.AsyncClient) -> None:
    content = b'{"value": ' + b"9" * 5000 + b"}"
    response = await client.put("/v1/counters/a", content=content, headers={"Content-Type": "application/json"})
    assert problem(response) == (422, "validation")
    assert [error["field"] for error in response.json()["errors"]] == ["value"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/users"), ("PUT", "/v1/counters/a"), ("POST", "/v1/counters:batch")]
)
@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 60_000, b'{"a": NaN'])
async def test_malformed_json(client: httpx.AsyncClient, method: str, path: str, content: bytes) -> None:
    response = await client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert problem(response) == (422, "malformed-json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/users"),
        ("PUT", "/v1/users/1"),
        ("POST", "/v1/users/1"),
        ("POST", "/v1/counters"),
        ("GET", "/v1/counters/a/increment"),
        ("GET", "/v1/counters:batch"),
        ("PATCH", "/v1/counters/a"),
        ("POST", "/counter"),
        ("DELETE", "/stats"),
    ],
)
async def test_wrong_method(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert problem(response) == (405, "method-not-allowed")
    assert response.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/v1/users/1/posts", "/v1/counters/a/increment/b", "/v1/counters:nothing", "/v1/user"]
)
async def test_unknown_route(client: httpx.AsyncClient, path: str) -> None:
    assert problem(await client.get(path)) == (404, "not-found")
