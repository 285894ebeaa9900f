"""Changes under load, with and without an Idempotency-Key, and how many of them may have been made."""

import itertools
import json
from collections.abc import Iterator, Sequence

from tests.support.waits import JSON, Callers, Request, Wait

KEYLESS = frozenset({"change", "new", "increment"})
"""The kinds of changes that may not be repeated once they were sent."""

_numbers = itertools.count(1000)


def users(cached: Sequence[int], without_key: Sequence[int], with_key: Sequence[int]) -> dict[str, Iterator[Request]]:
    """Reads of these users and of users that do not exist, changes of the others, and new users."""
    return {
        "cached": (("GET", f"/v1/users/{n}", {}, b"") for n in itertools.cycle(cached)),
        "uncached": (("GET", f"/v1/users/{1_000_000 + next(_numbers)}", {}, b"") for _ in itertools.count()),
        "change": (_change(n, keyed=False) for n in itertools.cycle(without_key)),
        "change with key": (_change(n, keyed=True) for n in itertools.cycle(with_key)),
        "new": (_new("keyless", keyed=False) for _ in itertools.count()),
        "new with key": (_new("keyed", keyed=True) for _ in itertools.count()),
    }


def increments() -> dict[str, Iterator[Request]]:
    """Of the counters `keyless` and `keyed`, and reads of one of them."""
    return {
        "count": itertools.repeat(("GET", "/v1/counters/keyless", {}, b"")),
        "increment": itertools.repeat(("POST", "/v1/counters/keyless/increment", {}, b"")),
        "increment with key": (
            ("POST", "/v1/counters/keyed/increment", _key(next(_numbers)), b"") for _ in itertools.count()
        ),
    }


def _key(number: int) -> dict[str, str]:
    return {"idempotency-key": f"number-{number}"}


def _change(user_id: int, *, keyed: bool) -> Request:
    n = next(_numbers)
    body = json.dumps({"name": f"Name {n}"}).encode()
    return "PATCH", f"/v1/users/{user_id}", JSON | (_key(n) if keyed else {}), body


def _new(name: str, *, keyed: bool) -> Request:
    n = next(_numbers)
    body = json.dumps({"email": f"{name}-{n}@example.com", "name": "New"}).encode()
    return "POST", "/v1/users", JSON | (_key(n) if keyed else {}), body


def failed(callers: Callers) -> list[Wait]:
    """No user has the ids of the uncached reads."""
    return [wait for wait in callers.waits if wait.status not in (200, 201, 404)]


def in_doubt(wait: Wait) -> bool:
    """Whether the answer says that the change may have been made."""
    return wait.status == 503 and ("is not known" in wait.detail or "is unknown" in wait.detail)


def possible(callers: Callers, kind: str) -> range:
    """How many changes of this kind may have been made: those that were confirmed, and any of those in doubt."""
    of_kind = [wait for wait in callers.waits if wait.kind == kind]
    confirmed = sum(wait.status in (200, 201) for wait in of_kind)
    assert confirmed
    return range(confirmed, confirmed + sum(map(in_doubt, of_kind)) + 1)
