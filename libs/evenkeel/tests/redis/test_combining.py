import asyncio

import pytest

from evenkeel.redis.combining import Combiner, Full

NUMBERS = list(range(20, 70))
UNLUCKY = 13

pytestmark = pytest.mark.anyio


class Server:
    """Doubles numbers, one batch at a time, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.busy = 0
        self.let = asyncio.Event()
        self.let.set()

    async def send(self, items: list[int]) -> list[int]:
        assert self.busy == 0, "two batches under way at once"
        self.busy += 1
        self.batches.append(items)
        await self.let.wait()
        await asyncio.sleep(0)
        self.busy -= 1
        if UNLUCKY in items:
            raise OSError("unlucky")
        return [item * 2 for item in items]


async def test_idle_combiner_sends_at_once() -> None:
    server = Server()
    assert await Combiner(server.send).submit(1) == 2
    assert server.batches == [[1]]


async def test_what_queues_while_one_is_under_way_travels_in_the_next() -> None:
    server = Server()
    combiner = Combiner(server.send)
    server.let.clear()
    first = combiner.submit(1)
    await asyncio.sleep(0)
    later = [combiner.submit(n) for n in NUMBERS]
    await asyncio.sleep(0)
    assert server.batches == [[1]]
    server.let.set()
    assert await asyncio.gather(first, *later) == [n * 2 for n in (1, *NUMBERS)]
    assert server.batches == [[1], NUMBERS]


async def _asks_again_at_once(combiner: Combiner[int, int], number: int) -> None:
    for _ in range(2):
        await combiner.submit(number)


@pytest.mark.parametrize(("linger", "batches"), [(False, [[1], [2], [1], [2]]), (True, [[1], [2, 1], [2]])])
async def test_lingering_lets_those_just_answered_in_again(*, linger: bool, batches: list[list[int]]) -> None:
    server = Server()
    combiner = Combiner(server.send, linger=linger)
    server.let.clear()
    first = asyncio.create_task(_asks_again_at_once(combiner, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(_asks_again_at_once(combiner, 2))
    await asyncio.sleep(0)
    server.let.set()
    await asyncio.gather(first, second)
    assert server.batches == batches


async def test_cancelled_combiner_leaves_no_caller_waiting() -> None:
    server = Server()
    combiner = Combiner(server.send, largest=1)
    server.let.clear()
    others = asyncio.all_tasks()
    waiting = [combiner.submit(n) for n in range(3)]
    await asyncio.sleep(0)
    [task] = asyncio.all_tasks() - others
    task.cancel()
    await asyncio.wait(waiting, timeout=5)
    assert all(future.cancelled() for future in waiting)
    server.busy = 0
    server.let.set()
    assert await combiner.submit(4) == 8


async def test_batches_are_bounded() -> None:
    server = Server()
    combiner = Combiner(server.send, largest=10)
    assert await asyncio.gather(*(combiner.submit(n) for n in range(100, 125))) == [n * 2 for n in range(100, 125)]
    assert [len(batch) for batch in server.batches] == [10, 10, 5]


async def test_failure_reaches_the_callers_of_its_batch_only() -> None:
    server = Server()
    combiner = Combiner(server.send, largest=2)
    results = await asyncio.gather(*(combiner.submit(n) for n in (12, UNLUCKY, 14, 15)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError, int, int]
    assert await combiner.submit(3) == 6


async def test_cancelled_caller_disturbs_nobody() -> None:
    server = Server()
    combiner = Combiner(server.send)
    server.let.clear()
    first, second, third = (combiner.submit(n) for n in (1, 2, 3))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    server.let.set()
    assert await third == 6
    assert server.batches[0] == [1, 2, 3]


async def test_failure_that_nobody_awaits_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    combiner = Combiner(server.send)
    combiner.submit(UNLUCKY).cancel()
    abandoned = combiner.submit(UNLUCKY)
    await combiner.close()
    del abandoned
    assert not caplog.records


async def test_close_waits_for_what_was_submitted() -> None:
    server = Server()
    combiner = Combiner(server.send)
    results = [combiner.submit(n) for n in range(5)]
    await combiner.close()
    assert [result.result() for result in results] == [0, 2, 4, 6, 8]


async def test_wrong_number_of_results_is_an_error_not_a_hang() -> None:
    async def send(_: list[int]) -> list[int]:
        await asyncio.sleep(0)
        return [1]

    combiner = Combiner(send)
    results = await asyncio.wait_for(
        asyncio.gather(combiner.submit(1), combiner.submit(2), return_exceptions=True), timeout=5
    )
    assert [type(result) for result in results] == [ValueError, ValueError]


async def test_an_item_without_weight_is_never_refused() -> None:
    server = Server()
    combiner = Combiner(server.send, most_waiting=2)
    heavy = combiner.submit(1, 5)
    light = combiner.submit(2, 0)
    with pytest.raises(Full):
        combiner.submit(3, 1)
    assert (await heavy, await light) == (2, 4)
    assert server.batches == [[1, 2]]
