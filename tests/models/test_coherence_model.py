"""The cache's protocol holds in every order of events, and needs each of its safeguards. `pytest -s` shows traces."""

from functools import cache

import pytest
from tests.models.coherence_model import Bounds, Model, Protocol
from tests.models.coherence_state import State, initial
from tests.models.state_space import Exploration, explore

AS_IT_IS = Protocol()


@cache
def violations(protocol: Protocol, bounds: Bounds) -> Exploration[State]:
    """Any of the states that must never be reached."""
    model = Model(protocol, bounds)
    return explore(
        initial(fills=bounds.fills),
        model.steps,
        lambda state: (
            model.stale_for_ever(state) or model.behind_its_state(state) or model.lost_acknowledged_write(state)
        ),
    )


@pytest.mark.parametrize(
    ("protocol", "bounds"),
    [
        pytest.param(AS_IT_IS, Bounds(), id="two fills at a time", marks=pytest.mark.slow),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=3, fills=1, writers=False),
            id="three transactions",
            marks=pytest.mark.slow,
        ),
        pytest.param(AS_IT_IS, Bounds(fills=1, relays=2, writers=False), id="two relays", marks=pytest.mark.slow),
        pytest.param(AS_IT_IS, Bounds(fills=1, failovers=1, writers=False), id="failover", marks=pytest.mark.slow),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=1, failovers=1),
            id="failover, two fills at a time",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            AS_IT_IS, Bounds(transactions=1, fills=1, relays=2, failovers=1, writers=False), id="failover, two relays"
        ),
        pytest.param(AS_IT_IS, Bounds(transactions=1, fills=1, failovers=2, writers=False), id="two failovers"),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=1, fills=1, relays=2, state_losses=True, writers=False),
            id="epochs, two relays",
        ),
        pytest.param(AS_IT_IS, Bounds(transactions=1, fills=1, state_losses=True, epochs=2), id="two epochs"),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=1, by_hand=1),
            id="an epoch by hand, two fills at a time",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=1, fills=1, by_hand=1, failovers=1, writers=False),
            id="an epoch, failover",
            marks=pytest.mark.slow,
        ),
        pytest.param(AS_IT_IS, Bounds(transactions=1, fills=1, swaps=1, writers=False), id="another database and back"),
        pytest.param(
            Protocol(scripts="chained"),
            Bounds(transactions=1, fills=1, failovers=1, writers=False),
            id="chain",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Protocol(scripts="chained"),
            Bounds(transactions=1, fills=1, relays=2, writers=False),
            id="two chains",
            marks=pytest.mark.slow,
        ),
        pytest.param(AS_IT_IS, Bounds(transactions=1, fills=1, ranges=1, writers=False), id="a range"),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=1, fills=1, ranges=1, failovers=1, writers=False),
            id="a range, failover",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            AS_IT_IS,
            Bounds(transactions=1, fills=1, ranges=1, relays=2, writers=False),
            id="a range, two relays",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Protocol(inserts_log="deletion"), Bounds(fills=1, inserted_version=0, writers=False), id="inserted version"
        ),
    ],
)
def test_nothing_goes_wrong(protocol: Protocol, bounds: Bounds) -> None:
    exploration = violations(protocol, bounds)
    exploration.show()
    assert exploration.found is None
    assert exploration.states > 2_000


ONE_FILL = Bounds(transactions=1, fills=1, writers=False)
TWO_FILLS = Bounds(transactions=1, fills=2, writers=False)
TWO_TRANSACTIONS = Bounds(transactions=2, fills=1, writers=False)
FAILOVER = Bounds(transactions=1, fills=1, failovers=1, writers=False)
RANGE = Bounds(transactions=1, fills=1, ranges=1, writers=False)
EPOCH = Bounds(transactions=1, fills=1, state_losses=True, writers=False)


