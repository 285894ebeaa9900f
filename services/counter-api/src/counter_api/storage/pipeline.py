"""How this process talks to the counters' Redis: many callers, one connection, one round trip at a time.

Calls that come in while a round trip is under way travel together in the next one, so that a hundred callers wait for
one fsync and not for a hundred. The connection belongs to one task: a caller that is cancelled never leaves its reply
to the next one. Nothing is ever sent twice unless Redis itself said that it was not executed.
"""

import logging
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from counter_api.problems import NotACounter, NothingApplied, OutcomeUnknown
from counter_api.storage.scripts import Script
from evenkeel.combining import Combiner
from evenkeel.problems import Problem

log = logging.getLogger(__name__)

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Call:
    """A command, or what follows the script in EVAL and EVALSHA: the number of keys, the keys, the arguments."""

    arguments: tuple[Argument, ...]
    script: Script | None = None

    def by_name(self) -> tuple[Argument, ...]:
        return self.arguments if self.script is None else ("EVALSHA", self.script.sha, *self.arguments)

    def in_full(self) -> tuple[Argument, ...]:
        return self.arguments if self.script is None else ("EVAL", self.script.source, *self.arguments)


class RedisPipeline:
    def __init__(self, redis: Redis, errors: Counter) -> None:
        """`errors` counts failures by their label `reason`."""
        self._redis = redis
        # Replies as Redis gives them: redis-py would make a bool of what SET … GET replies.
        redis.response_callbacks.clear()
        self._errors = errors
        self._calls: Combiner[Call, Any] = Combiner(self._send)

    async def close(self) -> None:
        """Let what was submitted be answered, then close the connection."""
        await self._calls.close()
        await self._redis.aclose()

    async def command(self, *arguments: Argument) -> Any:
        """Redis' reply; raise NothingApplied, OutcomeUnknown or NotACounter."""
        [reply] = await self.replies([Call(arguments)])
        if isinstance(reply, Problem):
            raise reply
        return reply

    async def replies(self, calls: Sequence[Call]) -> list[Any]:
        """Each call's reply, or the problem that came instead, in order."""
        futures = [self._calls.submit(call) for call in calls]
        return [await future for future in futures]

    async def _send(self, calls: list[Call]) -> list[Any]:
        replies = await self._round_trip(_commands(calls))
        # Redis restarted, failed over or was flushed: it did not run these, so they may be sent again.
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._round_trip([calls[place].in_full() for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return [self._refused(reply) if isinstance(reply, ResponseError) else reply for reply in replies]

    async def _round_trip(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        try:
            # Connecting is a step of its own, because a failure here means that nothing was sent.
            pool = self._redis.connection_pool
            pipeline.connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py has not typed it
        except (RedisError, OSError) as error:
            self._failed("not-sent", error, len(commands))
            return [
                NothingApplied(f"Redis cannot be reached, so nothing was changed: {_words(error)}") for _ in commands
            ]
        for command in commands:
            pipeline.execute_command(*command)
        try:
            return list(await pipeline.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            self._failed("no-answer", error, len(commands))
            return [
                OutcomeUnknown(
                    f"Redis did not answer, so whether this was applied is unknown: {_words(error)} "
                    "Retry with the same Idempotency-Key; a retry without one may count twice."
                )
                for _ in commands
            ]

    def _refused(self, error: ResponseError) -> Problem:
        code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
        if code == "WRONGTYPE":
            return NotACounter()
        self._failed(code, error, 1)
        return NothingApplied(f"Redis refused, so nothing was changed: {code} {_words(error)}")

    def _failed(self, reason: str, error: Exception, calls: int) -> None:
        self._errors.labels(reason).inc(calls)
        log.warning("Redis failed", extra={"reason": reason, "error": str(error), "calls": calls})


def _commands(calls: list[Call]) -> list[tuple[Argument, ...]]:
    """Scripts by their digest; where a script runs several times, once in full first.

    So a batch whose operations depend on their order is never found half unknown while another replica loads the
    script.
    """
    uses = Tally(call.script for call in calls if call.script is not None)
    in_full = {script for script, times in uses.items() if times > 1}
    commands = []
    for call in calls:
        if call.script in in_full:
            in_full.remove(call.script)
            commands.append(call.in_full())
        else:
            commands.append(call.by_name())
    return commands


def _words(error: Exception) -> str:
    """The first line of what Redis or the system said, as a sentence; never a URL, so never a password."""
    text = (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
    return f"{text}."
