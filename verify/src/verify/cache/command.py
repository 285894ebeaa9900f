"""`verify cache`: its options, and its output."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from stack.console import pass_layout
from stack.layout import Layout
from verify import arguments, progress
from verify.cache.any_service import command as measured
from verify.cache.any_service.options import any_service
from verify.cache.any_service.options import chosen as chosen_service
from verify.cache.faults import USERS
from verify.cache.open_loop import Rates
from verify.cache.report import REPORT
from verify.cache.verification import PHASES, CachePlan, verify
from verify.deployment import chosen


@click.command("cache")
@arguments.shared
@arguments.number("--seconds", 5, 1, 3600, "How long a phase lasts at least")
@arguments.number("--users", 300, 20, 100_000, "How many users are made, and deleted at the end")
@arguments.number("--reads", 150, 1, 10_000, "How many reads begin in a second")
@arguments.number("--writes", 20, 1, 10_000, "How many writes begin in a second")
@any_service
@pass_layout
def command(
    layout: Layout,
    /,
    *,
    targets: Sequence[str],
    faults: str | None,
    as_json: bool,
    seconds: int,
    users: int,
    reads: int,
    writes: int,
    **own: Any,
) -> int:
    """Read and write users through all replicas, break things meanwhile, and print how stale answers were.

    The exit status is 1 if a promise was broken or a fault could not be injected.

    With --ids, --read, --write and --value, the same is measured of any other service. Only the records with these
    ids are written, and the old values are written back at the end, also after Ctrl-C.
    """
    if service := chosen_service(own, seconds):
        return measured.run(service, as_json=as_json)
    urls = arguments.addresses(targets)
    plan = CachePlan(
        phases=PHASES.read(faults, elsewhere=bool(urls)),
        seconds=seconds,
        users=users,
        rates=Rates(reads=reads, writes=writes),
    )
    with progress.shown(REPORT.command) as announce:
        tallies = asyncio.run(verify(chosen(urls, layout, USERS), plan, announce))
    return REPORT.print(tallies, as_json=as_json)
