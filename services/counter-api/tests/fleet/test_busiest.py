"""Which counters are the busiest: of one process over the last seconds, and of several processes together."""

from counter_api.fleet.busiest import KEPT, REPORTED, SHOWN, Busiest, together


def test_over_the_last_seconds() -> None:
    now = 0.0
    busiest = Busiest(lambda: now)
    assert busiest.add({}) == {}
    seen = []
    for second in range(1, 9):
        now = float(second)
        seen.append(busiest.add({"a": 10, "b": 5} if second <= 2 else {"b": 5}))
    assert seen[0] == {"a": 10, "b": 5}
    assert seen[4] == {"b": 5, "a": 4}
    assert seen[5] == {"b": 5, "a": 2}
    assert seen[6] == {"b": 5}


def test_bounds() -> None:
    now = 0.0
    busiest = Busiest(lambda: now)
    for second in range(1, 20):
        now = float(second)
        found = busiest.add({f"{second}.{number}": number for number in range(3 * KEPT)} | {"_visits": 10**6})
        assert len(found) == REPORTED
        assert f"{second}.{3 * KEPT - 1}" in found
    assert sum(len(span) for _, span in busiest._spans) <= 6 * KEPT


def test_together() -> None:
    one = {"a": 1.5, "b": 1.0} | {f"c{number:02}": 0.5 for number in range(20)}
    # A replica of another release may report anything.
    assert together([one, {"b": 1.0, "a": 0.0, "d": "x"}, None, {"e": 0.0}, ["a"]]) == [
        ("b", 2.0),
        ("a", 1.5),
        *((f"c{number:02}", 0.5) for number in range(SHOWN - 2)),
    ]
