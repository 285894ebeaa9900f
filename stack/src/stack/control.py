"""The supervisor's Unix socket: a connection carries one request and one answer, each a line of JSON."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from stack.errors import StackError

Request = dict[str, Any]
Answer = dict[str, Any]

MAX_LINE = 1024 * 1024

# Seconds for requests under way when the server closes.
FAREWELL = 5.0


class NotRunningError(StackError):
    """No supervisor listens on the socket."""


def ask(path: Path, request: Request, *, timeout: float | None = None) -> Answer:
    """Send the request and wait for its answer, for `timeout` seconds or as long as it takes.

    Raises NotRunningError without a supervisor, and StackError with the reason if the request failed.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_LINE)
        except (FileNotFoundError, ConnectionError) as error:
            raise NotRunningError("the stack is not running: `make up` starts it") from error
        except TimeoutError as error:
            raise StackError("the stack's supervisor does not answer") from error
    if not line:
        raise NotRunningError("the stack's supervisor ended before it answered")
    answer: Answer = json.loads(line)
    if "error" in answer:
        raise StackError(answer["error"])
    return answer


def listens(path: Path) -> bool:
    """Whether a supervisor accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


class Server:
    """Answers requests on the socket while its context is open, and finishes those it has begun."""

    def __init__(self, path: Path, handle: Callable[[Request], Awaitable[Answer]]) -> None:
        self._path = path
        self._handle = handle
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)  # left by a supervisor that was killed
        self._server = await asyncio.start_unix_server(self._connected, self._path, limit=MAX_LINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)
        if self._connections:
            await asyncio.wait(self._connections, timeout=FAREWELL)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            answer = await self._answer(await reader.readline())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # the client has gone; its request has been carried out all the same
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            return await self._handle(json.loads(line))
        except StackError as error:
            return {"error": str(error)}
        except ValueError:
            return {"error": "the request is not a line of JSON"}
        except OSError as error:  # a full disk, or a deleted file
            return {"error": f"the supervisor failed: {error}"}
