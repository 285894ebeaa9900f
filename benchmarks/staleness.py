"""How stale the answers of five caches are, under the same faults and the same load.

Each has two replicas, a database and a Redis server of its own. All are measured at the same time.
"""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop
from benchmarks import environments
from benchmarks.faulty.caches import Cache, caches
from benchmarks.faulty.measuring import USERS, measured, ready
from benchmarks.rounds import Options
from benchmarks.serving import ROOT
from benchmarks.tables import lines, show
from benchmarks.users import add_template_table, populate
from tests.support.servers import embedded

PAGE = ROOT / "docs" / "staleness.md"
PLOT = ROOT / "docs" / "staleness.svg"
RAW = ROOT / "build" / "staleness.json"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"

SECONDS, QUIET = 20, 65
"""Of a phase: with writes, and afterwards with reads alone."""

SHORT_SECONDS, SHORT_QUIET = 2, 3

PHASES = {
    "none": "nothing is broken; writes go through another replica, too",
    "sql": "SQL by hand",
    "late-fill": "late fill",
    "writer-killed": "writer killed after its commit",
    "redis-frozen": "Redis frozen",
    "redis-restarted": "Redis restarted",
    "failover": "failover",
}

Results = Mapping[str, Sequence[Any]]
"""The phases by the name of the cache."""


def measure(options: Options) -> None:
    """A short run only prints its tables. A long one also writes them into docs/staleness.md, and draws the plot."""
    with embedded() as servers, tempfile.TemporaryDirectory(prefix="evenkeel-staleness-") as directory:
        prepared = [(cache, _database(servers.postgres, number)) for number, cache in enumerate(caches())]
        for number in range(len(prepared)):
            (Path(directory) / str(number)).mkdir()
        seconds, quiet = (SHORT_SECONDS, SHORT_QUIET) if options.short else (SECONDS, QUIET)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(_all_at_once(prepared, Path(directory), seconds, quiet))
    RAW.parent.mkdir(exist_ok=True)
    RAW.write_text(json.dumps(results, indent=1))
    tables = [summary(results), details(results)]
    for header, rows in tables:
        show(header, rows)
    if not options.short:
        write(PAGE, "\n".join(line for header, rows in tables for line in [*lines(header, rows), ""]))
        draw(results, PLOT)
        print(f"({PAGE.relative_to(ROOT)} and {PLOT.relative_to(ROOT)} are written)")


async def _all_at_once(
    prepared: Sequence[tuple[Cache, str]], directory: Path, seconds: int, quiet: int
) -> dict[str, list[Any]]:
    async with AsyncExitStack() as stack:
        rigs = [
            await stack.enter_async_context(ready(cache, database, directory / str(number)))
            for number, (cache, database) in enumerate(prepared)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = {
                cache.name: group.create_task(measured(cache, database, rig, seconds=seconds, quiet=quiet))
                for (cache, database), rig in zip(prepared, rigs, strict=True)
            }
    return {name: task.result() for name, task in tasks.items()}


def _database(postgres: str, number: int) -> str:
    url = populate(postgres, f"staleness_{number}", USERS)
    add_template_table(url, USERS)
    return url


def summary(results: Results) -> tuple[list[str], list[list[str]]]:
    """Share of stale answers, and the worst, by fault and cache."""
    rows = []
    for phase, title in PHASES.items():
        found = [_phase(phases, phase) for phases in results.values()]
        rows.append([title, *(_share_and_worst(each) for each in found)])
    return ["stale answers, worst", *results], rows


def details(results: Results) -> tuple[list[str], list[list[str]]]:
    rows = []
    for phase, title in PHASES.items():
        for name, phases in results.items():
            found = _phase(phases, phase)
            times = [_seconds(found["staleness_ms"][which]) for which in ("p50", "p99", "max")]
            failed = sum(found["errors"].values())
            asked = found["reads"] + found["marked_stale"] + found["writes"] + failed
            rows.append([title, name, _share(found), *times, f"{failed / asked:.1%}" if asked else "-"])
    return ["fault", "cache", "stale", "p50", "p99", "worst", "failed"], rows


def write(page: Path, measured_text: str) -> None:
    """Between the markers of the page."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{measured_text}\n{END}{after}")


def draw(results: Results, path: Path) -> None:
    program = environments.python_of(environments.PLOTTING)
    figures = {
        name: [
            {
                "fault": PHASES[phase],
                "share": _phase(phases, phase)["stale_share"],
                "p50": _phase(phases, phase)["staleness_ms"]["p50"] / 1000,
                "worst": _phase(phases, phase)["staleness_ms"]["max"] / 1000,
            }
            for phase in PHASES
        ]
        for name, phases in results.items()
    }
    subprocess.run(
        [program, environments.PLOTTING / "staleness.py", path], input=json.dumps(figures), text=True, check=True
    )


def _phase(phases: Sequence[Any], name: str) -> Any:
    return next(phase for phase in phases if phase["phase"] == name)


def _share_and_worst(phase: Any) -> str:
    worst = phase["staleness_ms"]["max"]
    return f"{_share(phase)}, {_seconds(worst)}" if worst else "0"


def _share(phase: Any) -> str:
    share = phase["stale_share"]
    return "0" if not share else f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def _seconds(milliseconds: float) -> str:
    if not milliseconds:
        return "-"
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"
