"""Counts and reads, repeats requests that may be repeated until they are answered, and records the answers."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable
from typing import TypeVar

from verify.clock import Clock
from verify.connection import NO_ANSWER, Reply, cut_short
from verify.counters.answers import ForeignAnswer, UnexpectedAnswer, value_read
from verify.counters.history import History, Seen
from verify.counters.operation import Operation
from verify.counters.tally import CountersTally
from verify.target import Target, Targets

KEYED_TIMEOUT = 1.0
"""Seconds until a request with a key is sent again, to another target. A frozen replica may carry out the first one
later, which must not count."""

PATIENCE = 60.0
"""Seconds in which every request that can be repeated must be answered."""

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between attempts. The last value is for all further attempts."""

CUT_WITHIN = 0.01
"""The most seconds between sending a request and hanging up: about as long as an answer takes."""

LAST_HEADERS = 30
"""Bytes at the end of a request without a body, of which some are left out."""

_Result = TypeVar("_Result")


class _NotSent(Exception):
    """The request had no effect: it was not sent."""


class Client:
    """Runs any number of operations at the same time. None raises because of an answer."""

    def __init__(self, run: str, targets: Targets, clock: Clock = time.monotonic) -> None:
        """`run` is part of all keys and request ids, so that those of different runs differ."""
        self._run = run
        self._targets = targets
        self._clock = clock
        self._serials = itertools.count(1)

    def next_key(self) -> str:
        """An Idempotency-Key that has not been used."""
        return f"{self._run}-{next(self._serials)}"

    async def count(
        self, operation: Operation, target: Target, tally: CountersTally, *, cut_first: bool = False
    ) -> None:
        """Send the operation. With a key, it is sent until some target answers.

        With `cut_first` the client hangs up on the first attempt before the answer comes.
        """
        tally.increments += len(operation.increments)
        asked = began = self._clock()
        was_sent = False
        for attempt in itertools.count():
            if not was_sent:
                began = self._clock()
            with contextlib.suppress(_NotSent):
                if cut_first and attempt == 0:
                    await self._cut(operation, target, tally)
                else:
                    await self._attempt(operation, target, tally, began)
                was_sent = True
            if operation.is_answered:
                return
            impatient = self._clock() - asked > PATIENCE
            if impatient or (was_sent and operation.key is None):
                operation.give_up(tally, began)
                if impatient:
                    tally.breach("unanswered", f"{operation.path} with the key {operation.key} for {PATIENCE:g} s")
                return
            tally.retried += 1
            await self.pause(attempt)
            target = self._targets.any()

    async def count_again(self, operation: Operation, target: Target, tally: CountersTally) -> None:
        """Send an answered operation again. The answer must be the same, as a replay."""
        with contextlib.suppress(_NotSent):
            await self._attempt(operation, target, tally, self._clock())

    async def count_in_part(self, operation: Operation, target: Target, tally: CountersTally) -> None:
        """Hang up before the end of a request: no part of it may be applied."""
        missing = random.randint(1, len(operation.body) or LAST_HEADERS)
        with contextlib.suppress(_NotSent):
            await self._cut(operation, target, tally, missing=missing)

    async def read(self, history: History, target: Target, tally: CountersTally) -> int | None:
        """The counter's value; None without an answer."""
        began = self._clock()
        try:
            reply = await self._ask(target, tally, "GET", f"/v1/counters/{history.name}", {}, within=KEYED_TIMEOUT)
        except _NotSent:
            return None
        value = self._judged(tally, lambda: value_read(history.name, reply)) if reply else None
        if value is not None:
            history.seen.append(Seen(value, began, self._clock()))
            tally.reads += 1
        return value

    async def pause(self, attempt: int) -> None:
        """Wait between that attempt, counted from 0, and the next."""
        seconds = PAUSES[min(attempt, len(PAUSES) - 1)]
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))

    async def _attempt(self, operation: Operation, target: Target, tally: CountersTally, began: float) -> None:
        within = None if operation.key is None else KEYED_TIMEOUT
        reply = await self._ask(
            target, tally, "POST", operation.path, operation.headers, body=operation.body, within=within
        )
        if reply is None:
            return
        values = self._judged(tally, lambda: operation.values(reply))
        if values is not None:
            replayed = "idempotency-replayed" in reply.headers
            operation.answered(values, tally, replayed=replayed, began=began, ended=self._clock())

    async def _ask(
        self,
        target: Target,
        tally: CountersTally,
        method: str,
        path: str,
        headers: dict[str, str],
        *,
        body: bytes = b"",
        within: float | None,
    ) -> Reply | None:
        """The reply; None without one in so many seconds, or in the target's own limit. Raises _NotSent."""
        request_id = f"{self._run}.{next(self._serials)}"
        try:
            async with asyncio.timeout(within):
                reply = await target.pool.request(method, path, headers | {"x-request-id": request_id}, body)
        except ConnectionRefusedError as error:
            tally.errors[f"{method} refused"] += 1
            raise _NotSent from error
        except NO_ANSWER as error:
            tally.errors[f"{method} {type(error).__name__}"] += 1
            return None
        if reply.status not in {200, 404}:
            tally.errors[f"{method} {reply.status}"] += 1
        answered = reply.headers.get("x-request-id", "")
        if answered != request_id and answered.startswith(self._run):
            tally.breach("foreign", f"{target.name} answered request {request_id} with the answer to {answered}")
            return None
        return reply

    async def _cut(self, operation: Operation, target: Target, tally: CountersTally, *, missing: int = 0) -> None:
        """Send the request without its last `missing` bytes, and hang up. Raises _NotSent."""
        after = random.uniform(0, CUT_WITHIN)
        tally.cut += 1
        try:
            await cut_short(
                target.url,
                "POST",
                operation.path,
                operation.headers | target.pool.credentials(),
                operation.body,
                missing=missing,
                after=after,
            )
        except ConnectionRefusedError as error:
            raise _NotSent from error
        except OSError:
            return

    def _judged(self, tally: CountersTally, read: Callable[[], _Result]) -> _Result | None:
        """The parts of an answer; None if it leaves the outcome unknown."""
        try:
            return read()
        except ForeignAnswer as foreign:
            tally.breach("foreign", str(foreign))
        except UnexpectedAnswer as unexpected:
            tally.breach("unexpected", str(unexpected))
        return None
