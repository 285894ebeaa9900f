"""The protocol of docs/coherence.md as an explicit-state model for one key: the contents of Redis, and what changes
them.

A model is a state and the steps that are possible in it. Each step is as small as what happens at once in reality: a
commit, a script in Redis, a statement in PostgreSQL. Between two steps any time may pass. So a process that has steps
left may also have died. There is no time (`alive` only forbids steps; trust_model.py has time) and no memory
(memory_model.py adds it). All keys are alike and independent, except that one relay pass may need several scripts.

`Protocol` says what the code does. Each of its safeguards can be left out, which shows what it is for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.models.coherence_state import (
    CLIENT,
    DELETED,
    FOREIGN,
    FORGET,
    IDLE,
    LOST,
    NOTHING,
    RANGE,
    UNREAD,
    Commit,
    Database,
    Fill,
    Lease,
    Pass,
    Point,
    Redis,
    Snapshot,
    State,
    ordered,
    unused_mark,
    version,
    with_fill,
    with_passes,
    without_holder,
)


@dataclass(frozen=True)
class Protocol:
    """The defaults are what the code does."""

    relay: bool = True
    fills: Literal["lease", "version"] = "lease"
    """An entry is stored if the lease is still that of the fill, or if no newer entry is there."""
    lease_for: Literal["fill", "client"] = "fill"
    """Whether a lease's token belongs to one fill or to the process for all its fills."""
    lease_sent: Literal["once", "again"] = "once"
    """Whether a client may send the command that takes the lease again, with the same token."""
    lease_first: bool = True
    """The lease is taken before the row is read."""
    writer_takes_lease: bool = True
    """The writer's invalidation deletes the lease as well as the entry."""
    relay_and_lease: Literal["raise", "leave"] = "raise"
    """A relay pass writes the logged version into a lease. The fill must then bring at least this version."""
    deletion_takes_entry: bool = True
    """If the row was deleted, its entry is deleted whatever its version."""
    deletion_takes_lease: bool = True
    state_in: Literal["redis", "postgresql"] = "redis"
    """Where the position in the log is kept. PostgreSQL stands for any place outside Redis, also for the relay's own
    memory."""
    state_is: Literal["snapshot", "last id"] = "snapshot"
    compare_and_set: bool = True
    """A pass moves the state only if it is still the state with which the pass began."""
    scripts: Literal["one", "chained", "unchained", "state first"] = "one"
    """A pass with few keys is one script, a pass with many keys is a chain. Here a chain has two scripts. The first one
    deletes this key, and marks the state so that only the second script of the same pass accepts it."""
    forgets: bool = True
    """If it is unknown what has changed, because the state is lost or useless, another epoch begins."""
    alive_says: Literal["epoch", "alive"] = "epoch"
    """Readers trust entries under the names of the epoch in `alive`. The alternative: of the epoch that they know, if
    `alive` exists."""
    invalidations_compare: bool = True
    """An invalidation that used the names of an old epoch is repeated with those of the present one."""
    identity_in_names: bool = True
    """Two databases have different names for the same key."""
    leaves_cold: bool = True
    """A relay that finds another database behind the URL removes the state of the first one."""
    horizon: bool = True
    """The database keeps a note of the part of the log that was pruned."""
    origin: bool = True
    """A state names the database's history, and a crash of PostgreSQL begins another history."""
    range_is_forgotten: Literal["with the state", "after the state"] = "with the state"
    """One script begins an epoch for a range and moves the state. The alternative: a script before it moves the state.
    """
    range_has_names: bool = True
    """After a range was forgotten, its keys have other names."""
    inserts_log: Literal["version", "deletion"] = "version"
    """How the relay treats an insert whose version is not above 0, the version of a missing row."""


