"""The services get the token's `sub` as the caller, and nothing that a client sends."""

from collections.abc import AsyncIterator

import pytest
from tests.support.access_claims import claims
from tests.support.gateway_bench import Bench, gateway_bench

from stack.signing_keys import SigningKeys

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def open_bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with gateway_bench(tmp_path_factory.mktemp("subject"), pages={"GATEWAY_PUBLIC_PREFIX": "public:"}) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("ada", "ada"),
        ("auth0|1/2?x=y", "auth0|1/2?x=y"),
        ("a b", "a%20b"),
        ("a%20b", "a%2520b"),
        ("a\r\nX-Evenkeel-Subject: b", "a%0D%0AX-Evenkeel-Subject:%20b"),
        ("Ä", "%C3%84"),
        ("", "None"),
        (None, "None"),
    ],
)
async def test_the_subject_of_the_token(bench: Bench, keys: SigningKeys, subject: str | None, told: str) -> None:
    headers = {"Authorization": f"Bearer {keys.sign(claims(sub=subject))}", "X-Evenkeel-Subject": "somebody-else"}
    response = await bench.client.get("/v1/users/1", headers=headers)
    assert response.text.split()[3] == told


async def test_nobody_says_who_they_are_while_access_is_open(open_bench: Bench) -> None:
    for path in ("/v1/users/1", "/v1/counters/a", "/v1/counters/public:a/badge.svg", "/docs/assets/a"):
        response = await open_bench.client.get(path, headers={"X-Evenkeel-Subject": "root"})
        assert response.text.split()[3] == "None"
