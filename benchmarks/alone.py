"""How long one caller waits who is alone: the next request leaves when the last one is answered."""

import contextlib
import socket
import statistics
import time
from collections.abc import Sequence

from benchmarks.http_requests import Requests
from benchmarks.serving import Server

TIMEOUT = 10.0


def median_latencies(callers: Sequence[tuple[Server, Requests]], requests: int) -> list[float]:
    """Seconds (p50) for each caller. They take turns, so that a busy machine affects all of them alike."""
    latencies: list[list[float]] = [[] for _ in callers]
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), TIMEOUT)) for server, _ in callers
        ]
        sources = [make() for _, make in callers]
        for _ in range(requests):
            for connection, source, each in zip(connections, sources, latencies, strict=True):
                request = next(source)
                began = time.perf_counter()
                _ask(connection, request)
                each.append(time.perf_counter() - began)
    return [statistics.median(each) for each in latencies]


def _ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    answer = connection.recv(65536)
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)
    if answer[9:10] != b"2":
        raise RuntimeError(f"the answer was {answer!r}")
