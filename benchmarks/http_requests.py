"""HTTP requests as bytes."""

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Requests = Callable[[], Iterator[bytes]]
"""Each call gives the requests of one measurement."""


def get(path: str, fields: str = "") -> bytes:
    """`fields` are lines of the header, each with its end."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n".encode()


def with_body(method: str, path: str, document: Any = None) -> bytes:
    """A request with this document as JSON, or with an empty body."""
    body = b"" if document is None else json.dumps(document).encode()
    fields = b"host: 127.0.0.1\r\ncontent-length: %d\r\n" % len(body) + b"content-type: application/json\r\n" * bool(
        body
    )
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), path.encode(), fields, body)


def in_turn(requests: Sequence[bytes]) -> Requests:
    """One after the other, again and again, from the first."""
    return lambda: itertools.cycle(requests)


def spread(requests: Sequence[bytes], *, length: int = 100_000) -> Requests:
    """A random sequence. Each measurement begins at another place."""
    chosen = random.Random(1).choices(requests, k=length)
    starts = itertools.count(step=length // 7)

    def repeated() -> Iterator[bytes]:
        at = next(starts) % length
        return itertools.cycle(chosen[at:] + chosen[:at])

    return repeated


def once(requests: Iterable[bytes]) -> Requests:
    """Each request once. A measurement goes on where the one before has ended."""
    shared = iter(requests)
    return lambda: shared
