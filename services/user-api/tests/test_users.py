"""The HTTP contract of users, on a real PostgreSQL and a real Redis."""

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest
from tests.support.problems import OF_EVERY_OPERATION, problem
from tests.support.users import ADA, create, create_and_settle, etag

pytestmark = [pytest.mark.anyio, pytest.mark.hot_and_ordinary]

MAX_ID = 2**63 - 1


class TestCreate:
    async def test_answers_the_user(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/users", json=ADA, headers={"X-Request-Id": "mine-1"})
        user = response.json()
        created = user.pop("created_at")
        assert user.pop("updated_at") >= created
        assert datetime.fromisoformat(created).utcoffset() is not None
        assert (response.status_code, user) == (201, ADA | {"id": 1, "version": 1})
        assert response.headers["Location"] == "/v1/users/1"
        assert response.headers["ETag"] == await etag(client)
        assert response.headers["X-Request-Id"] == "mine-1"
        assert response.headers["X-Served-By"] == "replica-a"

    @pytest.mark.parametrize("name", ["J", " Ada ", "José", "李小龍", "שרה", "a\u200db", "👩‍🚀", "Ada\u200f", "_"])
    async def test_names(self, client: httpx.AsyncClient, name: str) -> None:
        assert (await create(client, name=name))["name"] == name

    async def test_email_taken_in_any_letter_case(self, client: httpx.AsyncClient) -> None:
        await create(client)
        response = await client.post("/v1/users", json=ADA | {"email": "ADA@Example.com"})
        assert problem(response) == (409, "email-taken")
        assert "ada" not in response.text.lower().replace("address", "")

    async def test_one_of_many_at_once_gets_the_email(self, client: httpx.AsyncClient) -> None:
        responses = await asyncio.gather(*(client.post("/v1/users", json=ADA) for _ in range(30)))
        assert sorted(r.status_code for r in responses) == [201] + [409] * 29

    @pytest.mark.parametrize(
        "body",
        [
            {"email": "ada@example.com"},
            {"name": "Ada"},
            ADA | {"admin": True},
            ADA | {"id": 7},
            ADA | {"email": "nobody"},
            ADA | {"email": "a b@example.com"},
            ADA | {"email": "a@b@example.com"},
            ADA | {"email": f"{'x' * 250}@example.com"},
            ADA | {"email": "ada@example.com\n"},
            ADA | {"email": "a\x00da@example.com"},
            ADA | {"email": None},
            ADA | {"name": ""},
            ADA | {"name": 7},
            ADA | {"name": "x" * 201},
            ADA | {"name": "Ada\x00"},
            ADA | {"name": "Ada\n"},
            *(ADA | {"name": f"Ada{chr(code)}"} for code in (0x80, 0x85, 0x9F, 0x7F, 0x1B)),
            *(ADA | {"name": f"{chr(code)}Ada"} for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
            *(
                ADA | {"name": blank}
                for blank in (" ", "   ", "\xa0", "\u3000", "\u2003 \u200b", "\ufeff", "\u2800", "\u3164")
            ),
            ADA | {"email": "a\u202eda@example.com"},
            ADA | {"email": "a\x9fda@example.com"},
            ADA | {"email": "  "},
            ADA | {"name": ["Ada"]},
            [],
            None,
            "text",
        ],
    )
    async def test_invalid_body(self, lasting: httpx.AsyncClient, body: Any) -> None:
        response = await lasting.post("/v1/users", json=body)
        assert problem(response) == (422, "validation")
        assert all(error.keys() == {"in", "field", "detail"} for error in response.json()["errors"])
        assert (await lasting.get("/v1/users")).json() == {"data": []}

    @pytest.mark.parametrize(
        "content",
        [b"{", b"", b"{'email': 1}", b"\xff\xfe", b"[" * 60_000, b"9" * 5000, b'{"a":1}{"b":2}'],
        ids=["cut", "empty", "quotes", "not-utf-8", "deep", "huge-number", "two"],
    )
    async def test_malformed_json(self, lasting: httpx.AsyncClient, content: bytes) -> None:
        response = await lasting.post("/v1/users", content=content, headers={"Content-Type": "application/json"})
        status, slug = problem(response)
        assert status == 422
        assert slug == ("validation" if content in {b"", b"9" * 5000} else "malformed-json")

    async def test_body_without_its_type(self, lasting: httpx.AsyncClient) -> None:
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
            response = await lasting.post("/v1/users", content=b'{"email":"a@example.com","name":"A"}', headers=headers)
            assert problem(response) == (415, "unsupported-media-type")
            assert response.headers["Accept"] == "application/json"

    async def test_preconditions_on_a_resource_without_tags(self, lasting: httpx.AsyncClient) -> None:
        for name in ("If-Match", "If-None-Match"):
            for tags in ("*", '"1"', '"1", , "2"', "nonsense"):
                response = await lasting.post("/v1/users", json=ADA, headers={name: tags})
                assert problem(response) == (422, "validation")
                assert response.json()["errors"] == [{"in": "header", "field": name, "detail": "not taken here"}]
        assert (await lasting.get("/v1/users")).json() == {"data": []}

    async def test_lone_surrogates_and_control_characters_are_not_echoed(self, lasting: httpx.AsyncClient) -> None:
        headers = {"Content-Type": "application/json"}
        for content in (rb'{"email":"ada@example.com","name":"\ud800"}', rb'{"\u0000\u001b":1}'):
            response = await lasting.post("/v1/users", content=content, headers=headers)
            assert problem(response) == (422, "validation")
            assert not any(code in response.content for code in (rb"\ud800", rb"\u0000", rb"\u001b"))

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_body_over_64_kib(
        self, lasting: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, *, chunked: bool
    ) -> None:
        async def chunks() -> Any:
            for _ in range(70):
                yield b"x" * 1024

        content = chunks() if chunked else b"x" * 70 * 1024
        response = await lasting.post("/v1/users", content=content, headers={"Content-Type": "application/json"})
        assert problem(response) == (413, "content-too-large")
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


class TestRead:
    async def test_from_database_then_memory(self, client: httpx.AsyncClient) -> None:
        user = await create_and_settle(client)
        first = await client.get("/v1/users/1")
        assert (first.status_code, first.json()) == (200, {"source": "database", "data": user})
        assert first.headers["Cache-Status"] == "redis; fwd=uri-miss; stored, memory; fwd=uri-miss; stored"
        assert first.headers["ETag"] == await etag(client)
        assert first.headers["Cache-Control"] == "private, no-cache"
        second = await client.get("/v1/users/1")
        assert (second.status_code, second.json()) == (200, {"source": "memory", "data": user})
        assert second.headers["Cache-Status"].startswith("memory; hit; ttl=")

    async def test_no_cache_asks_the_database(self, client: httpx.AsyncClient) -> None:
        await create(client)
        await client.get("/v1/users/1")
        response = await client.get("/v1/users/1", headers={"Cache-Control": "max-age=0, No-Cache"})
        assert response.json()["source"] == "database"
        assert response.headers["Cache-Status"] == "redis; fwd=request, memory; fwd=request"

    async def test_if_none_match(self, client: httpx.AsyncClient) -> None:
        await create(client)
        tag = await etag(client)
        for header in (tag, f"W/{tag}", f'"7", {tag}', "*"):
            response = await client.get("/v1/users/1", headers={"If-None-Match": header})
            assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", tag)
        for header in ('"1"', tag.upper(), f'"{tag[1:-1]}0"'):
            assert (await client.get("/v1/users/1", headers={"If-None-Match": header})).status_code == 200
        response = await client.get("/v1/users/1", headers={"If-None-Match": "1"})
        assert problem(response) == (422, "validation")

    async def test_if_match(self, client: httpx.AsyncClient) -> None:
        await create(client)
        tag = await etag(client)
        for path in ("/v1/users/1", "/v1/users?email=ada@example.com"):
            for method in ("GET", "HEAD"):
                for header in (tag, "*", f'"7", , {tag}'):
                    response = await client.request(method, path, headers={"If-Match": header})
                    assert (response.status_code, response.headers["ETag"]) == (200, tag)
                for header in ('"7"', f"W/{tag}"):
                    response = await client.request(method, path, headers={"If-Match": header})
                    assert response.status_code == 412
                both = {"If-Match": tag, "If-None-Match": tag}
                assert (await client.request(method, path, headers=both)).status_code == 304
            assert problem(await client.get(path, headers={"If-Match": '"7"', "If-None-Match": tag}))[0] == 412
            assert problem(await client.get(path, headers={"If-Match": "7"})) == (422, "validation")
        assert problem(await client.get("/v1/users/9", headers={"If-Match": '"7"'})) == (404, "user-not-found")

    async def test_lists_have_no_tags(self, lasting: httpx.AsyncClient) -> None:
        """So `If-Match` names none of theirs, and `If-None-Match` excludes none (RFC 9110, 13.1)."""
        for path in ("/v1/users", "/v1/users?ids=1", "/v1/users?limit=1"):
            assert problem(await lasting.get(path, headers={"If-Match": '"1"'})) == (412, "precondition-failed")
            for headers in ({"If-Match": "*"}, {"If-None-Match": "*"}, {"If-None-Match": '"1"'}):
                assert (await lasting.get(path, headers=headers)).status_code == 200
            for name in ("If-Match", "If-None-Match"):
                assert problem(await lasting.get(path, headers={name: "7"})) == (422, "validation")

    async def test_head(self, client: httpx.AsyncClient) -> None:
        await create(client)
        for path, status in (
            ("/v1/users/1", 200),
            ("/v1/users/9", 404),
            ("/v1/users/x", 422),
            ("/v1/users?ids=1,2", 200),
            ("/v1/users?limit=1", 200),
            ("/v1/users?email=ada@example.com", 200),
            ("/v1/nothing", 404),
            ("/livez", 200),
            ("/openapi.json", 200),
        ):
            # Once before, for both to be answered by the same tier.
            _, get, head = await client.get(path), await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (status, b"")
            differing = {"date", "x-request-id", "cache-status"}
            fields = [{name: each.headers[name] for name in each.headers.keys() - differing} for each in (get, head)]
            assert fields[0].pop("content-length") == str(len(get.content))
            if "source" not in get.text:  # of a tier with a name of its own length
                assert fields[1]["content-length"] == str(len(get.content))
            fields[1].pop("content-length")
            assert fields[0] == fields[1]

    async def test_min_version(self, client: httpx.AsyncClient) -> None:
        await create(client)
        response = await client.get("/v1/users/1", headers={"Min-Version": "1"})
        assert response.status_code == 200
        response = await client.get("/v1/users/1", headers={"Min-Version": "2"})
        assert problem(response) == (412, "precondition-failed")
        for nonsense in ("0", "-1", "x", "1.0", str(2**63)):
            response = await client.get("/v1/users/1", headers={"Min-Version": nonsense})
            assert problem(response) == (422, "validation")

    async def test_missing(self, lasting: httpx.AsyncClient) -> None:
        for user_id in (1, MAX_ID):
            assert problem(await lasting.get(f"/v1/users/{user_id}")) == (404, "user-not-found")

    @pytest.mark.parametrize(
        "user_id", ["0", "-1", str(MAX_ID + 1), "x", "1.0", "+1", "%201", "1_0", "%00", "९", "9" * 5000]
    )
    async def test_id_out_of_range(self, lasting: httpx.AsyncClient, user_id: str) -> None:
        for method in ("GET", "DELETE"):
            assert problem(await lasting.request(method, f"/v1/users/{user_id}")) == (422, "validation")
        assert problem(await lasting.patch(f"/v1/users/{user_id}", json={})) == (422, "validation")


class TestBatch:
    async def test_in_the_order_asked_once_each(self, client: httpx.AsyncClient) -> None:
        users = [await create(client, email=f"u{n}@example.com") for n in range(4)]
        await client.get("/v1/users/2")
        response = await client.get("/v1/users?ids=4,2,99,4,1")
        assert (response.status_code, response.json()) == (
            200,
            {"data": [users[3], users[1], users[0]], "missing": [99]},
        )
        sources = set()
        for n in (5, 7, 9):  # each read first by a batch; memory may lose trust in between, on a busy machine
            for new in (n, n + 1):
                await create(client, email=f"u{new}@example.com")
            await client.get(f"/v1/users?ids={n},{n + 1}")
            sources.add((await client.get(f"/v1/users/{n}")).json()["source"])
        assert "memory" in sources

    @pytest.mark.parametrize(
        "query",
        [
            "ids=",
            "ids=1,",
            "ids=a",
            "ids=0",
            "ids=-1",
            f"ids={MAX_ID + 1}",
            f"ids={'9' * 5000}",
            "ids=" + ",".join(["0"] * 1000),
            "ids=1&ids=",
            "ids=1&ids=2,",
            "ids=&ids=1",
            "ids=1&x=1",
            "ids=" + "&ids=".join(map(str, range(1, 102))),
            "ids=1&limit=1",
            "ids=1&after=1",
            "ids=" + ",".join(map(str, range(1, 102))),
            "ids=1%00",
        ],
    )
    async def test_invalid(self, lasting: httpx.AsyncClient, query: str) -> None:
        assert problem(await lasting.get(f"/v1/users?{query}")) == (422, "validation")

    async def test_hundred(self, lasting: httpx.AsyncClient) -> None:
        ids = list(range(1, 101))
        response = await lasting.get("/v1/users", params={"ids": ",".join(map(str, ids))})
        assert response.json() == {"data": [], "missing": ids}

    async def test_ids_sent_more_than_once_are_one_list(self, lasting: httpx.AsyncClient) -> None:
        for query in ("ids=3,2,1", "ids=3&ids=2&ids=1", "ids=3,2&ids=2,1,3", "ids=3%2C02&ids=1", "ids=3&ids=2&ids=1&"):
            assert (await lasting.get(f"/v1/users?{query}")).json() == {"data": [], "missing": [3, 2, 1]}

    async def test_long_ids_are_not_cut(self, client: httpx.AsyncClient) -> None:
        await create(client)
        user = (await client.get("/v1/users?ids=1")).json()
        assert (await client.get(f"/v1/users?ids={'1'.zfill(5000)}")).json() == user
        for digits in ("10000000000000000000000000", "0" * 20 + "1" + "0" * 20):
            response = await client.get(f"/v1/users?ids={digits}")
            assert problem(response) == (422, "validation")
            assert len(response.json()["errors"]) == 1


class TestList:
    async def test_pages_by_key(self, client: httpx.AsyncClient) -> None:
        users = [await create(client, email=f"u{n}@example.com") for n in range(5)]
        found, url = [], "/v1/users?limit=2"
        while True:
            response = await client.get(url)
            found.append(response.json()["data"])
            if "Link" not in response.headers:
                break
            url = response.links["next"]["url"]
        assert found == [users[:2], users[2:4], users[4:]]
        assert (await client.get("/v1/users?limit=5")).headers.get("Link") is None
        assert (await client.get("/v1/users?after=4")).json() == {"data": users[4:]}

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=1001",
            "limit=1_0",
            "limit=%2B10",
            "limit=+10",
            "limit=10%20",
            "limit=%D9%A1",
            "limit=1.0",
            "after=1_0",
            "limit=",
            "after=x",
            "after=-1",
            f"after={MAX_ID + 1}",
            "page=2",
            "limit=1&limit=1",
            "after=1&after=2",
        ],
    )
    async def test_invalid(self, lasting: httpx.AsyncClient, query: str) -> None:
        assert problem(await lasting.get(f"/v1/users?{query}")) == (422, "validation")