@pytest.mark.parametrize(
    ("without", "bounds", "steps"),
    [
        pytest.param(Protocol(lease_for="client"), TWO_FILLS, 8, id="a lease for each fill"),
        pytest.param(Protocol(lease_sent="again"), ONE_FILL, 8, id="a lease's command sent once"),
        pytest.param(Protocol(lease_first=False), ONE_FILL, 7, id="the lease before the read"),
        pytest.param(Protocol(fills="version"), ONE_FILL, 6, id="leases"),
        pytest.param(Protocol(relay_and_lease="leave"), ONE_FILL, 7, id="the relay's word to leases"),
        pytest.param(
            Protocol(writer_takes_lease=False, relay_and_lease="leave"), ONE_FILL, 7, id="invalidating leases at all"
        ),
        pytest.param(Protocol(deletion_takes_entry=False), ONE_FILL, 7, id="deletions take any version"),
        pytest.param(Protocol(deletion_takes_lease=False), ONE_FILL, 7, id="deletions take the lease"),
        pytest.param(Protocol(relay=False), ONE_FILL, 5, id="the relay"),
        pytest.param(Protocol(state_is="last id"), TWO_TRANSACTIONS, 9, id="open transactions are remembered"),
        pytest.param(Protocol(state_in="postgresql"), FAILOVER, 9, id="the state in Redis"),
        pytest.param(
            Protocol(compare_and_set=False),
            Bounds(fills=1, failovers=1, writers=False),
            12,
            id="compare-and-set of the state",
            marks=pytest.mark.slow,
        ),
        pytest.param(Protocol(scripts="state first"), ONE_FILL, 7, id="the state is moved last"),
        pytest.param(Protocol(scripts="unchained"), FAILOVER, 10, id="the chain of a pass's scripts"),
        pytest.param(
            Protocol(forgets=False),
            EPOCH,
            8,
            id="an epoch without a state",
        ),
        pytest.param(Protocol(range_is_forgotten="after the state"), RANGE, 7, id="a range forgotten with the state"),
        pytest.param(Protocol(range_has_names=False), RANGE, 8, id="names of their own for a range"),
        pytest.param(Protocol(alive_says="alive"), EPOCH, 8, id="the epoch in alive"),
        pytest.param(
            Protocol(leaves_cold=False),
            Bounds(transactions=0, fills=1, swaps=1, writers=False),
            5,
            id="leaving another database's cache cold",
        ),
        pytest.param(
            Protocol(identity_in_names=False),
            Bounds(transactions=0, fills=1, neighbours=True, writers=False),
            1,
            id="the database's identity in names",
        ),
        pytest.param(
            Protocol(horizon=False),
            Bounds(transactions=1, fills=1, failovers=1, pruning=True, writers=False),
            10,
            id="the horizon of the pruned log",
        ),
        pytest.param(
            Protocol(origin=False),
            Bounds(transactions=1, fills=1, aborts=True, database_crashes=1, writers=False),
            10,
            id="the origin of transaction ids",
        ),
    ],
)
def test_stale_for_ever_without(without: Protocol, bounds: Bounds, steps: int) -> None:
    model = Model(without, bounds)
    exploration = explore(initial(fills=bounds.fills), model.steps, model.stale_for_ever)
    exploration.show()
    assert exploration.found is not None
    assert len(exploration.trace) == steps
    assert violations(AS_IT_IS, bounds).found is None


def test_an_insert_at_the_version_of_a_missing_row_must_be_logged_as_a_deletion() -> None:
    model = Model(AS_IT_IS, Bounds(fills=1, inserted_version=0, writers=False))
    exploration = explore(initial(fills=model.bounds.fills), model.steps, model.stale_for_ever)
    exploration.show()
    assert exploration.trace[-1] == "the relay deletes and moves the state"


@pytest.mark.slow
def test_a_writer_that_leaves_leases_loses_its_own_write_until_the_relay_comes() -> None:
    model = Model(Protocol(writer_takes_lease=False), Bounds(fills=1))
    lost = explore(initial(fills=model.bounds.fills), model.steps, model.lost_acknowledged_write)
    lost.show()
    assert lost.trace[-2:] == (
        "the writer of transaction 0 invalidates",
        "the reader's fill with version 1 is stored",
    )
    assert explore(initial(fills=model.bounds.fills), model.steps, model.stale_for_ever).found is None


def test_an_invalidation_at_an_epoch_that_is_over_loses_its_own_write() -> None:
    bounds = Bounds(transactions=1, fills=1, by_hand=1)
    model = Model(Protocol(invalidations_compare=False), bounds)
    lost = explore(initial(fills=bounds.fills), model.steps, model.lost_acknowledged_write)
    lost.show()
    assert lost.trace[-2:] == (
        "the writer of transaction 0 invalidates where nothing is any more",
        "the reader's fill with version 1 is stored",
    )
    assert violations(AS_IT_IS, bounds).found is None


def test_the_relays_word_to_a_lease_does_not_stop_a_fill_that_saw_the_change() -> None:
    model = Model(AS_IT_IS, ONE_FILL)

    def stores(state: State) -> bool:
        names = [name for name, _ in model.steps(state)]
        raised = state.redis.lease is not None and state.redis.lease.least > 0
        return raised and "the reader's fill with version 2 is stored" in names

    exploration = explore(initial(fills=model.bounds.fills), model.steps, stores)
    exploration.show()
    assert exploration.found is not None
