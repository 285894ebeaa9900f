"""A DNS server whose answers a test chooses."""

import asyncio
import collections
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

A, IN = 1, 1
NXDOMAIN = 3
ANSWER = 0x8580
"""The flags of an answer by a server that has the names itself: QR, AA, RD, RA."""

Resolve = Callable[[str], Sequence[str] | None]
"""The IPv4 addresses of a name, or None if there is no such name."""


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for IPv4 addresses. Names have no other records."""

    def __init__(self, resolve: Resolve, ttl: int) -> None:
        self._resolve = resolve
        self._ttl = ttl
        self.port = 0
        self.asked: collections.Counter[str] = collections.Counter()
        """By name: the questions for IPv4 addresses that have been answered."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, end = _name(data, 12)
        kind = int.from_bytes(data[end : end + 2])
        addresses = self._resolve(name.lower())
        records = [IPv4Address(address) for address in addresses or ()] if kind == A else []
        flags = ANSWER | (NXDOMAIN if addresses is None else 0)
        answer = data[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + data[12 : end + 4]
        for record in records:
            # The name is that of the question: a pointer to byte 12.
            answer += struct.pack("!HHHIH4s", 0xC00C, A, IN, self._ttl, 4, record.packed)
        self._transport.sendto(answer, addr)
        if kind == A:
            self.asked[name.lower()] += 1


def _name(message: bytes, start: int) -> tuple[str, int]:
    """The name that begins there, and where it ends. Questions do not use pointers."""
    labels = []
    while length := message[start]:
        labels.append(message[start + 1 : start + 1 + length].decode())
        start += 1 + length
    return ".".join(labels), start + 1


@asynccontextmanager
async def name_server(resolve: Resolve, *, ttl: int = 300) -> AsyncIterator[NameServer]:
    """On a free port of 127.0.0.1. `ttl` is how long its answers may be kept, in seconds."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(resolve, ttl), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
