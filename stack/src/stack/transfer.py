"""Export of all counters of the running stack, and import, through its gateway, as lines of JSON."""

import contextlib
import http.client
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from stack import control, status, tokens
from stack.errors import StackError
from stack.layout import Layout

CHUNK = 64 * 1024
"""Bytes that are read at once."""

PART = 2000
"""Lines that an import sends in one request, within a second. Buffers on the way take megabytes: with all lines in one
request, it would seem done long before it is."""

TIMEOUT = 60.0
"""Seconds without a sign of the gateway."""

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
    `moved` is called with the number of bytes of each part that has been set.
    """
    count = number = 0
    for part, body in enumerate(_parts(lines)):
        with gateway.connected() as connection:
            headers = gateway.headers | {"Content-Type": NDJSON, "Idempotency-Key": f"{key}-{part}"}
            # If the gateway closes the connection, it has answered before, and the answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", "/v1/counters:import", body, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise TransferError(_refusal(_problem(response), lines=number, counters=count))
            count += json.loads(response.read())["imported"]
        number += body.count(b"\n")
        moved(len(body))
    return count


def _parts(lines: IO[bytes]) -> Iterator[bytes]:
    """As many lines as one request has."""
    while body := b"".join(itertools.islice(iter(lambda: lines.readline(CHUNK), b""), PART)):
        yield body


def _refusal(problem: Mapping[str, Any], *, lines: int, counters: int) -> str:
    """Why a part was refused, where so many lines and counters came before it."""
    reason = _reason(problem)
    if line := problem.get("line"):
        reason = reason.replace(f"Line {line}", f"Line {lines + line}", 1)
    counters += problem.get("applied", 0)
    return f"{reason} {counters:,} counters were set before." if counters else reason


def _problem(response: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        problem = json.loads(response.read())
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {"title": f"{response.status} {response.reason}"}


def _reason(problem: Mapping[str, Any]) -> str:
    return str(problem.get("detail") or problem.get("title"))
