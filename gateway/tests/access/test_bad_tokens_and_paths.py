"""Attempts to get around access control: forged tokens, and unusual spellings of paths."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from joserfc.jwk import ECKey
from tests.support.access_claims import claims
from tests.support.gateway_bench import Bench, gateway_problem

from stack import tokens
from stack.signing_keys import SigningKeys
from stack.tokens import AUDIENCE

pytestmark = pytest.mark.anyio

USERS = "/v1/users/1"


def _encoded(part: bytes | dict[str, Any]) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unsigned(keys: SigningKeys, algorithm: str) -> str:
    return f"{_encoded({'alg': algorithm, 'kid': keys.keys[0].kid})}.{_encoded(claims())}."


def _with_public_key_as_secret(keys: SigningKeys, secret: Callable[[ECKey], bytes]) -> str:
    """HS256, for a verifier that may take its public key for a shared secret."""
    [key] = keys.keys[:1]
    signed = f"{_encoded({'alg': 'HS256', 'kid': key.kid})}.{_encoded(claims())}"
    mac = hmac.HMAC(secret(key), hashes.SHA256())
    mac.update(signed.encode())
    return f"{signed}.{_encoded(mac.finalize())}"


def _pem(key: ECKey) -> bytes:
    return key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _point(key: ECKey) -> bytes:
    return base64.urlsafe_b64decode(str(key.as_dict(private=False)["x"]) + "=")


def _tampered(keys: SigningKeys) -> str:
    head, _, signature = keys.sign(claims(scope="users:read")).split(".")
    return f"{head}.{_encoded(claims(scope='users:write'))}.{signature}"


def _with_own_key_inside(keys: SigningKeys) -> str:
    """Signed with an unknown key, which the token itself contains (RFC 7515, 4.1.3)."""
    stranger = ECKey.generate_key("P-256", {"kid": str(keys.keys[0].kid)})
    from joserfc import jws  # noqa: PLC0415 (for this one)

    header = {"alg": "ES256", "kid": keys.keys[0].kid, "jwk": stranger.as_dict(private=False)}
    return jws.serialize_compact(header, json.dumps(claims()), stranger)


now = int(time.time())

REFUSED: dict[str, Callable[[SigningKeys], str]] = {
    "expired": lambda keys: keys.sign(claims(exp=now - 60)),
    "without an end": lambda keys: keys.sign(claims(exp=None)),
    "not yet valid": lambda keys: keys.sign(claims(nbf=now + 3600)),
    "wrong audience": lambda keys: keys.sign(claims(aud="evenkeel2")),
    "wrong audiences": lambda keys: keys.sign(claims(aud=["other", "EVENKEEL"])),
    "no audience": lambda keys: keys.sign(claims(aud=None)),
    "wrong issuer": lambda keys: keys.sign(claims(iss="https://example.com/")),
    "no issuer": lambda keys: keys.sign(claims(iss=None)),
    "unsigned": lambda keys: _unsigned(keys, "none"),
    "unsigned in capitals": lambda keys: _unsigned(keys, "NONE"),
    "no signature": lambda keys: _unsigned(keys, "ES256"),
    "public key as secret, PEM": lambda keys: _with_public_key_as_secret(keys, _pem),
    "public key as secret, point": lambda keys: _with_public_key_as_secret(keys, _point),
    "tampered": _tampered,
    "own key inside": _with_own_key_inside,
    "cut off": lambda keys: keys.sign(claims())[:-8],
    "no token": lambda _: "nonsense",
    "three empty parts": lambda _: "..",
    "nothing": lambda _: "",
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_bad_token_is_refused_and_nobody_says_why(bench: Bench, keys: SigningKeys, kind: str) -> None:
    response = await bench.client.get(USERS, headers={"Authorization": f"Bearer {REFUSED[kind](keys)}".strip()})
    assert gateway_problem(response) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.content == (await bench.client.get(USERS)).content
    assert not bench.received


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
@pytest.mark.parametrize("audience", [AUDIENCE, ["other", AUDIENCE]])
async def test_a_good_token_is_taken_and_goes_no_further(
    bench: Bench, keys: SigningKeys, scheme: str, audience: object
) -> None:
    token = keys.sign(claims(aud=audience))
    response = await bench.client.get(USERS, headers={"Authorization": f"{scheme} {token}"})
    assert (response.status_code, response.text.split()[2]) == (200, "None")


async def test_credentials_of_any_kind_go_no_further(bench: Bench) -> None:
    response = await bench.client.get("/docs/assets/x", headers={"Authorization": "Basic dTpw"})
    assert (response.status_code, response.text.split()[2]) == (200, "None")


@pytest.mark.parametrize("place", ["query", "cookie", "basic", "other header"])
async def test_a_token_counts_in_its_header_only(bench: Bench, keys: SigningKeys, place: str) -> None:
    token = keys.sign(claims())
    headers = {
        "query": {},
        "cookie": {"Cookie": f"access_token={token}"},
        "basic": {"Authorization": f"Basic {token}"},
        "other header": {"X-Authorization": f"Bearer {token}", "X-Goog-IAP-JWT-Assertion": token},
    }[place]
    url = f"{USERS}?access_token={token}" if place == "query" else USERS
    assert (await bench.client.get(url, headers=headers)).status_code == 401


@pytest.mark.parametrize("scope", ["users:readx", "xusers:read", "users:READ", "users", "users:*", "users:read,x"])
async def test_a_scope_is_a_whole_word(bench: Bench, keys: SigningKeys, scope: str) -> None:
    response = await bench.client.get(USERS, headers={"Authorization": f"Bearer {keys.sign(claims(scope=scope))}"})
    assert gateway_problem(response) == (403, "forbidden")
    assert not bench.received


async def test_tokens_of_the_stack(bench: Bench, keys: SigningKeys) -> None:
    token = tokens.mint(keys, ["users:read"])
    headers = {"Authorization": f"Bearer {token}"}
    assert (await bench.client.get(USERS, headers=headers)).status_code == 200
    assert (await bench.client.delete(USERS, headers=headers)).status_code == 403


@pytest.mark.slow
async def test_the_log_says_who_and_why_but_not_the_token(bench: Bench, keys: SigningKeys) -> None:
    token = tokens.mint(keys, ["users:read"], subject="ada")
    for authorization in (f"Bearer {token}", "Bearer no-token-at-all"):
        await bench.client.get(f"{USERS}?email=x", headers={"Authorization": authorization})
    log = bench.layout.log("gateway")
    async with asyncio.timeout(30):
        while '"subject":"ada"' not in (text := log.read_text()) or "Jwt_is_not_in_the_form" not in text:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.1)
    assert "Bearer" not in text
    assert "no-token-at-all" not in text
    assert token not in text
    assert token.split(".")[2] not in text
    assert "email" not in text


async def _raw(bench: Bench, target: str, token: str | None) -> int:
    """The status of GET with exactly this target. httpx would normalise it."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n".encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize(
    "target",
    [
        "/v1/counters/a/badge.svg?hit=true",
        "/v1/counters/a/badge.svg?hit",
        "/v1/counters/a/badge.svg?label=?&hit=1",
        "/v1/counters/a/badge.svg?&hit=1",
        "/v1/counters/a/badge.svg?%68it=true",
        "/v1/counters/a/badge.svg?label=x&h%69t=true",
        "/v1/counters/a/%62adge.svg?hit=true",
        "/v1/counters/a/badge%2esvg?hit=true",
        "/v1/counters/%61/badge.svg?hit=true",
        "//v1//counters//a//badge.svg?hit=true",
        "/v1/./counters/x/../a/badge.svg?hit=true",
        "/v1/users/../counters/a/badge.svg?hit=true",
        "/v1/users/%2e%2e/counters/a/badge.svg?hit=true",
        "/docs/assets/../../v1/counters/a/badge.svg?hit=true",
        "/counter",
        "//counter",
        "/counter?x=1",
        "/./counter",
        "/stats/../counter",
        "/%63ounter",
        "/docs/../counter",
        "/docs/assets/%2e%2e/%2E%2E/counter",
        "http://localhost/counter",
    ],
)
async def test_no_spelling_counts_a_visit_with_a_scope_for_reading(
    bench: Bench, keys: SigningKeys, target: str
) -> None:
    token = keys.sign(claims(scope="counters:read users:read users:write"))
    assert await _raw(bench, target, token) in {403, 404}
    assert not bench.received


