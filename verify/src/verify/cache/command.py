"""`verify cache`: what was asked for, and what comes out."""

import argparse
import asyncio

from stack.layout import Layout
from stack.options import whole_number
from verify import arguments
from verify.cache.faults import USERS
from verify.cache.load import Rates
from verify.cache.report import REPORT
from verify.cache.verification import PHASES, CachePlan, verify
from verify.deployment import chosen


def add_arguments(command: argparse.ArgumentParser) -> None:
    arguments.add(command)
    command.add_argument("--seconds", default="5", help="that a phase lasts at least (5)")
    command.add_argument("--users", default="300", help="how many are made, and deleted at the end (300)")
    command.add_argument("--reads", default="150", help="that begin in a second (150)")
    command.add_argument("--writes", default="20", help="that begin in a second (20)")


def run(layout: Layout, given: argparse.Namespace) -> int:
    """Verify and print what was found; 1 if a promise was broken or a fault could not be injected."""
    urls = arguments.addresses(given.target)
    plan = CachePlan(
        phases=PHASES.read(given.faults, elsewhere=bool(urls)),
        seconds=whole_number("--seconds", given.seconds, 1, 3600),
        users=whole_number("--users", given.users, 20, 100_000),
        rates=Rates(
            reads=whole_number("--reads", given.reads, 1, 10_000),
            writes=whole_number("--writes", given.writes, 1, 10_000),
        ),
    )
    tallies = asyncio.run(verify(chosen(urls, layout, USERS), plan, REPORT.announce))
    return REPORT.print(tallies, as_json=given.json)
