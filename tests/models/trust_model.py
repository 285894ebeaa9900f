"""How long an old value can be served as fresh, as an explicit-state model with clocks.

One row changes once, and its writer dies before it invalidates. Then only two things help: the relay, and trust that
ends. Trust in Redis ends with `alive`. Trust in memory ends unless answers to the process's questions renew it. Every
command and answer may take any time, because its sender, its receiver or Redis may be frozen. So any step may come
after any other step, or after any tick of the clock.

For a while the table may be in doubt. Changes are not logged then. Either its triggers are off, which the fingerprint
in the relay's state shows afterwards as well. Or it has a child, which the fingerprint need not show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

TICK = 0.25
"""Seconds."""

ALIVE = 6
"""Redis is trusted for this many ticks after a look at the log."""

TRUST = 4
"""An answer lets memory be trusted until this many ticks after the question."""

PROMISED = 8
"""This many ticks after a commit, no reader gets the old value as fresh any more."""

NEVER = -1


@dataclass(frozen=True)
class Protocol:
    """The defaults are what the code does. Each safeguard can be left out."""

    alive_from: Literal["before the look", "the script"] = "before the look"
    """The moment from which a look at the log lets Redis be trusted. It is Redis' time before the look. The alternative
    is the time of the script, which an expiry given as a duration would mean."""
    moved_only: bool = True
    """A relay that finds another state than it began with does not prolong trust."""
    trust_from: Literal["question", "answer"] = "question"
    """The moment from which an answer lets memory be trusted."""
    within_alive: bool = True
    """Memory is not trusted for longer than `alive` still lives according to the answer."""
    doubt_distrusts: bool = True
    """If a look finds the table in doubt, it ends trust and gives none."""
    doubt_is_noted: bool = True
    """The doubt is noted beside the state. The first look after it forgets everything, whatever the fingerprint says.
    """
    doubt_is_compared: bool = True
    """If a relay finds a note that was not there when it began, it gives no trust, and leaves the note."""
    fingerprint: bool = True
    """If a look finds another fingerprint than that of the state, it forgets everything."""
    answers_in_order: bool = True
    """Questions use the connection on which pushes come. So an answer proves that earlier pushes were read."""


@dataclass(frozen=True)
class Bounds:
    relays: int = 1
    failovers: int = 0
    memory: bool = True
    doubts: Sequence[Literal["triggers", "child"]] = ()
    """How the table may get into doubt, once. A child is not dropped before a look has seen it."""
    coarse: bool = False
    """The clock advances by two ticks. Then a state that lasts one tick too long may not be found."""


class Server(NamedTuple):
    """A Redis server."""

    alive: int
    """Ticks until `alive` expires."""
    relayed: bool
    """The relay's state contains the change, and the old entry is gone."""
    fingerprint: int = 0
    """The fingerprint in the relay's state."""
    doubt: bool = False
    """The state has a note that the table was in doubt."""


class Table(NamedTuple):
    doubt: Literal["", "triggers", "child"] = ""
    doubted: bool = False
    seen: bool = False
    """A look has seen the doubt."""
    fingerprint: int = 0
    logged: bool = False
    """Whether the triggers were on when the change was made."""


class Pass(NamedTuple):
    """A relay between its claim and its script."""

    age: int
    """Ticks since the moment from which its trust counts."""
    known: Server
    """The state with which it began."""
    looked: bool
    committed: bool
    """Whether the row had already been changed when it looked."""
    table: Table
    """The table when it looked."""


class State(NamedTuple):
    age: int
    """Ticks since the commit; NEVER before it."""
    redis: Server
    replica: Server | None
    """A replica that no longer receives data. It may serve readers, and may be promoted."""
    failovers: int
    passes: tuple[Pass, ...]
    asked: int
    """Ticks since the open question was sent; NEVER if there is none."""
    arriving: tuple[int, ...]
    """On the way to the process, the first one first: an answer (ticks that `alive` had left), or NEVER for a push."""
    old: bool
    """Memory has the old value."""
    trust: int
    """Ticks until memory is no longer trusted."""
    table: Table = Table()


def initial() -> State:
    """The old value is everywhere, and nothing is trusted yet."""
    return State(NEVER, Server(0, relayed=False), None, 0, (), NEVER, (), old=True, trust=0)


