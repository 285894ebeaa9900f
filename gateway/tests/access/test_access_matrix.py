"""Sends requests to every route of the services and of the gateway, with every kind of token."""

import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from joserfc.jwk import ECKey
from tests.support.access_claims import claims
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

import counter_api.main
import counter_api.settings
import user_api.main
import user_api.settings
from stack.signing_keys import SigningKeys
from stack.tokens import SCOPES

pytestmark = pytest.mark.anyio

SERVICES = {
    "user-api": user_api.main.create_app(
        user_api.settings.Settings.model_validate({"database_url": "postgresql://u:p@127.0.0.1:1/x", "cache_tiers": ""})
    ),
    "counter-api": counter_api.main.create_app(counter_api.settings.Settings.model_validate({"store": "memory"})),
}

# The scope of each operation in the OpenAPI documents.
NEEDS = {
    "GET /v1/users": "users:read",
    "GET /v1/users/{user_id}": "users:read",
    "POST /v1/users": "users:write",
    "PATCH /v1/users/{user_id}": "users:write",
    "DELETE /v1/users/{user_id}": "users:write",
    "GET /v1/counters": "counters:read",
    "GET /v1/counters/{name}": "counters:read",
    "GET /v1/counters/{name}/series": "counters:read",
    "GET /v1/counters/{name}/events": "counters:read",
    "GET /v1/counters/{name}/badge.svg": "counters:read",
    "GET /v1/counters:export": "counters:read",
    "GET /v1/uniques/{name}": "counters:read",
    "GET /stats": "counters:read",
    "POST /v1/counters/{name}/increment": "counters:write",
    "PUT /v1/counters/{name}": "counters:write",
    "DELETE /v1/counters/{name}": "counters:write",
    "POST /v1/counters:batch": "counters:write",
    "POST /v1/counters:import": "counters:write",
    "POST /v1/uniques/{name}": "counters:write",
    "DELETE /v1/uniques/{name}": "counters:write",
    "GET /counter": "counters:write",  # counts the visit
    "GET /v1/fleet/user-api": "fleet:read",
    "GET /v1/fleet/user-api/events": "fleet:read",
    "GET /v1/fleet/counter-api": "fleet:read",
    "GET /v1/fleet/counter-api/events": "fleet:read",
}

# Paths that the documents do not list, or list without the parameters that change the scope.
NEEDS_TOO = {
    "HEAD /v1/users/1": "users:read",
    "OPTIONS /v1/users/1": "users:read",
    "PUT /v1/users/1": "users:write",
    "TRACE /v1/users/1": "users:write",
    "HEAD /v1/counters/a": "counters:read",
    "OPTIONS /v1/counters:batch": "counters:read",
    "HEAD /v1/counters:export": "counters:read",
    "POST /v1/counters:export": "counters:write",
    "POST /v1/counters/a/events": "counters:write",
    "POST /v1/counters/a/badge.svg": "counters:write",
    "HEAD /counter": "counters:write",
    "HEAD /v1/fleet/user-api": "fleet:read",
    "POST /v1/fleet/counter-api": "fleet:read",
    "HEAD /v1/fleet/counter-api/events": "fleet:read",
    "POST /counter": "counters:write",
    "GET /v1/counters/a/badge.svg?label=x": "counters:read",
    "GET /v1/counters/a/badge.svg?label=hit": "counters:read",
    "GET /v1/counters/a/badge.svg?hit=true": "counters:write",
    "HEAD /v1/counters/a/badge.svg?label=x&hit=false": "counters:write",
}

# Public, with or without a token.
PUBLIC = [
    *("GET /", "GET /docs", "GET /docs/assets/swagger-ui.css"),
    *("GET /openapi/user-api.json", "GET /openapi/counter-api.json"),
]

# 404, but only with a valid token.
NOTHING_THERE = [
    *("GET /x", "GET /v2/users", "GET /metrics", "GET /livez", "GET /readyz", "GET /openapi.json", "GET /V1/users"),
    *("POST /v1", "GET /docs/", "GET /counter/", "GET /v1/fleet", "GET /v1/fleet/user-apis"),
]


