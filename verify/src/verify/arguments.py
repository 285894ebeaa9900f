"""What the commands have in common on the command line."""

import argparse
from collections.abc import Sequence
from urllib.parse import urlsplit

from stack.errors import UsageError

ELSEWHERE = "verify this deployment instead, breaking nothing; if it asks for a token, with the one in ACCESS_TOKEN"


def add(command: argparse.ArgumentParser) -> None:
    """What is verified, what is broken, and for whom the findings are printed."""
    command.add_argument("--target", metavar="URL", action="append", default=[], help=ELSEWHERE)
    command.add_argument("--faults", metavar="NAME,…", help="what is broken, in this order; default: all that can be")
    command.add_argument("--json", action="store_true", help="for programs")


def addresses(urls: Sequence[str]) -> Sequence[str]:
    """The URLs of `--target`; raises UsageError unless all are like http://host:port."""
    for url in urls:
        try:
            parts = urlsplit(url)
            good = parts.scheme == "http" and parts.hostname and parts.path in {"", "/"} and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise UsageError(f"--target must be a URL like http://host:port, not {url!r}")
    return urls
