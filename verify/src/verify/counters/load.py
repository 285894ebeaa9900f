"""A closed loop: each client sends its next request after the answer to the last one.

Each client uses the gateway or one replica, so that a frozen replica stops only its own clients.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from verify.counters.client import Client
from verify.counters.history import History
from verify.counters.operation import Increment, Operation
from verify.counters.tally import CountersTally
from verify.target import Target, Targets

READS = 0.1
"""The share of reads. The other operations are increments and batches."""
BATCHES = 0.1
KEYED = 0.5
REPEATED = 0.05
IN_PART = 0.02

CUT = 0.02
CUT_IN_DISCONNECTS = 0.4
"""The share of requests whose client hangs up before the answer."""

LONGEST_BATCH = 20
LARGEST = 5
"""The largest `by` of an increment with a key."""

HOT = 0.5
"""The share of increments of one counter, which all replicas change."""


@dataclass(frozen=True)
class Counters:
    """The kinds differ in how many outcomes can remain unknown. An error of the service could hide behind those."""

    keyed: list[History]
    """Every increment has a key, and a known outcome in the end."""
    plain: list[History]
    """Some increments have no key: their outcome remains unknown if a fault cuts them off."""
    cut: list[History]
    """Increments without a key whose clients hang up."""

    @classmethod
    def named(cls, prefix: str, count: int) -> "Counters":
        def some(kind: str) -> list[History]:
            return [History(f"{prefix}:{kind}:{number}") for number in range(1, count + 1)]

        return cls(some("keyed"), some("plain"), some("cut"))

    @property
    def all(self) -> list[History]:
        return [*self.keyed, *self.plain, *self.cut]


class Load:
    """Counts and reads until `quota` increments and reads have begun and `finish` was called."""

    def __init__(
        self,
        client: Client,
        targets: Targets,
        counters: Counters,
        tally: CountersTally,
        *,
        quota: int,
        cut_share: float,
    ) -> None:
        self._client = client
        self._targets = targets
        self._counters = counters
        self._tally = tally
        self.quota = quota
        self._cut_share = cut_share
        self._reads = 0
        self._finishing = False

    async def run(self, clients: int) -> None:
        """Run until then; return when all requests have ended."""
        async with asyncio.TaskGroup() as group:
            for lane in range(clients):
                group.create_task(self._ask_on(lane))

    def finish(self) -> None:
        self._finishing = True

    @property
    def is_enough(self) -> bool:
        return self.begun() >= self.quota

    async def more(self, operations: int) -> None:
        """Return when so many more operations have begun, or the quota is reached."""
        until = min(self.begun() + operations, self.quota)
        while self.begun() < until:  # noqa: ASYNC110 (a poll costs less than an event for each operation)
            await asyncio.sleep(0.05)

    def begun(self) -> int:
        """Increments and reads."""
        return self._tally.increments + self._reads

    async def _ask_on(self, lane: int) -> None:
        while not (self._finishing and self.is_enough):
            targets = self._targets.targets
            await self._ask(targets[lane % len(targets)])

    async def _ask(self, target: Target) -> None:
        if _chance(READS):
            self._reads += 1
            if await self._client.read(_one_of(self._counters.all), target, self._tally) is None:
                await self._client.pause(0)
        elif _chance(KEYED):
            await self._count_with_key(target)
        else:
            await self._count_without_key(target)

    async def _count_with_key(self, target: Target) -> None:
        operation = _operation(self._counters.all, key=self._client.next_key(), largest=LARGEST)
        await self._client.count(operation, target, self._tally, cut_first=_chance(self._cut_share))
        if operation.is_answered and _chance(REPEATED):
            await self._client.count_again(operation, target, self._tally)

    async def _count_without_key(self, target: Target) -> None:
        if _chance(IN_PART):
            await self._client.count_in_part(_operation(self._counters.plain), target, self._tally)
        elif _chance(self._cut_share):
            await self._client.count(_operation(self._counters.cut), target, self._tally, cut_first=True)
        else:
            operation = _operation([*self._counters.plain, *self._counters.cut])
            await self._client.count(operation, target, self._tally)
            if not operation.is_answered:
                await self._client.pause(0)


def _operation(histories: Sequence[History], *, key: str | None = None, largest: int = 1) -> Operation:
    is_batch = _chance(BATCHES)
    length = random.randint(1, LONGEST_BATCH) if is_batch else 1
    by = [random.randint(1, largest) for _ in range(length)]
    return Operation([Increment(_one_of(histories), each) for each in by], is_batch=is_batch, key=key)


def _one_of(histories: Sequence[History]) -> History:
    return histories[0] if _chance(HOT) else random.choice(histories)


def _chance(share: float) -> bool:
    return random.random() < share
