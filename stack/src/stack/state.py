"""`state.json`: the stack's processes and the ports of its data servers. It is there for the time after a crash.

A process is recognised by its id and its start time, because another process may get the same id later.
"""

import contextlib
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from stack.files import write_json
from stack.layout import free_port

# psutil derives start times from the boot time, which changes a little when the clock is set.
START_TIME_TOLERANCE = 2.0

# Seconds in which the processes of a dead supervisor must end.
ORPHAN_TIMEOUT = 15.0


@dataclass(frozen=True)
class Record:
    """One running process."""

    name: str
    pid: int
    started: float
    """Seconds since the epoch."""
    stop_signal: int = signal.SIGTERM

    @classmethod
    def of(cls, name: str, pid: int, stop_signal: int = signal.SIGTERM) -> "Record":
        return cls(name, pid, psutil.Process(pid).create_time(), int(stop_signal))

    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.pid)
            alive = found.status() != psutil.STATUS_ZOMBIE
            if alive and abs(found.create_time() - self.started) < START_TIME_TOLERANCE:
                return found
        return None


class State:
    """The content of the file. Every change is written at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        document = _read(path)
        self.supervisor = _record(document.get("supervisor"))
        self.control_socket: str | None = document.get("control_socket")
        self._ports: dict[str, int] = document.get("ports", {})
        self._records = [record for record in map(_record, document.get("processes", [])) if record]

    def begin(self, control_socket: Path) -> None:
        """Record the calling process as the supervisor, without processes."""
        self.supervisor = Record.of("supervisor", os.getpid())
        self.control_socket = str(control_socket)
        self._records = []
        self._write()

    def end(self) -> None:
        self.supervisor, self.control_socket, self._records = None, None, []
        self._write()

    def port(self, name: str) -> int:
        """The previous port of a data server if it is free, else a new one."""
        self._ports[name] = free_port(self._ports.get(name))
        self._write()
        return self._ports[name]

    def started(self, record: Record) -> None:
        self._records.append(record)
        self._write()

    def ended(self, pid: int) -> None:
        self._records = [record for record in self._records if record.pid != pid]
        self._write()

    def supervisor_process(self) -> psutil.Process | None:
        return self.supervisor.process() if self.supervisor else None

    def orphans(self) -> list[tuple[Record, psutil.Process]]:
        """The recorded processes that still run although their supervisor has ended."""
        return [(record, process) for record in self._records if (process := record.process())]

    def stop_orphans(self) -> list[str]:
        """End the processes that a dead supervisor has left running; returns their names."""
        orphans = self.orphans()
        for record, process in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(record.stop_signal)
        _, stubborn = psutil.wait_procs([process for _, process in orphans], timeout=ORPHAN_TIMEOUT)
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=ORPHAN_TIMEOUT)
        return [record.name for record, _ in orphans]

    def _write(self) -> None:
        document = {
            "supervisor": self.supervisor and asdict(self.supervisor),
            "control_socket": self.control_socket,
            "ports": self._ports,
            "processes": [asdict(record) for record in self._records],
        }
        # Somebody may have deleted the directory; its processes must still be stopped.
        with contextlib.suppress(FileNotFoundError):
            write_json(self._path, document)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # never half-written; an edit by hand may have damaged it
        return {}
    return document if isinstance(document, dict) else {}


def _record(fields: Any) -> Record | None:
    try:
        return Record(**fields)
    except TypeError:
        return None
