"""What clients have sent to PostgreSQL through a proxy, and how often they waited for its answer."""

import struct
from collections.abc import Iterator

from tests.support.proxy import Proxy

_ENCRYPTION = {80877103, 80877104}
"""Requests for TLS and GSSAPI, which the test servers refuse, so that the messages stay readable."""

_AWAITED = (b"S", b"Q")
"""Sync, and a simple query: after them a client waits."""


def round_trips(proxy: Proxy) -> int:
    """So far, over all connections, those for the password left out."""
    return sum(kind in _AWAITED for sent in _sent(proxy) for kind, _ in _messages(sent))


def named_statements(proxy: Proxy) -> set[bytes]:
    """The texts of statements that were prepared under a name."""
    parsed = (body.split(b"\0", 2) for sent in _sent(proxy) for kind, body in _messages(sent) if kind == b"P")
    return {text for name, text, _ in parsed if name}


def _sent(proxy: Proxy) -> list[bytes]:
    return [bytes(sent) for sent in {id(sent): sent for sent in proxy.sent()}.values()]


def _messages(sent: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and contents of each whole message of one connection (PostgreSQL 18, 54.7)."""
    at, started = 0, False
    while len(sent) >= at + 8:
        if not started:
            length, code = struct.unpack_from(">II", sent, at)
            started = code not in _ENCRYPTION
            at += length
            continue
        kind, (length,) = sent[at : at + 1], struct.unpack_from(">I", sent, at + 1)
        yield kind, sent[at + 5 : at + 1 + length]
        at += 1 + length
    if started and len(sent) >= at + 5:
        yield sent[at : at + 1], b""
