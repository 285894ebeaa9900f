"""`verify counters`: what was asked for, and what comes out."""

import argparse
import asyncio

from stack.layout import Layout
from stack.options import whole_number
from verify import arguments
from verify.counters.faults import COUNTERS
from verify.counters.report import REPORT
from verify.counters.verification import PHASES, CountersPlan, verify
from verify.deployment import chosen


def add_arguments(command: argparse.ArgumentParser) -> None:
    arguments.add(command)
    command.add_argument("--operations", default="5000", help="that each phase has at least (5000)")
    command.add_argument("--clients", default="32", help="that ask at the same time (32)")


def run(layout: Layout, given: argparse.Namespace) -> int:
    """Verify and print what was found; 1 if a promise was broken or a fault could not be injected."""
    urls = arguments.addresses(given.target)
    plan = CountersPlan(
        phases=PHASES.read(given.faults, elsewhere=bool(urls)),
        operations=whole_number("--operations", given.operations, 1, 100_000_000),
        clients=whole_number("--clients", given.clients, 1, 1000),
    )
    tallies = asyncio.run(verify(chosen(urls, layout, COUNTERS), plan, REPORT.announce))
    return REPORT.print(tallies, as_json=given.json)