class TestPatch:
    @pytest.mark.parametrize("content_type", ["application/json", "application/merge-patch+json"])
    async def test_changes_what_it_names(self, client: httpx.AsyncClient, content_type: str) -> None:
        user = await create(client)
        headers = {"Content-Type": content_type}
        response = await client.patch("/v1/users/1", content=b'{"name":"Countess"}', headers=headers)
        changed = response.json()
        assert changed["updated_at"] > user["updated_at"]
        assert changed == user | {"name": "Countess", "version": 2, "updated_at": changed["updated_at"]}
        assert (response.status_code, response.headers["ETag"]) == (200, await etag(client))

    async def test_is_read_at_once(self, client: httpx.AsyncClient) -> None:
        await create(client)
        for n in range(2, 20):
            await client.get("/v1/users/1")
            user = (await client.patch("/v1/users/1", json={"name": f"Ada {n}"})).json()
            assert (await client.get("/v1/users/1")).json()["data"] == user
            assert user["version"] == n

    async def test_empty_patch_changes_nothing(self, client: httpx.AsyncClient) -> None:
        user = await create(client)
        response = await client.patch("/v1/users/1", json={})
        assert (response.status_code, response.json()) == (200, user)

    async def test_if_match(self, client: httpx.AsyncClient) -> None:
        await create(client)
        tag = await etag(client)
        for header in (f"W/{tag}", '"x"', '"1"', '""'):
            response = await client.patch("/v1/users/1", json={"name": "B"}, headers={"If-Match": header})
            assert problem(response) == (412, "precondition-failed")
            assert response.json()["current"] == 1
        response = await client.patch("/v1/users/1", json={"name": "B"}, headers={"If-Match": "1"})
        assert problem(response) == (422, "validation")
        for header, version in (("{}", 2), ('"9", {}', 3), ("*", 4)):
            named = {"If-Match": header.format(tag)}
            response = await client.patch("/v1/users/1", json={"name": "B"}, headers=named)
            assert (response.status_code, response.json()["version"]) == (200, version)
            assert response.headers["ETag"] != tag
            tag = response.headers["ETag"]

    async def test_if_none_match(self, client: httpx.AsyncClient) -> None:
        await create(client)
        tag = await etag(client)
        for header in ("*", tag, f"W/{tag}", f'"7", , {tag}'):
            for method, body in (("PATCH", {"name": "B"}), ("PATCH", {}), ("DELETE", None)):
                response = await client.request(method, "/v1/users/1", json=body, headers={"If-None-Match": header})
                assert problem(response) == (412, "precondition-failed")
                assert response.json()["current"] == 1
            assert problem(await client.delete("/v1/users/9", headers={"If-None-Match": header}))[0] == 404
        both = {"If-Match": tag, "If-None-Match": '"7"'}
        assert (await client.patch("/v1/users/1", json={"name": "B"}, headers=both)).json()["version"] == 2
        for malformed in ("7", ",", ""):
            for name in ("If-Match", "If-None-Match"):
                response = await client.delete("/v1/users/1", headers={name: malformed})
                assert problem(response) == (422, "validation")
        assert (await client.delete("/v1/users/1", headers={"If-None-Match": tag})).status_code == 204

    async def test_order_of_refusals(self, client: httpx.AsyncClient) -> None:
        """404, then 412, then 409."""
        await create(client)
        await create(client, email="b@example.com")
        taken = {"email": "ada@example.com"}
        for named in ({"If-Match": '"7"'}, {"If-None-Match": "*"}):
            assert problem(await client.patch("/v1/users/9", json=taken, headers=named))[0] == 404
            assert problem(await client.patch("/v1/users/2", json=taken, headers=named))[0] == 412
        assert problem(await client.patch("/v1/users/2", json=taken, headers={"If-Match": "*"}))[0] == 409

    async def test_repeated_fields(self, client: httpx.AsyncClient) -> None:
        await create(client)
        for version in (2, 3):
            tag = await etag(client)
            lines = ['"9"', tag] if version == 2 else [tag, '"9"']
            headers = [("If-Match", line) for line in lines]
            response = await client.patch("/v1/users/1", json={"name": "B"}, headers=headers)
            assert (response.status_code, response.json()["version"]) == (200, version)
        response = await client.get("/v1/users/1", headers=[("Min-Version", "9"), ("Min-Version", "1")])
        assert problem(response) == (422, "validation")
        assert response.json()["errors"] == [{"in": "header", "field": "min-version", "detail": "sent more than once"}]

    async def test_one_of_many_with_the_same_if_match_wins(self, client: httpx.AsyncClient) -> None:
        await create(client)
        named = {"If-Match": await etag(client)}
        patches = (client.patch("/v1/users/1", json={"name": f"B{n}"}, headers=named) for n in range(20))
        statuses = [response.status_code for response in await asyncio.gather(*patches)]
        assert sorted(statuses) == [200] + [412] * 19

    async def test_no_update_is_lost(self, client: httpx.AsyncClient) -> None:
        await create(client)

        async def version(name: str) -> int:
            """A 503 has changed nothing: on a busy machine the last ones wait too long for their turn."""
            while (response := await client.patch("/v1/users/1", json={"name": name})).status_code == 503:
                assert "Nothing was changed" in response.json()["detail"]
                await asyncio.sleep(float(response.headers["Retry-After"]))
            return int(response.json()["version"])

        versions = await asyncio.gather(*(version(f"B{n}") for n in range(50)))
        assert sorted(versions) == list(range(2, 52))

    async def test_email_taken(self, client: httpx.AsyncClient) -> None:
        await create(client)
        user = await create(client, email="b@example.com")
        assert problem(await client.patch("/v1/users/2", json={"email": "ADA@example.com"})) == (409, "email-taken")
        assert (await client.get("/v1/users/2")).json()["data"] == user
        response = await client.patch("/v1/users/2", json={"email": "B@example.com"})
        assert response.json()["email"] == "B@example.com"

    @pytest.mark.parametrize(
        "body", [{"name": None}, {"email": None}, {"id": 2}, {"version": 9}, {"name": ""}, [], "x"]
    )
    async def test_invalid(self, client: httpx.AsyncClient, body: Any) -> None:
        user = await create(client)
        assert problem(await client.patch("/v1/users/1", json=body)) == (422, "validation")
        assert (await client.get("/v1/users/1")).json()["data"] == user

    async def test_missing(self, lasting: httpx.AsyncClient) -> None:
        for body in ({}, {"name": "B"}):
            assert problem(await lasting.patch("/v1/users/1", json=body)) == (404, "user-not-found")


