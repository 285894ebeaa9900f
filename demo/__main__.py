"""The command line: `python -m demo [--html FILE]`."""

import argparse
import asyncio
import datetime as dt
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.console import Console

from demo import bars, counting, following, outages, page, stage, stampede
from demo.findings import Finding
from stack.errors import StackError
from verify import progress

ACTS: dict[str, Callable[[stage.Stage], Awaitable[Sequence[Finding]]]] = {
    "a counter under four workers": counting.shown,
    "changes by hand, and late fills": following.shown,
    "the cache's Redis is killed": outages.of_the_cache,
    "the counters' Redis is killed": outages.of_the_counters,
    "a thousand readers": stampede.shown,
}

INTRODUCTION = (
    "Programs of tutorials (docs/guide/steps) beside Evenkeel, measured now.\n"
    "The bars show the harm: shorter is better.\n"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description="What breaks with a tutorial's state, and what does not.")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the findings, too")
    arguments = parser.parse_args()
    logging.getLogger("stack").addHandler(logging.NullHandler())  # the demonstration kills servers itself
    console = Console(highlight=False)
    if arguments.html and not _can_be_written(arguments.html):
        return _failed(f"{arguments.html} cannot be written")
    try:
        findings = asyncio.run(_show(console))
        if arguments.html:
            arguments.html.write_text(page.page(findings, result(findings), _when()))
    except TimeoutError:
        return _failed("no answer in time")
    except (OSError, StackError) as error:
        return _failed(f"{error}")
    except KeyboardInterrupt:
        return 130
    return 1 if any(finding.missing for finding in findings) else 0


def _can_be_written(file: Path) -> bool:
    return not file.is_dir() and os.access(file if file.exists() else file.resolve().parent, os.W_OK)


def _failed(why: str) -> int:
    sys.stderr.write(f"demo: {why}\n")
    return 1


def result(findings: Sequence[Finding]) -> str:
    shown = sum(not finding.missing for finding in findings)
    return f"{shown} of {len(findings)} differences showed."


async def _show(console: Console) -> list[Finding]:
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    began = time.monotonic()
    findings: list[Finding] = []
    console.print(INTRODUCTION)
    async with stage.opened() as opened:
        for number, (name, act) in enumerate(ACTS.items()):
            with progress.shown("demo") as announce:
                announce(name, number, len(ACTS))
                found = await act(opened)
            for finding in found:
                bars.show(console, finding)
            findings += found
        console.print(f"{result(findings)} It took {time.monotonic() - began:.0f} s.")
    return findings


def _when() -> str:
    now = dt.datetime.now(dt.UTC)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"Measured on {now:%d %B %Y}, on {cores} cores"


if __name__ == "__main__":
    sys.exit(main())
