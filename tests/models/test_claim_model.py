"""Slow relays do not take the claim from each other for ever. `pytest -s` shows how they would without safeguards."""

import pytest
from tests.models.claim_model import ALIVE, CHUNKS_END, CLAIM, LONGEST, STANDBY, TICK, WELL, Model, Protocol, State
from tests.models.state_space import explore

from evenkeel.cache import change_log, relay

BOUND = 20
"""Ticks without trust: one pass that is too late, one that it has delayed, and one that finds nothing new."""


def test_it_has_the_times_of_the_code() -> None:
    assert (CLAIM * TICK, ALIVE * TICK) == (relay.CLAIM, relay.ALIVE)
    assert pytest.approx(relay.CHUNKS_END, abs=TICK / 2) == CHUNKS_END * TICK
    assert WELL * TICK == relay.WELL > relay.ALIVE - relay.CLAIM
    assert STANDBY * TICK >= relay.STANDBY_INTERVAL
    assert change_log.LOOK_LIMIT > TICK


def test_trust_returns() -> None:
    model = Model(Protocol())
    exploration = explore(State(), model.steps, lambda state: model.untrusted_for(state, BOUND))
    exploration.show()
    assert exploration.found is None
    assert exploration.states > 1_000


def test_it_may_never_return_where_unfinished_changes_are_begun_anew() -> None:
    model = Model(Protocol(unfinished="begun anew"))
    exploration = explore(State(), model.steps, lambda state: model.untrusted_for(state, LONGEST))
    exploration.show()
    assert exploration.found is not None
    assert sum("is applied" in step for step in exploration.trace) > 3


def test_nobody_interrupts_chunks_that_could_give_trust() -> None:
    model = Model(Protocol())
    assert explore(State(), model.steps, model.interrupted).found is None


def test_they_are_interrupted_where_the_claim_ends_before_trust() -> None:
    model = Model(Protocol(claim_in_run=CLAIM))
    exploration = explore(State(), model.steps, model.interrupted)
    exploration.show()
    assert exploration.found is not None
