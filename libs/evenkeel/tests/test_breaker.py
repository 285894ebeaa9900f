import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from evenkeel.cache.breaker import CircuitBreaker
from evenkeel.cache.entry import TierUnavailable

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def call(breaker: CircuitBreaker, error: Exception | None = None) -> bool:
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


async def test_failures_in_a_row_open_it_and_a_success_ends_the_row() -> None:
    breaker = CircuitBreaker(failures=3, pause=1, timer=Clock())
    for error in (OSError(), RedisConnectionError(), None, OSError(), OSError(), OSError()):
        assert await call(breaker, error)
    assert breaker.is_open
    assert not await call(breaker)


async def test_one_time_out_opens_it() -> None:
    breaker = CircuitBreaker(failures=3, pause=1, timer=Clock())
    await call(breaker, RedisTimeoutError())
    assert breaker.is_open


async def test_after_the_pause_one_call_is_let_through_to_see() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=1, pause=1, timer=clock)
    await call(breaker, OSError())
    clock.now += 0.99
    assert not await call(breaker)
    clock.now += 0.01
    async with breaker.call():
        assert not await call(breaker)  # while it is seen
    assert await call(breaker)
    assert not breaker.is_open


async def test_probe_that_fails_opens_it_for_another_pause() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=1, pause=1, timer=clock)
    await call(breaker, OSError())
    clock.now += 1
    assert await call(breaker, OSError())
    assert not await call(breaker)
    clock.now += 1
    assert await call(breaker)


async def test_probe_that_is_cut_short_does_not_keep_it_shut() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=1, pause=1, timer=clock)
    await call(breaker, OSError())
    clock.now += 1
    with pytest.raises(asyncio.CancelledError):
        async with breaker.call():
            raise asyncio.CancelledError
    assert await call(breaker)


async def test_whatever_the_client_raises_is_a_failure() -> None:
    breaker = CircuitBreaker(failures=1)
    assert await call(breaker, AttributeError("'NoneType' object has no attribute 'read'"))
    assert breaker.is_open
