"""Two seconds after a change the old value is not served, whatever is late or dies. `pytest -s` shows the traces."""

from functools import cache

import pytest
from tests.models.state_space import Exploration, explore
from tests.models.trust_model import ALIVE, PROMISED, TICK, TRUST, Bounds, Model, Protocol, State, initial

from evenkeel.cache import relay, tracking

AS_IT_IS = Protocol()

# Tests share the state spaces that they have explored.
pytestmark = pytest.mark.xdist_group("trust model")


def test_it_has_the_times_of_the_code() -> None:
    assert (ALIVE * TICK, TRUST * TICK, PROMISED * TICK) == (relay.ALIVE, tracking.TRUST, 2.0)


@cache
def violations(bounds: Bounds) -> Exploration[State]:
    """A tighter bound than the promise: the lifetime of `alive`."""
    model = Model(AS_IT_IS, bounds)
    return explore(initial(), model.steps, lambda state: model.stale_for(state, ALIVE))


REDIS = Bounds(memory=False)
TWO_RELAYS = Bounds(memory=False, relays=2, failovers=1)
MEMORY = Bounds()
QUICK = Bounds(coarse=True)
DOUBT = Bounds(memory=False, doubts=("triggers", "child"), coarse=True)
TWO_DOUBTS = Bounds(memory=False, relays=2, doubts=("child",), coarse=True)


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(TWO_RELAYS, id="Redis: two relays, failover", marks=pytest.mark.slow),
        pytest.param(MEMORY, id="memory", marks=pytest.mark.slow),
        pytest.param(QUICK, id="memory, by half seconds"),
        pytest.param(DOUBT, id="Redis: a table in doubt"),
        pytest.param(TWO_DOUBTS, id="Redis: a table in doubt, two relays"),
    ],
)
def test_nothing_old_is_served_for_longer_than_alive_lives(bounds: Bounds) -> None:
    exploration = violations(bounds)
    exploration.show()
    assert exploration.found is None
    assert exploration.states > 1_000


def test_that_bound_is_reached() -> None:
    model = Model(AS_IT_IS, REDIS)
    assert explore(initial(), model.steps, lambda state: model.stale_for(state, ALIVE - 1)).found is not None


@pytest.mark.parametrize(
    ("without", "bounds"),
    [
        pytest.param(Protocol(alive_from="the script"), REDIS, id="counting from before the look"),
        pytest.param(
            Protocol(moved_only=False), TWO_RELAYS, id="prolonging only with the state", marks=pytest.mark.slow
        ),
        pytest.param(Protocol(doubt_distrusts=False), DOUBT, id="distrust while the table is in doubt"),
        pytest.param(Protocol(doubt_is_noted=False), DOUBT, id="a note that it was"),
        pytest.param(Protocol(fingerprint=False), DOUBT, id="the fingerprint"),
        pytest.param(Protocol(doubt_is_compared=False), TWO_DOUBTS, id="comparing the note"),
        pytest.param(Protocol(trust_from="answer"), MEMORY, id="counting from the question", marks=pytest.mark.slow),
        pytest.param(Protocol(within_alive=False), MEMORY, id="ending with alive", marks=pytest.mark.slow),
        pytest.param(Protocol(answers_in_order=False), MEMORY, id="answers after the pushes", marks=pytest.mark.slow),
    ],
)
def test_the_promise_is_broken_without(without: Protocol, bounds: Bounds) -> None:
    model = Model(without, bounds)
    exploration = explore(initial(), model.steps, model.breaks_promise)
    exploration.show()
    assert exploration.found is not None
    assert violations(bounds).found is None


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(Protocol(trust_from="answer"), id="counting from the question"),
        pytest.param(Protocol(within_alive=False), id="ending with alive"),
        pytest.param(Protocol(answers_in_order=False), id="answers after the pushes"),
    ],
)
def test_memory_outlives_alive_without(without: Protocol) -> None:
    model = Model(without, QUICK)
    exploration = explore(initial(), model.steps, lambda state: model.stale_for(state, ALIVE))
    exploration.show()
    assert exploration.found is not None
    assert violations(QUICK).found is None
