"""Holds PostgreSQL to half a core by a control group. Needs root, and a Linux that permits new groups."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil

PERIOD = 100_000
"""Microseconds. PostgreSQL gets half of each period."""

V1 = Path("/sys/fs/cgroup/cpu")
V2 = Path("/sys/fs/cgroup")
NAME = "evenkeel-bench"


def possible() -> bool:
    group = _group()
    if group is not None:
        group.rmdir()
    return group is not None


@contextlib.contextmanager
def held(server: int) -> Iterator[None]:
    """In this block the process and all its children share half a core."""
    group = _group()
    if group is None:
        raise RuntimeError("no control group can be made here")
    try:
        if group.parent == V2:
            (group / "cpu.max").write_text(f"{PERIOD // 2} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(PERIOD // 2))
        _move(server, group)
        yield
    finally:
        _move(server, group.parent)
        _remove(group)


async def server_of(database: str) -> int:
    """The process id of the PostgreSQL at this URL, which must run on this machine."""
    connection = await asyncpg.connect(database)
    try:
        return psutil.Process(connection.get_server_pid()).ppid()
    finally:
        await connection.close()


def _group() -> Path | None:
    """The folder for the group: version 2 if it controls CPU time, otherwise version 1."""
    with contextlib.suppress(OSError):
        if "cpu" in (V2 / "cgroup.subtree_control").read_text().split():
            return _writable(V2)
    return _writable(V1)


def _writable(parent: Path) -> Path | None:
    group = parent / NAME
    try:
        group.mkdir(exist_ok=True)
    except OSError:
        return None
    return group if (group / "cgroup.procs").exists() else None


def _move(server: int, group: Path) -> None:
    """The server first: the children that it starts after that are in the group at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(server), *psutil.Process(server).children()):
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(process.pid))


def _remove(group: Path) -> None:
    """The group is empty only when its last process has left."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
