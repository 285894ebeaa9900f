"""The command line."""

from stack import console
from verify.cache import command as cache
from verify.counters import command as counters


def main() -> None:
    console.main(parser())


def parser() -> console.Parser:
    parser = console.Parser(prog="verify", description="Checks a deployment of Evenkeel while it is used and broken.")
    parser.add_argument("--directory", help="of the stack that is verified (STACK_DIRECTORY; default: .stack)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=console.Parser)

    command = commands.add_parser(
        "cache",
        help="read and write users through all replicas, break things meanwhile, and say how stale answers were",
    )
    cache.add_arguments(command)
    command.set_defaults(run=cache.run)

    command = commands.add_parser(
        "counters",
        help="count and read through all replicas, break things meanwhile, and check that nothing is lost or doubled",
    )
    counters.add_arguments(command)
    command.set_defaults(run=counters.run)
    return parser
