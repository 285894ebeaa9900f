"""A failover by Redis Sentinel, with replica acks: nothing acknowledged is lost, nothing is counted twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.counters_redis import PASSWORD, CountersPair, counters_pair, own_servers
from tests.support.counting import counting
from tests.support.fake_redis import fake_redis, sentinel_naming
from tests.support.sentinel import USER, USER_PASSWORD, Sentinel
from tests.support.serving import Serve

pytestmark = [pytest.mark.anyio, own_servers]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[CountersPair]:
    async with counters_pair(tmp_path, direct=True) as pair:
        while not await pair.in_step():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.02)
        yield pair


@pytest.fixture
async def sentinel(pair: CountersPair, tmp_path: Path) -> AsyncIterator[Sentinel]:
    async with Sentinel(tmp_path, pair.primary, password=PASSWORD) as sentinel:
        while not await sentinel.knows_replica():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)
        yield sentinel


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.slow)])
async def test_failover(serve: Serve, pair: CountersPair, sentinel: Sentinel, how: str) -> None:
    options = {"redis_url": sentinel.url(PASSWORD), "sentinel_password": sentinel.password, "replica_acks": 1}
    async with serve(**options) as one, serve(**options, replica_name="replica-b") as two:
        async with counting(one, two) as told:
            await told.more(100)
            if how == "kill":
                await pair.primary.kill()
            else:
                pair.primary.freeze()
            async with asyncio.timeout(30):
                while await sentinel.primary_port() != pair.replica.port:  # noqa: ASYNC110 (there is no event to wait for)
                    await asyncio.sleep(0.05)
            # The old primary comes back as the new one's replica. Nothing is acknowledged without a replica.
            if how == "kill":
                await pair.primary.start()
            else:
                pair.primary.thaw()
            await told.more(100)
        async with pair.replica.client() as promoted:
            assert int(await promoted.get("{a}") or 0) == len(told.values)


async def test_the_sentinels_may_be_several_and_some_of_them_gone(serve: Serve, sentinel: Sentinel) -> None:
    url = sentinel.url(PASSWORD).replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:", 1)
    async with serve(redis_url=url, sentinel_password=sentinel.password) as client:
        assert (await client.post("/v1/counters/a/increment")).json() == {"name": "a", "value": 1}
        assert (await client.get("/readyz")).status_code == 200
    unknown = f"{sentinel.url(PASSWORD)}-unknown"
    async with serve(redis_url=unknown, sentinel_password=sentinel.password) as client:
        refused = await client.post("/v1/counters/a/increment")
        assert refused.status_code == 503
        assert "no Sentinel leads to a primary of evenkeel-unknown" in refused.json()["detail"]


async def test_the_sentinels_credentials_are_their_own(serve: Serve, sentinel: Sentinel) -> None:
    for right in (
        {"sentinel_password": sentinel.password},
        {"sentinel_username": USER, "sentinel_password": USER_PASSWORD},
    ):
        async with serve(redis_url=sentinel.url(PASSWORD), **right) as client:
            assert (await client.post("/v1/counters/a/increment")).status_code == 200
    where = f"no Sentinel leads to a primary of evenkeel: 127.0.0.1:{sentinel.port}"
    for wrong in (
        {},
        {"sentinel_password": PASSWORD},
        {"sentinel_username": "nobody", "sentinel_password": USER_PASSWORD},
    ):
        async with serve(redis_url=sentinel.url(PASSWORD), patience=0.1, **wrong) as client:
            refused = await client.post("/v1/counters/a/increment")
            assert refused.status_code == 503
            assert f"{where}: it does not take the Sentinels' user and password" in refused.json()["detail"]


async def test_a_sentinel_without_a_password(serve: Serve, pair: CountersPair, tmp_path: Path) -> None:
    """Before a primary that has one."""
    async with (
        Sentinel(tmp_path, pair.primary, password=PASSWORD, own_password=None) as sentinel,
        serve(redis_url=sentinel.url(PASSWORD)) as client,
    ):
        assert (await client.post("/v1/counters/a/increment")).json() == {"name": "a", "value": 1}


async def test_a_sentinel_that_names_a_replica_is_not_believed(serve: Serve, pair: CountersPair) -> None:
    """It would refuse changes, but answer reads with old values."""
    async with (
        fake_redis(sentinel_naming(lambda: pair.replica.port)) as port,
        serve(redis_url=f"redis+sentinel://:{PASSWORD}@127.0.0.1:{port}/counters") as client,
    ):
        for method, path in (("POST", "/v1/counters/a/increment"), ("GET", "/v1/counters/a")):
            refused = await client.request(method, path)
            assert refused.status_code == 503
            assert f"127.0.0.1:{pair.replica.port} is not the primary yet" in refused.json()["detail"]
