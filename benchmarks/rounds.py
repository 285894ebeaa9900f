"""Compares rates: every contestant runs in every round, so that a busy machine affects all of them alike."""

import asyncio
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import uvloop
from benchmarks.goals import Goal
from benchmarks.http_requests import Requests
from benchmarks.load import drive
from benchmarks.releases import HERE, Release
from benchmarks.serving import Program, Server, running
from benchmarks.tables import show

WARM_UP = 0.3
"""Seconds of load before each measurement."""

BUSY = 0.9
"""The least share of its core that a server under full load gets on an idle machine."""


@dataclass(frozen=True)
class Contestant:
    name: str
    program: Program
    requests: Requests
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


@dataclass(frozen=True)
class Options:
    rounds: int
    seconds: float
    """Seconds of load, for each contestant and round."""
    connections: int
    short: bool = False
    """A short version of long measurements, which only shows that they work."""
    against: Release | None = None
    """Another commit, which is measured in the same rounds."""

    @property
    def releases(self) -> list[Release]:
        """This checkout first."""
        return [HERE, *([self.against] if self.against else [])]

    def kept(self, results: Mapping[str, Result], names: Sequence[str]) -> Iterator[Goal]:
        """Nothing costs more than at the other commit, if there is one."""
        if self.against is not None:
            for name in names:
                figure = results[self.against.called(name)].cost / results[name].cost
                yield Goal(f"{name} / at {self.against.name}", figure, least=1)


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
        print(
            f"(The machine did other things, too: the servers had {share:.0%} of their core. Compare the CPU times.)\n"
        )
    return results


def show_results(results: Mapping[str, Result], base: Result, options: Options) -> None:
    """Rates, and the server's CPU time for a request. Both are also given relative to `base`."""
    print(f"Medians of {options.rounds} rounds. A ratio of 2 is twice as fast, or cheap, as {base.contestant.name}.\n")
    show(
        ["", "requests/s", "ratio", "CPU, µs", "ratio"],
        [
            (
                *(name, f"{result.rate:,.0f}", f"{result.rate / base.rate:.2f}"),
                *(f"{result.cost:,.0f}", f"{base.cost / result.cost:.2f}"),
            )
            for name, result in results.items()
        ],
    )


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
    if measured.failures or not measured.requests:
        sys.exit(f"{contestant.name}: {measured.failures} of {measured.requests} requests failed")
    result.rates.append(measured.rate)
    used = server.cpu_seconds - before
    result.cpu.append(used / measured.requests)
    result.shares.append(used / measured.seconds)