class Model:
    """The steps that a protocol permits, and the states that must never be reached."""

    def __init__(self, protocol: Protocol, bounds: Bounds) -> None:
        self.protocol = protocol
        self.bounds = bounds

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        if state.age < PROMISED:
            yield "the clock ticks", _ticked(_ticked(state)) if self.bounds.coarse else _ticked(state)
        if state.age == NEVER:
            yield "the row is changed", state._replace(age=0, table=state.table._replace(logged=not state.table.doubt))
        yield from self._doubts(state)
        yield from self._relays(state)
        yield from self._replication(state)
        if self.bounds.memory:
            yield from self._memory(state)

    # States that must never be reached.

    def stale_for(self, state: State, ticks: int) -> bool:
        """After this time since the commit, a reader may get the old value as fresh."""
        return state.age >= ticks and self._serves_old(state)

    def breaks_promise(self, state: State) -> bool:
        return self.stale_for(state, PROMISED)

    def _serves_old(self, state: State) -> bool:
        servers = [state.redis] if state.replica is None else [state.redis, state.replica]
        return any(server.alive > 0 and not server.relayed for server in servers) or (state.old and state.trust > 0)

    # The table.

    def _doubts(self, state: State) -> Iterator[tuple[str, State]]:
        table = state.table
        if not table.doubted:
            for doubt in self.bounds.doubts:
                what = "the triggers are switched off" if doubt == "triggers" else "the table gets a child"
                yield what, state._replace(table=table._replace(doubt=doubt, doubted=True))
        elif table.doubt == "triggers":
            again = table._replace(doubt="", fingerprint=table.fingerprint + 1)
            yield "the triggers are switched on again", state._replace(table=again)
        elif table.doubt == "child" and table.seen:
            yield "the child is dropped", state._replace(table=table._replace(doubt=""))

    # The relay.

    def _relays(self, state: State) -> Iterator[tuple[str, State]]:
        if len(state.passes) < self.bounds.relays:
            claim = Pass(0, state.redis._replace(alive=0), looked=False, committed=False, table=Table())
            yield "a relay reads the state and the time from Redis", _with_passes(state, (*state.passes, claim))
        for place, relay in enumerate(state.passes):
            others = (*state.passes[:place], *state.passes[place + 1 :])
            if not relay.looked:
                if relay.age:  # as after a look that found nothing: the state of then is not read again
                    yield "it reads the time again", _with_passes(state, (*others, relay._replace(age=0)))
                looked = relay._replace(looked=True, committed=state.age != NEVER, table=state.table)
                has = "which has" if looked.committed and looked.table.logged else "without"
                name = f"it looks at the log, {has} the change"
                yield name, _with_passes(state, (*others, looked))
            else:
                yield "its script runs", self._applied(_with_passes(state, others), relay)
            yield "a relay dies", _with_passes(state, others)

    def _applied(self, state: State, relay: Pass) -> State:
        redis, known, table = state.redis, relay.known, relay.table
        if table.doubt and self.protocol.doubt_distrusts:
            redis = redis._replace(alive=0, doubt=self.protocol.doubt_is_noted)
            return state._replace(redis=redis, table=state.table._replace(seen=True))
        moved = (redis.relayed, redis.fingerprint) == (known.relayed, known.fingerprint)
        if self.protocol.doubt_is_compared:
            moved = moved and redis.doubt == known.doubt
        altered = self.protocol.fingerprint and table.fingerprint != known.fingerprint
        if known.doubt or altered:
            # Another epoch: values of the one before are no longer served.
            news = moved
            if moved:
                redis = redis._replace(relayed=relay.committed, fingerprint=table.fingerprint, doubt=False)
        else:
            sees = known.relayed or (relay.committed and table.logged)
            news = sees and not known.relayed
            if moved:
                redis = redis._replace(relayed=sees, fingerprint=table.fingerprint)
            elif news:
                redis = redis._replace(relayed=True)
        arriving = state.arriving
        if news and arriving[-1:] != (NEVER,):
            arriving = (*arriving, NEVER)
        if moved or not self.protocol.moved_only:
            left = ALIVE - (0 if self.protocol.alive_from == "the script" else relay.age)
            redis = redis._replace(alive=left) if left > 0 else redis
        return state._replace(redis=redis, arriving=arriving if self.bounds.memory else ())

    # Replicas of Redis.

    def _replication(self, state: State) -> Iterator[tuple[str, State]]:
        if state.failovers < self.bounds.failovers:
            if state.replica is None:
                yield "a replica stops receiving", state._replace(replica=state.redis)
            else:
                # The process notices this, because its connection ends.
                failed = state._replace(redis=state.replica, replica=None, failovers=state.failovers + 1)
                yield "that replica is promoted", _disconnected(failed)

    # Memory in one process.

    def _memory(self, state: State) -> Iterator[tuple[str, State]]:
        if state.asked == NEVER:
            yield "the process asks how long alive has left", state._replace(asked=0)
        elif not any(message != NEVER for message in state.arriving):
            answer = (*state.arriving, state.redis.alive)
            if not self.protocol.answers_in_order:
                yield "Redis answers, ahead of its pushes", state._replace(arriving=(answer[-1], *answer[:-1]))
            yield "Redis answers", state._replace(arriving=answer)
        if state.arriving:
            message, *rest = state.arriving
            left = state._replace(arriving=tuple(rest))
            if message == NEVER:
                yield "the process reads a push", left._replace(old=False)
            else:
                yield "the process reads an answer", self._answered(left, message)
        if state.trust > 0 and not state.old and state.redis.alive > 0 and not state.redis.relayed:
            yield "the process fills memory from Redis", state._replace(old=True)
        yield "the connection is lost", _disconnected(state)

    def _answered(self, state: State, alive: int) -> State:
        since = state.asked if self.protocol.trust_from == "question" else 0
        until = min(TRUST, alive) if self.protocol.within_alive else TRUST * (alive > 0)
        trust = max(0, until - since)
        # When trust begins again, memory is empty.
        return state._replace(asked=NEVER, trust=trust, old=state.old and state.trust > 0)


def _ticked(state: State) -> State:
    return state._replace(
        age=state.age + (state.age != NEVER),
        redis=_later(state.redis),
        replica=state.replica and _later(state.replica),
        passes=tuple(relay._replace(age=min(ALIVE, relay.age + 1)) for relay in state.passes),
        asked=min(TRUST, state.asked + (state.asked != NEVER)),
        trust=max(0, state.trust - 1),
    )


def _later(server: Server) -> Server:
    return server._replace(alive=max(0, server.alive - 1))


def _with_passes(state: State, passes: tuple[Pass, ...]) -> State:
    return state._replace(passes=tuple(sorted(passes)))


def _disconnected(state: State) -> State:
    return state._replace(asked=NEVER, arriving=(), old=False, trust=0)
