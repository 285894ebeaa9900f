"""Which web pages may send requests, by their headers: gateway/browsers.lua and caller.lua with their settings."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.access_claims import claims
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

from stack.errors import StackError
from stack.signing_keys import SigningKeys

pytestmark = pytest.mark.anyio

APP = "https://app.example.com"
PAGES = {
    "GATEWAY_HOSTS": "api.example.com, [fd00::1]",
    "GATEWAY_CORS_ORIGINS": f"{APP}, http://localhost:3000",
    "GATEWAY_PUBLIC_PREFIX": "public:,site.",
}
EXPOSED = {
    *("etag", "location", "link", "x-request-id", "x-served-by"),
    *("cache-status", "idempotency-replayed", "retry-after"),
}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
async def set_up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with gateway_bench(tmp_path_factory.mktemp("pages"), pages=PAGES) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@pytest.fixture
def bench(set_up: Bench) -> Bench:
    set_up.received.clear()
    return set_up


@pytest.fixture(scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """Like `set_up`, but requests need tokens."""
    async with gateway_bench(tmp_path_factory.mktemp("closed"), mode="tokens", pages=PAGES) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@pytest.mark.parametrize("host", ["api.example.com", "API.example.com:8443", "[fd00::1]:80", "localhost", "127.0.0.1"])
async def test_names_of_its_own(bench: Bench, host: str) -> None:
    assert (await bench.client.get("/v1/users/1", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["example.com", "x.api.example.com", "api.example.com.evil.com", "gateway", "10.0.0.1"]
)
async def test_names_of_others(bench: Bench, host: str) -> None:
    assert gateway_problem(await bench.client.get("/v1/users/1", headers={"Host": host})) == (
        421,
        "misdirected-request",
    )


@pytest.mark.parametrize(
    "host", ["gateway", "gateway.evenkeel", "gateway.evenkeel.svc", "gateway.evenkeel.svc.cluster.local:80"]
)
async def test_names_of_its_service(tmp_path: Path, host: str) -> None:
    async with gateway_bench(tmp_path, pages={"GATEWAY_SERVICE": "gateway.evenkeel"}) as bench:
        assert (await bench.client.get("/v1/users/1", headers={"Host": host})).status_code == 200
        for other in ("gateway.other", "gateway.evenkeel.svc.evil.com"):
            assert (await bench.client.get("/v1/users/1", headers={"Host": other})).status_code == 421


async def test_whoever_has_a_token_may_come_by_any_name(closed: Bench) -> None:
    keys = SigningKeys.load_or_create(closed.layout.signing_keys)
    headers = {"Authorization": f"Bearer {keys.sign(claims())}", "Host": "anything.example.com"}
    assert (await closed.client.get("/v1/users/1", headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_who_is_no_page_and_pages_of_its_own(bench: Bench, headers: dict[str, str]) -> None:
    for origin in ({}, {"Origin": bench.gateway.url}):
        response = await bench.client.post("/v1/counters/a/increment", headers=headers | origin)
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3001"},
        {"Origin": "http://localhost"},
        {"Origin": f"{APP}.evil.com"},
        {"Origin": f"{APP}:8443"},
        {"Origin": "http://app.example.com"},
        {"Origin": f"{APP}, {APP}"},
        LINK,
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/counters/a/increment"), ("GET", "/counter")])
async def test_pages_of_others(bench: Bench, method: str, path: str, headers: dict[str, str]) -> None:
    response = await bench.client.request(method, path, headers=headers)
    assert gateway_problem(response) == (403, "foreign-page")
    assert "access-control-allow-origin" not in response.headers
    assert not bench.received


async def test_links_to_what_people_read(bench: Bench) -> None:
    for page in ("/docs", "/", "/?from=elsewhere"):
        assert (await bench.client.get(page, headers=LINK)).status_code == 200
        for change in (
            {"Sec-Fetch-Dest": "iframe"},
            {"Sec-Fetch-Mode": "no-cors"},
            {"Origin": "https://evil.example.com"},
        ):
            assert (await bench.client.get(page, headers=LINK | change)).status_code == 403
    for path in ("/docsx", "/docs/assets/a", "/openapi/user-api.json"):
        assert (await bench.client.get(path, headers=LINK)).status_code == 403
    for page in ("/docs", "/"):
        assert (await bench.client.post(page, headers=LINK)).status_code == 403


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
async def test_pages_that_may_ask(bench: Bench, origin: str) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    for method, path, status in (
        ("POST", "/v1/counters/a/increment", 200),
        ("GET", "/v1/users/1", 200),
        ("GET", "/nothing-here", 404),
        ("POST", "/docs", 405),
    ):
        response = await bench.client.request(method, path, headers=headers)
        assert response.status_code == status
        _assert_readable(response, origin)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
async def test_preflights(bench: Bench, closed: Bench, method: str) -> None:
    asked = ("authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "min-version")
    headers = {
        "Origin": APP,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(asked),
    }
    for each in (bench, closed):
        response = await each.client.options("/v1/counters/a", headers=headers)
        assert (response.status_code, response.content) == (204, b"")
        assert method in response.headers["Access-Control-Allow-Methods"].split(", ")
        assert set(asked) <= set(response.headers["Access-Control-Allow-Headers"].lower().split(", "))
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["X-Served-By"] == "gateway"
    foreign = await bench.client.options("/v1/counters/a", headers=headers | {"Origin": "https://evil.example.com"})
    assert gateway_problem(foreign) == (403, "foreign-page")
    assert not bench.received


async def test_a_page_that_may_ask_needs_a_token_like_everybody(closed: Bench) -> None:
    response = await closed.client.get("/v1/users/1", headers={"Origin": APP})
    assert gateway_problem(response) == (401, "unauthorized")
    _assert_readable(response, APP)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/counters/public:a/badge.svg",
        "/v1/counters/public:a/badge.svg?hit=true&v=1",
        "/v1/counters/public%3Aa/badge.svg?hit=true",
        "/v1/counters/site.b/badge.svg?label=hit",
    ],
)
async def test_public_badges_are_for_everybody(bench: Bench, closed: Bench, path: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image", "Host": "anything.example.com"}
    for each in (bench, closed):
        before = each.received[f"GET {path}"]
        assert (await each.client.get(path, headers=headers)).status_code == 200
        assert (await each.client.head(path, headers=headers)).status_code == 200
        assert each.received[f"GET {path}"] == before + 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/counters/private:a/badge.svg"),
        ("GET", "/v1/counters/xpublic:a/badge.svg?hit=true"),
        ("GET", "/v1/counters/Public:a/badge.svg"),
        ("GET", "/v1/counters/publicxa/badge.svg"),
        ("GET", "/v1/counters/public:a"),
        ("GET", "/v1/counters/public:a/events"),
        ("GET", "/v1/counters/public:a/badge.svgx"),
        ("GET", "/v1/counters/public:a/badge.svg/x"),
        ("GET", "/v1/counters/public:a%00/badge.svg"),
        ("GET", "/v1/counters/public:a%3F/badge.svg"),
        ("GET", "/v1/counters/public:a%25/badge.svg"),
        ("GET", "/v1/counters/x/../public:a"),
        ("GET", "/counter?/v1/counters/public:a/badge.svg"),
        ("POST", "/v1/counters/public:a/badge.svg"),
        ("POST", "/v1/counters/public:a/increment"),
        ("DELETE", "/v1/counters/public:a"),
    ],
)
async def test_nothing_else_of_them_is(bench: Bench, closed: Bench, method: str, path: str) -> None:
    closed.received.clear()
    forged = {"X-Evenkeel-Public": "true"}
    status = (await closed.client.request(method, path, headers=forged)).status_code
    assert status == 401 or (status == 400 and "%" in path)
    foreign = await bench.client.request(method, path, headers=forged | {"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code in {400, 403}
    assert not bench.received
    assert not closed.received


@pytest.mark.parametrize(
    "pages",
    [
        {"GATEWAY_HOSTS": "http://example.com"},
        {"GATEWAY_CORS_ORIGINS": "*"},
        {"GATEWAY_CORS_ORIGINS": "null"},
        {"GATEWAY_CORS_ORIGINS": "https://example.com/"},
        {"GATEWAY_PUBLIC_PREFIX": "/x"},
    ],
)
async def test_a_setting_that_makes_no_sense_is_an_error_that_names_it(tmp_path: Path, pages: dict[str, str]) -> None:
    [name] = pages
    with pytest.raises(StackError, match=name):
        async with gateway_bench(tmp_path, pages=pages):
            pass


def _assert_readable(response: httpx.Response, origin: str) -> None:
    assert response.headers.get_list("Access-Control-Allow-Origin") == [origin]
    assert set(response.headers["Access-Control-Expose-Headers"].lower().split(", ")) == EXPOSED
    assert "Origin" in response.headers["Vary"]
