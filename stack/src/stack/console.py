"""What command lines about a stack have in common: errors, exit statuses, and which stack is meant."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from stack.errors import StackError, UsageError
from stack.layout import Layout, repository_root
from stack.state import State


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would end the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")


def main(parser: Parser) -> NoReturn:
    """Run the command that the arguments name, and exit: with 0, 1 for what failed, 2 for what was asked wrongly.

    The parser sets `directory` and `run`, which takes the stack's layout and the arguments and returns the status.
    """
    try:
        arguments = parser.parse_args()
        sys.exit(arguments.run(chosen_layout(arguments.directory), arguments))
    except StackError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        sys.exit(error.exit_status)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def write(text: str) -> None:
    """Print it at once, whoever reads the output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def chosen_layout(directory: str | None) -> Layout:
    """Of the stack in that directory, by default the one of this checkout."""
    repository = repository_root()
    chosen = directory or os.environ.get("STACK_DIRECTORY")
    return Layout(Path(chosen).expanduser().resolve() if chosen else repository / ".stack", repository)


def control_socket(layout: Layout) -> Path:
    """Where the running supervisor listens, even if TMPDIR has changed since."""
    recorded = State(layout.state).control_socket
    return Path(recorded) if recorded else layout.control_socket
