"""Heartbeats in Redis: which processes run, and what each says about itself.

Each process keeps a key of its own, which expires. So a heartbeat is one command. An index has the names of the
processes. All keys have the same hash tag, so they are on one server of a Redis Cluster.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

KEPT = 60.0
"""Seconds for which a heartbeat is kept."""

ANNOUNCED = 10.0
"""Seconds after which a process writes its name into the index again: the index may have been lost."""

UNSEEN = 300
"""Seconds after which the index forgets a name that is not written again."""

Command = tuple[str | bytes | int, ...]
Send = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]
"""Sends commands in one round trip, and returns their replies. Raises if one of them has failed."""


class Heartbeats:
    """Methods raise what `send` raises, and LookupError while the names of the keys are not known."""

    def __init__(self, send: Send, index: Callable[[], str | None]) -> None:
        """`index` returns the name of the index, with which the other names begin; None: not known yet."""
        self._send = send
        self._index = index
        self._announced: tuple[str, float] | None = None

    async def beat(self, name: str, report: bytes) -> None:
        """This process runs, and says so much about itself."""
        index = self._known()
        commands: list[Command] = [("SET", _key(index, name), report, "PX", int(KEPT * 1000))]
        now = time.monotonic()
        announcing = self._announced is None or self._announced[0] != index or now >= self._announced[1] + ANNOUNCED
        if announcing:
            written = int(time.time())
            commands += [("HSET", index, name, written), ("EXPIRE", index, UNSEEN), ("HGETALL", index)]
        replies = await self._send(commands)
        if announcing:
            self._announced = index, now
            await self._forget(index, replies[-1])

    async def read(self) -> Mapping[str, tuple[float, bytes]]:
        """The heartbeats that are kept, by name: the seconds since each, by the server's clock, and its report."""
        index = self._known()
        [written] = await self._send([("HGETALL", index)])
        names = sorted(name.decode(errors="replace") for name in written)
        if not names:
            return {}
        keys = [_key(index, name) for name in names]
        replies = await self._send([command for key in keys for command in (("GET", key), ("PTTL", key))])
        reports, lifetimes = replies[::2], replies[1::2]
        return {
            name: (max(0.0, KEPT - lifetime / 1000), report)
            for name, report, lifetime in zip(names, reports, lifetimes, strict=True)
            if report is not None and lifetime > 0
        }

    async def leave(self, name: str) -> None:
        """This process ends, and is not missed."""
        index = self._known()
        await self._send([("DEL", _key(index, name)), ("HDEL", index, name)])

    async def _forget(self, index: str, written: Mapping[bytes, bytes]) -> None:
        oldest = time.time() - UNSEEN
        old = [name for name, at in written.items() if not at.isdigit() or int(at) < oldest]
        if not old:
            return
        # The time was that of another process. A process whose heartbeat is kept still runs, whatever its clock says.
        kept = await self._send([("EXISTS", _key(index, name.decode(errors="replace"))) for name in old])
        if gone := [name for name, exists in zip(old, kept, strict=True) if not exists]:
            await self._send([("HDEL", index, *gone)])

    def _known(self) -> str:
        index = self._index()
        if index is None:
            raise LookupError("the names of the heartbeats are not known yet")
        return index


def _key(index: str, name: str) -> str:
    return f"{index}:{name}"
