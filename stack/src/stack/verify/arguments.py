"""What the commands that verify have in common on the command line."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from stack.errors import UsageError


def phases(text: str | None, *, anywhere: Sequence[str], here: Sequence[str], elsewhere: bool) -> Sequence[str] | None:
    """The names in `--faults`, or None if it was not given.

    Raises UsageError for names that are neither possible `anywhere` nor, unless a deployment `elsewhere` is verified,
    `here` in the local stack.
    """
    if text is None:
        return None
    names = text.split(",")
    possible = list(anywhere) if elsewhere else list(dict.fromkeys([*anywhere, *here]))
    for name in names:
        if name not in possible:
            where = "with --target" if elsewhere else "in the local stack"
            raise UsageError(f"--faults: {name!r} is not possible {where}; choose from {', '.join(possible)}")
    return names


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