@dataclass(frozen=True)
class Bounds:
    """How much may happen. There is no bound for fills (two at a time), relay passes, evictions and expiries."""

    transactions: int = 2
    writers: bool = True
    """Writers invalidate. Without them only names of steps are lost: an eviction and an expiry do the same to Redis."""
    fills: int = 2
    relays: int = 1
    failovers: int = 0
    state_losses: bool = False
    """Redis may lose only the relay's state."""
    pruning: bool = False
    aborts: bool = False
    database_crashes: int = 0
    """PostgreSQL may crash, and then give the ids of transactions that committed nothing to others."""
    inserted_version: int = 1
    epochs: int = 1
    """How often the state may be lost."""
    by_hand: int = 0
    """How many epochs may begin by hand. They leave the state as it is."""
    ranges: int = 0
    """How many epochs may begin for ranges, with or without the key in them. Each commit may then be in a range."""
    swaps: int = 0
    """How often the URL may lead to another database and back. A relay notices each change before the next one."""
    neighbours: bool = False
    """Another service caches in the same Redis under the same namespace, with a database of its own."""


class Model:
    """The steps that a protocol permits, and the states that must never be reached."""

    def __init__(self, protocol: Protocol, bounds: Bounds) -> None:
        self.protocol = protocol
        self.bounds = bounds

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._transactions(state)
        yield from self._writers(state)
        yield from self._readers(state)
        if self.protocol.relay:
            yield from self._relays(state)
        yield from self._faults(state)

    # States that must never be reached.

    def stale_for_ever(self, state: State) -> bool:
        """Redis has an old value, and the log has nothing new for the relay. Every process that has steps left may have
        died.
        """
        if state.database.away or not any(self._is_old(state, entry) for entry in self._served(state)):
            return False
        return not self.protocol.relay or self._look(state)[1] == NOTHING

    def behind_its_state(self, state: State) -> bool:
        """Redis has a value that lacks a change, but the state in the same Redis says that the change was relayed.

        If this is never reached, a value is never older than the last look at the log from which the state came.
        """
        relayed, entry, database = state.redis.relayed, state.redis.entry, state.database
        return (
            entry not in {None, FOREIGN}
            and relayed.history == database.history
            and any(not relayed.snapshot.lacks(commit.xid) for commit in database.commits[entry:])
        )

    def lost_acknowledged_write(self, state: State) -> bool:
        """Redis has a value that is older than an acknowledged write, although there was no failover."""
        entry = state.redis.entry
        return entry not in {None, FOREIGN} and state.failovers == 0 and entry < state.acknowledged

    def _served(self, state: State) -> tuple[int | None, ...]:
        """The values that readers may get, whichever epoch they use."""
        return (state.redis.entry,) if self.protocol.alive_says == "epoch" else (state.redis.entry, state.redis.over)

    def _is_old(self, state: State, entry: int | None) -> bool:
        commits = len(state.database.commits)
        if entry == FOREIGN:
            return True
        if entry is None or entry == commits:
            return False
        both_missing = version(state.database, entry) == 0 == version(state.database, commits)
        return not both_missing or self.bounds.inserted_version < 1

    # PostgreSQL.

    def _transactions(self, state: State) -> Iterator[tuple[str, State]]:
        database = state.database
        if database.begun < self.bounds.transactions:
            begun = database._replace(begun=database.begun + 1, open=(*database.open, database.begun))
            yield f"transaction {database.begun} begins", state._replace(database=begun)
        for xid in database.open:
            left = tuple(other for other in database.open if other != xid)
            for what, row, logged in self._changes(database):
                commits = (*database.commits, Commit(xid, row, logged))
                yield (
                    f"transaction {xid} commits: {what}",
                    state._replace(
                        database=database._replace(open=left, commits=commits),
                        unsent=(*state.unsent, len(commits)) if self.bounds.writers else (),
                    ),
                )
            if self.bounds.aborts:
                yield f"transaction {xid} aborts", state._replace(database=database._replace(open=left))
        if database.history < self.bounds.database_crashes:
            # An id cannot be given away again once a commit record at or above it is on disk.
            kept = max((commit.xid + 1 for commit in database.commits), default=0)
            crashed = database._replace(begun=kept, open=(), history=database.history + 1)
            yield "PostgreSQL crashes and recovers", state._replace(database=crashed)
        if database.away and (state.redis.relayed == LOST or not self.protocol.leaves_cold):
            yield "the URL leads back", state._replace(database=database._replace(away=False))
        elif not database.away and database.swaps < self.bounds.swaps:
            away = database._replace(away=True, swaps=database.swaps + 1)
            yield "the URL leads to another database", state._replace(database=away)
        if self.bounds.pruning and state.redis.relayed != LOST:
            horizon = state.redis.relayed.snapshot.oldest
            if horizon > database.horizon:
                yield "the log is pruned", state._replace(database=database._replace(horizon=horizon))

    def _changes(self, database: Database) -> Iterator[tuple[str, int, int]]:
        """The changes that a transaction may make to the row: name, version afterwards, logged version."""
        old = version(database, len(database.commits))
        exists = old > 0 or (bool(database.commits) and database.commits[-1].logged != DELETED)
        if exists:
            yield f"update to version {old + 1}", old + 1, old + 1
            if self.bounds.ranges:
                yield f"update to version {old + 1}, with many others", old + 1, RANGE
            yield "delete", 0, DELETED
            yield "delete and insert", 1, DELETED
        else:
            new = self.bounds.inserted_version
            logged = DELETED if new < 1 and self.protocol.inserts_log == "deletion" else new
            yield f"insert at version {new}", new, logged

    def _writers(self, state: State) -> Iterator[tuple[str, State]]:
        for commit in state.unsent:
            lease = None if self.protocol.writer_takes_lease else state.redis.lease
            xid = state.database.commits[commit - 1].xid
            answered = state._replace(
                unsent=tuple(other for other in state.unsent if other != commit),
                acknowledged=max(state.acknowledged, commit),
            )
            if state.redis.epoch > 0 and not self.protocol.invalidations_compare:
                yield f"the writer of transaction {xid} invalidates where nothing is any more", answered
            yield (
                f"the writer of transaction {xid} invalidates",
                answered._replace(redis=state.redis._replace(entry=None, lease=lease)),
            )

    # Readers that fill.

    def _readers(self, state: State) -> Iterator[tuple[str, State]]:
        protocol, redis = self.protocol, state.redis
        needs_lease = protocol.fills == "lease"
        now = FOREIGN if state.database.away else len(state.database.commits)
        for place, fill in enumerate(state.fills):
            if fill == IDLE and state.fills.index(IDLE) != place:
                continue  # idle places are equal
            token = CLIENT if protocol.lease_for == "client" else place
            may_lease = needs_lease and redis.lease is None and (protocol.lease_first or fill.read != UNREAD)
            if may_lease and not fill.leased:
                granted = state._replace(redis=redis._replace(lease=Lease(token, 0)))
                yield (
                    "a reader takes the lease",
                    with_fill(granted, place, fill._replace(leased=True, epoch=redis.epoch)),
                )
            if may_lease and fill.leased and protocol.lease_sent == "again":
                yield (
                    "a reader's lease arrives once more",
                    ordered(state._replace(redis=redis._replace(lease=Lease(token, 0)))),
                )
            if fill.read == UNREAD and (fill.leased or not needs_lease or not protocol.lease_first):
                row = version(state.database, now)
                what = "another database's row" if now == FOREIGN else f"version {row}"
                yield f"a reader reads {what}", with_fill(state, place, fill._replace(read=now))
            if fill.read != UNREAD and (fill.leased or not needs_lease):
                yield self._fill(state, place, token, fill)

    def _fill(self, state: State, place: int, token: int, fill: Fill) -> tuple[str, State]:
        read = fill.read
        redis, row = state.redis, version(state.database, read)
        stored = False
        if self.protocol.fills == "version":
            stored = redis.entry is None or version(state.database, redis.entry) <= row
        elif redis.lease is not None and redis.lease.token == token:
            here = redis.relayed != LOST and redis.epoch == fill.epoch
            stored = here and row >= redis.lease.least
            redis = redis._replace(lease=None)
        if stored:
            redis = redis._replace(entry=read)
        name = f"the reader's fill with version {row} is {'stored' if stored else 'rejected'}"
        ended = state._replace(redis=redis)
        if self.protocol.lease_for == "fill":
            ended = ended._replace(
                redis=without_holder(redis, place),
                replica=ended.replica and without_holder(ended.replica, place),
            )
        return name, with_fill(ended, place, IDLE)

    # Relays.

    def _relays(self, state: State) -> Iterator[tuple[str, State]]:
        if state.database.away:
            if self.protocol.leaves_cold and state.redis.relayed != LOST:
                cold = state._replace(redis=state.redis._replace(relayed=LOST))
                yield "a relay finds another database, and leaves this one's cache cold", cold
        elif len(state.passes) < self.bounds.relays:
            reached, news = self._look(state)
            known = self._known(state)
            began = Pass(known, reached, news, second=False, epoch=state.redis.epoch)
            if news not in {FORGET, RANGE} and state.epochs < self.bounds.ranges:
                beside = (*state.passes, began._replace(beside=True))
                yield "a relay looks at the log and finds a range without the key", with_passes(state, beside)
            if news != NOTHING or reached != known:
                found = {NOTHING: "nothing", FORGET: "that it must forget", DELETED: "a deletion", RANGE: "a range"}
                name = f"a relay looks at the log and finds {found.get(news, f'version {news}')}"
                yield name, with_passes(state, (*state.passes, began))
        for place, relay in enumerate(state.passes):
            others = (*state.passes[:place], *state.passes[place + 1 :])
            for name, applied, rest in self._scripts(state, relay):
                yield name, with_passes(applied, (*others, *rest))
            yield "a relay dies", with_passes(state, others)

    def _known(self, state: State) -> Point:
        return state.redis.relayed if self.protocol.state_in == "redis" else state.elsewhere

    def _look(self, state: State) -> tuple[Point, int]:
        """A look: the state of the log now, and what has changed for the key since the known state."""
        protocol, database, known = self.protocol, state.database, self._known(state)
        snapshot = Snapshot(database.begun, database.open)
        if protocol.state_is == "last id":
            snapshot = Snapshot(max((commit.xid + 1 for commit in database.commits), default=0), ())
        reached = Point(database.history if protocol.origin else 0, snapshot)
        since = known.snapshot
        if (
            known == LOST
            or known.history != reached.history
            or since.end > database.begun
            or (protocol.horizon and since.oldest < database.horizon)
        ):
            return reached, FORGET
        news = [c.logged for c in database.commits if since.lacks(c.xid) and c.xid >= database.horizon]
        if RANGE in news:
            return reached, RANGE
        if DELETED in news:
            return reached, DELETED
        return reached, max(news, default=NOTHING)

    def _scripts(self, state: State, relay: Pass) -> Iterator[tuple[str, State, tuple[Pass, ...]]]:
        """The pass's next script: its name, the state it leads to, and the pass if it has another script to run."""
        scripts = self.protocol.scripts
        if relay.news == FORGET:
            if not self.protocol.forgets:
                yield "the relay moves the state", state._replace(redis=state.redis._replace(relayed=relay.reached)), ()
            elif state.redis.relayed == relay.known and state.redis.epoch == relay.epoch:
                yield "the relay begins an epoch", _new_epoch(state, relay.reached), ()
            else:
                yield "the relay begins no epoch, another one has come between", state, ()
        elif relay.epoch != state.redis.epoch:
            yield "the relay does nothing, its epoch is over", state, ()
        elif relay.news == RANGE or relay.beside:
            yield self._ranges(state, relay)
        elif scripts == "one":
            moved, _ = self._moved(self._deleted(state, relay.news), relay.known, relay.reached)
            yield "the relay deletes and moves the state", moved, ()
        elif scripts == "state first":
            if relay.second:
                yield "the relay deletes", self._deleted(state, relay.news), ()
            else:
                moved, done = self._moved(state, relay.known, relay.reached)
                yield "the relay moves the state", moved, (relay._replace(second=True),) if done else ()
        elif relay.second:
            moved, _ = self._moved(state, relay.known, relay.reached)
            yield "the relay's second script moves the state", moved, ()
        else:
            mark = unused_mark(state) if scripts == "chained" else relay.known.mark
            marked = relay.known._replace(mark=mark)
            applied, done = self._moved(self._deleted(state, relay.news), relay.known, marked)
            follows = (relay._replace(known=marked, second=True),) if done else ()
            yield "the relay's first script deletes", applied, follows

    def _ranges(self, state: State, relay: Pass) -> tuple[str, State, tuple[Pass, ...]]:
        """A pass that has found a range deletes single keys first. Then it begins an epoch in which the range has new
        names.
        """
        after = self.protocol.range_is_forgotten == "after the state"
        if not relay.second:
            marked = relay.reached if after else relay.known._replace(mark=unused_mark(state))
            applied, done = self._moved(self._deleted(state, relay.news), relay.known, marked)
            return "the relay deletes", applied, (relay._replace(known=marked, second=True),) if done else ()
        if state.redis.relayed != relay.known:
            return "the relay begins no epoch, another one has come between", state, ()
        begun = _new_epoch(state, relay.reached)
        if relay.beside or not self.protocol.range_has_names:
            begun = begun._replace(
                redis=begun.redis._replace(entry=state.redis.entry, lease=state.redis.lease, over=None)
            )
        return "the relay begins an epoch without the range", begun, ()

    def _moved(self, state: State, known: Point, reached: Point) -> tuple[State, bool]:
        """Move the state if it is the expected one. Returns whether it was."""
        if self.protocol.compare_and_set and self._known(state) != known:
            return state, False
        if self.protocol.state_in == "postgresql":
            return state._replace(elsewhere=reached), True
        return state._replace(redis=state.redis._replace(relayed=reached)), True

    def _deleted(self, state: State, news: int) -> State:
        entry, lease = state.redis.entry, state.redis.lease
        if news == NOTHING:
            return state
        old = entry is not None and version(state.database, entry) < news
        if old or (news == DELETED and self.protocol.deletion_takes_entry):
            entry = None
        if lease is not None and self.protocol.relay_and_lease == "raise":
            if news != DELETED:
                lease = lease._replace(least=max(lease.least, news))
            elif self.protocol.deletion_takes_lease:
                lease = None
        return state._replace(redis=state.redis._replace(entry=entry, lease=lease))

    # What may happen in Redis at any time.

    def _faults(self, state: State) -> Iterator[tuple[str, State]]:
        redis = state.redis
        if redis.entry is not None:
            yield "Redis evicts the entry", state._replace(redis=redis._replace(entry=None))
        if redis.lease is not None:
            yield "the lease expires or is evicted", ordered(state._replace(redis=redis._replace(lease=None)))
        if redis.over is not None:
            yield "the names of the epoch before are swept", state._replace(redis=redis._replace(over=None))
        if state.epochs < self.bounds.by_hand:
            yield "an epoch begins by hand", _new_epoch(state, redis.relayed)
        if self.bounds.neighbours and not self.protocol.identity_in_names and redis.entry != FOREIGN:
            yield "another database's reader fills", state._replace(redis=redis._replace(entry=FOREIGN))
        if self.bounds.state_losses and redis.relayed != LOST and state.epochs < self.bounds.epochs:
            yield "Redis loses the relay's state", state._replace(redis=redis._replace(relayed=LOST))
        if state.failovers < self.bounds.failovers:
            if state.replica is None:
                yield "a replica stops receiving", state._replace(replica=redis)
            else:
                promoted = state._replace(redis=state.replica, replica=None, failovers=state.failovers + 1)
                yield "that replica is promoted", promoted


def _new_epoch(state: State, reached: Point) -> State:
    """No entry has the new epoch's names yet. A fill with a lease of the epoch before has lost the lease."""
    redis = Redis(None, None, reached, epoch=state.epochs + 1, over=state.redis.entry)
    return state._replace(redis=redis, epochs=state.epochs + 1)
