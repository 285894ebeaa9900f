"""The command line."""

import click

from stack import console
from verify.cache import command as cache
from verify.counters import command as counters
from verify.disruptions import command as disruptions


@click.group("verify", cls=console.Program)
@console.directory_option("The folder of the stack that is verified (STACK_DIRECTORY; default: .stack).")
def main(directory: str | None) -> None:
    """Check a deployment of Evenkeel while it is used and broken."""
    del directory  # pass_layout reads it


main.add_command(cache.command)
main.add_command(counters.command)
main.add_command(disruptions.command)
