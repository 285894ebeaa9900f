"""For how long nothing is trusted while relays are slow, as an explicit-state model with clocks.

The log holds more changes than one script deletes. Two relays stay alive, and each takes up to SLOWEST ticks for a
script. So a claim may end before the chunks do. coherence_model.py covers which keys are deleted. This model covers
whether any relay finishes and restores trust.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

TICK = 0.25
"""Seconds."""

CLAIM = 4
ALIVE = 6
CHUNKS_END = 5
"""A pass applies its changes one by one until this many ticks after it began."""

CHUNKS = 3
"""Scripts that the changes need."""

STANDBY = 1
"""Ticks between two attempts to take over."""

WELL = 4
"""Relays that stand by do not try to take over while `alive` lives for at least this many ticks."""

LOOK = 2
SLOWEST = 3
"""The most ticks that a look, and a script, may take."""

NOBODY = -1
UNTOUCHED, DONE = (NOBODY, 0), (NOBODY, CHUNKS)
"""States in which no chunk, and in which every change, has been applied. Any other state is the relay and the number of
chunks that it applied."""

LONGEST = 24
"""Ticks without trust are counted up to this number."""


@dataclass(frozen=True)
class Protocol:
    """The defaults are what the code does. Each safeguard can be left out."""

    unfinished: Literal["forgotten", "begun anew"] = "forgotten"
    """What the next relay does with changes of which another one has applied a part."""
    well: int = WELL
    """With so many ticks of `alive` left, a relay that stands by does not try to take over."""
    claim_in_run: int = ALIVE
    """A chunk renews the claim until this many ticks after its pass began."""


class Relay(NamedTuple):
    phase: Literal["standing by", "looking", "chunks", "epoch", "no change"] = "standing by"
    since: int = 0
    """Ticks since the relay's last step."""
    age: int = 0
    """Ticks since the relay asked for the claim."""
    known: tuple[int, int] = UNTOUCHED
    applied: int = 0
    in_time: bool = False
    """No other relay had the claim when its first chunk came."""


class State(NamedTuple):
    relays: tuple[Relay, Relay] = (Relay(), Relay())
    owner: int = NOBODY
    claim: int = 0
    """Ticks until the claim ends."""
    applied: tuple[int, int] = UNTOUCHED
    """According to the state in Redis."""
    alive: int = ALIVE - 1
    untrusted: int = 0
    """Ticks without trust."""


class Model:
    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        if state.applied == DONE and state.alive:
            return  # the end that the model looks for
        if state.untrusted < LONGEST and all(relay.since < _limit(relay) for relay in state.relays):
            yield "the clock ticks", _ticked(state)
        for who in range(len(state.relays)):
            yield self._step(state, who)

    def untrusted_for(self, state: State, ticks: int) -> bool:
        return state.untrusted >= ticks

    def interrupted(self, state: State) -> bool:
        """A relay's chunks could still give trust when the other relay interfered."""
        return any(
            relay.phase == "chunks" and relay.in_time and relay.age < ALIVE and state.applied != relay.known
            for relay in state.relays
        )

    def _step(self, state: State, who: int) -> tuple[str, State]:
        relay, name = state.relays[who], "AB"[who]
        if relay.phase == "standing by":
            if state.alive >= self.protocol.well:
                return f"{name} sees that trust lives", _with(state, who, relay._replace(since=0))
            if state.owner not in {who, NOBODY}:
                return f"{name} does not get the claim", _with(state, who, relay._replace(since=0))
            claimed = state._replace(owner=who, claim=CLAIM)
            return f"{name} claims", _with(claimed, who, Relay("looking", known=state.applied))
        if relay.phase == "looking":
            return f"{name} looks at the log", _with(state, who, self._looked(relay))
        moved = state.applied == relay.known
        if relay.phase == "chunks" and moved and relay.applied + 1 < CHUNKS:
            if not relay.applied:
                relay = relay._replace(in_time=state.owner in {who, NOBODY})
            state = self._renewed(state, who, self.protocol.claim_in_run - relay.age)
            applied = (who, relay.applied + 1)
            relay = relay._replace(since=0, known=applied, applied=relay.applied + 1)
            if relay.age >= CHUNKS_END:
                relay = relay._replace(phase="epoch")
            return f"{name}'s chunk is applied", _with(state._replace(applied=applied), who, relay)
        if moved:
            state = self._renewed(state, who, CLAIM - relay.age)
            state = state._replace(applied=DONE, alive=max(state.alive, ALIVE - relay.age))
        what = {"chunks": "last chunk", "epoch": "epoch"}.get(relay.phase, "word of no change")
        return f"{name}'s {what} is {'applied' if moved else 'refused'}", _with(state, who, Relay())

    def _looked(self, relay: Relay) -> Relay:
        relay = relay._replace(since=0)
        if relay.known == DONE:
            return relay._replace(phase="no change")
        if relay.known != UNTOUCHED and self.protocol.unfinished == "forgotten":
            return relay._replace(phase="epoch")
        return relay._replace(phase="chunks")

    def _renewed(self, state: State, who: int, ticks: int) -> State:
        if state.owner not in {who, NOBODY}:
            return state
        return state._replace(owner=who if ticks > 0 else NOBODY, claim=max(0, ticks))


def _limit(relay: Relay) -> int:
    return {"standing by": STANDBY, "looking": LOOK}.get(relay.phase, SLOWEST)


def _with(state: State, who: int, relay: Relay) -> State:
    relays = (relay, state.relays[1]) if who == 0 else (state.relays[0], relay)
    return state._replace(relays=relays)


def _ticked(state: State) -> State:
    first, second = (
        relay._replace(since=relay.since + 1, age=min(ALIVE, relay.age + (relay.phase != "standing by")))
        for relay in state.relays
    )
    claim = max(0, state.claim - 1)
    return state._replace(
        relays=(first, second),
        owner=state.owner if claim else NOBODY,
        claim=claim,
        alive=max(0, state.alive - 1),
        untrusted=state.untrusted + (state.alive <= 1),
    )
