"""Increments without conditions as sum.lua takes them: one addition, from which each caller's value follows."""

from collections.abc import Sequence

from counter_api.counters.operations import INT64_MAX, INT64_MIN, Applied, Increment, Operation, Outcome
from counter_api.counters.scripts import SUM
from counter_api.redis.calls import Argument


class PlainSum:
    script = SUM

    def __init__(self, keys: list[str], increments: Sequence[Increment], total: int) -> None:
        """`keys` are the counter and the receipt."""
        self.keys = keys
        self._increments = increments
        self._total = total

    @classmethod
    def of(cls, keys: list[str], operations: Sequence[Operation]) -> "PlainSum | None":
        """None unless all are plain, and go the same way, so that no value on the way is beyond first and last."""
        increments = []
        total = 0
        for operation in operations:
            if not isinstance(operation, Increment) or not operation.plain or operation.by * total < 0:
                return None
            increments.append(operation)
            total += operation.by
        return cls(keys, increments, total) if INT64_MIN <= total <= INT64_MAX else None

    def arguments(self, number: int, until: int, *, receipt: bool, listed: int) -> tuple[Argument, ...]:
        return number, until, "1" if receipt else "", self._total, listed

    def outcomes(self, reply: bytes) -> list[Outcome]:
        value = int(reply[1:])
        outcomes: list[Outcome] = []
        for increment in self._increments:
            value += increment.by
            outcomes.append(Applied(value))
        return outcomes
