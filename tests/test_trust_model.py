"""Two seconds after a change nobody serves what was there before, whatever is late or dies. `pytest -s` shows how."""

from functools import cache

import pytest
from tests.state_space import Exploration, explore
from tests.trust_model import ALIVE, PROMISED, TICK, TRUST, Bounds, Model, Protocol, State, initial

from evenkeel.cache import relay, tracking

AS_IT_IS = Protocol()

# What one test has explored the others use.
pytestmark = pytest.mark.xdist_group("trust model")


def test_it_has_the_times_of_the_code() -> None:
    assert (ALIVE * TICK, TRUST * TICK, PROMISED * TICK) == (relay.ALIVE, tracking.TRUST, 2.0)


@cache
def violations(bounds: Bounds) -> Exploration[State]:
    """Of a bound that is tighter than what is promised: the lifetime of `alive`."""
    model = Model(AS_IT_IS, bounds)
    return explore(initial(), model.steps, lambda state: model.stale_for(state, ALIVE))


REDIS = Bounds(memory=False)
TWO_RELAYS = Bounds(memory=False, relays=2, failovers=1)
MEMORY = Bounds()


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(TWO_RELAYS, id="Redis: two relays, failover", marks=pytest.mark.slow),
        pytest.param(MEMORY, id="memory"),
    ],
)
def test_nothing_old_is_served_for_longer_than_alive_lives(bounds: Bounds) -> None:
    exploration = violations(bounds)
    exploration.show()
    assert exploration.found is None
    assert exploration.states > 100_000


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
        pytest.param(Protocol(trust_from="answer"), MEMORY, id="counting from the question", marks=pytest.mark.slow),
        pytest.param(Protocol(within_alive=False), MEMORY, id="ending with alive"),
        pytest.param(Protocol(answers_in_order=False), MEMORY, id="answers after the pushes", marks=pytest.mark.slow),
    ],
)
def test_the_promise_is_broken_without(without: Protocol, bounds: Bounds) -> None:
    model = Model(without, bounds)
    exploration = explore(initial(), model.steps, model.breaks_promise)
    exploration.show()
    assert exploration.found is not None
    assert violations(bounds).found is None
