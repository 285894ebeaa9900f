"""Pauses of the garbage collector in the replicas of a deployment."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RECORDER = Path(__file__).parent / "recorder"

Window = tuple[float, float]
"""Two moments of time.monotonic()."""


@dataclass(frozen=True)
class Pause:
    at: float
    generation: int
    seconds: float
    """CPU time."""


def recording(folder: Path) -> dict[str, str]:
    """The environment in which Python programs record their pauses in that folder."""
    return {**os.environ, "PYTHONPATH": str(RECORDER), "BENCHMARK_PAUSES": str(folder)}


def recorded(folder: Path, command: str, windows: Sequence[Window]) -> Iterator[list[Pause]]:
    """The pauses in these windows, for each process of the command, such as `user-api.serve`. They must have ended."""
    for file in sorted(folder.glob(f"{command}.*")):
        pauses = map(_pause, file.read_text().splitlines())
        yield [pause for pause in pauses if any(first <= pause.at <= last for first, last in windows)]


def _pause(line: str) -> Pause:
    at, generation, seconds = line.split()
    return Pause(float(at), int(generation), float(seconds))


def rows(folder: Path, commands: Sequence[str], windows: Sequence[Window]) -> Iterator[tuple[str, ...]]:
    """For each process: collections, the longest pause in ms, and their share of the time."""
    length = sum(last - first for first, last in windows)
    for command in commands:
        for pauses in recorded(folder, command, windows):
            seconds = [pause.seconds for pause in pauses]
            yield (
                command,
                str(len(seconds)),
                f"{max(seconds, default=0) * 1000:.1f}",
                f"{sum(seconds) / length:.3%}",
            )
