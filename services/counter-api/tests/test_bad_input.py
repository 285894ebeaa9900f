"""Bad input is answered with a problem document, and changes nothing."""

import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
TOO_BIG = 2**63

INCREMENT: tuple[str, str, Any] = ("POST", "/v1/counters/a/increment", {})
PUT = ("PUT", "/v1/counters/a", {"value": 1})
DELETE = ("DELETE", "/v1/counters/a", None)
BATCH = ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}]})


async def refused(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> tuple[int, str, str]:
    """Status, kind and sentence. No counter is changed."""
    response = await client.request(method, path, **request)
    assert response.headers["Content-Type"] == "application/problem+json", (method, path, response.text)
    assert response.headers["X-Request-Id"]
    document = response.json()
    assert document["status"] == response.status_code
    listing = await client.get("/v1/counters")
    assert (listing.status_code, listing.json()) == (200, {"data": []}), (method, path)
    return response.status_code, document["type"].removeprefix("urn:evenkeel:problem:"), document["detail"]


async def test_names(lasting: httpx.AsyncClient) -> None:
    names = ["_visits", "-a", "%20", "a%20b", "a%00", "%00", "%7Ba%7D", "a*", "%C3%A9", "a%0A", "a" * 129, "a%3F", "+"]
    for name in names:
        for method, rest, body in (("POST", "/increment", {}), ("GET", "", None), PUT, ("DELETE", "", None)):
            path = f"/v1/counters/{name}{'' if method == 'PUT' else rest}"
            assert await refused(lasting, method, path, json=body) == (
                422,
                "validation",
                "path name: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'.",
            ), path


async def test_increments(lasting: httpx.AsyncClient) -> None:
    for body, sentence in (
        ({"by": 1.0}, "body by: Input should be a valid integer."),
        ({"by": "1"}, "body by: Input should be a valid integer."),
        ({"by": True}, "body by: Input should be a valid integer."),
        ({"by": None}, "body by: Input should be a valid integer."),
        ({"by": float("nan")}, "body by: Input should be a valid integer."),
        ({"by": TOO_BIG}, f"body by: Input should be less than or equal to {TOO_BIG - 1}."),
        ({"by": -TOO_BIG - 1}, f"body by: Input should be greater than or equal to -{TOO_BIG}."),
        ({"min": TOO_BIG}, f"body min: Input should be less than or equal to {TOO_BIG - 1}."),
        ({"max": 10**400}, f"body max: Input should be less than or equal to {TOO_BIG - 1}."),
        ({"min": 2, "max": 1}, "body: min must not be greater than max."),
        ({"ttl": 0}, "body ttl: Input should be greater than or equal to 1."),
        ({"ttl": 315_360_001}, "body ttl: Input should be less than or equal to 315360000."),
        ({"ttl": 1.5}, "body ttl: Input should be a valid integer."),
        ({"name": "a"}, "body name: Extra inputs are not permitted."),
        ({"by\0": 1}, "body by\N{REPLACEMENT CHARACTER}: Extra inputs are not permitted."),
    ):
        request = {"content": json.dumps(body), "headers": JSON}
        answer = await refused(lasting, "POST", "/v1/counters/a/increment", **request)
        assert answer == (422, "validation", sentence)


async def test_puts(lasting: httpx.AsyncClient) -> None:
    for body in ({}, {"value": None}, {"value": 1.0}, {"value": "1"}, {"value": TOO_BIG}, {"value": 1, "x": 1}):
        assert (await refused(lasting, "PUT", "/v1/counters/a", json=body))[:2] == (422, "validation"), body


async def test_batches_are_refused_as_a_whole(lasting: httpx.AsyncClient) -> None:
    name = "String should match pattern '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'."
    for operations, sentence in (
        ([], "operations: List should have at least 1 item after validation, not 0."),
        ([{"name": "a"}] * 1001, "operations: List should have at most 1000 items after validation, not 1001."),
        ([{"name": "a"}, {"by": 1}], "operations.1.name: Field required."),
        ([{"name": "a"}, {"name": "a", "by": "1"}], "operations.1.by: Input should be a valid integer."),
        ([{"name": "a"}, {"name": "a", "x": 1}], "operations.1.x: Extra inputs are not permitted."),
        ([{"name": "a", "min": 2, "max": 1}], "operations.0: min must not be greater than max."),
        ([{"name": "_visits"}], f"operations.0.name: {name}"),
    ):
        answer = await refused(lasting, "POST", "/v1/counters:batch", json={"operations": operations})
        assert answer == (422, "validation", f"body {sentence}")


async def test_bodies_of_another_shape(lasting: httpx.AsyncClient) -> None:
    for method, path, _ in (INCREMENT, PUT, BATCH):
        for body in ([], 1, "a", [1]):
            assert (await refused(lasting, method, path, json=body))[:2] == (422, "validation"), body


async def test_malformed_json(lasting: httpx.AsyncClient) -> None:
    bodies = (b"{", b'{"by":}', b"\xff", b'{"by":\xff}', b"{'by': 1}", b"[" * 30_000)
    for method, path, _ in (INCREMENT, PUT, BATCH):
        for body in bodies:
            answer = await refused(lasting, method, path, content=body, headers=JSON)
            assert answer[:2] == (422, "malformed-json"), body[:20]


async def test_integers_of_any_length(lasting: httpx.AsyncClient) -> None:
    for (method, path, _), field in ((INCREMENT, "by"), (PUT, "value")):
        for sign in (b"", b"-"):
            body = b'{"%b":%b%b}' % (field.encode(), sign, b"9" * 5000)
            status, slug, sentence = await refused(lasting, method, path, content=body, headers=JSON)
            assert (status, slug, sentence.split(":")[0]) == (422, "validation", f"body {field}")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json;charset=x"])
async def test_media_types(lasting: httpx.AsyncClient, kind: str) -> None:
    lines = ("POST", "/v1/counters:import", {"name": "a", "value": 1})
    for method, path, body in (INCREMENT, PUT, BATCH, lines, ("POST", "/v1/uniques/a", {"member": "x"})):
        headers = {"Content-Type": kind} if kind else {}
        answer = await refused(lasting, method, path, content=json.dumps(body), headers=headers)
        assert answer[:2] == (415, "unsupported-media-type"), path
        coded = {"Content-Type": "application/x-ndjson" if "import" in path else "application/json"}
        coded["Content-Encoding"] = "gzip"
        answer = await refused(lasting, method, path, content=b"x", headers=coded)
        assert answer[:2] == (415, "unsupported-media-type"), path
    answer = await refused(lasting, "POST", lines[1], content=json.dumps(lines[2]), headers=JSON)
    assert answer[:2] == (415, "unsupported-media-type")


async def test_lone_surrogates_and_nul_bytes(lasting: httpx.AsyncClient) -> None:
    for body in (rb'{"\ud800":1}', rb'{"by":"\u0000"}', b'{"by":"\0"}'):
        answer = await refused(lasting, "POST", "/v1/counters/a/increment", content=body, headers=JSON)
        assert answer[0] == 422


async def test_a_body_over_64_kib(lasting: httpx.AsyncClient) -> None:
    body = b'{"by":1' + b" " * 64 * 1024 + b"}"
    for method, path, _ in (INCREMENT, PUT):
        answer = await refused(lasting, method, path, content=body, headers=JSON)
        assert answer[:2] == (413, "content-too-large")

    async def chunks() -> Any:
        for _ in range(66):
            yield b" " * 1024

    answer = await refused(lasting, "POST", "/v1/counters/a/increment", content=chunks(), headers=JSON)
    assert answer[:2] == (413, "content-too-large")


async def test_a_batch_has_512_kib(client: httpx.AsyncClient) -> None:
    """Enough for 1,000 of the longest operations."""
    operation = {"name": "n" * 128, "by": 1, "min": -(2**63), "max": 2**63 - 1, "ttl": 31_536_000, "series": ["minute"]}
    body = json.dumps({"operations": [operation] * 1000}).encode()
    assert len(body) > 128 * 1024
    answer = await refused(client, "POST", "/v1/counters:batch", content=body.ljust(512 * 1024 + 1), headers=JSON)
    assert answer[:2] == (413, "content-too-large")
    response = await client.post("/v1/counters:batch", content=body.ljust(512 * 1024), headers=JSON)
    assert response.json()["results"][-1] == {"name": "n" * 128, "value": 1000}


async def test_a_body_of_exactly_64_kib(client: httpx.AsyncClient) -> None:
    body = b'{"by":7' + b" " * (64 * 1024 - 8) + b"}"
    response = await client.post("/v1/counters/a/increment", content=body, headers=JSON)
    assert (response.status_code, response.json()) == (200, {"name": "a", "value": 7})


async def test_idempotency_keys(lasting: httpx.AsyncClient) -> None:
    for method, path, body in (INCREMENT, PUT, DELETE, BATCH):
        for key in ("", "k" * 256, "a b", "\xe9", "a\tb"):
            headers = {b"Idempotency-Key": key.encode("latin-1")}
            answer = await refused(lasting, method, path, headers=headers, json=body)
            sentence = r"header idempotency-key: String should match pattern '^[\x21-\x7e]{1,255}$'."
            assert answer == (422, "validation", sentence), (method, key)


async def test_preconditions(lasting: httpx.AsyncClient) -> None:
    wrong = ["5", '"5', "'5'", "", '"5" "6"', '*, "5"']
    sentence = '{} must be * or a list of entity tags such as "7".'
    for tags in wrong:
        for field in ("If-Match", "If-None-Match"):
            for method, path, body in (INCREMENT, PUT, DELETE, ("GET", "/v1/counters/a", None)):
                answer = await refused(lasting, method, path, json=body, headers={field: tags})
                assert answer == (422, "validation", sentence.format(field)), tags


async def test_unknown_paths(lasting: httpx.AsyncClient) -> None:
    roots = ("/", "/v1", "/v1/counter", "/v2/counters", "/%00", "/..%2f", "//counter")
    below = ("/v1/counters/a/b", "/v1/counters/a/increment/b", "/v1/counters/a%2Fb", "/v1/counters:nothing")
    for path in (*roots, *below):
        assert (await refused(lasting, "GET", path))[:2] == (404, "not-found"), path


async def test_wrong_methods(lasting: httpx.AsyncClient) -> None:
    for method, path in (
        ("POST", "/v1/counters"),
        ("PATCH", "/v1/counters/a"),
        ("GET", "/v1/counters/a/increment"),
        ("GET", "/v1/counters:batch"),
        ("POST", "/counter"),
        ("OPTIONS", "/stats"),
    ):
        assert (await refused(lasting, method, path))[:2] == (405, "method-not-allowed"), (method, path)
