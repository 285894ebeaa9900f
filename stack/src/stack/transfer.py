"""Export of all counters of the running stack, and import, through its gateway, as lines of JSON."""

import contextlib
import http.client
import json
import select
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from stack import control, status, tokens
from stack.errors import StackError
from stack.layout import Layout

CHUNK = 64 * 1024
"""Bytes that are read or sent at once."""

TIMEOUT = 60.0
"""Seconds without a sign of the gateway. A batch of an import takes milliseconds."""

NDJSON = "application/x-ndjson"


class TransferError(StackError):
    """The gateway did not answer, or refused."""


@dataclass(frozen=True)
class Gateway:
    host: str
    port: int
    headers: dict[str, str]

    @classmethod
    def of(cls, layout: Layout, control_socket: Path, scope: str) -> "Gateway":
        """That of the running stack, with a token if it requires one. Raises StackError if nothing runs."""
        answer = control.ask(control_socket, {"command": "status"}, timeout=30)
        address = urlsplit(answer["gateway"])
        headers = {}
        if status.access(answer["processes"]) == "tokens":
            from stack.signing_keys import SigningKeys  # noqa: PLC0415 (its cryptography is slow to import)

            keys = SigningKeys.load_or_create(layout.signing_keys)
            headers["Authorization"] = f"Bearer {tokens.mint(keys, [scope])}"
        return cls(address.hostname or "", address.port or 80, headers)

    @contextlib.contextmanager
    def connected(self) -> Iterator[http.client.HTTPConnection]:
        """Raises TransferError if the connection fails or breaks."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        try:
            yield connection
        except http.client.IncompleteRead as error:
            raise TransferError("the answer has no end") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(f"the gateway does not answer: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()


def exported(gateway: Gateway, prefix: str) -> Iterator[bytes]:
    """The counters in the order of their names, in pieces. Raises TransferError, also if the end is missing."""
    with gateway.connected() as connection:
        connection.request("GET", f"/v1/counters:export?prefix={quote(prefix, safe='')}", headers=gateway.headers)
        response = connection.getresponse()
        if response.status != 200:
            raise TransferError(_reason(_problem(response)))
        while piece := response.read(CHUNK):
            yield piece


def imported(gateway: Gateway, lines: IO[bytes], key: str, moved: Callable[[int], None]) -> int:
    """Set the counters. Returns how many there are.

    Raises TransferError if it was refused or interrupted. With the same `key`, the next import goes on where this was.
    `moved` is called with the number of bytes after each piece that was sent.
    """
    with gateway.connected() as connection:
        connection.putrequest("POST", "/v1/counters:import")
        own = {"Content-Type": NDJSON, "Transfer-Encoding": "chunked", "Idempotency-Key": key}
        for name, value in (gateway.headers | own).items():
            connection.putheader(name, value)
        connection.endheaders()
        # If the gateway closes the connection, it has answered before, and the answer says why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            _send(connection, lines, moved)
        response = connection.getresponse()
        if response.status != 200:
            problem = _problem(response)
            applied = problem.get("applied", 0)
            raise TransferError(_reason(problem) + (f" {applied:,} counters were set before." if applied else ""))
        count: int = json.loads(response.read())["imported"]
        return count


def _send(connection: http.client.HTTPConnection, lines: IO[bytes], moved: Callable[[int], None]) -> None:
    """Send the lines, until the gateway answers."""
    while piece := lines.read(CHUNK):
        if select.select([connection.sock], [], [], 0)[0]:
            return
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        moved(len(piece))
    connection.send(b"0\r\n\r\n")


def _problem(response: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        problem = json.loads(response.read())
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"title": f"{response.status} {response.reason}"}


def _reason(problem: Mapping[str, Any]) -> str:
    return str(problem.get("detail") or problem.get("title"))
