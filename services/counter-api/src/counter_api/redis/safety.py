"""Whether Redis answers, and whether an acknowledged count survives a crash of Redis. If not, changes are refused.

A replica that is not ready may get requests nevertheless: a gateway without any ready replica uses all of them.

A client cannot see an fsync. It can see four things: the settings promise one before every reply, the append-only file
grows with each write, no write to the file has failed, and WAITAOF confirms a write.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from counter_api.problems import NothingApplied, Unreachable
from counter_api.redis import keys
from counter_api.redis.calls import Call
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem
from evenkeel.service.readiness import ConditionFailed

log = logging.getLogger(__name__)

REQUIRED = {
    "appendonly": "yes",  # without it a restart loses everything since the last snapshot
    "appendfsync": "always",  # a reply then means fsynced; everysec loses the last second
    "no-appendfsync-on-rewrite": "no",  # otherwise nothing is fsynced while the file is being rewritten
    "maxmemory-policy": "noeviction",  # any other deletes counters when memory is short
}

PROBE_SECONDS = 60
"""The probe's key expires."""

CONFIRMED_WITHIN = 500
"""Milliseconds. The file is synced before the reply, so there is nothing to wait for."""

ATTEMPTS = 3
"""A rewrite of the file makes it smaller, so one attempt is not enough."""

FIRST_CHECK = 1.0
"""Seconds that a start waits for the first verdict. Redis may be starting too, so the start goes on without one."""

OVERRIDE = "(COUNTER_API_ALLOW_UNSAFE_REDIS=true overrides)"


async def ping(pipeline: RedisPipeline) -> None:
    """Raise the problem if no server answers."""
    answers = (await pipeline.ask_servers("PING")).values()
    # If some nodes of a cluster answer, the replica can serve their counters.
    if all(isinstance(answer, Problem) for answer in answers):
        raise next(iter(answers))


class Unsafe(ConditionFailed, RuntimeError):
    """Redis could lose counts that it has confirmed, or that cannot be ruled out."""

    condition = "unsafe-redis"


class Safety:
    """The check of readiness that decides whether changes are refused."""

    def __init__(self, pipeline: RedisPipeline, *, replica_acks: int) -> None:
        self._pipeline = pipeline
        self._replica_acks = replica_acks

    async def check_first(self) -> None:
        """Before the replica serves. It serves without a verdict if Redis cannot be reached: then nothing is lost."""
        with contextlib.suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(FIRST_CHECK):
                await self.check()

    async def check(self) -> None:
        """Raise Unsafe, which says what is wrong, or RuntimeError if there is no verdict. Then the last one holds."""
        try:
            await self._check()
        except Unsafe as error:
            if self._pipeline.refusal is None:
                log.warning("changes are refused", extra={"reason": str(error)})
            self._pipeline.refusal = str(error)
            raise
        if self._pipeline.refusal is not None:
            log.info("changes are no longer refused")
        self._pipeline.refusal = None

    async def _check(self) -> None:
        try:
            settings = await _ask(self._pipeline, "CONFIG", "GET", *REQUIRED)
            states = await _persistence(self._pipeline)
        except NothingApplied as error:
            kind = RuntimeError if isinstance(error, Unreachable) else Unsafe
            raise kind(
                f"{error.detail.rstrip('.')}; so whether counts are safe there cannot be checked: permit CONFIG GET "
                "and INFO, or set COUNTER_API_ALLOW_UNSAFE_REDIS=true if you have checked"
            ) from error
        wrong = {reason for found in settings.values() for reason in _wrong_settings(found)}
        wrong |= {reason for state in states.values() for reason in _wrong_state(state)}
        if wrong:
            raise Unsafe(f"this Redis may lose counts: {', '.join(sorted(wrong))} {OVERRIDE}")
        for address in states:
            await _probe(self._pipeline, address, replica_acks=self._replica_acks)


async def _ask(pipeline: RedisPipeline, *arguments: str) -> dict[str, Any]:
    """The replies of all servers that can be reached, of which there is at least one."""
    replies = await pipeline.ask_servers(*arguments)
    reached = {address: reply for address, reply in replies.items() if not isinstance(reply, Unreachable)}
    for reply in (reached or replies).values():
        if isinstance(reply, Problem):
            raise reply
    return reached


def _wrong_settings(found: Mapping[bytes, bytes]) -> list[str]:
    actual = {name.decode(): value.decode() for name, value in found.items()}
    return [
        f"{name} is {actual.get(name, 'unknown')} and must be {value}"
        for name, value in REQUIRED.items()
        if actual.get(name) != value
    ]


def _wrong_state(state: Mapping[str, str]) -> list[str]:
    return [] if state.get("aof_last_write_status") == "ok" else ["it could not write to its append-only file"]


async def _probe(pipeline: RedisPipeline, address: str, *, replica_acks: int) -> None:
    """Write something. Check that the file grows and that the write is confirmed."""
    key = next(key for n in range(100_000) if pipeline.topology.address(key := keys.PROBE % n) == address)
    write = Call(("SET", key, secrets.token_hex(8), "EX", PROBE_SECONDS), repeatable=True)
    confirm = Call(("WAITAOF", 1, replica_acks, CONFIRMED_WITHIN), at=address, repeatable=True)
    for _ in range(ATTEMPTS):
        before = await _persistence(pipeline)
        written, confirmed = await pipeline.replies([write, confirm], refusable=False)
        after = await _persistence(pipeline)
        if isinstance(written, Problem):
            raise RuntimeError(f"a test write did not succeed: {written.detail}")  # noqa: TRY004 (a failed check)
        if int(after[address]["aof_current_size"]) > int(before[address]["aof_current_size"]):
            _judge_confirmation(confirmed, replica_acks)
            return
    raise Unsafe(f"this Redis may lose counts: its append-only file does not grow with them {OVERRIDE}")


def _judge_confirmation(confirmed: Any, replica_acks: int) -> None:
    match confirmed:
        case [int(here), int(replicas)]:
            if here < 1:
                raise Unsafe(f"this Redis may lose counts: WAITAOF does not confirm a write {OVERRIDE}")
            if replicas < replica_acks:
                raise RuntimeError(f"{replicas} of {replica_acks} replicas of Redis have confirmed a test write")
        case Problem():
            # Redis before 7.2 has no WAITAOF; without replicas the settings say enough.
            if replica_acks:
                raise RuntimeError(f"whether replicas have a count cannot be checked: {confirmed.detail}")
        case _:
            raise RuntimeError(f"WAITAOF answered {confirmed!r} {OVERRIDE}")


async def _persistence(pipeline: RedisPipeline) -> dict[str, dict[str, str]]:
    """INFO persistence of each server."""
    return {
        address: dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
        for address, text in (await _ask(pipeline, "INFO", "persistence")).items()
    }
