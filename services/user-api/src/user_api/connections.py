"""A bounded number of connections, lent one at a time. Errors are the driver's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evenkeel.cache.errors import Busy, Disconnected
from evenkeel.tasks.under_way import UnderWay
from user_api.database import POOL_TIMEOUT, RECYCLE, connect, failure
from user_api.session import Session
from user_api.settings import Settings

TRUSTED = 1.0
"""Seconds without work after which a connection is tested before its next use. A connection that ends tells so, unless
a firewall has forgotten it, or a whole machine is gone."""


class Connections:
    """At most `size` connections. None is open yet."""

    def __init__(self, settings: Settings, *, size: int, keep_cancelled: bool = False) -> None:
        """`keep_cancelled`: a connection whose statement was cancelled is tested before its next use, not closed.

        That is for work which is given up often, while PostgreSQL is slow and opening a connection takes long.
        """
        self.in_use = 0
        self.size = size
        self._address, self._name = settings.database, settings.replica_name
        self._keep_cancelled = keep_cancelled
        self._places = asyncio.Semaphore(size)
        self._idle: list[Session] = []  # the one that was used last is used next
        self._closing = UnderWay()
        self._closed = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Session]:
        """A connection for the block. Busy if all are lent and none is given back in time."""
        await self._take_place()
        session, usable, tested = None, False, False
        try:
            session = await self._session()
            yield session
            usable = tested = True
        except Exception as error:
            usable = tested = not isinstance(failure(error, begun=True), Disconnected)
            raise
        except asyncio.CancelledError:
            usable = self._keep_cancelled
            raise
        finally:
            if session is None:
                self._leave_place()
            elif usable and not self._closed and not session.driver.is_closed():
                session.used = time.monotonic() if tested else float("-inf")
                self._idle.append(session)
                self._leave_place()
            else:  # asyncpg cancels its statement before it closes
                self._close(session).add_done_callback(lambda _: self._leave_place())

    async def close(self) -> None:
        """Close the connections that nobody uses, and the others when they are given back."""
        self._closed = True
        for session in self._idle:
            self._close(session)
        self._idle.clear()
        await self._closing.settled()

    async def _take_place(self) -> None:
        if self._places.locked():
            try:
                async with asyncio.timeout(POOL_TIMEOUT):
                    await self._places.acquire()
            except TimeoutError:
                raise Busy("All database connections of this replica are busy.") from None
        else:
            await self._places.acquire()
        self.in_use += 1

    def _leave_place(self) -> None:
        self.in_use -= 1
        self._places.release()

    async def _session(self) -> Session:
        """An idle connection that still works, or a new one."""
        while self._idle:
            session = self._idle.pop()
            now = time.monotonic()
            if session.driver.is_closed():
                continue
            if now < session.opened + RECYCLE:
                try:
                    if now < session.used + TRUSTED or await session.answers():
                        return session
                except BaseException:
                    self._close(session)
                    raise
                # The others have waited for longer still.
                for other in self._idle:
                    self._close(other)
                self._idle.clear()
            self._close(session)
        return await Session.open(await connect(self._address, self._name))

    def _close(self, session: "Session") -> "asyncio.Task[None]":
        return self._closing.add(asyncio.create_task(session.driver.close()))
