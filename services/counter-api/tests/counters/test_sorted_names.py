"""Names in their order in memory, compared with sorted()."""

import random
from itertools import islice

import pytest

from counter_api.counters import sorted_names
from counter_api.counters.sorted_counters import SortedCounters
from counter_api.counters.sorted_names import SortedNames


@pytest.mark.parametrize("largest", [2, 3, 1000])
def test_it_does_what_sorted_does(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_names, "LARGEST", largest)
    choose = random.Random(largest)
    names, model = SortedNames(), set[str]()
    for _ in range(3000):
        name = "".join(choose.choices("abc", k=choose.randint(1, 6)))
        if name in model:
            names.remove(name)
            model.remove(name)
        elif choose.random() < (0.9 if len(model) < 200 else 0.1):
            names.add(name)
            model.add(name)
        prefix, after = ("".join(choose.choices("abcd", k=choose.randint(0, 3))) for _ in range(2))
        expected = sorted(each for each in model if each > after and each.startswith(prefix))
        assert list(names.behind(after, prefix=prefix)) == expected
        assert list(islice(names.behind(after, prefix=prefix), 3)) == expected[:3]


def test_counters_that_expire_leave_no_name() -> None:
    now, gone = 0.0, list[str]()
    counters = SortedCounters(lambda: now, gone.append)
    counters.put("a", 1, ttl=5)
    counters.put("b", 2, ttl=None)
    counters.put("_reserved", 3, ttl=None)
    counters.replace("b", 4, ttl=7)
    assert counters.following(prefix="", after="", count=5) == [("a", 1), ("b", 4)]
    now = 5.0
    assert counters.following(prefix="", after="", count=5) == [("b", 4)]
    counters.replace("b", 5, ttl=None)
    now = 9.0
    assert counters.following(prefix="", after="a", count=5) == [("b", 5)]
    counters.pop("b")
    counters.pop("b")
    assert counters.following(prefix="", after="", count=5) == []
    assert gone == ["a", "b"]