def _foreign_keys(keys: SigningKeys) -> SigningKeys:
    """A different key with the same name."""
    stranger = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": str(keys.keys[0].kid)})
    return SigningKeys([stranger])


Mint = Callable[[SigningKeys], str | None]

REFUSED: dict[str, Mint] = {
    "none": lambda _: None,
    "expired": lambda keys: keys.sign(claims(exp=int(time.time()) - 3600)),
    "wrong key": lambda keys: _foreign_keys(keys).sign(claims()),
    "wrong audience": lambda keys: keys.sign(claims(aud="somebody-else")),
}
TAKEN: dict[str, Mint] = {scope: lambda keys, scope=scope: keys.sign(claims(scope=scope)) for scope in SCOPES}  # type: ignore[misc]
TAKEN |= {"all scopes": lambda keys: keys.sign(claims()), "no scope": lambda keys: keys.sign(claims(scope=""))}


async def _ask(bench: Bench, operation: str, token: str | None) -> httpx.Response:
    method, path = operation.split(" ", 1)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = path.replace("{user_id}", "1").replace("{name}", "a")
    return await bench.client.request(method, url, headers=headers)


def _problem(response: httpx.Response) -> tuple[int, str]:
    if response.request.method == "HEAD":
        kinds = {401: "unauthorized", 403: "forbidden"}
        return response.status_code, kinds[response.status_code]
    return gateway_problem(response)


def _assert_refused(bench: Bench, response: httpx.Response, status: int, kind: str) -> None:
    assert _problem(response) == (status, kind)
    assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert not bench.received


async def test_the_matrix_has_every_operation() -> None:
    operations = {
        f"{method.upper()} {path}"
        for app in SERVICES.values()
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert operations == NEEDS.keys()


@pytest.mark.parametrize("kind", [*REFUSED, *TAKEN])
@pytest.mark.parametrize("operation", [*NEEDS, *NEEDS_TOO])
async def test_routes_of_the_services(bench: Bench, keys: SigningKeys, operation: str, kind: str) -> None:
    needed = (NEEDS | NEEDS_TOO)[operation]
    response = await _ask(bench, operation, (REFUSED | TAKEN)[kind](keys))
    if kind in REFUSED:
        _assert_refused(bench, response, 401, "unauthorized")
    elif kind in {needed, "all scopes"}:
        assert response.status_code == 200
        assert bench.received.total() == 1
    else:
        _assert_refused(bench, response, 403, "forbidden")


@pytest.mark.parametrize("kind", [*REFUSED, *TAKEN])
@pytest.mark.parametrize("operation", PUBLIC)
async def test_documentation_is_for_everybody(bench: Bench, keys: SigningKeys, operation: str, kind: str) -> None:
    assert (await _ask(bench, operation, (REFUSED | TAKEN)[kind](keys))).status_code == 200


@pytest.mark.parametrize("kind", [*REFUSED, *TAKEN])
@pytest.mark.parametrize("operation", NOTHING_THERE)
async def test_only_callers_are_told_that_there_is_nothing(
    bench: Bench, keys: SigningKeys, operation: str, kind: str
) -> None:
    response = await _ask(bench, operation, (REFUSED | TAKEN)[kind](keys))
    assert _problem(response) == ((401, "unauthorized") if kind in REFUSED else (404, "not-found"))
    assert not bench.received


@pytest.mark.parametrize("operation", [*NEEDS, *PUBLIC])
async def test_without_access_control_everybody_has_every_scope(open_bench: Bench, operation: str) -> None:
    assert (await _ask(open_bench, operation, None)).status_code == 200


@pytest.fixture(scope="module")
async def open_bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with gateway_bench(tmp_path_factory.mktemp("open")) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@pytest.mark.parametrize("kind", [*REFUSED, "all scopes"])
async def test_an_upgrade_is_refused_and_not_for_want_of_a_scope(bench: Bench, keys: SigningKeys, kind: str) -> None:
    token = (REFUSED | TAKEN)[kind](keys)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    response = await bench.client.get("/v1/users/1", headers=headers)
    assert gateway_problem(response) == (501, "http-error")
    assert not bench.received
