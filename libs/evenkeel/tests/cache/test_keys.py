"""Names in Redis: bound to a database and an epoch, all in one slot, and exchanged without going back."""

import asyncio

import pytest

from evenkeel.cache.keys import LONGEST_SIGNAL, CurrentNames, Names, new_epoch

pytestmark = pytest.mark.anyio

HERE, THERE = "00000000000000aa", "00000000000000bb"


def test_two_databases_share_no_name() -> None:
    epoch = new_epoch()

    def names_of(names: Names) -> set[bytes]:
        fleet = names.fleet.encode()
        return {names.alive, names.state, names.everything, fleet, names.entry("1"), names.lease("1")}

    here, there = (names_of(Names("user", identity, epoch)) for identity in (HERE, THERE))
    assert len(here) == len(there) == 6
    assert not here & there
    assert all(b"{user}" in name for name in here | there)


def test_one_signal_says_what_it_is_about() -> None:
    """Whatever the keys are made of."""
    names = Names("user", HERE)
    odd = ["1", "a:b", "", "entry:1", "é", '"', "\\", '1":2,"3', "{user}", "{}", "\n", "\0", ",", "null", " 1", "😀"]
    for versions in ([7, None], [None], [2**63 - 1]):
        changes = {key: versions[number % len(versions)] for number, key in enumerate(odd)}
        [signal] = names.signals_of(changes)
        assert signal.startswith(names.signals)
        assert signal != names.everything
        assert names.signalled(signal) == changes
    assert names.signals_of({}) == []


def test_a_signal_is_bounded() -> None:
    """Many keys take as few names as the bound permits; a key that is longer than the bound is signalled alone."""
    names = Names("user", HERE)
    keys = dict.fromkeys((f"{number:0100}" for number in range(2_000)), 7)
    signals = names.signals_of(keys)
    assert [len(name) - len(names.signals) <= LONGEST_SIGNAL for name in signals] == [True] * 4
    assert [change for name in signals for change in (names.signalled(name) or {}).items()] == list(keys.items())
    long = {"a": 1, "b" * LONGEST_SIGNAL: 2, "c": 3}
    assert [names.signalled(name) for name in names.signals_of(long)] == [{key: long[key]} for key in long]
    assert len(names.signals_of({str(2**62 + number): 2**53 for number in range(1_500)})) == 1


def test_a_signal_that_cannot_be_read_is_that_anything_may_have_changed() -> None:
    names = Names("user", HERE)
    for text in (b"", b"1:7", b"1", b"[]", b"{", b"\xff", b'{"1":7}x', b'{"1":"7"}', b'{"1":true}', b'{"1":1.5}'):
        assert names.signalled(names.signals + text) is None


def test_what_is_over() -> None:
    old, now = (Names("user", HERE, new_epoch()) for _ in range(2))
    elsewhere, neighbour = Names("user", THERE, new_epoch()), Names("book", HERE, new_epoch())
    assert all(now.is_over(name) for name in (old.entry("1"), old.lease("1"), old.alias("1"), old.entry("entry:1")))
    needed = [
        now.entry("1"),
        now.lease("1"),
        now.alias("1"),
        now.alive,
        now.state,
        *now.signals_of({"entry": 1}),
        now.everything,
    ]
    others = [elsewhere.entry("1"), elsewhere.lease("1"), neighbour.entry("1"), b"{user}", b"1", b"user:1"]
    assert not any(now.is_over(name) for name in needed + others)


def test_a_range_that_is_forgotten_has_new_names_and_all_else_the_same() -> None:
    base = Names("user", HERE, new_epoch())
    first = base.at(base.epoch_without([(10, 20)]))
    second = first.at(first.epoch_without([(15, 30)]))
    assert len({base.epoch, first.epoch, second.epoch}) == 3
    for key in ("9", "31", "a", "010", ""):
        for names in (first, second):
            assert (names.entry(key), names.lease(key)) == (base.entry(key), base.lease(key))
            assert not names.renames(base)(key)
            assert not names.is_over(base.entry(key))
    for key in ("15", "20"):
        assert len({names.entry(key) for names in (base, first, second)}) == 3
        assert len({names.lease(key) for names in (base, first, second)}) == 3
        assert second.renames(first)(key)
        for old in (base, first):
            assert second.is_over(old.entry(key))
            assert second.is_over(old.lease(key))
    assert second.entry("12") == first.entry("12") != base.entry("12")
    assert not second.renames(first)("12")
    needed = [name for key in ("1", "12", "15", "30") for name in (second.entry(key), second.lease(key))]
    assert not any(second.is_over(name) for name in [*needed, second.alive, second.state])
    assert second.alive_value == second.epoch.encode()
    assert second.at(new_epoch()).is_over(second.entry("12"))
    assert all(names.renames(base)("1") for names in (base.at(new_epoch()), Names("user", HERE)))


def test_an_epoch_that_cannot_be_read_is_one_of_its_own() -> None:
    names, other = Names("user", HERE, "a;1..2"), Names("user", HERE, "a")
    assert names.entry("1") != other.entry("1")
    assert names.epoch_without([(1, 2)]).startswith("a;1..2;")
    assert ";" not in Names("user", HERE).epoch_without([(1, 2)])


@pytest.mark.parametrize("namespace", ["", "a:b", "a{b}", "é", "a b"])
def test_a_namespace_is_plain(namespace: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and _"):
        CurrentNames(namespace)


async def test_a_late_answer_brings_no_epoch_back() -> None:
    current = CurrentNames("user")
    changes: list[str] = []
    current.on_change.append(lambda _, now: changes.append(now.epoch if now else "-"))
    current.identified(HERE)
    first = await current.known()
    current.adopt(b"a", first)
    second = await current.known()
    current.adopt(b"b", first)  # asked before
    assert current.now is second
    current.adopt(b"a", second)
    assert current.now is second
    current.adopt(b"b", second)
    assert changes == ["", "a", "b"]


async def test_whoever_waits_hears_of_another_database() -> None:
    current = CurrentNames("user")
    known = asyncio.create_task(current.known())
    await asyncio.sleep(0)
    current.identified(HERE)
    names = await known
    left = asyncio.create_task(current.until_other_identity(HERE))
    await asyncio.sleep(0)
    current.adopt(b"a", names)
    current.identified(HERE)
    await asyncio.sleep(0)
    assert not left.done()
    assert current.now is not None
    assert current.now.epoch == "a"
    current.identified(THERE)
    await left
    current.identified(None)
    assert current.now is None
