"""What the commands `stack` and `verify` share: errors, exit statuses, output, and the choice of the stack."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Concatenate, NoReturn, ParamSpec

import click

from stack.errors import StackError, UsageError
from stack.layout import Layout, repository_root
from stack.state import State

P = ParamSpec("P")


class Program(click.Group):
    """A command line whose commands return their exit status.

    An error is one line on standard error. The status is 1 for a failure and 2 for wrong usage.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        context = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
        super().__init__(*args, **settings | {"context_settings": context, "no_args_is_help": False})

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        settings |= {"prog_name": self.name, "standalone_mode": False}
        try:
            sys.exit(super().main(*args, **settings))
        except click.UsageError as error:
            self._fail(_as_ours(error))
        except StackError as error:
            self._fail(error)
        except click.Abort:  # Ctrl-C
            sys.exit(130)

    def _fail(self, error: StackError) -> NoReturn:
        name = f"{self.name}:"
        if is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
            name = click.style(name, fg="red")
        sys.stderr.write(f"{name} {error}\n")
        sys.exit(error.exit_status)


def directory_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--directory` of a program: which stack is meant."""
    return click.option("--directory", envvar="STACK_DIRECTORY", metavar="DIRECTORY", help=help_text)


def pass_layout(command: Callable[Concatenate[Layout, P], int]) -> Callable[P, int]:
    """Give the command the layout of the chosen stack as its first argument."""

    @functools.wraps(command)
    def with_layout(*args: P.args, **options: P.kwargs) -> int:
        return command(chosen_layout(click.get_current_context().find_root().params["directory"]), *args, **options)

    return with_layout


def write(text: str) -> None:
    """Print the text at once, even into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def is_terminal(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def chosen_layout(directory: str | None) -> Layout:
    """The layout of the stack in that directory, by default of the one of this checkout."""
    repository = repository_root()
    return Layout(Path(directory).expanduser().resolve() if directory else repository / ".stack", repository)


def control_socket(layout: Layout) -> Path:
    """Where the running supervisor listens, even if TMPDIR has changed since."""
    recorded = State(layout.state).control_socket
    return Path(recorded) if recorded else layout.control_socket


def _as_ours(error: click.UsageError) -> UsageError:
    """The error on one line, in the style of our own."""
    message = " ".join(error.format_message().split()).rstrip(".")
    command = f" ({error.ctx.command_path} --help)" if error.ctx else ""
    return UsageError(f"{message[:1].lower()}{message[1:]}{command}")
