"""`stack verify-counters`: what was asked for, and what comes out."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.options import whole_number
from stack.verify.arguments import addresses, phases
from stack.verify.deployment import chosen
from stack.verify_counters import report
from stack.verify_counters.faults import COUNTERS, FAULTS, UNBROKEN
from stack.verify_counters.tally import Tally
from stack.verify_counters.verification import Plan, verify


def run(control_socket: Path, arguments: argparse.Namespace, mint: Callable[[], str]) -> int:
    """Verify and print what was found; 1 if a promise was broken or a fault could not be injected."""
    urls = addresses(arguments.target)
    plan = Plan(
        phases=phases(arguments.faults, anywhere=list(UNBROKEN), here=list(FAULTS), elsewhere=bool(urls)),
        operations=whole_number("--operations", arguments.operations, 1, 100_000_000),
        clients=whole_number("--clients", arguments.clients, 1, 1000),
    )
    tallies = asyncio.run(verify(chosen(urls, control_socket, mint, COUNTERS), plan, _announce))
    sys.stdout.write(f"{_document(tallies) if arguments.json else report.table(tallies)}\n")
    return 1 if any(tally.problems() for tally in tallies) else 0


def _document(tallies: Sequence[Tally]) -> str:
    found = [tally.as_dict() for tally in tallies]
    return json.dumps({"ok": not any(phase["problems"] for phase in found), "phases": found}, indent=1)


def _announce(phase: str) -> None:
    sys.stderr.write(f"verify-counters: {phase} …\n")
    sys.stderr.flush()
