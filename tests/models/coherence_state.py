"""The states of coherence_model.py: the database, Redis, and the unfinished work of readers, writers and relays."""

from typing import NamedTuple

RANGE, NOTHING, FORGET, DELETED = -4, -3, -2, -1
"""What a look at the change log may find instead of the row's version."""

UNREAD = -1
FOREIGN = -5
"""A value that a fill has read, or an entry holds, and that comes from another database."""

NOBODY, CLIENT = -1, -2
"""The holder of a lease that no fill of the model has: a fill that has ended, or a process for all its fills."""


class Snapshot(NamedTuple):
    """What a pg_snapshot says about transactions."""

    end: int
    """The first id that no transaction has yet."""
    open: tuple[int, ...]

    def lacks(self, xid: int) -> bool:
        """Whether the transaction had not ended. This is the condition in the SQL of a look."""
        return xid >= self.end or xid in self.open

    @property
    def oldest(self) -> int:
        return min(self.open, default=self.end)


class Point(NamedTuple):
    """The position in the log up to which changes have been relayed."""

    history: int
    snapshot: Snapshot
    mark: int = 0
    """The mark of a pass in a chain that has run its first script."""


LOST = Point(-1, Snapshot(0, ()))
"""There is no state."""


class Commit(NamedTuple):
    xid: int
    version: int
    """The version of the row after this commit; 0 if there is no row."""
    logged: int


class Database(NamedTuple):
    begun: int = 0
    open: tuple[int, ...] = ()
    commits: tuple[Commit, ...] = ()
    horizon: int = 0
    """The log is pruned below this id."""
    history: int = 0
    away: bool = False
    """The URL leads to another database, which has another identity."""
    swaps: int = 0


class Lease(NamedTuple):
    token: int
    """The fill's place in State.fills, or NOBODY or CLIENT."""
    least: int


class Redis(NamedTuple):
    entry: int | None
    """The number of commits that the value contains. It tells values with the same version apart."""
    lease: Lease | None
    relayed: Point
    epoch: int = 0
    """The epoch in `alive`, and in the state if there is one. It is part of the names of entry and lease."""
    over: int | None = None
    """The entry under the names of the epoch before, until it is swept."""


class Fill(NamedTuple):
    leased: bool
    read: int
    """The number of commits that were visible when it read the row."""
    epoch: int = 0
    """The epoch of the names under which it has the lease."""


IDLE = Fill(leased=False, read=UNREAD)


class Pass(NamedTuple):
    """A relay that has looked at the log."""

    known: Point
    reached: Point
    news: int
    second: bool
    """Its first script has run."""
    epoch: int = 0
    """It deletes the names of this epoch."""
    beside: bool = False
    """It has also found a range that does not contain the key."""


class State(NamedTuple):
    database: Database
    unsent: tuple[int, ...]
    """Commits whose writers have not invalidated yet. A writer that never does so has crashed."""
    acknowledged: int
    """The last commit whose writer has answered."""
    redis: Redis
    replica: Redis | None
    """What a replica of this Redis had when it stopped receiving. A failover promotes it."""
    failovers: int
    fills: tuple[Fill, ...]
    passes: tuple[Pass, ...]
    elsewhere: Point
    """The relay's state, if it is not in Redis."""
    epochs: int = 0
    """The last epoch that has begun. No epoch begins twice."""


def initial(*, fills: int) -> State:
    """A row of version 1, an empty cache, a relay that has seen everything, and places for this number of fills."""
    start = Point(0, Snapshot(0, ()))
    return State(Database(), (), 0, Redis(None, None, start), None, 0, (IDLE,) * fills, (), start)


def version(database: Database, seen: int) -> int:
    """The version of the row after this number of commits. Rows of another database have versions, too."""
    if seen == FOREIGN:
        return 1
    return database.commits[seen - 1].version if seen else 1


# States that differ only in the order of fills, or of relays, count as one.


def with_fill(state: State, place: int, fill: Fill) -> State:
    return ordered(state._replace(fills=(*state.fills[:place], fill, *state.fills[place + 1 :])))


def ordered(state: State) -> State:
    places = sorted(range(len(state.fills)), key=state.fills.__getitem__)
    if places == list(range(len(places))):
        return state
    return state._replace(
        fills=tuple(state.fills[place] for place in places),
        redis=_renamed(state.redis, places),
        replica=state.replica and _renamed(state.replica, places),
    )


def _renamed(redis: Redis, places: list[int]) -> Redis:
    if redis.lease is None or redis.lease.token < 0:
        return redis
    return redis._replace(lease=redis.lease._replace(token=places.index(redis.lease.token)))


def without_holder(redis: Redis, place: int) -> Redis:
    if redis.lease is None or redis.lease.token != place:
        return redis
    return redis._replace(lease=redis.lease._replace(token=NOBODY))


def with_passes(state: State, passes: tuple[Pass, ...]) -> State:
    return state._replace(passes=tuple(sorted(passes)))


def unused_mark(state: State) -> int:
    used = {state.redis.relayed.mark, *(relay.known.mark for relay in state.passes)}
    if state.replica is not None:
        used.add(state.replica.relayed.mark)
    return next(mark for mark in range(1, len(used) + 2) if mark not in used)