@pytest.mark.parametrize(
    "target",
    [
        "/docs/../v1/users",
        "/docs/assets/../../v1/users",
        "/docs/assets/%2e%2e/%2e%2e/v1/users",
        "/docs/assets/..%2f..%2fv1/users",
        "/docs/assets/..%5c..%5cv1/users",
        "/docs/assets/..\\..\\v1/users",
        "/docs/assets/../../v1/users#/docs",
        "/docs/assets/../../v1/users?/docs/assets/",
        "/v1/users?/../../docs",
        "/v1/users;/../docs/",
        "/v1/users#/docs",
        "/openapi/user-api.json/../../v1/users",
        "/openapi/user-api.json/",
        "/docs;x",
        "/docs%00",
        "/docs/assets",
        "/docs/assets/..;/..;/v1/users",
        "/DOCS",
        "http://localhost/v1/users",
        "*",
    ],
)
async def test_no_spelling_leads_from_the_documentation_to_the_services(bench: Bench, target: str) -> None:
    assert await _raw(bench, target, None) in {400, 401}
    assert not bench.received


@pytest.mark.parametrize("target", ["/docs/assets/%252e%252e/v1/users", "/docs/assets/.../v1/users"])
async def test_what_only_looks_like_a_way_up_stays_below_the_assets(bench: Bench, target: str) -> None:
    """user-api gets the same path that the gateway has checked, and looks it up in its folder of assets."""
    assert await _raw(bench, target, None) == 200
    assert list(bench.received) == [f"GET {target}"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-HTTP-Method": "DELETE"},
        {"X-Method-Override": "DELETE"},
        {"X-Original-URL": "/counter"},
        {"X-Rewrite-URL": "/counter"},
        {"X-Envoy-Original-Path": "/counter"},
        {"X-Forwarded-Prefix": "/.."},
    ],
)
async def test_headers_change_neither_method_nor_path(bench: Bench, keys: SigningKeys, headers: dict[str, str]) -> None:
    token = keys.sign(claims(scope="users:read"))
    response = await bench.client.get(USERS, headers={"Authorization": f"Bearer {token}", **headers})
    assert response.status_code == 200
    assert list(bench.received) == [f"GET {USERS}"]
    changing = keys.sign(claims(scope="users:write"))
    response = await bench.client.get(USERS, headers={"Authorization": f"Bearer {changing}", **headers})
    assert response.status_code == 403


async def test_a_method_that_nobody_knows_is_refused_after_the_token(bench: Bench, keys: SigningKeys) -> None:
    known = {"Authorization": f"Bearer {keys.sign(claims(scope='users:read'))}"}
    assert (await bench.client.request("PROPFIND", USERS)).status_code == 401
    assert (await bench.client.request("PROPFIND", USERS, headers=known)).status_code == 501
    assert not bench.received
