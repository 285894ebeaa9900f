"""Heartbeats in the Redis of the counters."""

from collections.abc import Sequence
from typing import Any

from counter_api.redis.calls import Call, checked
from counter_api.redis.keys import FLEET
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.redis.heartbeats import Command, Heartbeats


def heartbeats(pipeline: RedisPipeline) -> Heartbeats:
    """They travel with the checks, so no change of a counter waits for them, and they wait for none."""

    async def send(commands: Sequence[Command]) -> Sequence[Any]:
        replies = await pipeline.checks([Call(command, repeatable=True) for command in commands])
        return [checked(reply) for reply in replies]

    return Heartbeats(send, lambda: FLEET)
