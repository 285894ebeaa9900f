"""`stack verify-cache`: what was asked for, and what comes out."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.options import whole_number
from stack.verify import report
from stack.verify.arguments import addresses, phases
from stack.verify.deployment import chosen
from stack.verify.faults import FAULTS
from stack.verify.load import Rates
from stack.verify.scenarios import SCENARIOS
from stack.verify.tally import PROMISE, Tally
from stack.verify.verification import Plan, verify


def run(control_socket: Path, arguments: argparse.Namespace, mint: Callable[[], str]) -> int:
    """Verify and print what was found; 1 if a promise was broken or a fault could not be injected."""
    urls = addresses(arguments.target)
    plan = Plan(
        phases=phases(arguments.faults, anywhere=["none"], here=[*FAULTS, *SCENARIOS], elsewhere=bool(urls)),
        seconds=whole_number("--seconds", arguments.seconds, 1, 3600),
        users=whole_number("--users", arguments.users, 20, 100_000),
        rates=Rates(
            reads=whole_number("--reads", arguments.reads, 1, 10_000),
            writes=whole_number("--writes", arguments.writes, 1, 10_000),
        ),
    )
    tallies = asyncio.run(verify(chosen(urls, control_socket, mint), plan, _announce))
    sys.stdout.write(f"{_document(tallies) if arguments.json else report.table(tallies)}\n")
    return 1 if any(tally.problems() for tally in tallies) else 0


def _document(tallies: Sequence[Tally]) -> str:
    found = [tally.as_dict() for tally in tallies]
    promised = not any(phase["problems"] for phase in found)
    return json.dumps({"ok": promised, "promise_ms": PROMISE * 1000, "phases": found}, indent=1)


def _announce(phase: str) -> None:
    sys.stderr.write(f"verify-cache: {phase} …\n")
    sys.stderr.flush()
