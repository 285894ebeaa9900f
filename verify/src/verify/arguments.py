"""Options that all commands share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from stack.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

ELSEWHERE = "Verify this deployment instead, and break nothing. If it requires a token, ACCESS_TOKEN must have one."


def shared(command: F) -> F:
    """What is verified, what is broken, and in which form the result is printed."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For programs."),
        click.option("--faults", metavar="NAME,…", help="What is broken, in this order; default: everything possible."),
        click.option("--target", "targets", metavar="URL", multiple=True, help=ELSEWHERE),
    ):
        command = option(command)
    return command


def number(name: str, default: int, low: int, high: int, help_text: str) -> Callable[[F], F]:
    """An option whose value is a whole number within these limits."""
    return click.option(name, type=click.IntRange(low, high), default=default, help=f"{help_text} ({default}).")


def addresses(urls: Sequence[str]) -> Sequence[str]:
    """The URLs of `--target`. Raises UsageError unless all are like http://host:port."""
    for url in urls:
        try:
            parts = urlsplit(url)
            good = parts.scheme == "http" and parts.hostname and parts.path in {"", "/"} and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise UsageError(f"--target must be a URL like http://host:port, not {url!r}")
    return urls
