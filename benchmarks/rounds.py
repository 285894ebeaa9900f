"""Compares rates: every contestant runs in every round, so that a busy machine affects all of them alike."""

import asyncio
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import uvloop
from benchmarks.load import drive
from benchmarks.serving import Program, Server, running

WARM_UP = 0.3
"""Seconds of load before each measurement."""

BUSY = 0.9
"""The least share of its core that a server under full load gets on an idle machine."""


@dataclass(frozen=True)
class Options:
    rounds: int
    seconds: float
    """Seconds of load, for each contestant and round."""
    connections: int
    short: bool = False
    """A short version of long measurements, which only shows that they work."""


@dataclass(frozen=True)
class Contestant:
    name: str
    program: Program
    requests: Callable[[], Iterator[bytes]]
    expected: bytes = b""
    """Text that every answer must contain. It shows that the answer came from the right tier."""


@dataclass
class Result:
    """The medians over the rounds count."""

    contestant: Contestant
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    """The share of the core that the server had."""

    @property
    def rate(self) -> float:
        """Requests in a second."""
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        """Microseconds of the server's CPU for a request. On a busy machine this varies less than the rate."""
        return statistics.median(self.cpu) * 1e6


def compete(
    contestants: Sequence[Contestant], core: int, options: Options, prepare: Callable[[Sequence[Server]], None]
) -> dict[str, Result]:
    """Start all servers on the core, `prepare` them, and measure them in turn. Returns the results by name."""
    results = {contestant.name: Result(contestant) for contestant in contestants}
    with running((contestant.program for contestant in contestants), core) as servers:
        prepare(servers)
        for _ in range(options.rounds):
            for contestant, server in zip(contestants, servers, strict=True):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(_measure(results[contestant.name], server, options))
    share = statistics.median(statistics.median(result.shares) for result in results.values())
    if share < BUSY:
        print(f"(The machine did other things, too: the servers had {share:.0%} of their core. Compare the CPU times.)")
    return results


async def _measure(result: Result, server: Server, options: Options) -> None:
    contestant = result.contestant
    await drive(server.port, contestant.requests(), connections=options.connections, seconds=WARM_UP)
    before = server.cpu_seconds
    measured = await drive(
        server.port,
        contestant.requests(),
        connections=options.connections,
        seconds=options.seconds,
        expected=contestant.expected,
    )
    if measured.failures:
        sys.exit(f"{contestant.name}: {measured.failures} of {measured.requests} requests failed")
    result.rates.append(measured.rate)
    used = server.cpu_seconds - before
    result.cpu.append(used / measured.requests)
    result.shares.append(used / measured.seconds)
