import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from evenkeel.cache.entry import TierUnavailable
from evenkeel.cache.redis_breaker import RedisBreaker

pytestmark = pytest.mark.anyio


class Server:
    def __init__(self) -> None:
        self.answers = False
        self.probes = 0

    async def ping(self) -> None:
        self.probes += 1
        if not self.answers:
            raise OSError


async def call(breaker: RedisBreaker, error: Exception | None = None) -> bool:
    """Whether the block was run."""
    ran = False
    try:
        async with breaker.call():
            ran = True
            if error is not None:
                raise error
    except TierUnavailable:
        pass
    return ran


async def until_closed(breaker: RedisBreaker) -> None:
    for _ in range(1000):
        if not breaker.is_open:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still open")


async def test_failures_in_a_row_open_it_and_a_success_ends_the_row() -> None:
    breaker = RedisBreaker(Server().ping, failures=3)
    for error in (OSError(), RedisConnectionError(), None, OSError(), OSError(), OSError()):
        assert await call(breaker, error)
    assert breaker.is_open
    assert not await call(breaker)
    await breaker.close()


async def test_one_time_out_opens_it() -> None:
    breaker = RedisBreaker(Server().ping, failures=3)
    await call(breaker, RedisTimeoutError())
    assert breaker.is_open
    await breaker.close()


async def test_it_is_probed_in_the_background_until_the_server_answers() -> None:
    server = Server()
    breaker = RedisBreaker(server.ping, failures=1, pause=0.01)
    await call(breaker, OSError())
    while server.probes < 3:
        assert not await call(breaker)  # no caller is the probe
        await asyncio.sleep(0.01)
    server.answers = True
    await until_closed(breaker)
    assert await call(breaker)
    probes = server.probes
    await asyncio.sleep(0.05)
    assert server.probes == probes


async def test_closed_again_it_counts_from_the_beginning() -> None:
    server = Server()
    server.answers = True
    breaker = RedisBreaker(server.ping, failures=2, pause=0.01)
    for _ in range(2):
        await call(breaker, OSError())
    await until_closed(breaker)
    assert await call(breaker, OSError())
    assert not breaker.is_open


async def test_call_under_way_that_fails_when_it_is_open_starts_no_second_probe() -> None:
    server = Server()
    breaker = RedisBreaker(server.ping, failures=1, pause=60)
    with pytest.raises(TierUnavailable):  # noqa: PT012 (the second call is what is tested)
        async with breaker.call():
            await call(breaker, OSError())
            raise OSError
    await breaker.close()
    assert not breaker.is_open


async def test_whatever_the_client_raises_is_a_failure() -> None:
    breaker = RedisBreaker(Server().ping, failures=1)
    assert await call(breaker, AttributeError("'NoneType' object has no attribute 'read'"))
    assert breaker.is_open
    await breaker.close()