class TestDelete:
    async def test_gone_at_once(self, client: httpx.AsyncClient) -> None:
        await create(client)
        await client.get("/v1/users/1")
        response = await client.delete("/v1/users/1")
        assert (response.status_code, response.content) == (204, b"")
        assert problem(await client.get("/v1/users/1")) == (404, "user-not-found")
        assert problem(await client.delete("/v1/users/1")) == (404, "user-not-found")
        assert (await create(client))["id"] == 2

    async def test_if_match(self, client: httpx.AsyncClient) -> None:
        await create(client)
        response = await client.delete("/v1/users/1", headers={"If-Match": '"1"'})
        assert problem(response) == (412, "precondition-failed")
        assert (await client.delete("/v1/users/1", headers={"If-Match": await etag(client)})).status_code == 204


@pytest.mark.parametrize(
    "query", ["x=1", "x", "limit=1", "ids=1", "email=a@example.com", "x=1&x=2", "%00=", "ids=1&ids=2"]
)
async def test_unknown_query_parameters(client: httpx.AsyncClient, query: str) -> None:
    user = await create(client)
    for method, path, body in (
        ("GET", "/v1/users/1", None),
        ("DELETE", "/v1/users/1", None),
        ("PATCH", "/v1/users/1", {"name": "B"}),
        ("POST", "/v1/users", ADA | {"email": "b@example.com"}),
    ):
        assert problem(await client.request(method, f"{path}?{query}", json=body)) == (422, "validation"), path
    assert (await client.get("/v1/users?&")).json() == {"data": [user]}
    assert (await client.get("/v1/users/1?")).status_code == 200


