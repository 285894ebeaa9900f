"""The change log of a table in PostgreSQL: all changes that were committed since a state that the caller gives.

Triggers log each change in its own transaction, with the transaction's id. The order of ids is not the order of
commits, so a state contains a snapshot (`pg_snapshot`): which transactions had ended when it was taken. Some changes
fire no triggers, such as a rewrite of the table, or changes while triggers are off. The catalog shows that.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenkeel.cache.change_log_schema import FUNCTIONS, HAD_CHILD, MOST_CHANGES, identity_of, origin_of, qualified
from evenkeel.cache.change_state import ChangeState
from evenkeel.cache.connections import Connections, connections_of
from evenkeel.tasks.failures import first_line
from evenkeel.tasks.under_way import UnderWay

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

log = logging.getLogger(__name__)

MOST_TRANSACTIONS = 20_000
"""Transaction ids that one look goes through at most, so that it ends in time even if the last look is long ago."""

LOOK_LIMIT = 0.6
"""Seconds that a look may take by default. Trust lives for 1.5 s, and a relay's claim for 1 s."""

TIMEOUTS = 2
"""Looks in a row that may take too long while PostgreSQL answers other queries."""

PRUNE_BATCH = 10_000
"""Rows that one statement of prune() deletes, so that it ends before a statement timeout."""

ANALYZE_INTERVAL = 5.0
"""Seconds between two calls of `<log>_analyze`, if the first did not help."""

_TRIVIAL = "SELECT 1"


@dataclass(frozen=True, slots=True)
class Look:
    """The new changes, and the state from which the next look begins."""

    state: str
    """All changes committed between the given state and this one are in `changes` or `ranges`."""

    identity: str
    """The identity of the database's history; see `ChangeLog.identity`."""

    changes: dict[str, int | None] | None
    """The highest logged version of each key. A version is None if the row was deleted (and perhaps made again), or if
    its versions cannot be compared. The whole is None if the log cannot say what has changed: anything may have."""

    ranges: Sequence[tuple[int, int]] = ()
    """Beside `changes`: the lowest and the highest key (both included) of each statement that changed too many rows to
    log each. Any key in between may have changed in any way."""

    more: bool = False
    """There was too much for one look. Changes after `state` are committed, and not in this look."""

    reason: str | None = None
    """Why `changes` is None."""

    distrust: str | None = None
    """Why no row of the table may be cached: changes are not logged now, or not all of them. `changes` is None then. It
    is None once more in the first look after this has ended, if that look begins at `state`."""

    @property
    def is_empty(self) -> bool:
        """Nothing has changed, and all changes are logged."""
        return self.changes == {} and not self.ranges and not self.more


