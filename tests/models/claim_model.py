"""How long nothing is trusted while relays are slow, as an explicit-state model with clocks.

The log holds more changes than one script deletes. Two relays live on, and each takes up to SLOWEST ticks for a script:
so slow that chunks outlast the claim. What they may delete is coherence_model.py's business; here it is whether any of
them comes to an end, and gives trust back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

TICK = 0.25
"""Seconds."""

CLAIM = 4
ALIVE = 6
CHUNKS_END = 5
"""Ticks after a pass began until which its changes are applied one by one."""

CHUNKS = 3
"""Scripts that the changes take."""

STANDBY = 1
"""Ticks between two tries to take over."""

LOOK = 2
SLOWEST = 3
"""Ticks that a look, and a script, may take."""

NOBODY = -1
UNTOUCHED, DONE = (NOBODY, 0), (NOBODY, CHUNKS)
"""States of which no chunk, and every change, has been applied; others are the relay and the chunks that it applied."""

LONGEST = 24
"""Ticks without trust up to which they are counted."""


@dataclass(frozen=True)
class Protocol:
    """The defaults are what the code does. Each safeguard can be given up."""

    unfinished: Literal["forgotten", "begun anew"] = "forgotten"
    """What becomes of changes of which somebody has applied a part."""
    claim_in_run: int = ALIVE
    """Ticks after its pass began until which each chunk renews the claim."""


class Relay(NamedTuple):
    phase: Literal["standing by", "looking", "chunks", "epoch", "no change"] = "standing by"
    since: int = 0
    """Ticks since the last step."""
    age: int = 0
    """Ticks since it asked for the claim."""
    known: tuple[int, int] = UNTOUCHED
    applied: int = 0
    in_time: bool = False
    """Its first chunk came when nobody else had the claim."""


class State(NamedTuple):
    relays: tuple[Relay, Relay] = (Relay(), Relay())
    owner: int = NOBODY
    claim: int = 0
    """Ticks until it ends."""
    applied: tuple[int, int] = UNTOUCHED
    """By the state in Redis."""
    alive: int = ALIVE - 1
    untrusted: int = 0
    """Ticks without trust."""


class Model:
    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        if state.applied == DONE and state.alive:
            return  # what was to be shown
        if state.untrusted < LONGEST and all(relay.since < _limit(relay) for relay in state.relays):
            yield "the clock ticks", _ticked(state)
        for who in range(len(state.relays)):
            yield self._step(state, who)

    def untrusted_for(self, state: State, ticks: int) -> bool:
        return state.untrusted >= ticks

    def interrupted(self, state: State) -> bool:
        """Somebody has come between a relay's chunks while they could still give trust."""
        return any(
            relay.phase == "chunks" and relay.in_time and relay.age < ALIVE and state.applied != relay.known
            for relay in state.relays
        )

    def _step(self, state: State, who: int) -> tuple[str, State]:
        relay, name = state.relays[who], "AB"[who]
        if relay.phase == "standing by":
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
