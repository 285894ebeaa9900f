"""PostgreSQL's name is resolved once for all connections that are being opened.

A resolver that does not answer blocks a thread for seconds, even if its caller gives up. If each attempt to connect had
a lookup of its own, they would take all threads of the event loop, and nothing else in the process could resolve names.
"""

import asyncio
import ipaddress
import socket
from typing import Any

import asyncpg

from evenkeel.tasks.ending import retrieve

_under_way: dict[tuple[asyncio.AbstractEventLoop, str, int], "asyncio.Task[Any]"] = {}


async def connect(*, host: str | None = None, port: int | None = None, **arguments: Any) -> "asyncpg.Connection":
    """A connection, once the name resolves. `timeout` is for both together, in seconds. OSError if it does not.

    asyncpg resolves the name again. It needs the name itself, with which it checks the server's certificate.
    """
    async with asyncio.timeout(arguments["timeout"]):
        if host is not None and _is_name(host):
            await _resolved(host, port or 5432)
        return await asyncpg.connect(host=host, port=port, **arguments)


def _is_name(host: str) -> bool:
    if host.startswith("/"):  # the folder of a Unix socket
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


async def _resolved(host: str, port: int) -> None:
    """Wait for the lookup that is under way, or for a new one. It goes on if this caller gives up."""
    loop = asyncio.get_running_loop()
    lookup = _under_way.get((loop, host, port))
    if lookup is None:
        lookup = _under_way[loop, host, port] = loop.create_task(_look_up(host, port))
        lookup.add_done_callback(lambda done: _ended(done, loop, host, port))
    await asyncio.wait({lookup})
    lookup.result()


async def _look_up(host: str, port: int) -> None:
    await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _ended(lookup: "asyncio.Task[Any]", loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
    del _under_way[loop, host, port]
    retrieve(lookup)  # all callers may have given up
