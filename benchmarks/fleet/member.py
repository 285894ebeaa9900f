"""A process with several replicas, light ones or clients of real ones: `python -m benchmarks.fleet.member`.

Standard input has one JSON document a line: first which replicas, then orders. Each is answered by one line.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvloop
from benchmarks.fleet.loads import Load, Order
from benchmarks.fleet.replicas import Replica, light, real

OPENING = 8
"""Light replicas that one process opens at a time."""


async def run() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    replicas = await _opened(json.loads(await lines.readline()))
    load = Load(replicas)
    background = [asyncio.create_task(work) for work in (load.check(), load.watch())]
    _say({"open": len(replicas)})
    while line := await lines.readline():
        _say(await load.run(Order(**json.loads(line))))
    for task in background:
        task.cancel()
    await asyncio.wait(background)


async def _opened(wanted: dict[str, Any]) -> list[Replica]:
    """The replicas, which stay open until the process ends."""
    places = asyncio.Semaphore(OPENING)
    contexts: Sequence[AbstractAsyncContextManager[Replica]]
    contexts = [light(environment) for environment in wanted["light"]] + [real(port) for port in wanted["real"]]
    return list(await asyncio.gather(*(_open(context, places) for context in contexts)))


async def _open(context: AbstractAsyncContextManager[Replica], places: asyncio.Semaphore) -> Replica:
    opened: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with context as replica:
            opened.set_result(replica)
            await asyncio.Event().wait()

    async with places:
        holding = asyncio.create_task(hold())
        _HELD.add(holding)
        waited: set[asyncio.Future[Any]] = {holding, opened}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            holding.result()
        return opened.result()


_HELD: set["asyncio.Task[None]"] = set()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
