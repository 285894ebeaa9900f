"""The rate of plain INCR commands: by redis-benchmark, or by the client below if that is not installed."""

import asyncio
import csv
import shutil
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

COMMAND = b"*2\r\n$4\r\nINCR\r\n$4\r\nbare\r\n"


REQUESTS = 100_000
"""The default of redis-benchmark."""


def redis_benchmark(redis_url: str, *, connections: int) -> float | None:
    """Unpipelined INCRs a second, as redis-benchmark measures them; None if it is not installed."""
    program = shutil.which("redis-benchmark")
    if program is None:
        return None
    url = urlsplit(redis_url)
    # Not with `-u`, because some versions then send an empty user name.
    where = ["-h", url.hostname or "127.0.0.1", "-p", str(url.port or 6379), "-a", url.password or ""]
    words = [program, *where, "-c", str(connections), "-n", str(REQUESTS), "-t", "incr", "--csv"]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    [row] = [row for row in csv.DictReader(output.splitlines()) if row["test"] == "INCR"]
    return float(row["rps"])


async def increments(redis_url: str, *, connections: int, seconds: float) -> float:
    """Increments a second. Each connection sends the next INCR when it has the answer to the last one."""
    url = urlsplit(redis_url)
    host, port = url.hostname or "127.0.0.1", url.port or 6379
    loop = asyncio.get_running_loop()
    clients = [_Client((url.password or "").encode()) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
    await asyncio.gather(*(client.ready for client in clients))
    before, began = sum(client.answered for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(client.answered for client in clients) - before) / (time.perf_counter() - began)
    for client in clients:
        client.close()
    return rate


class _Client(asyncio.Protocol):
    def __init__(self, password: bytes) -> None:
        self._password = password
        self._transport: Any = None
        self.answered = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._transport.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(self._password), self._password))

    def data_received(self, data: bytes) -> None:
        # A short reply always comes in one piece.
        if data[:1] == b":":
            self.answered += 1
        elif self.ready.done() or data != b"+OK\r\n":
            raise RuntimeError(f"Redis answered {data!r}")
        else:
            self.ready.set_result(None)
        self._transport.write(COMMAND)

    def close(self) -> None:
        self._transport.abort()
