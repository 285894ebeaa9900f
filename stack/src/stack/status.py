"""The status for people."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit


def table(status: Mapping[str, Any]) -> str:
    """One line for each process; passwords are left out."""
    rows = [("NAME", "STATE", "PID", "RESTARTS", "ADDRESS")]
    rows += [
        (
            process["name"],
            process["state"],
            str(process["pid"] or "-"),
            str(process["restarts"]),
            without_password(process["url"]),
        )
        for process in status["processes"]
    ]
    return aligned(rows)


def welcome(status: Mapping[str, Any]) -> str:
    """What to print when the stack has come up."""
    url = status["gateway"]
    json = "-H 'Content-Type: application/json'"
    return f"""{table(status)}

Evenkeel is up at {url}, its documentation at {url}/docs. Try:

  curl {url}/v1/users {json} -d '{{"email": "ada@example.com", "name": "Ada"}}'
  curl -i {url}/v1/users/1
  curl -X POST {url}/v1/counters/visits/increment
  curl {url}/counter
  curl {url}/stats

Access control is off: only programs on this machine can reach the gateway. `make down` stops it, data kept."""


def without_password(url: str) -> str:
    """The URL without what stands before the @."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def aligned(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