async def test_unknown_route_and_method(lasting: httpx.AsyncClient) -> None:
    for path in ("/v1/nothing", "/v1/users/", "/v1/users/1/"):
        assert problem(await lasting.get(path)) == (404, "not-found")
    for path, allowed in (
        ("/v1/users", "GET, HEAD, POST"),
        ("/v1/users/1", "DELETE, GET, HEAD, PATCH"),
        ("/livez", "GET, HEAD"),
    ):
        response = await lasting.put(path, json=ADA)
        assert problem(response) == (405, "method-not-allowed")
        assert response.headers["Allow"] == allowed


async def test_openapi_declares_every_problem(lasting: httpx.AsyncClient) -> None:
    document = (await lasting.get("/openapi.json")).json()
    declared = {
        (path, method): sorted(operation["responses"].keys() - OF_EVERY_OPERATION)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert declared == {
        ("/v1/fleet/user-api", "get"): ["200", "412", "422", "503"],
        ("/v1/fleet/user-api/events", "get"): ["200", "412", "422", "503"],
        ("/v1/users", "get"): ["200", "304", "404", "412", "422", "503"],
        ("/v1/users", "post"): ["201", "409", "413", "415", "422", "503"],
        ("/v1/users/{user_id}", "delete"): ["204", "404", "412", "422", "503"],
        ("/v1/users/{user_id}", "get"): ["200", "304", "404", "412", "422", "503"],
        ("/v1/users/{user_id}", "patch"): ["200", "404", "409", "412", "413", "415", "422", "503"],
    }
    assert "/docs/assets/swagger-ui-bundle.js" in (await lasting.get("/docs")).text
    assert (await lasting.get("/docs/assets/swagger-ui-bundle.js")).status_code == 200
