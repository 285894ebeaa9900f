"""How many requests a replica has had, added up in Redis: one HINCRBY a round trip, however many requests come."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from prometheus_client import Counter

from counter_api.problems import NothingApplied, OutcomeUnknown
from counter_api.redis.calls import Argument, Sending
from evenkeel.http.problems import Problem

REQUESTS = "{_requests}"
"""Hash of requests by replica. No caller's counter starts with an underscore."""


class RequestTally:
    def __init__(self, submit: Callable[[Sending], "asyncio.Future[Any]"], *, replica: str, uncounted: Counter) -> None:
        """`submit` queues what is to be sent, `uncounted` counts requests of which nobody knows whether they were."""
        self._submit = submit
        self._replica = replica
        self._uncounted = uncounted
        self._owed = 0
        self._queued: _Addition | None = None

    def add(self, requests: int) -> "asyncio.Future[None]":
        """Done when they, and all before them, are in Redis; else it raises the problem."""
        self._owed += requests
        counted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._queued is None:
            addition = _Addition(self._replica, self._take)
            try:
                self._submit(addition).add_done_callback(partial(self._settle, addition))
            except NothingApplied as problem:
                _fail(counted, problem)
                return counted
            self._queued = addition
        self._queued.waiting.append(counted)
        return counted

    def _take(self) -> int:
        """All that is owed: it is being sent, and what comes now goes with the next round trip."""
        taken, self._owed, self._queued = self._owed, 0, None
        return taken

    def _settle(self, addition: "_Addition", ended: "asyncio.Future[Any]") -> None:
        result = addition.result
        if ended.cancelled() or ended.exception() is not None:
            result = OutcomeUnknown("The request could not be counted.")
        if isinstance(result, NothingApplied):
            self._owed += addition.requests or 0
        elif isinstance(result, Problem):
            # To send them again could count them twice.
            self._uncounted.inc(addition.requests or 0)
        for counted in addition.waiting:
            if isinstance(result, Problem):
                _fail(counted, result)
            elif not counted.done():
                counted.set_result(None)


class _Addition(Sending):
    def __init__(self, replica: str, take: Callable[[], int]) -> None:
        super().__init__(REQUESTS, repeatable=False)
        self._replica = replica
        self._take = take
        self.requests: int | None = None
        self.waiting: list[asyncio.Future[None]] = []
        self.result: Any = None

    def command(self, until: int) -> tuple[Argument, ...]:  # noqa: ARG002 (without a deadline)
        if self.requests is None:
            self.requests = self._take()
        return ("HINCRBY", REQUESTS, self._replica, self.requests)

    def receive(self, reply: Any) -> bool:
        self.result = reply
        return True

    def fail(self, problem: Callable[[], Problem]) -> None:
        if self.requests is None:
            self.requests = self._take()
        self.result = problem()


def _fail(future: "asyncio.Future[None]", problem: Problem) -> None:
    if not future.done():
        future.set_exception(problem)
        # A request that was cut off leaves nobody to look at it; that is no news for the log.
        future.exception()
