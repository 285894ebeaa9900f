"""One increment, or several as a batch: the request, and its result."""

import json
import random
from dataclasses import dataclass
from typing import Any

from verify.connection import Reply
from verify.counters.answers import UNKNOWN, UnexpectedAnswer, document, value
from verify.counters.history import Counted, History
from verify.counters.tally import CountersTally


@dataclass(frozen=True, slots=True)
class Increment:
    history: History
    by: int = 1


class Operation:
    """Each attempt sends the same request."""

    def __init__(self, increments: list[Increment], *, is_batch: bool = False, key: str | None = None) -> None:
        """Without a key all increments are by 1, so that unanswered ones can be accounted for exactly."""
        self.increments = increments
        self.key = key
        self.headers = {} if key is None else {"idempotency-key": key}
        self.path = "/v1/counters:batch" if is_batch else f"/v1/counters/{increments[0].history.name}/increment"
        self.body = self._body(is_batch)
        if self.body:
            self.headers["content-type"] = "application/json"
        self._is_batch = is_batch
        self._values: list[int | None] = [None] * len(increments)

    def _body(self, is_batch: bool) -> bytes:  # noqa: FBT001 (private)
        document: dict[str, Any]
        if is_batch:
            document = {"operations": [{"name": each.history.name, "by": each.by} for each in self.increments]}
        elif self.increments[0].by == 1 and random.random() < 0.5:
            return b""
        else:
            document = {"by": self.increments[0].by}
        return json.dumps(document).encode()

    @property
    def is_answered(self) -> bool:
        return None not in self._values

    def values(self, reply: Reply) -> list[int | None]:
        """The answer to each increment; None if its outcome is unknown.

        Raises UnexpectedAnswer or ForeignAnswer.
        """
        if reply.status in UNKNOWN:
            return [None] * len(self.increments)
        found = document(reply)
        answers = found.get("results") if self._is_batch else [found]
        if not isinstance(answers, list) or len(answers) != len(self.increments):
            raise UnexpectedAnswer(f"{len(self.increments)} increments got the answer {found}")
        return [value(each.history.name, answer) for each, answer in zip(self.increments, answers, strict=True)]

    def answered(
        self, values: list[int | None], tally: CountersTally, *, replayed: bool, began: float, ended: float
    ) -> None:
        """Record new results, and compare the others with earlier answers."""
        tally.replayed += replayed
        if not replayed and not self._in_order(values):
            tally.breach("batch-order", f"{[each.history.name for each in self.increments]} got the answers {values}")
        again = self.is_answered
        for place, (increment, found) in enumerate(zip(self.increments, values, strict=True)):
            known = self._values[place]
            if found is None or found == known:
                continue
            if known is not None:
                name = increment.history.name
                tally.breach("replay", f"{name} with the key {self.key}: {known} at first, then {found}")
                continue
            self._values[place] = found
            increment.history.counted.append(Counted(found, increment.by, began, ended))
            tally.acknowledged += 1
        if again and not replayed and None not in values:
            tally.breach(
                "replay", f"{self.path} with the key {self.key} got two answers that were not marked as replays"
            )

    def give_up(self, tally: CountersTally, began: float) -> None:
        """Record that the outcome of the unanswered increments will stay unknown."""
        for increment, found in zip(self.increments, self._values, strict=True):
            if found is None:
                increment.history.unknown += [began] * increment.by
                tally.unknown += 1

    def _in_order(self, values: list[int | None]) -> bool:
        """Whether the values of each counter have the order of the batch."""
        latest: dict[str, int] = {}
        for increment, found in zip(self.increments, values, strict=True):
            if found is not None:
                name = increment.history.name
                if found <= latest.get(name, found - 1):
                    return False
                latest[name] = found
        return True
