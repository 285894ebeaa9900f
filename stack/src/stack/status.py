"""The status as people read it."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from stack.tables import Table
from stack.tokens import SCOPES

TOKEN = f"""  TOKEN=$(make -s token SCOPES="{" ".join(SCOPES)}")
"""

ACCESS_ON = """Access control is on: every request needs a token whose scopes allow it, except those for these
two pages. GATEWAY_ACCESS=open switches it off."""

ACCESS_OFF = """Access control is off: every program on this machine may do everything. No other machine can reach the
gateway. GATEWAY_ACCESS=tokens switches it on."""

COLOURS = {"healthy": "green", "starting": "yellow", "restarting": "yellow", "draining": "yellow"}
"""By the state of a process; all others are red."""


def table(status: Mapping[str, Any]) -> Table:
    """One row for each process, without passwords."""
    rows = [
        (
            process["name"],
            process["state"],
            str(process["pid"] or "-"),
            str(process["restarts"]),
            without_password(process["url"]),
        )
        for process in status["processes"]
    ]
    return Table(("NAME", "STATE", "PID", "RESTARTS", "ADDRESS"), rows, _style)


def welcome(status: Mapping[str, Any]) -> str:
    """What to print below the table when the stack has come up."""
    url = status["gateway"]
    json = "-H 'Content-Type: application/json'"
    tokens = access(status["processes"]) == "tokens"
    token, with_token = (TOKEN, ' -H "Authorization: Bearer $TOKEN"') if tokens else ("", "")
    return f"""Open {url}/ in a browser: it shows every replica, and lets you try things.
The documentation of the API is at {url}/docs. Or try:

{token}  curl{with_token} {url}/v1/users {json} -d '{{"email": "ada@example.com", "name": "Ada"}}'
  curl{with_token} -i {url}/v1/users/1
  curl{with_token} -X POST {url}/v1/counters/visits/increment
  curl{with_token} {url}/counter
  curl{with_token} {url}/stats

{ACCESS_ON if tokens else ACCESS_OFF} `make down` stops it and keeps the data."""


def access(processes: Iterable[Mapping[str, Any]]) -> str | None:
    """`tokens` if the gateway among the processes requires them, else `open`; None without a gateway."""
    return next((process["access"] for process in processes if "access" in process), None)


def without_password(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def colour(state: str) -> str:
    return COLOURS.get(state, "red")


def _style(heading: str, cell: str) -> str:
    return colour(cell) if heading == "STATE" else ""
