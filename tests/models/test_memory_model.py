"""In every order of events, process memory keeps no value whose invalidation it must have got. `pytest -s` shows the
traces.
"""

from functools import cache
from typing import Literal

import pytest
from tests.models.memory_model import Bounds, Model, Protocol, State, initial
from tests.models.state_space import Exploration, explore

AS_IT_IS = Protocol()

# Tests share the state spaces that they have explored.
pytestmark = pytest.mark.xdist_group("memory model")


@cache
def violations(bounds: Bounds) -> Exploration[State]:
    """Any of the states that must never be reached."""
    model = Model(AS_IT_IS, bounds)
    return explore(
        initial(),
        model.steps,
        lambda state: model.stale_for_ever(state) or model.behind_what_it_heard(state) or model.lost_own_write(state),
    )


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(Bounds(loads=1), id="two changes", marks=pytest.mark.slow),
        pytest.param(Bounds(loads=1, own_writes=1), id="two changes, one of them its own", marks=pytest.mark.slow),
        pytest.param(Bounds(commits=1, losses=1), id="lost connection", marks=pytest.mark.slow),
        pytest.param(Bounds(commits=1, epochs=1), id="an epoch"),
        pytest.param(Bounds(commits=1, epochs=1, own_writes=1), id="an epoch, its own change", marks=pytest.mark.slow),
        pytest.param(
            Bounds(commits=1, own_writes=1, losses=1, stream=3),
            id="lost connection, its own change",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_nothing_goes_wrong(bounds: Bounds) -> None:
    exploration = violations(bounds)
    exploration.show()
    assert exploration.found is None
    assert exploration.states > 10_000


FOREIGN = Bounds(commits=1)
OWN = Bounds(commits=1, own_writes=1)
EPOCH = Bounds(commits=1, epochs=1)


@pytest.mark.parametrize(
    ("without", "bounds", "violation", "steps"),
    [
        pytest.param(Protocol(reservations="none"), FOREIGN, "stale_for_ever", 7, id="reservations"),
        pytest.param(Protocol(reservations="any"), FOREIGN, "stale_for_ever", 8, id="reservations of one's own"),
        pytest.param(Protocol(tracking="primary"), FOREIGN, "stale_for_ever", 8, id="tracking where reads go"),
        pytest.param(Protocol(signals="deleted"), FOREIGN, "stale_for_ever", 6, id="signals for what Redis has not"),
        pytest.param(Protocol(deletion_drops=False), FOREIGN, "stale_for_ever", 7, id="deletions drop any version"),
        pytest.param(Protocol(least_version=False), FOREIGN, "stale_for_ever", 7, id="a least version for loads"),
        pytest.param(
            Protocol(reconnecting_clears=False), Bounds(commits=1, losses=1), "stale_for_ever", 8, id="an empty start"
        ),
        pytest.param(
            Protocol(epochs_signalled=False, answers_say_epoch=False), EPOCH, "stale_for_ever", 6, id="word of an epoch"
        ),
        pytest.param(
            Protocol(adopting_clears=False), EPOCH, "behind_what_it_heard", 7, id="an empty start of an epoch"
        ),
        pytest.param(Protocol(believed="sidecar"), EPOCH, "behind_what_it_heard", 10, id="the primary's epoch alone"),
        pytest.param(Protocol(own_writes_from_primary=False), OWN, "lost_own_write", 8, id="own writes from primary"),
        pytest.param(Protocol(forgets_twice=False), OWN, "lost_own_write", 7, id="forgetting after Redis has"),
        pytest.param(Protocol(joining_ends=False), OWN, "lost_own_write", 7, id="an end to joining"),
    ],
)
def test_goes_wrong_without(
    without: Protocol,
    bounds: Bounds,
    violation: Literal["stale_for_ever", "behind_what_it_heard", "lost_own_write"],
    steps: int,
) -> None:
    model = Model(without, bounds)
    exploration = explore(initial(), model.steps, getattr(model, violation))
    exploration.show()
    assert exploration.found is not None
    assert len(exploration.trace) == steps
    assert violations(bounds).found is None
