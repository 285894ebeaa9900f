"""Replacing the files that Envoy reads while it runs, and finding out whether Envoy accepts them."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path

from stack import logs
from stack.errors import StackError
from stack.files import write_atomically
from stack.http_probe import http_get

TAKEN_WITHIN = 30.0
"""Seconds in which Envoy must have read changed files. It notices at once; a loaded machine needs time."""

POLL = 0.02

LISTENERS = "listener_manager.lds"

# The listeners, the filter `access`, and the clusters from which its keys come.
SUBSCRIPTIONS = (LISTENERS, "extension_config_discovery.http_filter.access", "cluster_manager.cds")
FAILURES = ("update_rejected", "update_failure")

# Up to the next line of Envoy's own log, or of the access log.
_REASON = re.compile(r"config update (?:rejected|failure): (?P<reason>.*?)(?=\n\[\d{4}-|\n\{|\Z)", re.DOTALL)

# One request asks for all of them; it is repeated until Envoy has read everything.
_OF_INTEREST = "|".join(("total_listeners", *SUBSCRIPTIONS))

Counts = dict[str, int]


class Rejected(Exception):
    """Envoy rejects a file. The message is Envoy's."""


class Discovery:
    """A running Envoy, by its administration socket."""

    def __init__(self, admin_socket: Path, log_file: Path) -> None:
        self._admin_socket = admin_socket
        self._log_file = log_file

    async def replace(self, files: Mapping[Path, str]) -> None:
        """Write the files that have changed, and return when Envoy uses them.

        Raises Rejected, or StackError without an answer.
        """
        files = {path: text for path, text in files.items() if not path.exists() or path.read_text() != text}
        before = await self._counts()
        since = self._log_file.stat().st_size if self._log_file.exists() else 0
        for path, text in files.items():
            write_atomically(path, text)
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                while not _all_read(before, after := await self._counts(), files):  # noqa: ASYNC110 (Envoy's state)
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise StackError("the gateway does not use its new configuration") from None
        if _failures(after) > _failures(before):
            raise Rejected(_reason(logs.tail(self._log_file, 1000, since=since)))

    async def begun(self) -> bool:
        """Whether Envoy listens, or has rejected a file as it started."""
        try:
            counts = await self._counts()
        except StackError:
            return False
        return bool(counts["listener_manager.total_listeners_active"] or _failures(counts))

    async def check(self) -> None:
        """Raise Rejected if Envoy has rejected anything since its start."""
        if _failures(await self._counts()):
            raise Rejected(_reason(logs.tail(self._log_file, 1000)))

    async def _counts(self) -> Counts:
        answer = await http_get(f"/stats?format=json&filter={_OF_INTEREST}", unix_socket=self._admin_socket)
        if answer is None:
            raise StackError("the gateway does not answer")
        return {stat["name"]: stat["value"] for stat in json.loads(answer.body)["stats"] if "name" in stat}


def _all_read(before: Counts, after: Counts, files: Mapping[Path, str]) -> bool:
    """Whether each subscription has read its directory once for each file moved there, and all listeners work."""
    if after["listener_manager.total_listeners_warming"]:
        return False
    for name in SUBSCRIPTIONS:
        attempts = after[f"{name}.update_attempt"]
        written = sum(_concerns(name, path) for path in files)
        results = after[f"{name}.update_success"] + sum(after[f"{name}.{failure}"] for failure in FAILURES)
        if attempts < before[f"{name}.update_attempt"] + written or results < attempts:
            return False
    return True


def _failures(counts: Counts) -> int:
    return sum(counts.get(f"{name}.{kind}", 0) for name in SUBSCRIPTIONS for kind in FAILURES)


def _concerns(subscription: str, path: Path) -> bool:
    """Whether the file is in the subscription's directory: listeners are in one, everything about access in another."""
    return (path.parent.name == "access") != (subscription == LISTENERS)


def _reason(lines: list[str]) -> str:
    """Envoy's log message about a rejection, which may have several lines."""
    reasons = dict.fromkeys(match["reason"] for match in _REASON.finditer("\n".join(lines)))
    return " ".join(" ".join(reasons).split()) or "see its log"
