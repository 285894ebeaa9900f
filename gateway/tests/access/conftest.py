from collections.abc import AsyncIterator

import pytest
from tests.support.gateway_bench import Bench, gateway_bench

from stack.signing_keys import SigningKeys


@pytest.fixture(scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """A gateway that requires tokens, in front of both services."""
    async with gateway_bench(tmp_path_factory.mktemp("access"), mode="tokens") as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@pytest.fixture
def bench(closed: Bench) -> Bench:
    """The same gateway, whose upstreams have received nothing yet."""
    closed.received.clear()
    return closed


@pytest.fixture
def keys(closed: Bench) -> SigningKeys:
    return SigningKeys.load_or_create(closed.layout.signing_keys)
