"""`verify counters`: its options, and its output."""

import asyncio
from collections.abc import Sequence

import click

from stack.console import pass_layout
from stack.layout import Layout
from verify import arguments, progress
from verify.counters.faults import COUNTERS
from verify.counters.report import REPORT
from verify.counters.verification import PHASES, CountersPlan, verify
from verify.deployment import chosen


@click.command("counters")
@arguments.shared
@arguments.number("--operations", 5000, 1, 100_000_000, "How many operations a phase has at least")
@arguments.number("--clients", 32, 1, 1000, "How many clients send requests at the same time")
@pass_layout
def command(
    layout: Layout, /, *, targets: Sequence[str], faults: str | None, as_json: bool, operations: int, clients: int
) -> int:
    """Count and read through all replicas, break things meanwhile, and check that nothing is lost or doubled.

    The exit status is 1 if a promise was broken or a fault could not be injected.
    """
    urls = arguments.addresses(targets)
    plan = CountersPlan(
        phases=PHASES.read(faults, elsewhere=bool(urls)),
        operations=operations,
        clients=clients,
    )
    with progress.shown(REPORT.command) as announce:
        tallies = asyncio.run(verify(chosen(urls, layout, COUNTERS), plan, announce))
    return REPORT.print(tallies, as_json=as_json)
