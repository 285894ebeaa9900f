"""How the memory of one process stays coherent, as an explicit-state model for one key. coherence_model.py covers
Redis.

This model assumes that Redis works: a fill from the database is stored at once, and a relay pass is one step. Three
things may be late: the value that a process has read but not yet put into memory, the data on the way to the sidecar
(the replica of Redis that the process reads from), and the pushes on the way to the process. Reads, and loads that
several reads share, are both called loads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

UNREAD = -1
WHATEVER = 0
"""In a signal instead of a version: drop the key, whatever version it has."""


@dataclass(frozen=True)
class Protocol:
    """The defaults are what the code does. Each safeguard can be left out."""

    reservations: Literal["own", "any", "none"] = "own"
    """A load keeps its value if the place that it reserved before it read is still there; if any place is there; or
    always."""
    tracking: Literal["sidecar", "primary"] = "sidecar"
    """The server that pushes. Loads read from the sidecar, or from the primary and the database if the sidecar has
    nothing."""
    signals: Literal["always", "deleted"] = "always"
    """The relay signals every change, or only those for which it deletes an entry."""
    reconnecting_clears: bool = True
    """After a reconnection, memory is empty when trust begins, and loads under way are not kept."""
    deletion_drops: bool = True
    """The signal of a deletion drops the key, whatever version it has."""
    least_version: bool = True
    """A signal with a version also raises the version that loads under way must bring."""
    own_writes_from_primary: bool = True
    """The process does not read its own writes from the sidecar until the sidecar must have caught up."""
    forgets_twice: bool = True
    """The writer forgets its key in memory before it invalidates in Redis, and once more afterwards."""
    joining_ends: bool = True
    """No reader joins a load that began before a change that the process has noticed."""
    epochs_signalled: bool = True
    """A relay that begins an epoch also touches the signal that anything may have changed."""
    answers_say_epoch: bool = True
    """The process asks the pushing server for the epoch. If it is not the epoch that the process uses, it does not
    trust memory."""
    adopting_clears: bool = True
    """A process that changes to another epoch empties its memory, and does not keep loads under way."""
    believed: Literal["primary", "sidecar"] = "primary"
    """The servers from which the process takes the epoch: the primary alone, or the sidecar as well."""


@dataclass(frozen=True)
class Bounds:
    """There is no bound for loads (with a number at a time), fills in Redis, evictions and relay passes."""

    commits: int = 2
    own_writes: int = 0
    """The number of commits that this process makes. None of them is a deletion."""
    loads: int = 2
    stream: int = 2
    """The number of operations by which the sidecar may lag."""
    epochs: int = 0
    """How often the relay begins an epoch, because it does not know what has changed."""
    losses: int = 0
    """How often the connection dies unnoticed."""


class Commit(NamedTuple):
    version: int
    """The version of the row after this commit; 0 if there is no row."""
    deletes: bool


class Signal(NamedTuple):
    version: int
    upto: int
    """The last commit that it covers."""


class Operation(NamedTuple):
    """What the primary sends to the sidecar: the present entry, and a signal."""

    entry: int | None
    """The number of commits that the value contains."""
    signal: Signal | None
    epoch: int = 0


class Load(NamedTuple):
    reserved: bool
    """It holds the place that is in memory now. A place that was taken away does not come back."""
    joinable: bool
    read: int
    asked: int
    """The last write that was acknowledged to any reader that waits for this load."""


class State(NamedTuple):
    commits: tuple[Commit, ...]
    unsent: tuple[int, ...]
    """Commits of other processes whose writers have not invalidated yet."""
    own: tuple[int, Literal["committed", "invalidated"]] | None
    """The commit of this process that is not acknowledged yet, and how far it is."""
    acknowledged: int
    """The last commit that this process has acknowledged."""
    relayed: int
    """The number of commits that the relay has applied."""
    primary: int | None
    sidecar: int | None
    stream: tuple[Operation, ...]
    pushes: tuple[Signal, ...]
    """Pushes on the way from the tracked server to the process."""
    connection: Literal["heard", "dead"]
    losses: int
    heard: int
    """The last commit for which a push came on this connection."""
    memory: int | None
    least: int | None
    """The place reserved in memory: the lowest version that its loads must bring. None if there is no place."""
    loads: tuple[Load, ...]
    broken: bool
    """A client that had written got an answer without its write."""
    epoch: int = 0
    """The epoch of the primary."""
    sidecar_epoch: int = 0
    known_epoch: int = 0
    """The epoch that the process uses."""
    covered: int = 0
    """The last commit when the present epoch began. Every value of this epoch contains it."""


def initial() -> State:
    """A row of version 1, everything else empty."""
    return State((), (), None, 0, 0, None, None, (), (), "heard", 0, 0, None, None, (), broken=False)


def version(commits: tuple[Commit, ...], seen: int) -> int:
    """The version of the row after this number of commits."""
    return commits[seen - 1].version if seen else 1


class Model:
    """The steps that a protocol permits, and the states that must never be reached."""

    def __init__(self, protocol: Protocol, bounds: Bounds) -> None:
        self.protocol = protocol
        self.bounds = bounds

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._commits(state)
        yield from self._own_writes(state)
        yield from self._redis(state)
        yield from self._connection(state)
        yield from self._loads(state)

    # States that must never be reached.

    def stale_for_ever(self, state: State) -> bool:
        """Memory has an old value, and no push is on its way."""
        return (
            state.memory is not None
            and state.memory < len(state.commits) == state.relayed
            and state.connection == "heard"
            and not state.pushes
            and not (self.protocol.answers_say_epoch and state.known_epoch != self._answered_epoch(state))
            and (self.protocol.tracking == "primary" or not state.stream)
        )

    def behind_what_it_heard(self, state: State) -> bool:
        """Memory has a value that lacks a change of which the process got a push."""
        return state.memory is not None and state.memory < state.heard

    def lost_own_write(self, state: State) -> bool:
        """A later read through this process does not show a write that it has acknowledged."""
        return state.broken or (state.memory is not None and state.memory < state.acknowledged)

    # The row, and its writers.

    def _commits(self, state: State) -> Iterator[tuple[str, State]]:
        number = len(state.commits) + 1
        if number <= self.bounds.commits:
            old = version(state.commits, number - 1)
            if number > self.bounds.commits - self.bounds.own_writes:
                if state.own is None and old:
                    commits = (*state.commits, Commit(old + 1, deletes=False))
                    forgotten = self._dropped(state._replace(commits=commits), Signal(WHATEVER, number))
                    yield f"this process commits version {old + 1}", forgotten._replace(own=(number, "committed"))
                return
            changes = [Commit(old + 1, deletes=False)] + ([Commit(0, deletes=True)] if old else [])
            for commit in changes:
                unsent = (*state.unsent, number)
                what = f"version {commit.version}" if commit.version else "a deletion"
                yield f"somebody commits {what}", state._replace(commits=(*state.commits, commit), unsent=unsent)
        if len(state.stream) < self.bounds.stream:
            for sent in state.unsent:
                unsent = tuple(other for other in state.unsent if other != sent)
                told = self._replicated(state._replace(unsent=unsent), Operation(None, Signal(WHATEVER, sent)))
                yield f"the writer of commit {sent} invalidates", told

    def _own_writes(self, state: State) -> Iterator[tuple[str, State]]:
        if state.own is None:
            return
        commit, stage = state.own
        if stage == "committed" and len(state.stream) < self.bounds.stream:
            told = self._replicated(state, Operation(None, Signal(WHATEVER, commit)))
            yield "this process invalidates in Redis", told._replace(own=(commit, "invalidated"))
        elif stage == "invalidated":
            if self.protocol.forgets_twice:
                state = self._dropped(state, Signal(WHATEVER, commit))
            yield "this process acknowledges its write", state._replace(own=None, acknowledged=commit)

    # Redis.

    def _redis(self, state: State) -> Iterator[tuple[str, State]]:
        if len(state.stream) < self.bounds.stream:
            now = len(state.commits)
            if state.primary is None:
                filled = self._replicated(state, Operation(now, None))
                yield f"Redis is filled with version {version(state.commits, now)}", filled
            else:
                yield "Redis evicts the entry", self._replicated(state, Operation(None, None))
            for upto in range(state.relayed + 1, now + 1):
                yield f"the relay deals with what was committed up to {upto}", self._relayed(state, upto)
            if state.epoch < self.bounds.epochs and state.relayed < now:
                begun = state._replace(epoch=state.epoch + 1, relayed=now, covered=now)
                signal = Signal(WHATEVER, now) if self.protocol.epochs_signalled else None
                yield "the relay begins an epoch", self._replicated(begun, Operation(None, signal))
        if state.stream:
            operation, *rest = state.stream
            received = state._replace(sidecar=operation.entry, sidecar_epoch=operation.epoch, stream=tuple(rest))
            if self.protocol.tracking == "sidecar":
                received = _pushed(received, operation.signal)
            yield "the sidecar receives an operation", received

    def _relayed(self, state: State, upto: int) -> State:
        news = state.commits[state.relayed : upto]
        signal = Signal(max(commit.version for commit in news), upto)
        if any(commit.deletes for commit in news):
            signal = signal._replace(version=WHATEVER if self.protocol.deletion_drops else 1)
        entry = state.primary
        if entry is not None and (signal.version <= 1 or version(state.commits, entry) < signal.version):
            entry = None
        silent = self.protocol.signals == "deleted" and entry == state.primary
        return self._replicated(state._replace(relayed=upto), Operation(entry, None if silent else signal))

    def _replicated(self, state: State, operation: Operation) -> State:
        operation = operation._replace(epoch=state.epoch)
        state = state._replace(primary=operation.entry, stream=(*state.stream, operation))
        return _pushed(state, operation.signal) if self.protocol.tracking == "primary" else state

    # The connection on which pushes come.

    def _connection(self, state: State) -> Iterator[tuple[str, State]]:
        if state.pushes:
            signal, *rest = state.pushes
            heard = state._replace(pushes=tuple(rest), heard=max(state.heard, signal.upto))
            what = f"version {signal.version}" if signal.version else "any version"
            yield f"a push is heard, of {what}", self._dropped(heard, signal)
        if state.connection == "heard" and state.losses < self.bounds.losses:
            yield "the connection dies", state._replace(connection="dead", pushes=(), losses=state.losses + 1)
        answered = self._answered_epoch(state)
        if state.connection == "heard" and self.protocol.answers_say_epoch and state.known_epoch != answered:
            if self.protocol.tracking == "primary" or self.protocol.believed == "sidecar":
                yield "an answer brings another epoch", self._adopted(state, answered)
            elif state.memory is not None or state.least is not None:
                yield "an answer says another epoch", _without_place(state._replace(memory=None))
        if state.connection == "dead":
            again = state._replace(connection="heard", heard=0)
            if self.protocol.reconnecting_clears:
                again = _without_place(again._replace(memory=None))
            yield "that is noticed, and another connection made", again

    def _answered_epoch(self, state: State) -> int:
        return state.epoch if self.protocol.tracking == "primary" else state.sidecar_epoch

    def _adopted(self, state: State, epoch: int) -> State:
        """The process changes to the names of this epoch, and assumes that no older value has these names."""
        if epoch == state.epoch:
            state = state._replace(heard=max(state.heard, state.covered))
        state = state._replace(known_epoch=epoch)
        if not self.protocol.adopting_clears:
            return state
        loads = tuple(sorted(load._replace(joinable=False) for load in state.loads))
        return _without_place(state._replace(memory=None, loads=loads))

    def _dropped(self, state: State, signal: Signal) -> State:
        """How the process applies a signal."""
        if self.protocol.joining_ends:
            state = state._replace(loads=tuple(sorted(load._replace(joinable=False) for load in state.loads)))
        if signal.version == WHATEVER:
            return _without_place(state._replace(memory=None))
        if state.memory is not None and version(state.commits, state.memory) < signal.version:
            state = state._replace(memory=None)
        if state.least is not None and self.protocol.least_version:
            state = state._replace(least=max(state.least, signal.version))
        return state

    # Loads.

    def _loads(self, state: State) -> Iterator[tuple[str, State]]:
        if len(state.loads) < self.bounds.loads:
            load = Load(reserved=True, joinable=True, read=UNREAD, asked=state.acknowledged)
            place = 0 if state.least is None else state.least
            yield "a load begins", state._replace(least=place, loads=tuple(sorted((*state.loads, load))))
        for index, load in enumerate(state.loads):
            others = (*state.loads[:index], *state.loads[index + 1 :])
            if load.read == UNREAD and state.known_epoch != state.epoch:
                yield "a load is told another epoch by the primary", self._adopted(state, state.epoch)
            if load.read == UNREAD:
                for server, seen in self._readable(state, load):
                    read = load._replace(read=seen)
                    name = f"a load reads version {version(state.commits, seen)} from {server}"
                    yield name, state._replace(loads=tuple(sorted((*others, read))))
            else:
                yield self._landed(state, load, others)
            if load.joinable and load.asked < state.acknowledged:
                joined = load._replace(asked=state.acknowledged)
                yield "a reader joins a load", state._replace(loads=tuple(sorted((*others, joined))))

    def _readable(self, state: State, load: Load) -> Iterator[tuple[str, int]]:
        # If a sidecar lags for longer than own writes are remembered, `alive` shows that it is not to be trusted.
        lags = any(operation.signal == Signal(WHATEVER, load.asked) for operation in state.stream)
        agrees = state.sidecar_epoch == state.known_epoch
        if state.sidecar is not None and agrees and not (lags and self.protocol.own_writes_from_primary):
            yield "the sidecar", state.sidecar
        if state.primary is not None and state.epoch == state.known_epoch:
            yield "the primary", state.primary
        yield "the database", len(state.commits)

    def _landed(self, state: State, load: Load, others: tuple[Load, ...]) -> tuple[str, State]:
        row = version(state.commits, load.read)
        held = {"own": load.reserved, "any": state.least is not None, "none": True}[self.protocol.reservations]
        put = held and row >= (state.least or 0)
        landed = state._replace(loads=others, broken=state.broken or load.read < load.asked)
        if put:
            landed = landed._replace(memory=load.read)
        if not any(other.reserved for other in others):
            landed = landed._replace(least=None)
        return f"version {row} is {'put into memory' if put else 'not put into memory'}", landed


def _pushed(state: State, signal: Signal | None) -> State:
    if signal is None or state.connection == "dead":
        return state
    return state._replace(pushes=(*state.pushes, signal))


def _without_place(state: State) -> State:
    return state._replace(least=None, loads=tuple(sorted(load._replace(reserved=False) for load in state.loads)))
