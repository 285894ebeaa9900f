"""A counter in a global variable under several workers, and /counter of counter-api under as many replicas."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from demo.findings import EVENKEEL, TUTORIAL, Bar, Finding, unmet
from demo.stage import COUNTERS, Stage
from demo.tutorials import WORKERS
from verify.connection import NO_ANSWER, Connection

VISITS = 1000
AT_ONCE = 16


@dataclass(frozen=True)
class Visits:
    """The numbers that VISITS visitors have got."""

    answers: Sequence[int]
    unanswered: int = 0
    """Visits without an answer, which may have been counted."""

    @property
    def counted(self) -> int:
        """What the counter says at the end, at best."""
        return max(self.answers, default=0)

    @property
    def missing(self) -> int:
        return max(0, len(self.answers) - self.counted)

    @property
    def exact(self) -> bool:
        """Whether there were visits, and each was counted once."""
        surplus = self.counted - len(self.answers)
        return bool(self.answers) and not (self.missing or self.repeated) and surplus <= self.unanswered

    @property
    def repeated(self) -> int:
        """Visitors who got the number of another one."""
        return len(self.answers) - len(set(self.answers))


async def shown(stage: Stage) -> list[Finding]:
    tutorial = await _visited(stage.workers.program.url)
    return [finding(tutorial, await _visited(stage.counters.targets[0].url))]


def finding(tutorial: Visits, evenkeel: Visits) -> Finding:
    return Finding(
        f"A counter in a global variable, {WORKERS} workers",
        f"After {VISITS:,} visits the tutorial's counter says {tutorial.counted:,}, and {tutorial.repeated:,} visitors"
        f" have got a number that another visitor had got before. Evenkeel's says {evenkeel.counted:,}, with {COUNTERS}"
        " replicas.",
        (
            Bar(TUTORIAL, tutorial.missing, f"{tutorial.missing:,} visits missing"),
            Bar(EVENKEEL, evenkeel.missing, f"{evenkeel.missing:,}"),
        ),
        unmet(
            {
                "the tutorial's counter missed no visit": tutorial.missing > 0,
                "Evenkeel did not count each visit once": evenkeel.exact,
            }
        ),
    )


async def _visited(url: str | None) -> Visits:
    """Each visit has a connection of its own, because a worker keeps the connections that it has accepted."""
    answers: list[int] = []
    left, unanswered = VISITS, 0

    async def visit() -> None:
        nonlocal left, unanswered
        while left > 0 and unanswered < VISITS:
            left -= 1
            number = await _number(str(url))
            if number is None:
                left, unanswered = left + 1, unanswered + 1
            else:
                answers.append(number)

    await asyncio.gather(*(visit() for _ in range(AT_ONCE)))
    return Visits(answers, unanswered)


async def _number(url: str) -> int | None:
    """What a visitor gets; None without an answer."""
    try:
        async with Connection(url) as connection:
            reply = await connection.request("GET", "/counter")
    except NO_ANSWER:
        return None
    number: int | None = reply.json()["current_count"] if reply.status == 200 else None
    return number