class ChangeLog:
    """Reads and prunes the log that `install` made. Any number of processes may do so. No session state is needed.

    Errors are passed on: OSError, TimeoutError, and those of asyncpg or, with an engine, of SQLAlchemy.
    """

    def __init__(
        self, database: "Connections | AsyncEngine", *, table: str, log: str, time_limit: float = LOOK_LIMIT
    ) -> None:
        """`database`: a pool of asyncpg (`asyncpg.create_pool`), or SQLAlchemy's AsyncEngine with the driver asyncpg.

        At most three connections are in use at a time. `table` and `log` are the names given to `install`; ValueError
        if they are not valid. `time_limit` in seconds, for a look.
        """
        names = {"table": qualified(table)} | {what: qualified(log, f"_{what}") for what in FUNCTIONS}
        self._table = table
        self._identity = f"SELECT {origin_of(log)} AS origin"
        # The table's name is resolved outside the function, which has a search path of its own.
        self._look = (
            "SELECT * FROM {look}(pg_catalog.to_regclass('{table}'), $1::text, $2::text, $3::text, $4::bigint,"
            " $5::bigint)".format_map(names)
        )
        self._prune = "SELECT * FROM {prune}($1::double precision, $2::bigint)".format_map(names)
        self._analyze = "SELECT {analyze}()".format_map(names)
        self._analyzed = float("-inf")
        self._connections = connections_of(database)
        self._time_limit = time_limit
        self._timeouts = 0
        self._work = UnderWay(failed=_unheeded)

    async def identity(self) -> str:
        """16 hexadecimal digits that stand for this history of this log.

        Another database and another cluster have other digits. A restore, a promotion or a crash changes them.
        """
        return identity_of((await self._answer(self._identity))["origin"])

    async def look(self, since: str | None, *, limit: int = MOST_CHANGES) -> Look:
        """What was committed since the state `since`. It takes one statement, whose work grows with the new changes.

        A statement that changed more than MOST_CHANGES rows is one of the `ranges`, if the key is an integer.

        `changes` is None if the log cannot say what changed:
        * there is no state, or the log was pruned beyond it;
        * TRUNCATE, more than `limit` changes, or such a large statement where keys are no integers;
        * the table was rewritten, renamed or altered, or its triggers were;
        * the state is of another history. That is so after the promotion of a standby, after pg_restore, and after a
          crash: PostgreSQL may lose commits that others have seen, and use their transaction ids again.

        TimeoutError after `time_limit`. After two of them in a row, while PostgreSQL answers other queries, the next
        look does not read the log: anything may have changed.
        """
        hopeless = self._timeouts >= TIMEOUTS
        known = ChangeState.parse(since) if since is not None else None
        snapshot = None if known is None or hopeless else known.snapshot
        begin = (known and known.origin, snapshot, known and known.table)
        try:
            found = await self._answer(self._look, *begin, limit, MOST_TRANSACTIONS)
        except TimeoutError:
            await self._note_timeout()
            raise
        self._timeouts = 0
        state = ChangeState(found["origin"], found["snapshot"], None if found["distrust"] else found["table_now"])
        identity = identity_of(found["origin"])
        if found["distrust"] != HAD_CHILD:
            self._analyzed = float("-inf")
        elif time.monotonic() >= self._analyzed + ANALYZE_INTERVAL:
            self._analyzed = time.monotonic()
            self._work.add(asyncio.create_task(self._remove_mark()))
        if (distrust := found["distrust"]) is not None:
            sentence = f"changes of {self._table} may go unseen: {distrust}"
            return Look(str(state), identity, None, reason=sentence, distrust=sentence)
        doubt: str | None
        if since is None:
            doubt = "there is no state"
        elif known is None:
            doubt = "the state cannot be read"
        elif hopeless:
            doubt = f"{TIMEOUTS} looks in a row took longer than {self._time_limit} s"
        else:
            doubt = state.differs_from(known) or found["doubt"]
        if doubt is not None:
            return Look(str(state), identity, None, reason=doubt)
        # Versions are compared with those of cached entries, where 0 means that there is no row. So a row that was
        # inserted with such a version is not comparable.
        comparable = (version if version is not None and version > 0 else None for version in found["versions"] or ())
        changes = dict(zip(found["keys"] or (), comparable, strict=True))
        ranges = list(zip(found["lows"] or (), found["highs"] or (), strict=True))
        return Look(str(state), identity, changes, ranges, more=found["more"])

    async def prune(self, *, retention: float) -> int:
        """Delete what was committed more than `retention` seconds ago, and return the number of deleted rows.

        For an older state, `look` then answers None. Deleting takes several calls over that time, by any process: each
        call stores a mark in the database, up to which a later one may delete.
        """
        total: int = 0
        while True:
            async with self._connections.acquire() as connection:
                pruned = _row(await connection.fetchrow(self._prune, float(retention), PRUNE_BATCH))
            total += pruned["deleted"]
            if not pruned["more"]:
                return total

    async def _remove_mark(self) -> None:
        """In the background: it takes a lock, and longer than a look may. The next looks show whether it helped."""
        try:
            async with self._connections.acquire() as connection:
                await connection.fetchrow(self._analyze)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is tried again)
            log.warning("the table had a child, and cannot be analyzed", extra={"reason": first_line(error)})

    async def _note_timeout(self) -> None:
        try:
            await self._answer(_TRIVIAL)
        except Exception:  # noqa: BLE001 (whatever it is: PostgreSQL does not answer)
            self._timeouts = 0
        else:
            self._timeouts += 1

    async def _answer(self, statement: str, *arguments: object) -> Mapping[str, Any]:
        """The row that the statement finds. TimeoutError after `time_limit`; that does not wait for the driver.

        If the connection is still being opened then, that goes on, and the next statement finds it in the pool.
        """
        asked = asyncio.Event()
        given_up = asyncio.Event()
        work = self._work.add(asyncio.create_task(self._ask(statement, arguments, asked, given_up)))
        try:
            await asyncio.wait({work}, timeout=self._time_limit)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if work.done():
            return work.result()
        given_up.set()
        if asked.is_set():
            work.cancel()
        raise TimeoutError(f"the change log has not answered within {self._time_limit} s")

    async def _ask(
        self,
        statement: str,
        arguments: Sequence[object],
        asked: asyncio.Event,
        given_up: asyncio.Event,
    ) -> Mapping[str, Any]:
        async with self._connections.acquire() as connection:
            if given_up.is_set():
                raise TimeoutError("the connection has come too late")
            asked.set()
            return _row(await connection.fetchrow(statement, *arguments))


def _unheeded(_: BaseException) -> None:
    """The caller gets the error, unless it has gone away."""


def _row(found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    assert found is not None  # noqa: S101 (each statement returns one row)
    return found
