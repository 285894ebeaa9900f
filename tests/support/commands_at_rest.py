"""How many commands a Redis server executes while nothing is requested."""

import asyncio
import time
from collections.abc import Mapping

from redis.asyncio import Redis

WINDOW = 2.0
"""Seconds over which commands are counted."""

WINDOWS = 5
"""A window in which the machine was busy may count more than the replicas send at rest. So the lowest one counts."""


async def commands_a_second(client: Redis, *, goal: float) -> float:
    """Commands a second, those that scripts call included: the first window with at most `goal`, or the lowest."""
    lowest = float("inf")
    for _ in range(WINDOWS):
        before, began = await _executed(client), time.monotonic()
        await asyncio.sleep(WINDOW)
        after, elapsed = await _executed(client), time.monotonic() - began
        lowest = min(lowest, (after - before) / elapsed)
        if lowest <= goal:
            break
    return lowest


async def _executed(client: Redis) -> int:
    stats: Mapping[str, Mapping[str, int]] = await client.info("commandstats")
    return sum(command["calls"] for name, command in stats.items() if name != "cmdstat_info")
